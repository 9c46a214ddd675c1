"""How many events the inbox of a service accepts per second, each on disk before it is acknowledged: the
example program `time_accepts`.

DAMNIT stores no events: what comes while it does not run is lost. So the number that is wanted stands in its
place.
"""

import json
import shutil
import tempfile
from pathlib import Path

import measure as timing
import postgres
from report import Measure
from sides import Bench, Case

WANTED = {"triggers_sqlite": 1000.0, "triggers_postgres": 2000.0}


def _accepts(bench: Bench, name: str, place: str) -> list[Measure]:
    argv: list[str | Path] = [bench.programs / "examples" / "time_accepts", place]
    report = json.loads(timing.output_of(argv, bench.ours.environment))
    if report["stored"] != report["sent"]:
        raise timing.CommandFailed(f"time_accepts stored {report['stored']} events of {report['sent']}")
    note = f"Amore only: {report['senders']} senders, beside the number that is wanted"
    return [
        Measure(name, "events/s", report["per_second"], [WANTED[name]], higher_is_better=True, note=note)
    ]


def _sqlite(bench: Bench) -> list[Measure]:
    folder = bench.target / "triggers"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return _accepts(bench, "triggers_sqlite", str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres(bench: Bench) -> list[Measure]:
    # The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="amore-bench-") as folder:
        Path(folder).chmod(0o755)
        with postgres.server(Path(folder) / "pg") as address:
            return _accepts(bench, "triggers_postgres", address)


CASES = [
    Case(("triggers_sqlite",), _sqlite),
    Case(("triggers_postgres",), _postgres),
]
