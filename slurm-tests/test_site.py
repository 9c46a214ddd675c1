"""Properties of a site: reservation-only partitions, hidden ones, memory, and submissions by users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from clusters import CommandFailed, Site, wait_until
from databases import Database

ONE = '''
@Variable(cluster=True)
def where(run):
    effect("where")
    names = ("SLURM_JOB_PARTITION", "SLURM_JOB_RESERVATION", "SLURMD_NODENAME")
    return " ".join(os.environ.get(name, "") for name in names)
'''
OTHERS = ("main", "grponly", "acctonly", "short", "high", "low")


@contextmanager
def partition(site: Site, name: str, *settings: str) -> Iterator[None]:
    """Within this block, a partition with n3, which no other partition contains."""
    site.scontrol("create", f"PartitionName={name}", "Nodes=n3", "State=UP", "MaxTime=1-0", *settings)
    for other in OTHERS:
        site.scontrol("update", f"PartitionName={other}", "Nodes=n1,n2")
    try:
        yield
    finally:
        for other in OTHERS:
            site.scontrol("update", f"PartitionName={other}", "Nodes=n1,n2,n3")
        # A job that has just ended may still be completing there.
        wait_until(lambda: deleted(site, name), 60, f"the end of the partition {name}")


def deleted(site: Site, name: str) -> bool:
    """Deletes a partition, if it has no jobs any more."""
    try:
        site.scontrol("delete", f"PartitionName={name}")
    except CommandFailed as failed:
        if "Partition is in use" not in str(failed):
            raise
        return False
    return True


def test_a_reservation_on_nodes_of_a_partition_for_reservations(database: Database) -> None:
    site = database.site
    database.context(ONE)
    with partition(site, "closed", "ReqResv=YES"):
        database.amore("db-config", "slurm_reservation", "shift7")
        database.amore("db-config", "slurm_partition", "closed")
        with site.reservation("shift7", users="alice", nodes="n3"):
            said = database.amore("plan", "1")
            assert "reservation shift7, partition closed" in said and "warning" not in said
            assert "PROBLEM" not in database.amore("doctor")
            said = database.amore("reprocess", "1")
            assert "warning" not in said and "refuse" not in said
            assert database.rows()[1]["where"] == "closed shift7 n3"
        said = database.amore("doctor", code=1)
        assert "fallback" in said and "main" in said
        said = database.amore("reprocess", "1")
        assert "the partition closed only accepts jobs with a reservation" in said and "error" not in said
        assert database.rows()[1]["where"].split()[0] == "main"
    assert database.effects() == {"where": 2}


def test_hidden_is_no_reason_against_a_partition_that_is_set(database: Database) -> None:
    database.context(ONE)
    with partition(database.site, "quiet", "Hidden=YES"):
        database.amore("db-config", "slurm_partition", "quiet")
        assert "PROBLEM" not in database.amore("doctor")
        assert "warning" not in database.amore("plan", "1")
        database.amore("reprocess", "1")
    assert database.rows()[1]["where"].split() == ["quiet", "n3"]


SUBMITS = '''
import subprocess

SCRIPT = """#!/bin/sh
#SBATCH --mem=200M --output=inner-%j.txt
srun -n1 echo fine
"""

def submit():
    answer = subprocess.run(["sbatch", "--parsable", "--wait"], input=SCRIPT, text=True, capture_output=True)
    number = answer.stdout.strip()
    return open(f"inner-{number}.txt").read().strip() if number else answer.stderr

@Variable(cluster=True)
def plain(run):
    return submit()

@Variable(cluster=True, cpus=2, mem="300M")
def asks(run):
    return submit()

@Variable(cluster=True, nodes=2)
def steps(run):
    answer = subprocess.run(["srun", "hostname"], text=True, capture_output=True)
    return f"{len(answer.stdout.split())} {answer.stderr.strip()}".strip()
'''


def test_a_variable_submits_a_job_and_starts_steps(database: Database) -> None:
    database.context(SUBMITS)
    database.amore("reprocess", "1")
    assert database.rows()[1] == {"plain": "fine", "asks": "fine", "steps": "2"}


HUNGRY = '''
@Variable(cluster=True, mem="2500M")
def large(run):
    effect("large")
    held = [bytearray(b"1") * (256 << 20) for _ in range(20)]
    return len(held)

@Variable(cluster=True, mem="2500M")
def small(run, large: "var#large" = 0):
    effect("small")
    return 2
'''


def test_memory_is_raised_to_what_the_largest_node_has(database: Database) -> None:
    if "ProctrackType           = proctrack/cgroup" not in database.site.scontrol("show", "config"):
        pytest.skip("this site has no control groups: Slurm does not enforce memory")
    database.context(HUNGRY)
    said = database.amore("reprocess", "1")
    assert "again with 4000 MiB" in said
    error = database.rows()[1]["large"]["error"]
    assert error["class"] == "MemoryError" and "4000 MiB" in error["message"]
    assert database.rows()[1]["small"] == 2


def test_more_memory_than_slurm_gives_is_a_want_of_memory(database: Database) -> None:
    """The messages with which Slurm refuses more memory than any node has."""
    site = database.site
    database.context(ONE.replace("cluster=True", 'cluster=True, mem="5000M"'))
    said = database.amore("reprocess", "1")
    assert "Memory specification can not be satisfied" in said and "sinfo -Nel" in said
    assert database.rows()[1]["where"]["error"]["class"] == "JobRefused"
    assert site.run("alice", ["sbatch", "--mem=5000M", "--wrap", "true"], check=False).returncode == 1
