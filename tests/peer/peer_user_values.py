"""Run by DAMNIT's Python: what its database class, its graphical interface's types and its API make of users' values.

The first argument is the database directory; the second is what to do.
"""

import json
import sys
from pathlib import Path

import pandas as pd
from damnit import Damnit, submit
from damnit.backend.db import DamnitDB, ReducedData
from damnit.backend.user_variables import UserEditableVariable


def read(directory: Path) -> dict:
    """As the graphical interface reads them."""
    db = DamnitDB.from_dir(directory)
    variables = db.get_user_variables()
    values = {}
    for name, variable in variables.items():
        row = db.conn.execute("SELECT value FROM run_variables WHERE run = 1 AND name = ?", (name,)).fetchone()
        values[name] = None if row is None else variable.get_type_class().from_db_value(row[0])
    shown = Damnit(directory).table().iloc[0]
    return {
        "types": {name: variable.variable_type for name, variable in variables.items()},
        "titles": {name: variable.title for name, variable in variables.items()},
        "descriptions": {name: variable.description for name, variable in variables.items()},
        "values": values,
        "comment": db.conn.execute("SELECT comment FROM runs WHERE run = 1").fetchone()[0],
        "time_comments": [tuple(row) for row in db.conn.execute("SELECT timestamp, comment FROM time_comments")],
        "api": {name: None if pd.isna(shown[name]) else str(shown[name]) for name in variables},
        "columns": sorted(db.variable_names()),
    }


def write(directory: Path) -> None:
    """As its graphical interface writes them."""
    db = DamnitDB.from_dir(directory)
    for variable_type, value in [("boolean", False), ("integer", 4), ("number", 0.5), ("string", "theirs")]:
        name = f"their_{variable_type}"
        db.add_user_variable(UserEditableVariable(name, f"Their {variable_type}", variable_type, "as they do"))
        db.set_variable(1234, 1, name, ReducedData(value), provenance="manual-input")
    db.change_run_comment(1234, 1, "their comment")
    db.add_standalone_comment(5.5, "their time")


def results(directory: Path) -> None:
    """Its `submit()`."""
    values = {"theirs": 2.5, "run": 7, "proposal": 8, "added_at": 9}
    submit(1234, 1, values, provenance="their script", errors={"wrong": KeyError("k")}, damnit_dir=directory)


if __name__ == "__main__":
    print(json.dumps({"read": read, "write": write, "submit": results}[sys.argv[2]](Path(sys.argv[1]))))
