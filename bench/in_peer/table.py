"""Stores 100 variables of a run in DAMNIT's run table, in its interpreter: `table.py FOLDER BEFORE
SAMPLES`.

BEFORE is the number of runs with 100 variables that are already in the table. If it is 0, each sample uses
a fresh database; otherwise the samples are the following runs. Prints the milliseconds of each sample as
JSON.
"""

import json
import sys
import time
from pathlib import Path

from damnit.backend.db import DamnitDB, ReducedData

PROPOSAL = 1234
NAMES = [f"v{at}" for at in range(100)]
COLUMNS = "proposal, run, name, version, value, timestamp, max_diff, provenance, summary_method, summary_type"


def fill(db, runs):
    """Store runs in one transaction. The last one is stored in the usual way, which creates the views."""
    db.conn.executemany(
        "INSERT INTO run_info (proposal, run, start_time, added_at) VALUES (?, ?, 0, 0)",
        ((PROPOSAL, run) for run in range(1, runs)),
    )
    db.conn.executemany(
        f"INSERT INTO run_variables ({COLUMNS}) VALUES (?, ?, ?, 1, ?, 0, NULL, 'context.py', '', NULL)",
        ((PROPOSAL, run, name, run + at) for run in range(1, runs) for at, name in enumerate(NAMES)),
    )
    db.conn.commit()
    store(db, runs)


def store(db, run):
    """Store the variables of one run; returns milliseconds."""
    reduced = {name: ReducedData(float(run + at)) for at, name in enumerate(NAMES)}
    start = time.perf_counter()
    db.set_variables(PROPOSAL, run, reduced, provenance="context.py", start_time=0.0)
    return (time.perf_counter() - start) * 1e3


def check(db, run):
    """Check that the values can be read."""
    rows = db.conn.execute("SELECT name, value FROM run_variables WHERE run = ?", (run,)).fetchall()
    if {row[0]: row[1] for row in rows} != {name: run + at for at, name in enumerate(NAMES)}:
        sys.exit(f"the table does not hold the values of run {run}")


def main():
    """Measure the samples."""
    folder, before, samples = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    times = []
    db = None
    for number in range(samples):
        if before == 0:
            place = folder / str(number)
            place.mkdir()
            db = DamnitDB.from_dir(place, create=True)
        elif db is None:
            db = DamnitDB.from_dir(folder, create=True)
            fill(db, before)
        run = before + 1 + (number if before else 0)
        times.append(store(db, run))
        check(db, run)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
