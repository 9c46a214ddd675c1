"""sbatch refuses a job: shortages are waited out, rules are reported once, and unknown messages are retried a few times."""

from __future__ import annotations

import pytest
from databases import Database, wait_until
from fake_slurm.texts import DEAD

ONE = '''
@Variable(cluster=True)
def quick(run):
    effect("quick")
    return 1
'''
# Prints the content of a file, a certain number of times, and counts the calls.
REFUSES = r"""
echo x >>"$HERE/asked"
[ "$(wc -l <"$HERE/asked")" -gt "$(cat "$HERE/times")" ] && exec "$REAL/sbatch" "$@"
cat "$HERE/words" >&2; exit 1
"""
FAILED = "sbatch: error: Batch job submission failed: "
POLICY = FAILED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


def refusing(database: Database, words: str, times: int = 2) -> None:
    database.context(ONE)
    (database.path / "words").write_text(words + "\n")
    (database.path / "times").write_text(str(times))
    database.front("sbatch", REFUSES)


def asked(database: Database) -> int:
    return (database.path / "asked").read_text().count("x")


@pytest.mark.parametrize(
    "words",
    [
        FAILED + "Resource temporarily unavailable",
        FAILED + "Message receive failure",
        "sbatch: fatal: Unable to process configuration file",
        FAILED + "Unable to create job record, try again",
        # An unknown message.
        FAILED + "The hamster is tired",
        "gateway: no route to the submission host",
    ],
)
def test_what_passes_is_tried_again(database: Database, words: str) -> None:
    refusing(database, words)
    command = database.begin("reprocess", "1")
    said = command.ends()
    assert words.rpartition("failed: ")[2].rpartition("fatal: ")[2] in said and "note: " in said
    assert "error" not in said and asked(database) == 3
    assert database.rows(1) == {"quick": 1} and database.executions() == {"quick": 1}


@pytest.mark.parametrize(
    ("words", "shown", "hint", "never"),
    [
        (
            "sbatch: error: Jobs need an account here: add one and try again\n" + POLICY,
            "Jobs need an account here: add one and try again",
            "slurm_account",
            "cpus",
        ),
        ("sbatch: error: QOSMinNode\n" + POLICY, "QOSMinNode", "sacctmgr show qos", "cpus"),
        ("sbatch: error: QOSMaxWallDurationPerJobLimit\n" + POLICY, "QOSMaxWallDuration", "slurm_time", "cpus"),
        (FAILED + "Access/permission denied", "Access/permission denied", "amore doctor", "cpus"),
        (
            "sbatch: error: Only projects with a proposal may submit, please try again\n" + FAILED + "Unspecified error",
            "Only projects with a proposal",
            "rule of its own",
            "cpus",
        ),
    ],
)
def test_a_rule_of_the_site_is_told_once(database: Database, words: str, shown: str, hint: str, never: str) -> None:
    refusing(database, words, times=100)
    said = database.begin("reprocess", "1").ends()
    assert shown in said and hint in said and never not in said
    assert asked(database) == 1
    kind, message = database.rows(1)["quick"]
    assert kind == "JobRefused" and shown in message and hint in message


def test_a_limit_of_submissions_is_waited_for_and_explained(database: Database) -> None:
    refusing(database, "sbatch: error: QOSMaxSubmitJobPerUserLimit\n" + POLICY, times=1)
    command = database.begin("reprocess", "1")
    command.wait_said("note: Slurm accepts no more jobs now (QOSMaxSubmitJobPerUserLimit;")
    told = database.amore("explain", "1").stdout
    assert "will be submitted again (Slurm refused the job: QOSMaxSubmit" in told and "its turn" not in told
    command.ends()
    assert asked(database) == 2 and database.rows(1) == {"quick": 1}


def test_what_never_passes_and_nobody_knows_becomes_an_error(database: Database) -> None:
    refusing(database, FAILED + "The hamster is tired", times=100)
    said = database.begin("reprocess", "1").ends()
    assert said.count("The hamster is tired") >= 2 and asked(database) == 4
    assert database.rows(1)["quick"][0] == "JobRefused"


