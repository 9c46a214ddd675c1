"""Values of the metadata catalogue in jobs: they get the value, and never the token."""

from __future__ import annotations

import json
from pathlib import Path

from databases import Database

from mymdc_server import TOKEN, Catalogue, files_with_token, serving

FILE = f"""
@Variable(cluster=True)
def sample(run, name: "mymdc#sample_name", found: "mymdc#techniques"):
    assert "{TOKEN[::-1]}"[::-1] not in str(dict(os.environ))
    wait_for("go")
    return name + found[0]["identifier"]

@Variable(cluster=True, cpus=2)
def kind(run, kind: "mymdc#run_type"): return kind
"""


def manifests(database: Database) -> list[Path]:
    return sorted((database.path / ".amore/jobs").glob("*.json"))


def test_a_job_gets_the_value_and_not_the_token(database: Database) -> None:
    with serving(Catalogue(1234, 1)) as catalogue:
        catalogue.write_credentials(database.path.parents[2])
        catalogue.replies["/experiments/9"] = (503, b"")
        database.context(FILE)
        command = database.begin("reprocess", "1")
        database.job(1, 2)
        steps = [task for path in manifests(database) for task in json.loads(path.read_text())["tasks"]]
        fields = {task["steps"][0]["name"]: set(task["mymdc"]) for task in steps if task["steps"]}
        assert fields["sample"] == {"sample_name", "techniques"}
        # Manifests, scripts, the ledger and what Slurm knows of the jobs.
        roots = (database.path.parents[2] / "usr", database.cluster.bin.parent)
        assert files_with_token(*roots) == [] and manifests(database)
        database.touch("go")
        command.ends()
        rows = database.rows(1)
        assert rows["sample"] == "Lysozyme µPaNET01188"
        assert rows["kind"][0] == "MymdcUnavailableError"
        assert catalogue.asked()[f"{catalogue.base}/1"] == 1
        assert files_with_token(*roots) == [] and TOKEN not in command.said


def test_after_a_restart_the_catalogue_is_asked_again(database: Database) -> None:
    with serving(Catalogue(1234, 1)) as catalogue:
        catalogue.write_credentials(database.path.parents[2])
        database.context(
            '@Variable(cluster=True, cpus=2)\ndef first(run):\n    wait_for("go")\n    return 1\n'
            "@Variable(cluster=True)\ndef sample(run, one: 'var#first', name: 'mymdc#sample_name'): return name\n"
        )
        command = database.begin("reprocess", "1")
        database.job(1)
        command.process.kill()
        command.process.wait()
        database.touch("go")
        database.amore("follow")
        assert database.rows(1)["sample"] == "Lysozyme µ"
