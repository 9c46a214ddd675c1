"""Runs with missing data, in jobs."""

from __future__ import annotations

from databases import Database

CONTEXT = """
@Variable(cluster=True)
def trains(run): return len(run.train_ids)
@Variable(cluster=True, data="proc")
def calibrated(run): return 5
@Variable(cluster=True)
def missing(run): return run["NOT/IN/THERE"].keys()
"""


def test_calibrated_data_only_and_a_damaged_file(database: Database) -> None:
    raw = database.path.parents[2] / "raw"
    shared = raw.resolve() / "r0001"
    raw.unlink()
    for name, prefix in (("proc/r0008", "CORR-R0008"), ("raw/r0009", "RAW-R0009")):
        made = raw.parent / name
        made.mkdir(parents=True)
        for file in shared.iterdir():
            (made / file.name.replace("RAW-R0001", prefix)).symlink_to(file.resolve())
    bad = raw / "r0009/RAW-R0009-DA99-S00000.h5"
    bad.write_bytes(next(shared.iterdir()).read_bytes()[:1000])
    database.context(CONTEXT)
    said = database.amore("reprocess", "8", "9").stderr
    assert f"{bad.name} could not be read and was skipped" in said, said
    only_proc, damaged = database.rows(8), database.rows(9)
    assert only_proc["trains"] > 0 and only_proc["calibrated"] == 5
    assert damaged["trains"] > 0 and "calibrated" not in damaged
    assert only_proc["missing"][0] == damaged["missing"][0] == "SourceNameError"
