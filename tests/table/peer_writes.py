"""Run by DAMNIT's Python: create a database directory with DAMNIT itself."""

import sys
from pathlib import Path

import numpy as np
from damnit.backend.db import DamnitDB, ReducedData
from damnit.backend.user_variables import UserEditableVariable


def main(directory: Path) -> None:
    db = DamnitDB.from_dir(directory, create=True)
    db.metameta["proposal"] = 1234
    names = ("energy", "image", "trend", "amplitude", "broken", "nan")
    db.update_computed_variables(
        {
            name: {
                "title": f"The {name}",
                "description": None,
                "attributes": None,
                "tags": ["laser"],
                "type": None,
            }
            for name in names
        }
    )
    values = {
        "energy": ReducedData(1.25, 0.5, "mean"),
        "image": ReducedData(b"\x89PNG\r\n\x1a\n and so on"),
        "trend": ReducedData(np.arange(6.0).reshape(2, 3), summary_type="trendline"),
        "amplitude": ReducedData(1.5 - 2j),
        "broken": ReducedData(None, attributes={"error": "no beam", "error_cls": "ValueError"}),
        "nan": ReducedData(float("nan"), summary_method="mean"),
    }
    db.set_variables(1234, 1, values, "context.py", added_at=11.0, start_time=10.0)
    db.set_variables(5678, 1, {"energy": ReducedData(7)}, "context.py", start_time=20.0)
    db.add_user_variable(UserEditableVariable("checked", "Checked", "boolean"))
    db.set_variable(1234, 1, "checked", ReducedData(True), "")
    db.change_run_comment(1234, 1, "good")
    db.close()


main(Path(sys.argv[1]))
