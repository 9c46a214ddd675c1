"""The cluster without containers (slurm-tests/host/up.sh): AMORE_SLURM_SITE=host."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import pytest

from clusters import NODES, REPOSITORY, CommandFailed, Site


class HostSite(Site):
    """The cluster on this machine: AMORE_SLURM_HOST_DIR is the directory that slurm-tests/host/up.sh was given."""

    demo = PurePosixPath(REPOSITORY / "demo")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(os.environ.get("AMORE_SLURM_HOST_DIR", "/tmp/amore-slurm"))
        self.shared = PurePosixPath(self.directory / "gpfs")
        self.controller_state = ("login", PurePosixPath(self.directory / "state"))
        self.data_root = self.shared / "exfel/exp"
        self.product = PurePosixPath(self.directory / "amore")
        self.python = PurePosixPath(self.directory / "env/bin/python")
        self.settings: dict[str, str] = {}
        with contextlib.suppress(OSError):
            lines = (self.directory / "site.env").read_text().splitlines()
            self.settings = dict(line.split("=", 1) for line in lines if "=" in line)

    def _netns(self) -> bool:
        return self.settings.get("NETNS") == "1"

    def _control(self, *arguments: str) -> None:
        """Controls single parts with slurm-tests/host/control.sh."""
        script = REPOSITORY / "slurm-tests/host/control.sh"
        done = subprocess.run(
            [script, self.directory, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            raise CommandFailed(f"control.sh {shlex.join(arguments)} ended with {done.returncode}\n{done.stdout}")

    def is_up(self) -> bool:
        """Whether up.sh was run and slurmctld answers."""
        if not self.settings:
            return False
        return self.run("root", ["scontrol", "ping"], check=False).returncode == 0

    def command(
        self, user: str, argv: Sequence[str], cwd: str | None, env: Mapping[str, str], where: str, stdin: bool
    ) -> list[str]:
        """`runuser`, without the environment of the user who runs the tests."""
        base = {
            "HOME": str(self.home(user)),
            "LANG": "C.UTF-8",
            "SLURM_CONF": str(self.directory / "etc/slurm.conf"),
            "EXTRA_DATA_DATA_ROOT": str(self.data_root),
        }
        words = [f"{name}={value}" for name, value in {**base, **env}.items()]
        inner = ["env", "-i", *words, "env", "-C", cwd or "/", *argv]
        prefix = [] if user == "root" else ["runuser", "-u", user, "--"]
        if where in NODES and self._netns():
            prefix = ["nsenter", f"--net=/run/netns/amore-{where}", *prefix]
        return [*prefix, *inner]

    def kill_group(self, where: str, pid: int, name: str) -> None:
        """All processes are on this machine."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, getattr(signal, f"SIG{name}"))

    def postgres_url(self, database: str = "amore") -> str:
        """On its own port."""
        host = self.settings["CONTROL_ADDRESS"]
        return f"postgresql://amore:amore@{host}:{self.settings['POSTGRES_PORT']}/{database}"

    def service_pause(self, name: str) -> None:
        """SIGSTOP."""
        self._control("pause", name)
        self._breaks("pause", name, lambda: self.service_unpause(name))

    def service_unpause(self, name: str) -> None:
        """SIGCONT."""
        self._control("unpause", name)
        self._mended("pause", name)
        self.wait_service(name)

    def service_kill(self, name: str, machine: bool = False) -> None:
        """SIGKILL."""
        if machine:
            pytest.skip("the services of this site have no machines of their own")
        self._control("kill", name)
        self._breaks("kill", name, lambda: self.service_start(name))

    def service_start(self, name: str) -> None:
        """As up.sh does."""
        self._control("start", name)
        self._mended("kill", name)
        self.wait_service(name)

    def node_kill(self, node: str) -> None:
        """slurmd, its step daemons and the processes of its jobs."""
        self._control("node-kill", node)
        self._breaks("node", node, lambda: self.node_start(node))

    def node_start(self, node: str) -> None:
        """As up.sh does."""
        self._control("start", node)
        self._mended("node", node)
        self._mended("slurmd", node)

    def slurmd_kill(self, node: str) -> None:
        """slurmd alone."""
        self._control("kill", node)
        self._breaks("slurmd", node, lambda: self.slurmd_start(node))

    def slurmd_start(self, node: str) -> None:
        """As up.sh does."""
        self.node_start(node)

    def node_cut(self, node: str) -> None:
        """The link between the bridge and the node's network namespace, if there is one."""
        if not self._netns():
            pytest.skip("cutting a node needs network namespaces: start the site with NETNS=1 slurm-tests/host/up.sh")
        self._control("cut", node)
        self._breaks("cut", node, lambda: self.node_join(node))

    def node_join(self, node: str) -> None:
        """The link is up."""
        self._control("join", node)
        self._mended("cut", node)

    def data_hide(self, node: str) -> None:
        """All nodes are this machine."""
        pytest.skip("the nodes of this site have one view of the files")

    def data_show(self, node: str) -> None:
        """Nothing was hidden."""

    @contextlib.contextmanager
    def small_file_system(self) -> Iterator[PurePosixPath]:
        """A tmpfs beside the shared files."""
        folder = self.shared / "small"
        self.run("root", ["mkdir", "-p", folder])
        self.run("root", ["mount", "-t", "tmpfs", "-o", "size=32m,mode=1777", "none", folder])
        try:
            yield folder
        finally:
            self.run("root", ["umount", "-l", folder])