def test_a_site_says_what_its_words_mean(database: Database) -> None:
    refusing(database, "sbatch: error: maintenance until noon\n" + FAILED + "Unspecified error")
    site = database.path / "site.toml"
    site.write_text('[[slurm.refusal]]\ntext = "maintenance until"\nmeans = "passes"\nhint = "see the calendar"\n')
    said = database.begin("reprocess", "1", env={**database.environment, "AMORE_SITE_CONFIG": str(site)}).ends()
    assert "see the calendar" in said and asked(database) == 3 and database.rows(1) == {"quick": 1}


def test_a_service_that_may_compute_here_takes_what_slurm_refuses(database: Database) -> None:
    refusing(database, FAILED + "Access/permission denied", times=1000)
    (database.path / "service.toml").write_text("[runs]\nquiet_seconds = 1e9\n")
    database.amore("listener", "config", "--num", "allow_local_processing", "1")
    database.amore("listener", "add", "1234", str(database.path))
    listening = database.start("listen")
    try:
        wait_until(lambda: database.is_owned_by(listening), "the service to own the directory")
        database.amore("trigger", "1")
        wait_until(lambda: database.rows(1).get("quick") == 1, "the value")
        assert database.executions() == {"quick": 1} and asked(database) == 1
        assert database.cluster.jobs() == []
    finally:
        listening.terminate()
        listening.communicate(timeout=60)
    # Without that, the refusal is an error of the run.
    database.amore("listener", "config", "--num", "allow_local_processing", "0")
    listening = database.start("listen")
    try:
        wait_until(lambda: database.is_owned_by(listening), "the service to own the directory")
        database.amore("trigger", "2")
        wait_until(lambda: "Access/permission denied" in database.amore("explain", "2").stdout, "the error")
        assert database.executions() == {"quick": 1}
    finally:
        listening.terminate()
        listening.communicate(timeout=60)


def test_a_service_says_that_slurm_does_not_answer_and_computes_nothing_twice(database: Database) -> None:
    """Slurm may have the job whose submission got no answer: it is not computed here, whatever the settings say."""
    database.context(ONE)
    (database.path / "service.toml").write_text("[runs]\nquiet_seconds = 1e9\n")
    database.amore("listener", "config", "--num", "allow_local_processing", "1")
    database.amore("listener", "add", "1234", str(database.path))
    listening = database.start("listen")
    log = database.path / "amore.log"
    try:
        wait_until(lambda: database.is_owned_by(listening), "the service to own the directory")
        with database.cluster.controller("dead"):
            database.amore("trigger", "1")
            wait_until(lambda: "Slurm does not answer" in log.read_text(), "the log", log.read_text)
            wait_until(lambda: DEAD in database.amore("jobs").stdout, "the reason", lambda: database.amore("jobs").stdout)
            explained = database.amore("explain", "1").stdout
            assert "the job is being submitted" in explained and DEAD in explained, explained
            assert "neither submitted again nor computed elsewhere" in explained
            assert database.executions() == {} and database.cluster.jobs() == []
        wait_until(lambda: database.rows(1).get("quick") == 1, "the value", log.read_text)
        assert database.executions() == {"quick": 1}
        said = log.read_text()
        assert said.count("Slurm does not answer") == 1, said
    finally:
        listening.terminate()
        listening.communicate(timeout=60)


def test_the_log_of_a_service_has_a_limit_once(database: Database) -> None:
    refusing(database, POLICY, times=3)
    (database.path / "service.toml").write_text("[runs]\nquiet_seconds = 1e9\n")
    database.amore("listener", "add", "1234", str(database.path))
    listening = database.start("listen")
    log = database.path / "amore.log"
    try:
        wait_until(lambda: database.is_owned_by(listening), "the service to own the directory")
        database.amore("trigger", "1")
        database.amore("trigger", "2")
        wait_until(lambda: database.rows(1).get("quick") == database.rows(2).get("quick") == 1, "values", log.read_text)
        assert log.read_text().count("job submit limit") == 1, log.read_text()
    finally:
        listening.terminate()
        listening.communicate(timeout=60)
