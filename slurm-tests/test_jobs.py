"""Runs through Slurm jobs: what the manual documents, and the final content of table, files and logs.

Each variable appends to a file, because what was executed, and how often, is part of the test.
"""

from __future__ import annotations

import json

import pytest

from clusters import wait_until
from databases import Database

THREE = '''
@Variable(title="Local")
def local(run, r: "meta#run_number"):
    effect(f"local-{r}")
    return r

@Variable(title="Heavy", cluster=True)
def heavy(run, local: "var#local", r: "meta#run_number"):
    effect(f"heavy-{r}")
    print("printed by heavy")
    os.write(2, b"and to stderr\\\\n")
    return 10 * local

@Variable(title="Sum")
def total(run, heavy: "var#heavy", r: "meta#run_number"):
    effect(f"total-{r}")
    return heavy + 1
'''


@pytest.mark.version
def test_cluster_works_without_any_configuration(database: Database) -> None:
    database.context(THREE)
    database.amore("reprocess", "1-3", env={"DISPLAY": ":7", "SLURM_JOB_NAME": "other", "SBATCH_PARTITION": "nosuch"})
    number = database.proposal.number
    rows = database.rows()
    for run in (1, 2, 3):
        assert (rows[run]["local"], rows[run]["heavy"], rows[run]["total"]) == (run, 10 * run, 10 * run + 1)
    assert set(database.effects().values()) == {1}
    jobs = database.jobs()
    assert len(jobs) == 3
    names = {name for _, name in database._queue()}
    assert {f"r{run}-p{number}-damnit" for run in (1, 2, 3)} <= names
    logs = database.logs()
    assert len(logs) == 3 and all(f"-p{number}-" in name and name.endswith(".out") for name in logs)
    log = database.site.read_file(database.proposal.database / "slurm_logs" / logs[0])
    assert "printed by heavy" in log and "and to stderr" in log
    assert "printed by heavy" in database.amore("log", "1")


def test_variables_that_need_no_cluster_may_run_in_a_small_job(database: Database) -> None:
    database.amore("db-config", "noncluster", "slurm")
    database.amore("db-config", "noncluster_cpus", "2", "--num")
    database.amore("db-config", "noncluster_mem", "200M")
    database.context(
        """
@Variable(title="Light")
def light(run):
    effect("light")
    return f"{os.environ.get('SLURM_CPUS_PER_TASK')} {os.environ.get('SLURM_MEM_PER_NODE')}"
@Variable(title="Heavy", cluster=True)
def heavy(run, light: "var#light"):
    effect("heavy")
    return f"{light}, then {os.environ.get('SLURM_CPUS_PER_TASK')}"
"""
    )
    assert "variables without cluster=True: 2 CPUs, 200 MiB" in database.amore("plan", "1")
    database.amore("reprocess", "1")
    assert database.rows()[1] == {"light": "2 200", "heavy": "2 200, then None"}
    assert database.effects() == {"light": 1, "heavy": 1}
    assert len(database.jobs()) == 2
    # With --direct, variables run on this machine.
    database.amore("reprocess", "1", "--direct")
    assert database.rows()[1]["light"] == "None None"
    assert len(database.jobs()) == 2


@pytest.mark.version
def test_resources_make_jobs_of_their_own(database: Database) -> None:
    database.context(
        """
@Variable(title="A", cluster=True, cpus=2, mem="300M", time="0:07:00")
def a(run): return os.environ["SLURM_CPUS_PER_TASK"]
@Variable(title="B", cluster=True, cpus=1, partition="high")
def b(run): return os.environ["SLURM_JOB_PARTITION"]
@Variable(title="C", cluster=True)
def c(run): return int("DISPLAY" in os.environ or "LD_PRELOAD" in os.environ)
"""
    )
    database.amore("reprocess", "1", env={"DISPLAY": ":7"})
    assert database.rows()[1] == {"a": "2", "b": "high", "c": 0}
    assert len(database.jobs()) == 3
    script = database.amore("plan", "1", "--script")
    assert "--cpus-per-task=2" in script and "--mem=300M" in script and "--time=7" in script


@pytest.mark.version
def test_a_reservation_goes_before_a_partition(database: Database) -> None:
    database.context(
        '@Variable(cluster=True)\ndef where(run):\n'
        '    import subprocess\n'
        '    ask = ["squeue", "-h", "-j", os.environ["SLURM_JOB_ID"], "-o", "%v/%P"]\n'
        '    return subprocess.run(ask, capture_output=True, text=True).stdout.strip()\n'
    )
    with database.site.reservation("upex_001234", users="alice", nodes="n2"):
        database.amore("db-config", "slurm_partition", "high")
        database.amore("reprocess", "1")
        assert database.rows()[1]["where"].endswith("/high")
        database.amore("db-config", "slurm_reservation", "upex_001234")
        database.amore("reprocess", "1")
        assert database.rows()[1]["where"].startswith("upex_001234/")
    # The reservation is gone, but not the setting: the run is not lost.
    said = database.amore("reprocess", "1")
    assert "upex_001234" in said and "--delete" in said
    assert database.rows()[1]["where"].endswith("/high")
    database.amore("db-config", "slurm_reservation", "--delete")
    assert "upex" not in database.amore("reprocess", "1")


