"""A service with an HTTP API, and clients of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

#: The path of a socket may have 108 characters; by way of an open folder it is always short.
_LONGEST_SOCKET = 100

#: Variables without a value, for context files: each in another way.
WITHOUT_VALUE = """
@Variable(title="Broken")
def broken(run):
    raise ValueError("no beam")

@Variable(title="Skipped")
def skipped(run):
    raise Skip("not needed")

@Variable(title="Nothing")
def nothing(run):
    return None
"""


@dataclass
class Answer:
    """The answer to a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.body)


class SocketConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        """Connects."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        if len(str(self.path)) < _LONGEST_SOCKET:
            self.sock.connect(str(self.path))
            return
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            self.sock.connect(f"/proc/self/fd/{folder}/{self.path.name}")
        finally:
            os.close(folder)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class HttpService:
    """A service that runs, with its API."""

    database: Any
    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        """Where it listens for TCP connections."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        path: Path = self.database.path / ".amore/service.sock"
        return path

    def local(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request on the Unix socket."""
        with contextlib.closing(SocketConnection(self.socket)) as connection:
            text = None if body is None else json.dumps(body)
            if text is not None:
                headers.setdefault("Content-Type", "application/json")
            connection.request(method, path, body=text, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def ask(self, method: str, path: str, token: str | None = None, **options: Any) -> requests.Response:
        """A request by TCP."""
        headers = options.pop("headers", {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        options.setdefault("timeout", 60)
        return requests.request(method, self.url + path, headers=headers, **options)

    def status(self, method: str, path: str, token: str | None = None, **options: Any) -> requests.Response:
        """A request by TCP, of which only the head of the answer is read: some answers never end."""
        answer = self.ask(method, path, token, stream=True, **options)
        answer.close()
        return answer

    def token(self, right: str = "read", *arguments: str) -> str:
        """A new token."""
        made = self.database.amore("token", "new", f"test {right}", "--right", right, *arguments)
        out: str = made.stdout
        return out.strip()
