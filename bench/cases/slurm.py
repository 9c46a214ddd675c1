"""Runs with a variable that is computed in a Slurm job, on a real Slurm in containers.

All compared times are measured on the cluster's login node (in_cluster/clock.py). The jobs of both sides
run the same Python with the same context file, and the maximum number of concurrent jobs is the same.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import cluster
import data
import values
from cluster import DATA_ROOT, PYTHON, SHARED, USER, Cluster, Timing
from report import Measure
from sides import Bench, Case, settle

CONTEXT = Path(__file__).parents[1] / "contexts" / "in_job.py"
VARIABLE = "pulse_energy"
SHORT_POLL_S = 0.05
"""How often the queue is queried while there is one job."""
LONG_POLL_S = 0.5
"""The same for many jobs: queries take CPU time from the jobs."""
IMPORTS = f"{PYTHON} -c 'import extra_data'"
OURS = {"EXTRA_DATA_DATA_ROOT": DATA_ROOT, "PATH": "/opt/amore/bin:/usr/bin:/bin"}
# DAMNIT's broker is a dummy. Its jobs find their programs through the PATH that they inherit.
PEER = {
    "AMORE_BROKER": "none",
    "EXTRA_DATA_DATA_ROOT": DATA_ROOT,
    "XFEL_DATA_ROOT": DATA_ROOT,
    "PATH": f"{SHARED}/bin:{SHARED}/env/bin:/usr/bin:/bin",
}
PEER_SETTINGS = {
    "context_python": PYTHON,
    "slurm_partition": "main",
    "noncluster_cpus": "1",
    "noncluster_mem": f"{cluster.JOB_MEMORY_MIB}M",
}


def _one_run(bench: Bench) -> list[Measure]:
    """A run through a job, and a plain job of `true`, in turn.

    All runs are processed in one directory. The first run also creates files that are only created once, so
    it is not counted.
    """
    lab = cluster.of(bench)
    runs = range(1, bench.repetitions(9) + 2)
    folder = _prepare_ours(lab, "one")
    ours: list[Timing] = []
    bare: list[Timing] = []
    for run in runs:
        settle()
        ours.append(_ours(lab, folder, [run], SHORT_POLL_S, values_then=run))
        settle()
        bare.append(_array(lab, None, "true", SHORT_POLL_S))
    _check(bench, lab, folder, runs)
    of_ours = [timing.values_s for timing in ours[1:] if timing.values_s is not None]
    of_bare = [timing.wall_s for timing in bare[1:]]
    return [
        Measure(
            "slurm_one_run",
            "s",
            of_ours,
            of_bare,
            note="peer: a bare Slurm job of `true`, from sbatch until it is over "
            "(wanted: ours at most 0.5 s more)",
            extra={
                "more_s": median(of_ours) - median(of_bare),
                "wanted_more_s": 0.5,
                "command_s": median(timing.wall_s for timing in ours[1:]),
            },
        )
    ]


def _five_hundred(bench: Bench) -> list[Measure]:
    """500 runs, and the same number of array tasks with an interpreter that only imports extra_data, in
    turn.
    """
    lab = cluster.of(bench)
    runs = list(range(1, (20 if bench.quick else 500) + 1))
    cluster.more_runs(lab, len(runs))
    ours: list[float] = []
    array: list[float] = []
    for number in range(1 if bench.quick else 2):
        folder = _prepare_ours(lab, f"many-{number}")
        settle()
        ours.append(_ours(lab, folder, runs, LONG_POLL_S).wall_s)
        _check(bench, lab, folder, runs)
        settle()
        array.append(_array(lab, len(runs), IMPORTS, LONG_POLL_S).wall_s)
    settle()
    true = _array(lab, len(runs), "true", LONG_POLL_S).wall_s
    return [
        Measure(
            "slurm_500",
            "s",
            ours,
            array,
            note="peer: a Slurm array of as many tasks of a Python that only imports extra_data "
            "(wanted: ours at most 1.2 times as long)",
            extra={
                "runs": len(runs),
                "times_as_long": median(ours) / median(array),
                "wanted_times_as_long": 1.2,
                "array_of_true_s": true,
            },
        )
    ]


def _peer_twelve(bench: Bench) -> list[Measure]:
    """12 runs with both. DAMNIT has two jobs per run; `peer_one_job_s` is without `cluster=True`, with one
    job.
    """
    lab = cluster.of(bench)
    runs = list(range(1, (3 if bench.quick else 12) + 1))
    ours: list[float] = []
    peer: list[float] = []
    for number in range(bench.repetitions(3)):
        folder = _prepare_ours(lab, f"twelve-{number}")
        settle()
        ours.append(_ours(lab, folder, runs, LONG_POLL_S).wall_s)
        of_peer = _prepare_peer(lab, f"peer-{number}", CONTEXT)
        settle()
        peer.append(_peer(lab, of_peer, runs).wall_s)
        here = [
            lab.get(path, bench.folder("slurm", side, number))
            for path, side in zip((folder, of_peer), bench.sides, strict=True)
        ]
        values.check(here[0], here[1], runs, variables=1)
    folder = _prepare_peer(lab, "peer-one-job", CONTEXT.with_name("trivial.py"))
    settle()
    one_job_s = _peer(lab, folder, runs).wall_s
    _check(bench, lab, folder, runs)
    bench.clear("slurm")
    return [
        Measure(
            "slurm_peer_12",
            "s",
            ours,
            peer,
            note="peer: damnit reprocess, its jobs, damnit combiner now",
            extra={"runs": len(runs), "peer_one_job_s": one_job_s},
        )
    ]


def _prepare_ours(lab: Cluster, name: str) -> str:
    folder = lab.folder(name)
    lab.put(CONTEXT, f"{folder}/context.py")
    for words in (["proposal", str(data.PROPOSAL)], ["db-config", "context_python", PYTHON]):
        lab.run(["amore-proto", *words], folder=folder, environment=OURS)
    return folder


def _prepare_peer(lab: Cluster, name: str, context: Path) -> str:
    folder = lab.folder(name)
    lab.put(context, f"{folder}-context.py")
    arguments = ["--proposal", str(data.PROPOSAL), "--context", f"{folder}-context.py"]
    lab.run(["damnit", "init", ".", *arguments], folder=folder, environment=PEER)
    for key, value in PEER_SETTINGS.items():
        lab.run(["damnit", "db-config", key, value], folder=folder, environment=PEER)
    return folder


def _ours(
    lab: Cluster, folder: str, runs: Sequence[int], poll_s: float, values_then: int | None = None
) -> Timing:
    """Runs our command; with `values_then`, watches the table until it contains this many values."""
    step = _step(folder, OURS, ["amore-proto", "reprocess", *map(str, runs)])
    if values_then is not None:
        step |= {"table": f"{folder}/runs.sqlite", "values": values_then}
    return lab.clock([step], poll_s)


def _peer(lab: Cluster, folder: str, runs: Sequence[int]) -> Timing:
    steps = [
        _step(folder, PEER, ["damnit", "reprocess", *map(str, runs)]),
        {"drain": USER},
        _step(folder, PEER, ["damnit", "combiner", "now", folder]),
    ]
    return lab.clock(steps, LONG_POLL_S)


def _array(lab: Cluster, tasks: int | None, command: str, poll_s: float) -> Timing:
    """An array of a command or, if `tasks` is None, one job. All of it must complete."""
    of_many = [] if tasks is None else [f"--array=0-{tasks - 1}"]
    argv = ["sbatch", "--parsable", "-o", "/dev/null", *of_many, "--wrap", command]
    timing = lab.clock([_step(SHARED, {}, argv), {"drain": USER}], poll_s)
    lab.ended_well(timing.printed[0].strip(), tasks or 1)
    return timing


def _step(folder: str, environment: dict[str, str], argv: list[str]) -> dict[str, Any]:
    return {"run": argv, "cwd": folder, "env": environment, "log": f"{folder}/bench.log"}


def _check(bench: Bench, lab: Cluster, folder: str, runs: Sequence[int]) -> None:
    root = data.trivial(bench.target)
    here = lab.get(folder, bench.folder("slurm", bench.ours, "checked"))
    values.check_numbers(
        here, {(run, VARIABLE): data.pulse_energy(root, (run - 1) % data.RUNS + 1) for run in runs}
    )


CASES = [
    Case(("slurm_one_run",), _one_run),
    Case(("slurm_500",), _five_hundred),
    Case(("slurm_peer_12",), _peer_twelve),
]
