"""Slurm's commands get the environment that they need, also from doctor. A command that cannot be started is not a refusal.
"""

from __future__ import annotations

import pytest
from databases import Database

ONE = '''
@Variable(cluster=True)
def quick(run):
    effect("quick")
    return [os.environ.get(name, "") for name in ("SLURM_JWT", "SITE_TOKEN")] == ["", ""]
'''
COMMANDS = ("sbatch", "squeue", "scancel", "sacct", "scontrol", "sinfo", "sacctmgr")
LOST = "error while loading shared libraries: libslurmfull.so: cannot open shared object file"


def needing(database: Database, name: str) -> None:
    """All of Slurm's commands need an environment variable."""
    database.context(ONE)
    for program in COMMANDS:
        lost = f'[ -n "${name}" ] || {{ echo "{program}: {LOST}" >&2; exit 127; }}\n'
        database.front(program, lost + f'exec "$REAL/{program}" "$@"\n')


def slurm_of(text: str) -> str:
    """Doctor's output about Slurm."""
    return text[text.index("\nslurm\n") :].split("\n\n")[0]


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "SLURM_JWT"])
def test_what_is_known_to_be_needed_is_handed_on(database: Database, name: str) -> None:
    needing(database, name)
    env = {**database.environment, name: "/nowhere"}
    assert "PROBLEM" not in slurm_of(database.amore("doctor", env=env).stdout)
    database.begin("reprocess", "1", env=env).ends()
    # Variables cannot see a secret of Slurm.
    assert database.rows(1) == {"quick": 1}


def test_what_is_not_handed_on_is_named_with_what_to_do(database: Database) -> None:
    needing(database, "SITE_TOKEN")
    env = {**database.environment, "SITE_TOKEN": "abc"}
    told = slurm_of(database.amore("doctor", env=env, code=1).stdout)
    assert "cannot run sbatch (exit code 127)" in told and LOST in told
    assert "SITE_TOKEN" in told and "AMORE_SLURM_ENVIRONMENT" in told and "administrators" not in told
    said = database.begin("reprocess", "1", env=env).ends()
    assert "error: run 1 was not submitted: cannot run sbatch (exit code 127)" in said
    assert "refuse" not in said and "memory" not in said
    kind, message = database.rows(1)["quick"]
    assert kind == "JobNotSubmitted" and LOST in message
    env["AMORE_SLURM_ENVIRONMENT"] = "SITE_TOKEN"
    assert "PROBLEM" not in slurm_of(database.amore("doctor", env=env).stdout)
    database.begin("reprocess", "1", env=env).ends()
    assert database.rows(1) == {"quick": 1}


def test_the_site_s_file_names_variables(database: Database) -> None:
    needing(database, "SITE_TOKEN")
    site = database.path / "site.toml"
    site.write_text('[slurm]\nenvironment = ["SITE_TOKEN"]\n')
    env = {**database.environment, "SITE_TOKEN": "abc", "AMORE_SITE_CONFIG": str(site)}
    database.begin("reprocess", "1", env=env).ends()
    assert database.rows(1) == {"quick": 1}
    site.write_text('[slurm]\nenvironment = ["SITE_TOKEN", "SBATCH_PARTITION"]\n')
    told = database.amore("doctor", env=env, code=1).stdout
    assert "SBATCH_PARTITION changes what Slurm's commands do" in told and "line 2" in told


def test_what_would_change_answers_is_not_handed_on_to_doctor_either(database: Database) -> None:
    database.context(ONE)
    odd = {"SLURM_CLUSTERS": "nosuch", "SQUEUE_FORMAT": "%i", "SLURM_TIME_FORMAT": "relative", "SBATCH_PARTITION": "nosuch"}
    env = {**database.environment, **odd}
    assert "PROBLEM" not in slurm_of(database.amore("doctor", env=env).stdout)
    database.begin("reprocess", "1", env=env).ends()
    assert database.rows(1) == {"quick": 1}
    wrong = {**env, "AMORE_SLURM_ENVIRONMENT": "SLURM_CLUSTERS"}
    assert "SLURM_CLUSTERS changes what" in slurm_of(database.amore("doctor", env=wrong, code=1).stdout)
