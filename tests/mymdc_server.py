"""A metadata catalogue on this machine, which answers as a test wants, also wrongly."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: It must be found nowhere else.
TOKEN = "s3cr3t-t0k3n-0f-p1234"
TECHNIQUES = [
    {"name": "serial femtosecond crystallography", "identifier": "PaNET01188", "weight": 1.50},
    {"identifier": "PaNET01084", "name": "µ-focus"},
]
#: A status with a body, a JSON value, an address to go to, or None: no answer.
Reply = tuple[int, bytes] | dict[str, Any] | str | None


class Catalogue:
    """The server's answers by path, and the requests that it got. Every run has the same entries unless a test says else."""

    def __init__(self, proposal: int, *runs: int) -> None:
        self.replies: dict[str, Reply] = {
            "/samples/8": {"id": 8, "name": "Lysozyme µ"},
            "/experiments/9": {"id": 9, "name": "Dark"},
        }
        self.base = f"/proposals/by_number/{proposal}/runs"
        for run in runs:
            self.replies[f"{self.base}/{run}"] = {"runs": [{"id": 700 + run, "sample_id": 8, "experiment_id": 9}]}
            self.replies[f"/runs/{700 + run}"] = {"id": 700 + run, "techniques": TECHNIQUES}
        self.requests: list[str] = []
        #: Requests with another token.
        self.strangers: list[str] = []
        self.address = ""
        #: Ends what hangs.
        self.closing = threading.Event()

    def write_credentials(self, proposal_directory: Path) -> Path:
        """Writes the proposal's file."""
        path = proposal_directory / "usr/mymdc-credentials.yml"
        path.write_text(f"token: {TOKEN}\nserver: {self.address}\n")
        path.chmod(0o640)
        return path

    def asked(self) -> dict[str, int]:
        """How often each path was asked for."""
        return {path: self.requests.count(path) for path in self.requests}


@contextmanager
def serving(catalogue: Catalogue) -> Iterator[Catalogue]:
    """Serves it on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/metadata/api/mymdc")
            catalogue.requests.append(path)
            if self.headers.get("X-API-key") != TOKEN:
                catalogue.strangers.append(path)
                return self.answer(401, json.dumps({"info": "unknown token"}).encode())
            reply = catalogue.replies.get(path, (404, b'{"info": "there is no such thing"}'))
            if reply is None:
                catalogue.closing.wait()
            elif isinstance(reply, str):
                self.send_response(302)
                self.send_header("Location", reply)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif isinstance(reply, tuple):
                self.answer(*reply)
            else:
                self.answer(200, json.dumps(reply).encode())

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    catalogue.address = f"http://127.0.0.1:{server.server_address[1]}/metadata"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield catalogue
    finally:
        catalogue.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def files_with_token(*folders: Path) -> list[Path]:
    """Files below these folders that contain the token, except for the credentials."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if path.name != "mymdc-credentials.yml" and TOKEN.encode() in path.read_bytes()]
