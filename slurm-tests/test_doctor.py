"""`amore doctor`, the site's file, and where jobs go if the settings cannot be satisfied."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clusters import Proposal, Site

CONTEXT = """
from damnit_ctx import Variable

@Variable(title="Heavy", cluster=True, time="10")
def heavy(run):
    return 42
"""


class Answer:
    """Output of doctor."""

    def __init__(self, site: Site, user: str, code: int, **options: Any) -> None:
        done = site.run(user, ["amore", "doctor", "--json"], check=False, **options)
        assert done.returncode == code, done.stdout + done.stderr
        self.all: list[dict[str, str]] = json.loads(done.stdout)["checks"]

    def of(self, check: str) -> dict[str, str]:
        """The check with this name."""
        return next(each for each in self.all if each["check"] == check)

    def problems(self) -> list[str]:
        """The names of checks that found a problem."""
        return [each["check"] for each in self.all if each["grade"] == "problem"]


@pytest.fixture
def ready(proposal: Callable[..., Proposal]) -> Callable[[str], Proposal]:
    """Creates a proposal with a database and a context file: `ready("bob")`."""

    def make(user: str) -> Proposal:
        mine = proposal(user=user, runs=1)
        mine.amore("proposal", str(mine.number))
        mine.site.write_file(mine.database / "context.py", CONTEXT, user=user)
        return mine

    return make


@pytest.fixture
def closed_main(site: Site) -> Iterator[None]:
    """Only the group lab_a may use the default partition."""
    site.scontrol("update", "PartitionName=main", "AllowGroups=lab_a")
    yield
    site.scontrol("update", "PartitionName=main", "AllowGroups=ALL")


def jobs_of(mine: Proposal) -> list[dict[str, str]]:
    """The jobs of a fresh database, found by their logs; also those that have ended."""
    logs = mine.site.run(mine.user, ["ls", mine.database / "slurm_logs"]).stdout.split()
    ids = {log.removesuffix(".out").split("-")[-1] for log in logs}
    return [row for row in mine.site.squeue("-t", "all") if row["id"] in ids]


def test_a_whole_site_has_no_problems(site: Site, ready: Callable[[str], Proposal]) -> None:
    mine = ready("alice")
    answer = Answer(site, "alice", 0, cwd=mine.database)
    assert answer.problems() == []
    assert answer.of("partition")["found"].startswith("for 2:00:00: main, because it is Slurm's default")
    assert "locks work" in answer.of("file system")["found"]
    assert answer.of("extra_data")["grade"] == "ok"
    shown = site.run("alice", ["amore", "doctor"], cwd=mine.database).stdout
    assert "0 problems" in shown


def test_why_not_the_other_partitions(site: Site) -> None:
    bob = Answer(site, "bob", 0).of("partition")["found"]
    assert "grponly: it is restricted to the group lab_a" in bob
    assert "acctonly: account chemistry may not use it\n" in bob
    assert "short: its time limit is 0:01:00" in bob
    assert "down: it is DOWN" in bob
    carol = Answer(site, "carol", 0).of("partition")["found"]
    assert "acctonly: account chemistry may not use it; account physics may" in carol
    assert "acctonly: usable" in Answer(site, "alice", 0).of("partition")["found"]


def test_settings_that_slurm_would_refuse(site: Site, ready: Callable[[str], Proposal]) -> None:
    mine = ready("bob")
    for key, value in {"partition": "grponly", "account": "physics", "qos": "express"}.items():
        mine.amore("db-config", f"slurm_{key}", value)
    answer = Answer(site, "bob", 1, cwd=mine.database)
    assert answer.problems() == ["account", "partition"]
    assert answer.of("partition")["found"] == "grponly cannot be used: it is restricted to the group lab_a"
    mine.amore("db-config", "slurm_account", "chemistry")
    limits = Answer(site, "bob", 1, cwd=mine.database).of("limits")
    assert limits["found"] == "at most 4 running jobs, 20 jobs in the queue, 2:00:00 per job"
    assert Answer(site, "bob", 1, cwd=mine.database).problems() == ["qos", "partition"]


def test_how_a_reservation_stands(site: Site, ready: Callable[[str], Proposal]) -> None:
    mine = ready("alice")
    mine.amore("db-config", "slurm_reservation", "beamtime")
    assert Answer(site, "alice", 1, cwd=mine.database).of("reservation")["found"].startswith("beamtime does not exist")
    with site.reservation("beamtime", users="alice"):
        found = Answer(site, "alice", 0, cwd=mine.database).of("reservation")
        assert found["grade"] == "ok"
        assert re.fullmatch("beamtime is active, for another (30|29) min", found["found"])
    with site.reservation("beamtime", users="bob"):
        found = Answer(site, "alice", 1, cwd=mine.database).of("reservation")
        assert found["found"].startswith("beamtime is restricted to bob")
    with site.reservation("beamtime", users="alice", start="now+2hours"):
        found = Answer(site, "alice", 0, cwd=mine.database).of("reservation")
        assert found["grade"] == "warning"
        assert re.fullmatch("beamtime starts in (1 h 59|2 h 0) min", found["found"])


def test_the_site_has_defaults(site: Site, ready: Callable[[str], Proposal]) -> None:
    mine = ready("alice")
    file = site.home("alice") / "amore.toml"
    text = f'[slurm]\npartition = "low"\ntime = "1:00:00"\n[slurm.proposal.{mine.number}]\nqos = "express"\n'
    site.write_file(file, text)
    options: dict[str, Any] = {"cwd": mine.database, "env": {"AMORE_SITE_CONFIG": str(file)}}
    answer = Answer(site, "alice", 0, **options)
    assert answer.of("slurm_partition")["found"] == f"low ({file}, line 2, [slurm])"
    assert answer.of("slurm_qos")["found"] == f"express ({file}, line 5, [slurm.proposal.{mine.number}])"
    mine.amore("db-config", "slurm_partition", "high")
    found = Answer(site, "alice", 0, **options).of("slurm_partition")["found"]
    assert found == "high (amore db-config slurm_partition)"
    mine.amore("db-config", "slurm_partition", "--delete")
    mine.amore("reprocess", "1", env=options["env"], timeout=120)
    assert [job["partition"] for job in jobs_of(mine)] == ["low"]
    site.write_file(file, '[slurm]\npartitoin = "low"\n')
    found = Answer(site, "alice", 1, **options).of("site's file")["found"]
    assert f"{file}, line 2, partitoin: unknown field" in found
    refused = mine.amore("reprocess", "1", env=options["env"], check=False)
    assert refused.returncode == 1
    assert "line 2, partitoin" in refused.stderr


def test_jobs_go_where_the_user_may_run(site: Site, ready: Callable[[str], Proposal], closed_main: None) -> None:
    mine = ready("bob")
    assert "the default partition main" not in Answer(site, "alice", 0).of("partition")["found"]
    assert "main: it is restricted to the group lab_a" in Answer(site, "bob", 0).of("partition")["found"]
    done = mine.amore("reprocess", "1", timeout=120)
    partitions = [job["partition"] for job in jobs_of(mine)]
    assert partitions in (["high"], ["low"])
    expected = f"jobs go to the partition {partitions[0]}: the default partition main cannot be used"
    assert expected in done.stdout + done.stderr
    assert "42" in mine.amore("table").stdout


def test_jobs_leave_a_reservation_that_is_not_there(site: Site, ready: Callable[[str], Proposal]) -> None:
    mine = ready("alice")
    mine.amore("db-config", "slurm_reservation", "beamtime")
    with site.reservation("beamtime", users="bob"):
        done = mine.amore("reprocess", "1", timeout=120)
    said = done.stdout + done.stderr
    assert "the reservation beamtime is restricted to bob; jobs go to a partition instead" in said
    assert [(job["partition"], job["reservation"]) for job in jobs_of(mine)] == [("main", "(null)")]


def test_a_controller_that_is_dead(site: Site) -> None:
    with site.killed("slurmctld"):
        answer = Answer(site, "alice", 1)
    assert answer.problems() == ["controller"]
    assert answer.of("controller")["found"].endswith("is DOWN")


def test_accounting_that_hangs(site: Site) -> None:
    with site.paused("slurmdbd"):
        answer = Answer(site, "alice", 0)
    assert answer.of("accounting")["grade"] == "warning"
    assert answer.of("partition")["found"].startswith("for 2:00:00: main")


def test_without_slurm(site: Site) -> None:
    answer = Answer(site, "alice", 0, env={"AMORE_NO_SLURM": "1"})
    assert answer.of("commands")["found"].startswith("Slurm is not available")


def test_a_directory_of_somebody_else(site: Site, ready: Callable[[str], Proposal]) -> None:
    mine = ready("alice")
    answer = Answer(site, "bob", 1, cwd=mine.database)
    assert "writable" in answer.problems()


def test_a_python_that_does_not_do(site: Site, ready: Callable[[str], Proposal]) -> None:
    mine = ready("alice")
    mine.amore("db-config", "context_python", "/usr/bin/python3")
    assert Answer(site, "alice", 1, cwd=mine.database).problems() == ["extra_data"]
    mine.amore("db-config", "context_python", "/nowhere/python")
    found = Answer(site, "alice", 1, cwd=mine.database).of("context_python")
    assert found["found"].startswith("/nowhere/python does not run: No such file")
