"""Three containers: two hosts with the service and a shared directory, and the database. The network of the first host is cut.

Needs Docker; images are built as for the tests on a real Slurm.
"""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import pipe, wait_for

from commands import run

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = "amore-service-test"
NET = "10.77.33"
HOSTS = {"db": f"{NET}.10", "h1": f"{NET}.11", "h2": f"{NET}.12"}
DIRECTORY = "/gpfs/amore"
URL = f"postgres://amore@{HOSTS['db']}/postgres"
SERVER = """
set -e
cd /var/lib/postgresql
bin=$(echo /usr/lib/postgresql/*/bin)
$bin/initdb -D data -U amore -A trust -E UTF8 --locale=C --no-sync >/dev/null
echo "host all all 0.0.0.0/0 trust" >>data/pg_hba.conf
exec $bin/postgres -D data -c listen_addresses='*' -c fsync=off
"""
OWNER = """
import sqlite3
try:
    print(*sqlite3.connect("runs.sqlite", timeout=30).execute("SELECT host, pid, epoch FROM amore_owner").fetchone())
except sqlite3.OperationalError:
    print("nobody")
"""


def docker(*arguments: str, code: int | None = 0) -> str:
    """Runs docker; returns all of its output."""
    ended = subprocess.run(
        ["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )
    assert code is None or ended.returncode == code, (arguments, ended.returncode, ended.stdout)
    return ended.stdout


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


class Hosts:
    """The containers, by name of the host."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.names = {host: f"{mark}-{host}" for host in HOSTS}

    def on(self, host: str, command: str, *, user: str = "alice", code: int | None = 0) -> str:
        """Runs a shell command in the directory."""
        place = ["-u", user, "-w", DIRECTORY, "-e", "PATH=/opt/amore/bin:/usr/bin:/bin"]
        return docker("exec", *place, self.names[host], "sh", "-c", command, code=code)

    def listen(self, host: str) -> None:
        """Starts the service; its exit code goes to a file."""
        place = ["-u", "alice", "-w", DIRECTORY, "-e", f"AMORE_LEDGER_URL={URL}", "-e", "AMORE_NO_SLURM=1"]
        command = f"/opt/amore/bin/amore listen >{host}.out 2>&1; echo $? >{host}.code"
        docker("exec", "-d", *place, self.names[host], "sh", "-c", command)

    def owner(self) -> list[str]:
        """Host and process that own the directory, and the epoch."""
        return self.on("h2", f"python3 -c '{OWNER}'").split()

    def ledger(self) -> str:
        """What the ledger has, without the end of terms."""
        tables = ("arrival", "request", "task", "attempt", "event", "fact")
        queries = ["SELECT scope, epoch, holder::text FROM amore_ledger.lease ORDER BY 1"]
        queries += [f"SELECT * FROM amore_ledger.{table} ORDER BY 1, 2" for table in tables]
        command = f'psql -U amore -h 127.0.0.1 -At -v ON_ERROR_STOP=1 postgres -c "{"; ".join(queries)}"'
        return docker("exec", "-u", "postgres", self.names["db"], "sh", "-c", command)

    def ledger_at_rest(self) -> str:
        """The same, once the service that serves now has told what it has to tell."""
        before = ""
        while before != (now := self.ledger()):
            before = now
            # A service looks for changes every two seconds.
            time.sleep(5)
        return now

    def log(self) -> str:
        """The log of both services."""
        return self.on("h2", "cat amore.log 2>/dev/null || true")


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """The hosts, with the installed product, and a database directory."""
    base = base_image()
    docker("build", "-q", "-t", IMAGE, "--build-arg", f"BASE={base}", str(Path(__file__).parent))
    tree = tmp_path / "installed/amore"
    run([REPOSITORY / "scripts/install.sh", pipe.programs(), tree])
    for folder in (tree, *tree.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    hosts = Hosts(f"amore-{uuid.uuid4().hex[:8]}")
    mark = hosts.mark
    try:
        docker("network", "create", "--subnet", f"{NET}.0/24", mark)
        docker("volume", "create", mark)
        for host, name in hosts.names.items():
            place = ["--name", name, "--hostname", host, "--network", mark, "--ip", HOSTS[host]]
            mounts = ["-v", f"{mark}:/gpfs", "-v", f"{tree}:/opt/amore:ro"]
            docker("run", "-d", "--init", *place, *mounts, IMAGE, "sleep", "infinity")
        docker("exec", "-d", "-u", "postgres", hosts.names["db"], "sh", "-c", SERVER)
        docker("exec", "-u", "alice", hosts.names["h1"], "mkdir", DIRECTORY)
        hosts.on("h1", "amore init . --proposal 1234")
        answers = ["exec", hosts.names["db"], "pg_isready", "-h", HOSTS["db"]]
        wait_for("the database answers", lambda: "accepting" in docker(*answers, code=None))
        yield hosts
    finally:
        docker("rm", "-f", "-v", *hosts.names.values(), code=None)
        docker("volume", "rm", "-f", mark, code=None)
        docker("network", "rm", mark, code=None)


def test_when_its_network_is_cut_another_host_takes_over(hosts: Hosts) -> None:
    hosts.listen("h1")
    wait_for("h1 serves", lambda: hosts.owner()[0] == "h1")
    hosts.listen("h2")
    wait_for("h2 stands by", lambda: "serves this directory; waiting" in hosts.log())
    docker("network", "disconnect", hosts.mark, hosts.names["h1"])
    wait_for("h2 takes over", lambda: hosts.owner()[0] == "h2")
    wait_for("h1 notices", lambda: "may be the service now" in hosts.log())
    owner, ledger = hosts.owner(), hosts.ledger_at_rest()
    docker("network", "connect", "--ip", HOSTS["h1"], hosts.mark, hosts.names["h1"])
    wait_for("h1 ends", lambda: hosts.on("h2", "cat h1.code 2>/dev/null || true"))
    assert hosts.on("h2", "cat h1.code").strip() != "0"
    assert "another process serves this directory now" in hosts.on("h2", "cat h1.out amore.log")
    assert (hosts.owner(), hosts.ledger()) == (owner, ledger)
    # Started again, as systemd does, it stands by, and takes over when the other host fails.
    hosts.on("h2", "rm h1.code")
    hosts.listen("h1")
    wait_for("h1 stands by", lambda: hosts.log().count("serves this directory; waiting") == 2)
    docker("kill", hosts.names["h2"])
    command = ["exec", "-u", "alice", "-w", DIRECTORY, hosts.names["h1"], "python3", "-c", OWNER]
    wait_for("h1 takes over", lambda: docker(*command).split()[0] == "h1")
