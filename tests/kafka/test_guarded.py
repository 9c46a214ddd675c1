"""Brokers that want TLS and a login."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arrivals import PROC, RAW, Service, Site, migrated, wait_for
from brokers import Broker, Client
from guarded import Guard

openssl = shutil.which("openssl")
pytestmark = pytest.mark.skipif(openssl is None, reason="openssl makes the certificates")
Start = Callable[..., Service]


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that nobody else has signed, and its key."""
    assert openssl is not None
    cert, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([openssl, *words, *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key


class Guarded:
    """A broker behind a guard, and a client that may pass it."""

    def __init__(self, site: Site, tmp_path: Path, mechanism: str | None = None, *, with_certificates: bool = False) -> None:
        place = site.database.path
        self.site = site
        mine = certificate(place, "client") if with_certificates else None
        self.guard = Guard(*certificate(place, "broker"), mechanism=mechanism, clients=mine[0] if mine else None)
        # Clients that are told where the broker is come to the guard, too.
        self.broker = Broker(tmp_path / "broker.log", advertised=self.guard.port)
        self.guard.target = self.broker.port
        self.broker.start()
        options = {"security_protocol": "SASL_SSL" if mechanism else "SSL", "ssl_cafile": str(place / "broker.pem")}
        if mine:
            options |= {"ssl_certfile": str(mine[0]), "ssl_keyfile": str(mine[1])}
        if mechanism:
            options |= {"sasl_mechanism": mechanism, "sasl_plain_username": self.guard.user}
            options |= {"sasl_plain_password": self.guard.password}
        self.client = Client(self.broker.address, **options)
        self.client.create(RAW, PROC)

    def configure(self, *sections: str) -> None:
        """Writes the configuration, with these lines beside the address."""
        self.site.configure("\n".join([f'brokers = ["{self.broker.address}"]', *sections]))

    def login(self, mechanism: str, password: str | None = None) -> str:
        """The section of the login, with the file of the password."""
        file = self.site.database.path / "kafka-password"
        file.write_text((password or self.guard.password) + "\n")
        file.chmod(0o600)
        return f'[kafka.sasl]\nmechanism = "{mechanism}"\nusername = "{self.guard.user}"\npassword_file = "kafka-password"'


@pytest.fixture
def guarded(site: Site, tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    """Makes guarded brokers, and ends them after the test."""
    made: list[Guarded] = []

    def make(*arguments: str, **options: bool) -> Guarded:
        made.append(Guarded(site, tmp_path, *arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.broker.kill()
        one.guard.close()


TLS = '[kafka.tls]\nca = "broker.pem"'


def test_a_broker_with_tls_that_knows_its_clients(site: Site, guarded: Callable[..., Guarded], service: Start) -> None:
    one = guarded(with_certificates=True)
    one.configure(TLS, 'certificate = "client.pem"', 'key = "client-key.pem"')
    process = service(site)
    site.arrive(1)
    one.client.send(RAW, migrated(1))
    wait_for("the value", lambda: site.has(1, a=16), process)
    wait_for("the commit", lambda: one.client.committed(site.group, RAW) == 1, process)
    # Updates for DAMNIT's interface take the same way.
    topic = f"test.damnit.db-{site.db_id()}"
    one.client.read(topic, lambda found: any(message["msg_kind"] == "run_values_updated" for message in found))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_login(site: Site, guarded: Callable[..., Guarded], service: Start, mechanism: str) -> None:
    one = guarded(mechanism)
    one.configure(TLS, one.login(mechanism, "wrong"))
    process = service(site)
    site.arrive(1)
    one.client.send(RAW, migrated(1))
    wait_for("the reason", lambda: "wrong user or password" in site.log(), process)
    one.login(mechanism)
    process.send_signal(signal.SIGHUP)
    wait_for("the value", lambda: site.has(1, a=16), process)
    assert one.guard.password not in site.log()


def test_a_broker_that_nobody_vouches_for_gets_nothing(
    site: Site, tmp_path: Path, guarded: Callable[..., Guarded], service: Start
) -> None:
    one = guarded("PLAIN")
    logins = len(one.guard.logins)
    certificate(site.database.path, "other")
    one.configure('[kafka.tls]\nca = "other.pem"', one.login("PLAIN"))
    process = service(site)
    wait_for("the reason", lambda: "certificate verify failed" in site.log(), process)
    assert len(one.guard.logins) == logins, "the password was sent"
