"""The cluster in containers (slurm-tests/cluster/up.sh): AMORE_SLURM_SITE=compose."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from clusters import CommandFailed, Site


class ComposeSite(Site):
    """The cluster in containers."""

    shared = PurePosixPath("/gpfs")
    data_root = PurePosixPath("/gpfs/exfel/exp")
    product = PurePosixPath("/opt/amore")
    python = PurePosixPath("/opt/env/bin/python")
    demo = PurePosixPath("/opt/demo")
    controller_state = ("slurmctld", PurePosixPath("/var/spool/slurmctld"))

    def __init__(self) -> None:
        super().__init__()
        suite = os.environ.get("SUITE", "bookworm")
        self.project = os.environ.get("AMORE_CLUSTER_PROJECT", f"amore-{suite}")
        self._ids: dict[str, str] = {}

    def _docker(self, *arguments: str, timeout: float = 60) -> str:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout)
        if done.returncode != 0:
            raise CommandFailed(f"docker {shlex.join(arguments)} ended with {done.returncode}\n{done.stderr}")
        return done.stdout.strip()

    def container(self, service: str) -> str:
        """The container of a service."""
        if not self._ids:
            label = "com.docker.compose"
            form = '{{.ID}} {{.Label "' + label + '.service"}}'
            listed = self._docker("ps", "-a", "--filter", f"label={label}.project={self.project}", "--format", form)
            self._ids = {name: number for number, name in (line.split() for line in listed.splitlines())}
        if service not in self._ids:
            raise CommandFailed(f"the cluster {self.project} has no {service}: start it with slurm-tests/cluster/up.sh")
        return self._ids[service]

    def is_up(self) -> bool:
        """Whether the login node is running."""
        try:
            return self._docker("inspect", "-f", "{{.State.Running}}", self.container("login")) == "true"
        except (CommandFailed, OSError):
            return False

    def command(
        self, user: str, argv: Sequence[str], cwd: str | None, env: Mapping[str, str], where: str, stdin: bool
    ) -> list[str]:
        """`docker exec`, which sets HOME and the groups."""
        options = ["-i"] if stdin else []
        options += [word for name, value in env.items() for word in ("-e", f"{name}={value}")]
        return ["docker", "exec", "-u", user, "-w", cwd or "/", *options, self.container(where), *argv]

    def kill_group(self, where: str, pid: int, name: str) -> None:
        """`kill` inside the container."""
        self.run("root", ["kill", f"-{name}", "--", f"-{pid}"], where=where, check=False)

    def postgres_url(self, database: str = "amore") -> str:
        """From any container."""
        return f"postgresql://amore:amore@postgres:5432/{database}"

    def service_pause(self, name: str) -> None:
        """`docker pause`: uses the freezer, so nothing in the container notices."""
        self._docker("pause", self.container(name))
        self._breaks("pause", name, lambda: self.service_unpause(name))

    def service_unpause(self, name: str) -> None:
        """`docker unpause`."""
        self._docker("unpause", self.container(name))
        self._mended("pause", name)
        self.wait_service(name)

    def service_kill(self, name: str, machine: bool = False) -> None:
        """The daemon in the container, or the container."""
        if machine:
            self._docker("kill", "-s", "KILL", self.container(name))
        else:
            daemon = {"db": "mariadbd"}.get(name, name)
            self.run("root", ["pkill", "-KILL", "-x", daemon], where=name)
        self._breaks("kill", name, lambda: self.service_start(name))

    def service_start(self, name: str) -> None:
        """The container starts again, with what it had on disk."""
        self._docker("restart", "-t", "0", self.container(name))
        self._mended("kill", name)
        self.wait_service(name)

    def node_kill(self, node: str) -> None:
        """`docker kill`: all processes of the container."""
        self._docker("kill", "-s", "KILL", self.container(node))
        self._breaks("node", node, lambda: self.node_start(node))

    def node_start(self, node: str) -> None:
        """`docker start`."""
        self._docker("start", self.container(node))
        self._mended("node", node)
        self._mended("slurmd", node)
        self._mended("cut", node)

    def slurmd_kill(self, node: str) -> None:
        """slurmd is not the container's main process."""
        self.run("root", ["pkill", "-KILL", "-x", "slurmd"], where=node)
        self._breaks("slurmd", node, lambda: self.slurmd_start(node))

    def slurmd_start(self, node: str) -> None:
        """A new slurmd in the same container."""
        self.run("root", ["slurmd", "-N", node], where=node)
        self._mended("slurmd", node)

    def node_cut(self, node: str) -> None:
        """The link is down: packets are lost, the address is kept. `docker exec` still works."""
        self.run("root", ["ip", "link", "set", "eth0", "down"], where=node)
        self._breaks("cut", node, lambda: self.node_join(node))

    def node_join(self, node: str) -> None:
        """The link is up."""
        self.run("root", ["ip", "link", "set", "eth0", "up"], where=node)
        self._mended("cut", node)

    def data_hide(self, node: str) -> None:
        """Mounts another file system over it."""
        # Like a mount point without a mount: users can create nothing there (Slurm 26.05 would, for a log).
        self.run("root", ["mount", "-t", "tmpfs", "-o", "mode=0755", "none", self.data_root], where=node)
        self._breaks("data", node, lambda: self.data_show(node))

    def data_show(self, node: str) -> None:
        """Unmounts it."""
        self.run("root", ["umount", "-l", self.data_root], where=node)
        self._mended("data", node)

    @contextlib.contextmanager
    def small_file_system(self) -> Iterator[PurePosixPath]:
        """A volume of docker-compose.yml."""
        empty = ["find", "/small", "-mindepth", "1", "-delete"]
        self.run("root", empty)
        try:
            yield PurePosixPath("/small")
        finally:
            self.run("root", empty)
