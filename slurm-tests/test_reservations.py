"""Reservations that are full, have not started, have ended, or end while jobs are running."""

from __future__ import annotations

from clusters import wait_until
from databases import Database

WHOLE_NODE = '''
@Variable(cluster=True, cpus=4)
def first(run, r: "meta#run_number"):
    effect(f"first-{r}")
    return r

@Variable(cluster=True, cpus=4)
def second(run, first: "var#first", r: "meta#run_number"):
    effect(f"second-{r}")
    if first_time(f"second-{r}"):
        wait_for(f"go-{r}")
    return 10 * first
'''


def test_a_reservation_that_ends_under_its_jobs(database: Database) -> None:
    """Run 1 runs in it; run 2 waits, because it is full."""
    site = database.site
    database.context(WHOLE_NODE)
    database.amore("db-config", "slurm_reservation", "upex_001234")
    with site.reservation("upex_001234", users="alice", nodes="n1"):
        command = database.start("reprocess", "1-2")
        wait_until(lambda: {"second-1", "second-2"} & set(database.effects()), 60, "the second variable of a run")
        running = 1 if "second-1" in database.effects() else 2
        waiting = 3 - running
        job = database.job(waiting)
        wait_until(lambda: site.job(job).get("reason") in ("Resources", "Priority"), 60, "the reason of a full one")
        said = database.amore("explain", str(waiting), "first")
        assert f"job {job} waits: " in said and "upex_001234" in said
        # Only jobs that start after the end of the reservation can complete.
        database.touch(f"go-{waiting}")
        site.scontrol("update", "ReservationName=upex_001234", "EndTime=now+2")
        said = command.ends(timeout=240)
    assert "reached its time limit (TIMEOUT)" in said
    assert "waited for the reservation upex_001234, which no longer exists; 2 variables again in a partition" in said
    rows = database.rows()
    assert (rows[1], rows[2]) == ({"first": 1, "second": 10}, {"first": 2, "second": 20})
    effects = database.effects()
    assert effects == {"first-1": 1, "first-2": 1, f"second-{running}": 2, f"second-{waiting}": 1}
    assert site.job(job).get("state", "CANCELLED") == "CANCELLED"


def test_jobs_wait_for_a_reservation_that_has_not_begun_or_is_full(database: Database) -> None:
    site = database.site
    database.context(WHOLE_NODE)
    for run in (1, 2):
        database.touch(f"go-{run}")
    database.amore("db-config", "slurm_reservation", "upex_001234")
    with site.reservation("upex_001234", users="alice,bob", nodes="n1", start="now+20"):
        command = database.start("reprocess", "1")
        job = database.job(1)
        command.wait_said(f"job {job} (run 1) waits: Reservation", "has not started")
        command.ends()
        assert site.job(job)["reservation"] == "upex_001234"
        other = site.submit("bob", "sleep 300", "--reservation=upex_001234", "--exclusive")
        site.wait_job(other, "RUNNING")
        command = database.start("reprocess", "2")
        job = database.job(2)
        wait_until(lambda: site.job(job).get("reason") in ("Resources", "Priority"), 60, "the reason of a full one")
        command.wait_said("the reservation upex_001234 is full")
        site.run("bob", ["scancel", other])
        command.ends()
        assert site.job(job)["reservation"] == "upex_001234"
    rows = database.rows()
    assert (rows[1], rows[2]) == ({"first": 1, "second": 10}, {"first": 2, "second": 20})
    assert set(database.effects().values()) == {1}


def test_reservations_that_are_over_or_for_others_are_left(database: Database) -> None:
    site = database.site
    database.context(WHOLE_NODE)
    for run in (1, 2):
        database.touch(f"go-{run}")
    with site.reservation("over", nodes="n1"), site.reservation("theirs", users="", Accounts="chemistry", nodes="n2"):
        database.amore("db-config", "slurm_reservation", "theirs")
        said = database.amore("reprocess", "1")
        assert "the reservation theirs is restricted to account chemistry" in said
        # Slurm keeps a reservation that has ended for some seconds, and accepts jobs for it that never start.
        site.scontrol("update", "ReservationName=over", "EndTime=now+1")
        shows = ("show", "reservation", "over", "-o")
        wait_until(lambda: "State=ACTIVE" not in site.scontrol(*shows, check=False), 30, "its end", pause=0.1)
        database.amore("db-config", "slurm_reservation", "over")
        said = database.amore("reprocess", "2")
        assert "the reservation over" in said and "jobs go to a partition instead" in said
    rows = database.rows()
    assert (rows[1], rows[2]) == ({"first": 1, "second": 10}, {"first": 2, "second": 20})
    assert set(database.effects().values()) == {1}
