"""Two hosts (containers) that share a directory, and two members of its group: each controls what the other has started.

The installed tree is used, with its own Supervisor. Needs Docker; images are built as for the tests on a real Slurm.
"""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervised import REPOSITORY, wait_for

from commands import run

IMAGE = "amore-supervisor-test"
NET = "10.77.31"
HOSTS = {"h1": f"{NET}.11", "h2": f"{NET}.12"}
DIRECTORY = "/gpfs/amore"


def docker(*arguments: str, code: int | None = 0) -> str:
    """Runs docker; returns all of its output."""
    ended = subprocess.run(
        ["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )
    assert code is None or ended.returncode == code, (arguments, ended.returncode, ended.stdout)
    return ended.stdout


class Cluster:
    """The hosts, by name."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def on(self, host: str, user: str, command: str, code: int | None = 0) -> str:
        """Runs a shell command in the directory as a user who has loaded the module."""
        path = "PATH=/opt/amore/bin:/usr/bin:/bin"
        place = ["-u", user, "-w", DIRECTORY, "-e", path, "-e", "AMORE_NO_SLURM=1", self.names[host]]
        return docker("exec", *place, "sh", "-c", f"umask 027; {command}", code=code)

    def service(self, host: str, user: str) -> int:
        """The process of the service, as Supervisor shows it."""
        said = self.on(host, user, "supervisorctl -c supervisord.conf status damnit")
        found = re.fullmatch(r"damnit                           RUNNING   pid (\d+), uptime \d:\d\d:\d\d\n", said)
        assert found, said
        return int(found[1])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, amore_bin: Path) -> Path:
    """The installed product."""
    prefix = tmp_path_factory.mktemp("installed") / "amore"
    run([REPOSITORY / "scripts/install.sh", amore_bin, prefix])
    for folder in (prefix, *prefix.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    return prefix


def base_image() -> str:
    """The image to build upon. Without Docker the test is skipped, except in CI."""
    command = [REPOSITORY / "slurm-tests/cluster/base-image.sh", "bookworm"]
    try:
        subprocess.run(["docker", "info"], capture_output=True, timeout=60, check=True)
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        why = f"no Docker engine answers, or there is no base image: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture
def cluster(tree: Path) -> Iterator[Cluster]:
    """Both hosts, with a shared directory of alice's and its database."""
    base = base_image()
    docker("build", "-q", "-t", IMAGE, "--build-arg", f"BASE={base}", str(Path(__file__).parent))
    mark = f"amore-{uuid.uuid4().hex[:8]}"
    names = {host: f"{mark}-{host}" for host in HOSTS}
    try:
        docker("network", "create", "--subnet", f"{NET}.0/24", mark)
        docker("volume", "create", mark)
        for host, name in names.items():
            # The name of a host that is down still resolves, as with a site's DNS.
            others = [word for other, address in HOSTS.items() for word in ("--add-host", f"{other}:{address}")]
            place = ["--name", name, "--hostname", host, "--network", mark, "--ip", HOSTS[host], *others]
            mounts = ["-v", f"{mark}:/gpfs", "-v", f"{tree}:/opt/amore:ro"]
            docker("run", "-d", "--init", *place, *mounts, IMAGE, "sleep", "infinity")
        docker("exec", "-u", "alice", names["h1"], "install", "-d", "-g", "p1234", "-m", "2770", DIRECTORY)
        cluster = Cluster(names)
        cluster.on("h1", "alice", "umask 007; amore init . --proposal 1234 && mkdir extracted_data")
        yield cluster
    finally:
        docker("rm", "-f", "-v", *names.values(), code=None)
        docker("volume", "rm", "-f", mark, code=None)
        docker("network", "rm", mark, code=None)


def test_each_member_controls_it_from_each_host(cluster: Cluster) -> None:
    said = cluster.on("h1", "alice", "amore-proto listen --daemonize")
    assert said.startswith("Started the service under Supervisor"), said
    wait_for("amore.log", lambda: "amore.log" in cluster.on("h1", "alice", "ls"))
    shown = "amore.log context.py extracted_data runs.sqlite supervisord.conf supervisord.log"
    assert cluster.on("h2", "bob", "ls").split() == shown.split()

    # Another member, on the other host.
    first = cluster.service("h2", "bob")
    assert cluster.on("h2", "bob", "supervisorctl -c supervisord.conf restart damnit") == "damnit: stopped\ndamnit: started\n"
    second = cluster.service("h2", "bob")
    assert second != first and second == cluster.service("h1", "alice")
    assert "spawned" in cluster.on("h2", "bob", "cat supervisord.log")

    # He starts no second one.
    said = cluster.on("h2", "bob", "amore listen --daemonize")
    assert said.startswith(f"The service is running already: damnit RUNNING pid {second}"), said
    assert "supervisord" not in cluster.on("h2", "bob", "ps -eo args")

    # For everyone else there is nothing to see and nothing to control.
    assert cluster.on("h2", "bob", "stat -c '%a %U %G' supervisord.conf") == "660 alice p1234\n"
    place = ["exec", "-u", "carol", cluster.names["h2"], "cat", f"{DIRECTORY}/supervisord.conf"]
    assert "Permission denied" in docker(*place, code=1)
    assert cluster.on("h1", "alice", "find . -perm /o+w ! -type l") == ""

    # A stopped one is started where its supervisord is.
    cluster.on("h2", "bob", "supervisorctl -c supervisord.conf stop damnit")
    assert cluster.on("h2", "bob", "amore listen --daemonize").startswith("Started the service: damnit RUNNING")
    assert str(cluster.service("h1", "alice")) in cluster.on("h1", "alice", "ps -eo pid,args")


def test_when_its_host_dies_another_member_starts_it_on_another_host(cluster: Cluster) -> None:
    cluster.on("h1", "alice", "amore listen --daemonize")
    docker("kill", cluster.names["h1"])
    said = cluster.on("h2", "bob", "amore listen --daemonize")
    assert said.startswith("Started the service under Supervisor"), said
    assert cluster.on("h2", "bob", "stat -c '%a %U %G' supervisord.conf") == "660 bob p1234\n"
    assert "serverurl=http://h2:" in cluster.on("h2", "bob", "cat supervisord.conf")
    # Back again, the first host has the same one.
    docker("start", cluster.names["h1"])
    assert cluster.service("h1", "alice") == cluster.service("h2", "bob")
    assert cluster.on("h1", "alice", "amore listen --daemonize").startswith("The service is running already")
