"""A real Slurm cluster in containers. The first measurement that needs it starts it; it is stopped at the
end.

It is the cluster of the tests (slurm-tests/cluster), with its own name and network. Its shared file system
contains one Python environment with DAMNIT; context files of both sides are executed in it.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import data
from measure import CommandFailed
from sides import Bench

ROOT = Path(__file__).resolve().parents[1]
IN_CLUSTER = Path(__file__).parent / "in_cluster"
SERVICES = ROOT / "slurm-tests" / "cluster"
USER = "alice"
# All of these are paths inside the containers.
SHARED = "/gpfs/bench"
DATA_ROOT = f"{SHARED}/data"
PYTHON = f"{SHARED}/env/bin/python"
CLOCK = f"{SHARED}/bin/clock.py"
PEER = "damnit[backend]==0.4.0"
JOB_MEMORY_MIB = 300
"""For each CPU of a job that does not say: with the 100 of the tests' cluster DAMNIT's jobs are killed."""
PATIENCE_S = 3600.0
PASSED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""What pip may need to reach the package index from inside."""


class Skipped(Exception):
    """A measurement is not possible on this machine; the message says why."""


class Timing(NamedTuple):
    """Times measured inside the cluster."""

    wall_s: float
    values_s: float | None
    """When the values were in the table."""
    printed: list[str]


class Cluster:
    """The running cluster."""

    def __init__(self, login: str) -> None:
        """`login` is the container in which users work."""
        self.login = login

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str = USER,
        folder: str = SHARED,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> str:
        """Runs a command on the login node and returns its output. Raises CommandFailed."""
        options = [word for item in (environment or {}).items() for word in ("-e", "=".join(item))]
        return _output(["docker", "exec", "-i", "-u", user, "-w", folder, *options, self.login, *argv], stdin)

    def clock(self, steps: Sequence[Mapping[str, Any]], poll_s: float) -> Timing:
        """Executes the steps (see in_cluster/clock.py) and measures the time inside. `poll_s` is how often
        the queue is queried.
        """
        plan = json.dumps({"poll_s": poll_s, "steps": list(steps)})
        return Timing(**json.loads(self.run(["/usr/bin/python3", CLOCK], stdin=plan)))

    def folder(self, name: str) -> str:
        """Creates an empty directory of the user on the shared file system."""
        path = f"{SHARED}/work/{name}"
        self.run(["sh", "-c", 'rm -rf "$1" && mkdir -p "$1"', "sh", path])
        return path

    def put(self, here: Path, inside: str) -> None:
        """Copies a file or the content of a directory. The copy belongs to the user."""
        self.run(["mkdir", "-p", inside if here.is_dir() else os.path.dirname(inside)])
        _output(["docker", "cp", f"{here}/." if here.is_dir() else str(here), f"{self.login}:{inside}"])
        self.run(["chown", "-R", f"{USER}:", inside], user="root")

    def get(self, inside: str, here: Path) -> Path:
        """Copies the content of a directory out of the cluster."""
        here.mkdir(parents=True, exist_ok=True)
        _output(["docker", "cp", f"{self.login}:{inside}/.", str(here)])
        return here

    def ended_well(self, job: str, tasks: int) -> None:
        """Raises CommandFailed unless accounting has the job with this many tasks, all of them COMPLETED.
        """
        script = """
            for look in $(seq 60); do
                states=$(sacct -X -n -P -j "$1" -o State | sort | uniq -c)
                [ "$(echo $states)" = "$2 COMPLETED" ] && exit 0
                sleep 0.5
            done
            echo "job $1: $states, not $2 COMPLETED" >&2
            exit 1
        """
        self.run(["bash", "-c", script, "bash", job, str(tasks)])


