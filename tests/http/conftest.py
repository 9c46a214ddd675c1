"""The API of the service, on databases of a small proposal in the EuXFEL format."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from http_service import HttpService, free_port

# Loaded by its path: pytest has several files of this name.
_PIPE = Path(__file__).resolve().parents[1] / "pipe/conftest.py"
_spec = importlib.util.spec_from_file_location("pipe_conftest", _PIPE)
assert _spec is not None and _spec.loader is not None
pipe = importlib.util.module_from_spec(_spec)
sys.modules["pipe_conftest"] = pipe
_spec.loader.exec_module(pipe)

data_root = pipe.data_root

CONTEXT = """
@Variable(title="A")
def a(run):
    effect("a")
    return 1
"""

Start = Callable[..., HttpService]


@pytest.fixture
def database(tmp_path: Path, data_root: Path) -> pipe.Database:
    """A database whose service takes no run of the proposal's folders by itself."""
    proposal = tmp_path / "SA2/202601/p001234"
    proposal.mkdir(parents=True)
    (proposal / "raw").symlink_to(data_root / "SA2/202601/p001234/raw")
    database = pipe.Database(tmp_path, proposal)
    database.context(CONTEXT)
    return database


def answers(url: str, **options: Any) -> bool:
    """Whether the service is ready."""
    try:
        return bool(requests.get(f"{url}/readyz", timeout=5, **options).ok)
    except requests.ConnectionError:
        return False


@pytest.fixture
def start(database: pipe.Database) -> Iterator[Start]:
    """Starts a service of the database, with lines of `[http]`, and ends it after the test."""
    started = []

    def begin(http: str = "", **options: Any) -> HttpService:
        port = free_port()
        listen = "" if "listen" in http else f"listen = {port}\n"
        text = f"[runs]\nquiet_seconds = 1e9\n[http]\nrequests_per_second = 10000.0\n{listen}{http}\n"
        if "requests_per_second" in http:
            text = text.replace("requests_per_second = 10000.0\n", "", 1)
        (database.path / "service.toml").write_text(text.replace("PORT", str(port)))
        process = database.start("listen", **options)
        started.append(process)
        service = HttpService(database, process, port)
        pipe.wait_for("the service owns the directory", lambda: database.is_owned_by(process), process)
        scheme = "https" if "certificate" in http else "http"
        address = f"{scheme}://127.0.0.1:{port}"
        if "base_path" not in http:
            pipe.wait_for("the API answers", lambda: answers(address, verify=False), process)
        # The socket is not there sooner or later than the port.
        if "socket = false" not in http:
            pipe.wait_for("the socket is there", service.socket.exists, process)
        return service

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def service(start: Start) -> HttpService:
    """A service that listens on a port and on its socket."""
    return start()