@pytest.mark.version
def test_out_of_memory_is_tried_with_more(database: Database) -> None:
    database.context(
        """
@Variable(title="Before", cluster=True, mem="200M")
def before(run):
    effect("before")
    return 1

@Variable(title="Hungry", cluster=True, mem="200M")
def hungry(run, before: "var#before"):
    effect("hungry")
    block = bytearray(300 << 20)
    block[::4096] = b"x" * len(block[::4096])
    return len(block)
"""
    )
    if "ProctrackType           = proctrack/cgroup" not in database.site.scontrol("show", "config"):
        pytest.skip("this site has no control groups: Slurm does not enforce memory")
    said = database.amore("reprocess", "1")
    assert "ran out of memory" in said and "again with 400 MiB" in said
    assert database.rows()[1] == {"before": 1, "hungry": 300 << 20}
    assert database.effects() == {"before": 1, "hungry": 2}


def test_a_cancelled_job_is_not_tried_again(database: Database) -> None:
    database.context(
        '@Variable(cluster=True)\ndef quick(run):\n    effect("quick")\n    return 1\n'
        '@Variable(cluster=True)\ndef slow(run, quick: "var#quick"):\n    effect("slow")\n    time.sleep(300)\n'
    )
    command = database.proposal.start_amore("reprocess", "1")
    wait_until(lambda: "slow" in database.effects(), 60, "the second variable")
    (job,) = database.jobs()
    database.site.run("alice", ["scancel", job])
    assert command.wait(90) == 3
    assert "cancelled by alice" in command.stderr + command.stdout
    assert database.rows()[1] == {"quick": 1}
    assert database.effects() == {"quick": 1, "slow": 1}


def test_a_killed_node_costs_only_what_it_computed(database: Database) -> None:
    database.context(
        '@Variable(cluster=True)\ndef first(run):\n    effect("first")\n    return 1\n'
        '@Variable(cluster=True)\ndef second(run, first: "var#first"):\n'
        '    effect("second")\n    time.sleep(8)\n    return first + 1\n'
    )
    command = database.proposal.start_amore("reprocess", "1")
    wait_until(lambda: "second" in database.effects(), 60, "the second variable")
    (job,) = database.jobs()
    node = database.site.run("root", ["squeue", "-h", "-j", job, "-o", "%N"]).stdout.strip()
    database.site.node_kill(node)
    try:
        assert command.wait(180) == 0, command.stderr
    finally:
        database.site.node_start(node)
    assert "NODE_FAIL" in command.stderr + command.stdout
    assert database.rows()[1] == {"first": 1, "second": 2}
    assert database.effects() == {"first": 1, "second": 2}


def test_a_controller_that_hangs_during_submission(database: Database) -> None:
    database.context('@Variable(cluster=True)\ndef a(run, r: "meta#run_number"):\n    effect(f"a-{r}")\n    return r\n')
    database.amore("reprocess", "1")
    with database.site.paused("slurmctld"):
        command = database.proposal.start_amore("reprocess", "2-3")
        wait_until(lambda: "does not answer" in command.stderr + command.stdout, 60, "the word of the silence")
    assert command.wait(180) == 0, command.stderr
    rows = database.rows()
    assert (rows[2]["a"], rows[3]["a"]) == (2, 3)
    assert database.effects() == {"a-1": 1, "a-2": 1, "a-3": 1}


def test_ctrl_c_leaves_jobs_that_the_next_command_follows(database: Database) -> None:
    database.context(THREE.replace("return 10 * local", "time.sleep(6); return 10 * local"))
    command = database.proposal.start_amore("reprocess", "1-2")
    wait_until(lambda: {"heavy-1", "heavy-2"} <= set(database.effects()), 60, "both jobs")
    command.signal("INT")
    assert command.wait(60) == 130
    assert "2 Slurm jobs continue" in command.stdout + command.stderr
    assert "RUNNING" in database.amore("jobs")
    said = database.amore("follow")
    assert "from earlier commands" in said
    rows = database.rows()
    assert (rows[1]["total"], rows[2]["total"]) == (11, 21)
    assert set(database.effects().values()) == {1}
    assert "no unfinished tasks" in database.amore("jobs")
    assert "Slurm accepted job" in database.amore("explain", "1", "heavy")