@functools.cache
def of(bench: Bench) -> Cluster:
    """The cluster of the benchmarks, with data, environment and the programs of this build. Raises Skipped.
    """
    if (reason := _no_docker()) is not None:
        raise Skipped(reason)
    suite = os.environ.get("SUITE", "bookworm")
    installed = bench.target / "amore"
    settings = {
        **os.environ,
        "AMORE_INSTALL_DIR": str(installed),
        "AMORE_CLUSTER_PROJECT": os.environ.get("AMORE_CLUSTER_PROJECT", "amore-bench"),
        "AMORE_CLUSTER_NET": os.environ.get("AMORE_CLUSTER_NET", "10.77.30"),
    }
    _said([ROOT / "scripts" / "install.sh", bench.programs, installed], settings)
    if os.environ.get("KEEP", "0") != "1":
        bench.closing.callback(_down, suite, settings)
    _said([SERVICES / "up.sh", suite], settings)
    project = f"label=com.docker.compose.project={settings['AMORE_CLUSTER_PROJECT']}"
    service = "label=com.docker.compose.service=login"
    cluster = Cluster(_output(["docker", "ps", "-q", "--filter", project, "--filter", service]).strip())
    cluster.run(["install", "-d", "-o", USER, SHARED], user="root", folder="/")
    memory = f"DefMemPerCPU={JOB_MEMORY_MIB}"
    cluster.run(["scontrol", "update", "PartitionName=main", memory], user="root")
    cluster.put(IN_CLUSTER, f"{SHARED}/bin")
    cluster.put(data.trivial(bench.target), DATA_ROOT)
    _environment(cluster, bench.target / "wheels" / suite)
    more_runs(cluster, data.RUNS)
    return cluster


def more_runs(cluster: Cluster, runs: int) -> None:
    """Extends the trivial data to this many runs, and creates extra_data's index of each run."""
    proposal = f"{DATA_ROOT}/SPB/202601/p{data.PROPOSAL:06d}"
    cluster.run([PYTHON, f"{SHARED}/bin/more_runs.py", proposal, str(data.RUNS), str(runs)])


def _environment(cluster: Cluster, wheels: Path) -> None:
    """Creates the environment. Its packages are kept in `wheels` for the next time."""
    inside = f"{SHARED}/wheels"
    if (wheels / "complete").exists():
        cluster.put(wheels, inside)
    else:
        print(f"bench: fetching {PEER} for the cluster's Python", file=sys.stderr)
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        python = ["/opt/env/bin/python", "-m", "pip", "download", "-q", "--only-binary=:all:"]
        cluster.run([*python, "-d", inside, PEER], environment=passed_on)
        cluster.run(["touch", f"{inside}/complete"])
        shutil.rmtree(wheels, ignore_errors=True)
        cluster.get(inside, wheels)
    script = """
        [ -e "$1/complete" ] && exit 0
        python3 -m venv --clear "$1"
        "$1/bin/python" -m pip install -q --no-index --find-links "$2" "$3"
        touch "$1/complete"
    """
    cluster.run(["bash", "-ec", script, "bash", f"{SHARED}/env", inside, PEER])


def _down(suite: str, settings: Mapping[str, str]) -> None:
    """Stops the cluster. If this fails, the measurements stay valid."""
    try:
        _said([SERVICES / "down.sh", suite], settings)
    except CommandFailed as error:
        print(f"bench: the cluster is still there: {error}", file=sys.stderr)


def _no_docker() -> str | None:
    """Why containers are not available."""
    if shutil.which("docker") is None:
        return "there is no Docker"
    if subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        return "no Docker engine answers"
    v2 = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    return None if v2 or shutil.which("docker-compose") else "there is no Docker Compose"


def _said(argv: Sequence[str | Path], environment: Mapping[str, str]) -> None:
    """Runs a script of the repository and shows its output."""
    done = subprocess.run(argv, env=dict(environment), stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(map(str, argv))}: exit code {done.returncode}")


def _output(argv: Sequence[str], stdin: str = "") -> str:
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{' '.join(argv)}: not done after {PATIENCE_S:.0f} s") from error
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout
