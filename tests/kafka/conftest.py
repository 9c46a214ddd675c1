"""A service that listens to a real broker, on a proposal in the EuXFEL format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arrivals import PROC, RAW, Service, Site, pipe, wait_for
from brokers import Broker, Client

data_root = pipe.data_root


@pytest.fixture
def site(tmp_path: Path, data_root: Path) -> Site:
    """A site without runs."""
    return Site(tmp_path, data_root)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker with the topics of EuXFEL's offline cluster."""
    broker = Broker(tmp_path / "broker.log").start()
    Client(broker.address).create(RAW, PROC)
    yield broker
    broker.kill()


@pytest.fixture
def client(broker: Broker) -> Client:
    """A client of the broker."""
    return Client(broker.address)


@pytest.fixture
def service() -> Iterator[Callable[..., Service]]:
    """Starts the service of a site, and ends it after the test."""
    started: list[Service] = []

    def start(site: Site, **environment: str) -> Service:
        database = site.database
        process: Service = database.start("listen", env={**database.environment, **environment})
        started.append(process)
        wait_for("the service owns the directory", lambda: database.is_owned_by(process), process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
