"""Storing 100 variables of one run in the run table: the first run of a fresh table, and the 10,000th.

Both sides commit durably (SQLite syncs the disk). Ours is the example program `time_store` of the run
table's library. DAMNIT is its `DamnitDB.set_variables` in its own interpreter. The start-up of both is not
counted. `disk_sync_ms` is the time that this disk takes to sync 4 KiB: a commit with a rollback journal
takes several of these.
"""

import json
import os
import time
from functools import partial
from pathlib import Path
from statistics import median

import measure
from report import Measure
from sides import Bench, Case, settle

PLACES = {"table_100_first": (0, "fresh_ms"), "table_100_at_10000": (10_000, "store_at_10000_ms")}
"""How many runs the table holds before, and what `time_store` calls the time."""
SAMPLES = 7
IN_PEER = Path(__file__).parents[1] / "in_peer" / "table.py"


def _table(name: str, bench: Bench) -> list[Measure]:
    before, key = PLACES[name]
    ours, others = _ours(bench, name, key)
    extra = {"runs_before": before, "disk_sync_ms": _disk_sync_ms(bench.target), "time_store": others}
    return [Measure(name, "ms", ours, _peer(bench, name, before), extra=extra)]


def _ours(bench: Bench, name: str, key: str) -> tuple[list[float], dict[str, float]]:
    """The requested time, and everything that the program printed."""
    folder = bench.folder(name, bench.ours, 0)
    settle()
    argv: list[str | Path] = [bench.programs / "examples" / "time_store", folder]
    printed = json.loads(measure.output_of(argv, bench.ours.environment))
    bench.clear(name)
    if key not in printed:
        raise measure.CommandFailed(f"time_store does not report {key}, only {', '.join(printed)}")
    return [float(printed[key])], printed


def _peer(bench: Bench, name: str, before: int) -> list[float]:
    folder = bench.folder(name, bench.peer, 0)
    settle()
    argv: list[str | Path] = [bench.peer_python, IN_PEER, folder, str(before), str(SAMPLES)]
    times = [float(ms) for ms in json.loads(measure.output_of(argv, bench.peer.environment))]
    bench.clear(name)
    return times


def _disk_sync_ms(folder: Path) -> float:
    path = folder / "sync"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(21):
            start = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append((time.perf_counter() - start) * 1e3)
    path.unlink()
    return median(times)


CASES = [Case((name,), partial(_table, name)) for name in PLACES]
