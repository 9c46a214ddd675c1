"""Planning 10,000 variables: link, order, promote, select. Both sides start from variables in memory.

Ours is the library's example program `time_plan`. DAMNIT is its `ContextFile`, created from its own
`Variable` objects, checked and filtered. `from_file_ms` is our time from a context file on disk to the
printed plan: starting an interpreter, executing the file, describing it, planning and printing.
"""

import json
from functools import partial
from pathlib import Path

import data
import measure as timing
import shapes
from report import PEER_LIMIT_S, Measure
from sides import Bench, Case, settle

SHAPES = ("chain", "layers", "star")
COUNT = 10_000
IN_PEER = Path(__file__).parents[1] / "in_peer" / "plan.py"


def _shape(shape: str, bench: Bench) -> list[Measure]:
    count = 200 if bench.quick else COUNT
    ours = _ours(bench, shape, count)
    peer_ms, note = _peer(bench, shape, count)
    extra = {"variables": count, "from_file_ms": _from_file(bench, shape, count)}
    return [Measure(f"plan_{shape}_10k", "ms", [ours], [peer_ms], note=note, extra=extra)]


def _ours(bench: Bench, shape: str, count: int) -> float:
    argv: list[str | Path] = [
        bench.programs / "examples" / "time_plan",
        "--shape",
        shape,
        "--count",
        str(count),
    ]
    report = json.loads(timing.output_of(argv, bench.ours.environment))
    if report["count"] != count:
        raise timing.CommandFailed(f"time_plan planned {report['count']} variables, not {count}")
    return float(report["median_ms"])


def _peer(bench: Bench, shape: str, count: int) -> tuple[float, str]:
    folder = bench.folder(f"plan_{shape}", bench.peer, 0)
    result = folder / "result.json"
    argv: list[str | Path] = [bench.peer_python, IN_PEER, shape, str(count), result]
    try:
        cost = timing.run(
            argv,
            folder=folder,
            environment=bench.peer.environment,
            log=folder / "bench.log",
            limit_s=PEER_LIMIT_S,
        )
    except timing.CommandFailed as failed:
        # Such a long chain can also end in a RecursionError, which also means that there is no plan.
        lines = [line for line in str(failed).splitlines() if "Error" in line]
        return (
            PEER_LIMIT_S * 1e3,
            f"DAMNIT failed ({lines[-1] if lines else 'no message'}); counted as 120 s",
        )
    if cost.stopped:
        return PEER_LIMIT_S * 1e3, "DAMNIT was stopped at 120 s"
    report = json.loads(result.read_text())
    if report["planned"] != count:
        raise timing.CommandFailed(f"DAMNIT planned {report['planned']} variables, not {count}")
    return float(report["ms"]), ""


def _from_file(bench: Bench, shape: str, count: int) -> float:
    folder = bench.folder(f"plan_{shape}", bench.ours, 0)
    context = folder.parent / "context.py"
    context.write_text(shapes.context(shape, count))
    bench.ours.prepare(folder, context, data.trivial(bench.target))
    settle()
    cost = timing.run(
        [bench.programs / "amore", "plan", "1", "--mock", "--json"],
        folder=folder,
        environment=bench.ours.environment,
        log=folder / "plan.log",
        limit_s=PEER_LIMIT_S,
    )
    bench.clear(f"plan_{shape}")
    return cost.wall_s * 1e3


CASES = [Case((f"plan_{shape}_10k",), partial(_shape, shape)) for shape in SHAPES]
