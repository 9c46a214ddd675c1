"""User code in Slurm jobs is executed in the site's sandbox."""

from __future__ import annotations

import json
from pathlib import Path

from databases import Database

from pipe.sandbox_script import SANDBOX

FILE = """
assert os.environ["SANDBOXED"] == "yes"

@Variable(cluster=True)
def heavy(run): return os.environ["SANDBOXED"] + " in job " + os.environ["SLURM_JOB_ID"]

@Variable(job=SlurmJob(["sh", "-c", "echo $SANDBOXED in job $SLURM_JOB_ID > {directory}/said.txt"]))
def command(run, job: "job#outcome"): return (job.directory / "said.txt").read_text().strip()
"""


def sandboxed(database: Database, folder: Path) -> tuple[dict[str, str], Path]:
    """The environment of commands at a site with a sandbox, and the file that it records its calls in."""
    calls = folder / "calls.txt"
    program = folder / "sandbox"
    program.write_text(SANDBOX.format(calls=calls))
    program.chmod(0o755)
    site = folder / "amore.toml"
    site.write_text(f"sandbox_args = {json.dumps(f'{program} --fork')}\n")
    return {**database.environment, "AMORE_SITE_CONFIG": str(site)}, calls


def test_hosts_and_commands_in_jobs_are_started_in_it(database: Database, tmp_path: Path) -> None:
    environment, calls = sandboxed(database, tmp_path)
    database.context(FILE)
    database.amore("reprocess", "1", env=environment)
    rows = database.rows(1)
    jobs = {str(job["id"]) for job in database.jobs(1)}
    assert rows["heavy"].startswith("yes in job ") and rows["command"].startswith("yes in job ")
    assert {rows["heavy"].split()[-1], rows["command"].split()[-1]} <= jobs
    # Here: describing the file, and the function of `command`. In jobs: the host of `heavy`, and the command.
    found = calls.read_text().splitlines()
    assert sum("--one-task" in call for call in found) >= 1
    assert sum(call.startswith("sh -c ") for call in found) == 1


def test_a_template_of_the_database_is_refused(database: Database, tmp_path: Path) -> None:
    environment, _ = sandboxed(database, tmp_path)
    database.context(FILE)
    template = database.path / ".amore/templates/slurm-job.sh.tera"
    template.parent.mkdir(parents=True)
    template.write_text("#!/bin/bash\ntouch outside.txt\nexec {{ worker }} job --manifest {{ manifest }} --events {{ events }}\n")
    said = database.amore("reprocess", "1", env=environment, code=None).stderr
    assert "belongs to the database: in a sandbox, only the site's template is used" in said
    assert database.cluster.jobs() == [] and not (database.path / "outside.txt").exists()
    assert "belongs to the database" in database.amore("doctor", env=environment, code=1).stdout


def test_a_manifest_that_somebody_changes_is_not_executed(database: Database, tmp_path: Path) -> None:
    environment, calls = sandboxed(database, tmp_path)
    database.context('@Variable(cluster=True)\ndef heavy(run):\n    effect("heavy")\n    return 1\n')
    # A member of the group changes it between submission and start.
    database.front("sbatch", "sed -i 's/,\"sandbox\":[^]]*]//' $HERE/.amore/jobs/*.json; exec $REAL/sbatch \"$@\"\n")
    database.amore("reprocess", "1", env=environment, code=None)
    kind, message = database.rows(1)["heavy"]
    log = (database.path / message.splitlines()[1].removeprefix("its log: ")).read_text()
    assert kind == "JobFailed" and "is not the one that this job was submitted with" in log
    assert database.executions() == {} and len(calls.read_text().splitlines()) == 1
