"""Events of a real broker become values in the table, once each, whatever is killed meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from arrivals import PROC, RAW, Service, Site, corrected, migrated, wait_for
from brokers import Broker, Client, Nafka, Proxy

import venvs

Start = Callable[..., Service]


def test_events_become_values(site: Site, broker: Broker, client: Client, service: Start) -> None:
    site.arrive(1)
    # Before the first start.
    client.send(RAW, migrated(1), {"event": "migration_started", "proposal": 1234, "run": 1}, migrated(5, 9999))
    client.send(RAW, b"\x00garbage", {"event": "migration_complete", "run": 1})
    site.configure(f'brokers = ["{broker.address}"]')
    process = service(site)
    wait_for("the run before the start", lambda: site.has(1, a=16), process)
    site.arrive(2)
    client.send(RAW, migrated(2))
    wait_for("the run after the start", lambda: site.has(2, a=16), process)
    assert "p" not in site.database.rows(2)
    # The same again, and the calibrated data.
    site.arrive(2, "proc")
    client.send(RAW, migrated(2))
    client.send(PROC, corrected(2))
    wait_for("the calibrated data", lambda: site.has(2, p=2), process)
    wait_for("the end of all events", lambda: {event["state"] for event in site.events()} == {"done", "failed"}, process)
    assert site.database.executions() == {"a": 2, "p": 1}
    failed = {event["payload"]: event["detail"]["why"] for event in site.events() if event["state"] == "failed"}
    assert sorted(failed.values()) == [
        'the event migration_complete has no valid "proposal": it is missing',
        "the message is not JSON: expected value at line 1 column 1",
    ]
    assert "\ufffdgarbage" in failed
    # What concerns no database is not kept, nor are other events.
    assert {event["run"] for event in site.events()} == {1, 2, None}
    assert client.committed(site.group, RAW) == 7


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy before the broker."""
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture
def broker_behind(proxy: Proxy, tmp_path: Path) -> Iterator[Broker]:
    """A broker that is reached through the proxy."""
    broker = Broker(tmp_path / "broker.log", advertised=proxy.port)
    proxy.target = broker.port
    broker.start()
    Client(broker.address).create(RAW, PROC)
    yield broker
    broker.kill()


def test_a_service_that_is_killed_before_the_commit_gets_the_events_again(
    site: Site, broker_behind: Broker, proxy: Proxy, service: Start
) -> None:
    client = Client(broker_behind.address)
    site.configure(f'brokers = ["{broker_behind.address}"]')
    proxy.swallows_commits = True
    process = service(site)
    site.arrive(1)
    client.send(RAW, migrated(1))
    wait_for("the value", lambda: site.has(1, a=16), process)
    wait_for("the commit that gets lost", lambda: proxy.swallowed, process)
    # A service that is killed between the value and this computes it again.
    wait_for("the end of the event", lambda: [event["state"] for event in site.events()] == ["done"], process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    proxy.swallows_commits = False
    assert client.committed(site.group, RAW) is None
    process = service(site)
    wait_for("the commit of what was received again", lambda: client.committed(site.group, RAW) == 1, process)
    assert len(site.events()) == 1
    assert site.database.executions() == {"a": 1}


def test_a_broker_that_is_away_is_found_again(site: Site, broker_behind: Broker, proxy: Proxy, service: Start) -> None:
    client = Client(broker_behind.address)
    site.configure(f'brokers = ["{broker_behind.address}"]')
    proxy.cut()
    process = service(site)
    wait_for("the warning", lambda: "no events from Kafka now" in site.log(), process)
    proxy.mend()
    site.arrive(1)
    client.send(RAW, migrated(1))
    wait_for("the first value", lambda: site.has(1, a=16), process)
    proxy.cut()
    proxy.mend()
    site.arrive(2)
    client.send(RAW, migrated(2))
    wait_for("the second value", lambda: site.has(2, a=16), process)
    assert site.database.executions() == {"a": 2}


def test_a_broker_that_forgets_its_topics_does_not_hide_new_events(
    site: Site, broker: Broker, client: Client, service: Start
) -> None:
    site.configure(f'brokers = ["{broker.address}"]')
    process = service(site)
    site.arrive(1)
    client.send(RAW, migrated(1))
    wait_for("the first value", lambda: site.has(1, a=16), process)
    wait_for("the commit", lambda: client.committed(site.group, RAW) == 1, process)
    broker.kill()
    broker.start()
    client.create(RAW, PROC)
    # It has the number of the first message.
    site.arrive(2)
    client.send(RAW, migrated(2))
    wait_for("the second value", lambda: site.has(2, a=16), process)
    assert site.database.executions() == {"a": 2}


def test_a_broker_that_is_killed_keeps_what_it_has(site: Site, tmp_path: Path, service: Start) -> None:
    python = venvs.interpreters().get("3.13")
    if python is None:
        pytest.skip("nafka needs Python 3.13")
    broker = Nafka(tmp_path / "nafka.log", venvs.make_venv("nafka", python, venvs.NAFKA_PACKAGES), tmp_path / "nafka.db")
    broker.start()
    try:
        client = Client(broker.address)
        site.configure(f'brokers = ["{broker.address}"]')
        site.arrive(1)
        client.send(RAW, migrated(1))
        process = service(site)
        wait_for("the first value", lambda: site.has(1, a=16), process)
        broker.kill()
        broker.start()
        site.arrive(2)
        client.send(RAW, migrated(2))
        wait_for("the second value", lambda: site.has(2, a=16), process)
        wait_for("the commit", lambda: client.committed(site.group, RAW) == 2, process)
        assert site.database.executions() == {"a": 2}
    finally:
        broker.kill()


def test_the_configuration_is_read_again(site: Site, broker: Broker, client: Client, service: Start) -> None:
    site.arrive(1)
    topic = "runs"
    client.create(topic)
    client.send(topic, {"event": "done", "proposal": 1234, "run": 1})
    process = service(site)
    events = f'[[kafka.events]]\ntopic = "{topic}"\nevent = "done"\ndata = "raw"'
    site.configure(f'brokers = ["nowhere"]\n{events}')
    process.send_signal(signal.SIGHUP)
    wait_for("the refusal", lambda: "host:port" in site.log(), process)
    site.configure(f'brokers = ["{broker.address}"]\n{events}')
    process.send_signal(signal.SIGHUP)
    wait_for("the value", lambda: site.has(1, a=16), process)


def test_damnits_variable_names_another_broker_or_none(site: Site, broker: Broker, client: Client, service: Start) -> None:
    site.arrive(1)
    client.send(RAW, migrated(1))
    site.configure(f'brokers = ["{broker.address}"]')
    process = service(site, AMORE_BROKER="none")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert "listening to Kafka" not in site.log()
    assert site.events() == []
    site.configure("")
    process = service(site, AMORE_BROKER=broker.address)
    wait_for("the value", lambda: site.has(1, a=16), process)


def test_a_password_that_everyone_can_read_is_refused(site: Site) -> None:
    site.configure(
        'brokers = ["127.0.0.1:9"]\n[kafka.sasl]\nmechanism = "SCRAM-SHA-512"\n'
        'username = "amore"\npassword_file = "kafka.password"'
    )
    password = site.database.path / "kafka.password"
    password.write_text("verysecret\n")
    os.chmod(password, 0o644)
    refused: Any = site.database.amore("listen", code=None)
    assert refused.returncode != 0
    assert "kafka.password can be read by everyone" in refused.stderr and "chmod o=" in refused.stderr
    assert "verysecret" not in refused.stderr + site.log()
