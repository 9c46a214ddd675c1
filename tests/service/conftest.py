"""The service on databases of a small proposal in the EuXFEL format."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arriving import Site
from served import pipe, wait_for

data_root = pipe.data_root

Service = subprocess.Popen[str]


@pytest.fixture
def database(tmp_path: Path, data_root: Path) -> pipe.Database:
    """A database whose service takes no run of the proposal's folders by itself."""
    proposal = tmp_path / "SA2/202601/p001234"
    proposal.mkdir(parents=True)
    (proposal / "raw").symlink_to(data_root / "SA2/202601/p001234/raw")
    database = pipe.Database(tmp_path, proposal)
    (database.path / "service.toml").write_text("[runs]\nquiet_seconds = 1e9\n")
    return database


@pytest.fixture
def service() -> Iterator[Callable[..., Service]]:
    """Starts the service of a database, and ends it after the test."""
    started: list[Service] = []

    def start(database: pipe.Database, *arguments: str, **options: object) -> Service:
        process: Service = database.start("listen", *arguments, **options)
        started.append(process)
        wait_for("the service owns the directory", lambda: database.is_owned_by(process), process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def site(tmp_path: Path, data_root: Path) -> Site:
    """A site without runs."""
    site = Site(tmp_path, data_root)
    site.restore()
    return site
