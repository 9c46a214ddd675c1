"""The real parts around the services: Slurm and PostgreSQL in containers, and a Kafka broker in the network of the login node.

The services, their workers and all jobs run in the containers, as a user without rights. This program runs outside, as root: it
sees the same files through the volume of the cluster, and it can kill each process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from compose_site import ComposeSite

import venvs

REPOSITORY = Path(__file__).resolve().parents[2]
#: A cluster of its own: the tests on a real Slurm may run at the same time.
PROJECT, NETWORK = "amore-soak", "10.77.28"
#: Who runs the services, and the user's number.
USER, UID = "alice", 2001
#: The folder of the soak on the file system that all containers share.
INSIDE = PurePosixPath("/gpfs/soak")
#: Where services find the broker.
BROKER_PORT = 9092


def what_is_missing() -> str | None:
    """Why there can be no containers and no broker here, or None."""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "no Docker engine answers, so there is no Slurm in containers"
    if os.geteuid() != 0:
        return "only root can kill processes in containers, and see their files"
    if "3.13" not in venvs.interpreters():
        return "there is no Python 3.13, which the Kafka broker needs"
    return None


class Containers:
    """The cluster while it is up."""

    def __init__(self, product: Path) -> None:
        os.environ.update(
            AMORE_CLUSTER_PROJECT=PROJECT, AMORE_CLUSTER_NET=NETWORK, AMORE_INSTALL_DIR=str(product), SUITE="bookworm"
        )
        self.script("down.sh")
        self.script("up.sh")
        self.site = ComposeSite()
        self.login = self.inspect("login")
        source = next(mount["Source"] for mount in self.login["Mounts"] if mount["Destination"] == "/gpfs")
        #: The folder of the soak as this program sees it.
        self.folder = Path(source) / INSIDE.name
        self.folder.mkdir()
        os.chown(self.folder, UID, -1)
        pids = [self.inspect(name)["State"]["Pid"] for name in ("login", "n1", "n2", "n3")]
        self.namespaces = {os.readlink(f"/proc/{pid}/ns/pid") for pid in pids}

    @staticmethod
    def script(name: str) -> None:
        """Calls a script of slurm-tests/cluster."""
        subprocess.run([REPOSITORY / "slurm-tests/cluster" / name, "bookworm"], check=True, stdin=subprocess.DEVNULL)

    def inspect(self, service: str) -> dict[str, object]:
        """What Docker knows of a container."""
        words = ["docker", "inspect", self.site.container(service)]
        return json.loads(subprocess.run(words, check=True, capture_output=True).stdout)[0]

    def inside(self, path: Path) -> PurePosixPath:
        """A path as the containers see it."""
        return INSIDE / path.relative_to(self.folder)

    def call(self, *arguments: str, where: Path, environment: Mapping[str, str]) -> None:
        """Runs a command of the product on the login node."""
        words = [str(self.site.product / "bin" / arguments[0]), *arguments[1:]]
        self.site.run(USER, words, cwd=self.inside(where), env=environment, timeout=120)

    def start(
        self, *arguments: str, where: Path, environment: Mapping[str, str], out: IO[bytes] | int
    ) -> subprocess.Popen[bytes]:
        """Starts a command of the product on the login node. Killing what is returned does not end it."""
        path = f"{self.site.product}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        words = self.site.command(
            USER, arguments, str(self.inside(where)), {"PATH": path, "USER": USER, **environment}, "login", False
        )
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def processes(self, command: Sequence[str], mark: str = "") -> list[int]:
        """Processes in the containers with these words in their command line, and this one in their environment."""
        wanted = "\0".join(command).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                is_it = (
                    wanted in (entry / "cmdline").read_bytes()
                    and os.readlink(entry / "ns/pid") in self.namespaces
                    and mark.encode() in (entry / "environ").read_bytes()
                )
            except OSError:
                continue
            if is_it:
                found.append(int(entry.name))
        return found

    def close(self) -> None:
        """Removes everything, the files too."""
        self.script("down.sh")


class Postgres:
    """The server of the ledger."""

    def __init__(self, containers: Containers) -> None:
        self.site = containers.site

    @property
    def url(self) -> str:
        """Where a ledger is."""
        return self.site.postgres_url()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        self.site.service_start("postgres")

    def kill(self) -> None:
        """`kill -9` of the server and all its processes."""
        self.site.service_kill("postgres")


class Broker:
    """A Kafka broker that keeps its messages and offsets in a file."""

    def __init__(self, containers: Containers, folder: Path) -> None:
        self.python = venvs.make_venv("nafka", venvs.interpreters()["3.13"], venvs.NAFKA_PACKAGES)
        # It listens on 127.0.0.1 only.
        self.in_network = ["nsenter", f"--target={containers.login['State']['Pid']}", "--net"]
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it. Clients try again until it answers."""
        words = [*self.in_network, self.python, "-m", "nafka", f"--port={BROKER_PORT}", f"--file={self.folder / 'nafka.db'}"]
        with open(self.folder / "nafka.log", "ab") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        """`kill -9`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def sender(self) -> subprocess.Popen[str]:
        """A program that sends messages: see kafka_sender.py."""
        words = [*self.in_network, self.python, Path(__file__).with_name("kafka_sender.py"), f"127.0.0.1:{BROKER_PORT}"]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
