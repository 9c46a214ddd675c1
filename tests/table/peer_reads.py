"""Run by DAMNIT's Python: print what DAMNIT reads in a database directory, as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from damnit.api import Damnit
from damnit.backend.db import DamnitDB


def plain(value: Any) -> Any:
    """A value that JSON can represent."""
    if isinstance(value, complex):
        return {"re": value.real, "im": value.imag}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)


def main(directory: Path) -> None:
    db = DamnitDB.from_dir(directory)
    damnit = Damnit(directory)
    table = damnit.table()
    rows = [
        {str(name): plain(value) for name, value in row.items()} for row in table.to_dict(orient="records")
    ]
    report = {
        "proposal": damnit.proposal,
        "runs": [plain(run) for run in damnit.runs()],
        "rows": rows,
        "titled": [str(name) for name in damnit.table(with_titles=True).columns],
        "view": [
            dict(row)
            for row in db.conn.execute("SELECT proposal, run, energy, trains, sample, broken FROM runs")
        ],
        "max_diffs": [dict(row) for row in db.conn.execute("SELECT proposal, run, energy FROM max_diffs")],
        "tags": db.get_all_tags(),
        "tags of energy": sorted(db.get_variable_tags("energy")),
        "descriptions": db.variable_descriptions(),
        "version": db.metameta["data_format_version"],
        "jobs": db.metameta["concurrent_jobs"],
        "errors": [
            json.loads(row[0])
            for row in db.conn.execute("SELECT attributes FROM run_variables WHERE name = 'broken'")
        ],
        "integrity": db.conn.execute("PRAGMA integrity_check").fetchone()[0],
        "foreign keys": len(db.conn.execute("PRAGMA foreign_key_check").fetchall()),
    }
    # Actions of a GUI must work as well: a variable edited by hand, and a comment.
    from damnit.backend.user_variables import UserEditableVariable

    db.add_user_variable(UserEditableVariable("checked", "Checked", "boolean"))
    db.change_run_comment(1234, 1, "good")
    again = {
        (row["proposal"], row["run"]): row for row in Damnit(directory).table().to_dict(orient="records")
    }
    report["comment"] = again[1234, 1]["comment"]
    print(json.dumps(report))


main(Path(sys.argv[1]))
