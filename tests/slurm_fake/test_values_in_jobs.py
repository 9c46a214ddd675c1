"""A dependent in a job gets the same value as one on this machine."""

from __future__ import annotations

import sys

from databases import Database

from pipe.returned_values import HEAD, IN_A_JOB, OK, ONCE


def test_a_job_sees_what_was_returned(database: Database) -> None:
    database.amore("db-config", "context_python", sys.executable)  # it has dask and pyarrow
    database.context(HEAD + IN_A_JOB)
    database.amore("reprocess", "1")
    assert database.rows(1)["in_a_job"] == OK
    executions = database.executions()
    assert {name: executions[name] for name in (*ONCE, "odd")} == {**ONCE, "odd": 2}
    (job,) = database.jobs(1)
    log = (database.path / f"slurm_logs/r1-p1234-{job['id']}.out").read_text()
    assert "odd is computed again: attribute 'colour' of the array cannot be preserved" in log