def test_a_killed_coordinator_loses_and_doubles_nothing(database: Database, ledger_url: str) -> None:
    """The same on PostgreSQL."""
    ledger = {"AMORE_LEDGER_URL": ledger_url}
    database.context(THREE.replace("return 10 * local", "time.sleep(5); return 10 * local"))
    command = database.proposal.start_amore("reprocess", "1-3", env=ledger)
    wait_until(lambda: "heavy-1" in database.effects(), 60, "a job")
    command.kill()
    database.amore("follow", env=ledger)
    rows = database.rows()
    assert [rows[run]["total"] for run in (1, 2, 3)] == [11, 21, 31]
    assert set(database.effects().values()) == {1}


def test_cancel_ends_the_jobs_of_a_run(database: Database) -> None:
    database.context('@Variable(cluster=True)\ndef slow(run):\n    effect("slow")\n    time.sleep(300)\n')
    command = database.proposal.start_amore("reprocess", "1")
    wait_until(lambda: "slow" in database.effects(), 60, "the job")
    assert "1 task cancelled" in database.amore("cancel", "1")
    assert command.wait(60) == 3
    (job,) = database.jobs()
    database.site.wait_job(job, "CANCELLED")
    assert "no unfinished tasks" in database.amore("jobs")


@pytest.mark.parametrize("accounting", ["there", "dead"])
def test_a_worker_that_is_killed(database: Database, accounting: str) -> None:
    """Its job fails; results that it had stored are not computed again."""
    database.context(
        '@Variable(cluster=True)\ndef first(run):\n    effect("first")\n    return 1\n'
        '@Variable(cluster=True)\ndef second(run, first: "var#first"):\n'
        '    effect("second")\n'
        '    if not os.path.exists("killed"):\n'
        '        open("killed", "w").close()\n'
        # By then, the value of `first` is on disk.
        '        time.sleep(1)\n'
        '        os.system("pkill -9 amore-worker")\n'
        '        time.sleep(60)\n'
        '    return first + 1\n'
    )
    if accounting == "dead":
        with database.site.killed("slurmdbd"):
            said = database.amore("reprocess", "1")
    else:
        said = database.amore("reprocess", "1")
    assert "FAILED" in said and "again" in said
    assert database.rows()[1] == {"first": 1, "second": 2}
    assert database.effects() == {"first": 1, "second": 2}


def test_a_time_limit_goes_on_at_the_first_missing_variable(database: Database) -> None:
    database.context(
        '@Variable(cluster=True, time="0:01:00")\ndef first(run):\n    effect("first")\n    return 1\n'
        '@Variable(cluster=True, time="0:01:00")\ndef second(run, first: "var#first"):\n'
        '    effect("second")\n'
        '    if not os.path.exists("late"):\n'
        '        open("late", "w").close()\n'
        '        time.sleep(300)\n'
        '    return first + 1\n'
    )
    said = database.amore("reprocess", "1")
    assert "TIMEOUT" in said
    assert database.rows()[1] == {"first": 1, "second": 2}
    assert database.effects() == {"first": 1, "second": 2}


def test_few_runs_go_before_many(database: Database) -> None:
    database.context(
        """
@Variable(title="Known")
def known(run):
    return 1

@Variable(title="Waits", cluster=True)
def waits(run, r: "meta#run_number"):
    effect(f"waits-{r}")
    wait_for(f"go-{r}")
    return r
"""
    )
    database.amore("reprocess", "1-3", "--var", "known")
    database.amore("db-config", "concurrent_jobs", "2", "--num")
    many = database.proposal.start_amore("reprocess", "all", "--var", "waits")
    database.wait_effect("waits-1")
    # The free place goes to the more urgent request.
    few = database.proposal.start_amore("reprocess", "3", "--var", "waits")
    database.wait_effect("waits-3")
    assert database.effects() == {"waits-1": 1, "waits-3": 1}
    number = database.proposal.number
    queue = database.site.run("alice", ["squeue", "-h", "-o", "%j %y"]).stdout.splitlines()
    assert sorted(queue) == [f"r1-p{number}-damnit 1000", f"r3-p{number}-damnit 0"]
    assert [job["urgency"] for job in json.loads(database.proposal.amore("jobs", "--json").stdout) if job["job"]] == [
        "asked",
        "bulk",
    ]
    database.touch("go-3")
    assert few.wait(60) == 0, few.stderr
    assert many.poll() is None
    # The next owner reads the urgency from the ledger.
    many.kill()
    follower = database.proposal.start_amore("follow")
    for run in (1, 2):
        database.touch(f"go-{run}")
    assert follower.wait(120) == 0, follower.stderr
    assert [database.rows()[run]["waits"] for run in (1, 2, 3)] == [1, 2, 3]
    # For run 3, there is already a newer result.
    assert database.effects() == {"waits-1": 1, "waits-2": 1, "waits-3": 1}
