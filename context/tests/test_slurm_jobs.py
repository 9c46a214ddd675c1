"""Variables whose work is a Slurm job of their own, as the user's Python sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worker import Database

from damnit_ctx import JobOutcome

HITS = """
from damnit_ctx import SlurmJob, Variable

@Variable(title="T")
def threshold(run): return 3

@Variable(title="Hits", job=SlurmJob(["./find.sh", "{run}", "{threshold}", 7], cpus=32, mem="64G", time="2:00:00"))
def hits(run, job: "job#outcome", threshold: "var#threshold" = 2.5, p: "param#p" = [1]):
    return f"{job.state} {job.ok} {job.id} {job.exit_code} {job.directory.name} {job.log.name} {job.elapsed} {threshold}"
"""

OUTCOME = {
    "id": "17",
    "state": "COMPLETED",
    "reason": "",
    "exit_code": 0,
    "signal": None,
    "directory": "/db/jobs/r1-p1/hits",
    "log": "/db/slurm_logs/r1-p1-17.out",
    "elapsed": 1.5,
    "tail": "done\n",
}


@pytest.fixture
def described(tmp_path: Path) -> Any:
    def describe(text: str) -> dict[str, Any]:
        database = Database(tmp_path, text)
        try:
            return database.describe()
        finally:
            database.close()

    return describe


def test_a_job_is_declared(described):
    answer = described(HITS)
    assert answer["problems"] == []
    job = answer["variables"][1]["job"]
    assert job == {
        "command": ["./find.sh", "{run}", "{threshold}", "7"],
        "resources": {"cpus": 32, "mem_mib": 65536, "time_minutes": 120},
        "check": True,
        "defaults": {"threshold": "2.5"},
    }
    assert "job" not in answer["variables"][0]
    assert answer["variables"][1]["arguments"][0] == {
        "name": "job",
        "annotation": "job#outcome",
        "has_default": False,
    }


def test_the_command_belongs_to_the_fingerprint_and_resources_do_not(described):
    def fingerprint(text: str) -> str:
        return described(text)["variables"][1]["fingerprint"]

    assert fingerprint(HITS) == fingerprint(HITS.replace("cpus=32", "cpus=16"))
    assert fingerprint(HITS) != fingerprint(HITS.replace("find.sh", "other.sh"))


@pytest.mark.parametrize(
    "job, words",
    [
        ("'./find.sh'", "must be a SlurmJob"),
        ("SlurmJob([])", "must be a list of words"),
        ("SlurmJob({'a': 1})", "must be a list of words"),
        ("SlurmJob(['a', None])", "has the word None"),
        ("SlurmJob(['a', True])", "has the word True"),
        ("SlurmJob(['a\\0b'])", "an argument cannot contain NUL"),
        ("SlurmJob([''])", "the program is missing"),
        ("SlurmJob('./find.sh {run}')", "a single word with spaces"),
        ("SlurmJob(['a'], cpus=0)", "cpus=0"),
        ("SlurmJob(['a'], ntasks=0)", "ntasks=0, which must be a positive integer"),
        ("SlurmJob(['a'], ntasks='8')", "ntasks='8', which must be a positive integer"),
        ("SlurmJob(['a'], account='a b')", "account='a b', which must be a single word"),
        ("SlurmJob(['a'], qos='--wrap=x')", "qos='--wrap=x', which must be a single word"),
        ("SlurmJob(['a'], check=1)", "must be True or False"),
    ],
)
def test_what_is_wrong_with_a_job_is_said_with_its_line(described, job, words):
    answer = described(f"from damnit_ctx import SlurmJob, Variable\n@Variable(job={job})\ndef a(run): return 1\n")
    [problem] = [problem for problem in answer["problems"] if problem["severity"] == "error"]
    assert words in problem["message"] and problem["line"] == 3


def test_a_job_has_its_own_account_and_tasks(described):
    job = "SlurmJob(['a'], cpus=2, ntasks=8, nodes=2, account='spb', qos='express')"
    answer = described(f"from damnit_ctx import SlurmJob, Variable\n@Variable(job={job})\ndef a(run): return 1\n")
    assert answer["problems"] == []
    wanted = {"cpus": 2, "nodes": 2, "account": "spb", "qos": "express", "ntasks": 8}
    assert answer["variables"][0]["job"]["resources"] == wanted


def test_an_outcome_without_a_job_is_refused(described):
    text = "from damnit_ctx import Variable\n@Variable\ndef a(run, job: 'job#outcome'): return 1\n"
    [problem] = described(text)["problems"]
    assert "this variable has none" in problem["message"] and problem["line"] == 3


def run(tmp_path: Path, **changes: Any) -> Any:
    database = Database(tmp_path, HITS)
    try:
        return database.run("threshold", "hits", mock=True, **changes)
    finally:
        database.close()


def test_the_function_is_called_with_the_outcome(tmp_path):
    child = run(tmp_path, outcomes={"hits": OUTCOME})
    expected = "COMPLETED True 17 0 hits r1-p1-17.out 1.5 3"
    assert child.of("hits")["data"]["layout"]["array"]["strings"] == [expected]


def test_an_outcome_names_its_cluster():
    assert JobOutcome.received(OUTCOME).cluster is None
    assert JobOutcome.received({**OUTCOME, "cluster": "maxwell"}).cluster == "maxwell"


def test_without_an_outcome_it_is_not_called(tmp_path):
    ended = run(tmp_path).of("hits")
    assert (ended["ev"], ended["class"]) == ("failed", "Skip") and "--mock" in ended["message"]


def test_pipelines_skip_it():
    from damnit_ctx import Pipeline, SlurmJob, Variable

    @Variable(job=SlurmJob(["true"]))
    def job_variable(run):
        return np.ones(3)

    results = Pipeline(1234, 1).add(job_variable).execute(data=1)
    assert "only amore can start" in str(results.errors["job_variable"])
