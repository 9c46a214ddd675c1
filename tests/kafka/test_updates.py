"""DAMNIT's own consumer is told what happens, after it can be read in the table."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from arrivals import RAW, Service, Site, migrated, wait_for
from brokers import Broker, Client

Interface = Callable[[Site, Broker], "subprocess.Popen[str]"]


@pytest.fixture
def interface(peer_python: Path, tmp_path: Path) -> Iterator[Interface]:
    """What DAMNIT's graphical interface does with updates. It writes a line for each to a file."""
    started: list[subprocess.Popen[str]] = []

    def start(site: Site, broker: Broker) -> subprocess.Popen[str]:
        with (tmp_path / "interface.jsonl").open("w") as out, (tmp_path / "interface.log").open("w") as err:
            process = subprocess.Popen(
                [str(peer_python), str(Path(__file__).parent / "in_damnit.py"), str(site.database.path)],
                env={**os.environ, "AMORE_BROKER": broker.address},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def seen(tmp_path: Path) -> list[dict[str, Any]]:
    """What the interface has been told."""
    return [json.loads(line) for line in (tmp_path / "interface.jsonl").read_text().splitlines()]


def test_damnits_interface_sees_values_variables_and_processing(
    site: Site, broker: Broker, client: Client, service: Callable[..., Service], interface: Interface, tmp_path: Path
) -> None:
    topic = f"test.damnit.db-{site.db_id()}"
    client.create(topic)
    watching = interface(site, broker)
    wait_for("DAMNIT's consumer", lambda: seen(tmp_path), watching)
    site.configure(f'brokers = ["{broker.address}"]')
    process = service(site)
    site.arrive(1)
    client.send(RAW, migrated(1))

    def lines(kind: str) -> list[dict[str, Any]]:
        return [line for line in seen(tmp_path) if line.get("kind") == kind]

    values = wait_for("the update of the value", lambda: lines("run_values_updated"), watching)
    assert values[0] == {"kind": "run_values_updated", "run": 1, "values": {"a": 16}}
    finished = wait_for("the end of the processing", lambda: lines("processing_finished"), watching)
    running = lines("processing_state_set")[0]
    assert (running["run"], running["status"], running["jobs"]) == (1, "RUNNING", 1)
    assert finished[-1]["jobs"] == 0
    variables = {line["name"]: (line["title"], line["editable"]) for line in lines("variable_set")}
    assert variables == {"a": ("A", False), "p": ("P", False)}
    assert process.poll() is None


def test_a_broker_that_is_away_delays_no_value(site: Site, service: Callable[..., Service]) -> None:
    site.configure('brokers = ["127.0.0.1:9"]')
    process = service(site)
    site.arrive(1)
    site.database.amore("trigger", "1")
    wait_for("the value", lambda: site.has(1, a=16), process)
    process.terminate()
    assert process.wait(timeout=60) == 0
