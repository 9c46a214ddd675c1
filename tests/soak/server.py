"""A PostgreSQL server that can be killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

#: The user `nobody`: PostgreSQL refuses to run as root.
NOBODY = 65534


def binaries() -> Path:
    """The folder of PostgreSQL's programs, those of the newest version if there are several."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    if newest is None:
        raise SystemExit("soak: there is no PostgreSQL; `scripts/setup.sh postgres` installs it")
    return newest.parent


class Server:
    """A server in a folder of its own, reached by a socket there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.user = NOBODY if os.geteuid() == 0 else None
        if self.user is not None:
            os.chown(folder, self.user, self.user)
        self.data = folder / "data"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = open(folder / "log", "ab")
        subprocess.run(
            [binaries() / "initdb", "-D", self.data, "-U", "amore", "-A", "trust", "-E", "UTF8", "--locale=C"],
            check=True,
            user=self.user,
            group=self.user,
            stdout=self.log,
            stderr=self.log,
            cwd=folder,
        )

    @property
    def url(self) -> str:
        """Where a ledger is."""
        return f"postgres://amore@localhost/postgres?host={self.folder}"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        settings = ["listen_addresses=", "max_connections=400", f"unix_socket_directories={self.folder}"]
        self.process = subprocess.Popen(
            [binaries() / "postgres", "-D", self.data, *(word for each in settings for word in ("-c", each))],
            user=self.user,
            group=self.user,
            stdout=self.log,
            stderr=self.log,
            cwd=self.folder,
            start_new_session=True,
        )
        for _ in range(600):
            ready = [binaries() / "pg_isready", "-h", self.folder, "-U", "amore"]
            if subprocess.run(ready, stdout=subprocess.DEVNULL, check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise SystemExit(f"soak: PostgreSQL does not start; see {self.folder / 'log'}")

    def kill(self) -> None:
        """`kill -9` of the server and all its processes."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
