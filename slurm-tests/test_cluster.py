"""Tests of the harness itself: what other tests rely on works on the real cluster."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters import CommandFailed, Proposal, Site, wait_until
from compose_site import ComposeSite


def test_job_runs_as_its_user_and_writes_its_log(site: Site) -> None:
    folder = site.home("alice") / "log-test"
    site.run("alice", ["mkdir", "-p", folder])
    job = site.submit("alice", "id -un; id -Gn; pwd", "-o", f"{folder}/%j.txt", cwd=folder)
    assert site.wait_job(job)["state"] == "COMPLETED"
    user, groups, where = site.read_file(folder / f"{job}.txt").splitlines()
    assert (user, where) == ("alice", str(folder))
    assert "lab_a" in groups.split()
    accounted = site.wait_accounted(job)
    assert (accounted["State"], accounted["ExitCode"], accounted["Account"]) == ("COMPLETED", "0:0", "physics")


def test_shared_files_are_seen_on_every_node(site: Site) -> None:
    folder = site.home("bob") / "shared-test"
    site.write_file(folder / "in.txt", "from the login node\n", user="bob")
    jobs = [
        site.submit("bob", f"cat in.txt > out-{node}.txt", "-w", node, cwd=folder) for node in ("n1", "n2", "n3")
    ]
    for job in jobs:
        assert site.wait_job(job)["state"] == "COMPLETED"
    for node in ("n1", "n2", "n3"):
        assert site.read_file(folder / f"out-{node}.txt") == "from the login node\n"


def test_partition_of_a_group_refuses_others(site: Site) -> None:
    tried = site.run("bob", ["sbatch", "--parsable", "-p", "grponly", "--wrap", "true"], check=False)
    if tried.returncode == 0:
        # 24.11 accepts it, keeps it waiting forever, and hides it from bob's own squeue without -a.
        waiting = tried.stdout.strip()
        wait_until(lambda: "not in group permitted" in site.job(waiting)["reason"], 10, "the reason")
        shown = site.run("bob", ["squeue", "-h", "-o", "%A"]).stdout.split()
        assert waiting not in shown
    else:
        assert "User's group not permitted to use this partition" in tried.stderr
    job = site.submit("alice", "true", "-p", "grponly")
    assert site.wait_job(job)["state"] == "COMPLETED"


def test_partition_of_an_account_keeps_others_waiting(site: Site) -> None:
    mine = site.submit("carol", "true", "-p", "acctonly", "-A", "physics")
    other = site.submit("bob", "true", "-p", "acctonly")
    assert site.wait_job(mine)["state"] == "COMPLETED"
    row = wait_until(lambda: (r := site.job(other))["reason"] not in ("None", "Priority") and r, 10, "the reason")
    assert row["state"] == "PENDING"
    # 22.05 names the accounts; 24.11 says PartitionConfig.
    assert "account not permitted" in row["reason"] or row["reason"] == "PartitionConfig"


def test_partition_that_is_down(site: Site) -> None:
    job = site.submit("alice", "true", "-p", "down")
    wait_until(lambda: site.job(job)["reason"] == "PartitionDown", 10, "the reason")


def test_limits_of_a_user(site: Site) -> None:
    script = "for i in $(seq 21); do sbatch -p down --wrap true || exit 7; done"
    done = site.run("bob", ["bash", "-c", script], check=False)
    assert done.returncode == 7
    assert done.stdout.count("Submitted batch job") == 20
    assert "AssocMaxSubmitJobLimit" in done.stderr


def test_too_much_memory(site: Site) -> None:
    job = site.submit("alice", "exec python3 -c 'x = bytearray(300_000_000)'", "--mem=60")
    row = site.wait_job(job)
    if "ProctrackType           = proctrack/cgroup" not in site.scontrol("show", "config"):
        pytest.skip("this site has no cgroups: memory is not limited")
    assert row["state"] == "OUT_OF_MEMORY"


def test_job_that_fails_tells_its_code(site: Site) -> None:
    job = site.submit("alice", "exit 42")
    assert site.wait_job(job)["state"] == "FAILED"
    assert site.wait_accounted(job)["ExitCode"] == "42:0"


def test_reservation_lets_in_whom_it_names(site: Site) -> None:
    with site.reservation("beamtime", users="alice", nodes="n2"):
        job = site.submit("alice", "echo $SLURMD_NODENAME", "--reservation=beamtime", "-o", "resv.txt")
        row = site.wait_job(job)
        assert (row["state"], row["nodes"], row["reservation"]) == ("COMPLETED", "n2", "beamtime")
        with pytest.raises(CommandFailed, match="Access denied to requested reservation"):
            site.submit("bob", "true", "--reservation=beamtime")
        waiting = site.submit("alice", "sleep 100", "--reservation=beamtime", "-N1", "--exclusive")
        site.wait_job(waiting, "RUNNING")
    assert "beamtime" not in site.scontrol("show", "reservation")
    assert site.wait_job(waiting)["state"] == "CANCELLED"


def test_higher_partition_takes_the_place_of_a_lower(site: Site) -> None:
    low = ("-p", "low", "-c4", "--no-requeue")
    victims = [site.submit("alice", "sleep 300", *low, "-w", node) for node in ("n1", "n2")]
    for job in victims:
        site.wait_job(job, "RUNNING")
    job = site.submit("carol", "true", "-p", "high", "-c4", "-w", "n1")
    assert site.wait_job(job)["state"] == "COMPLETED"
    assert site.wait_job(victims[0])["state"] == "PREEMPTED"
    assert site.job(victims[1])["state"] == "RUNNING"


def test_node_is_cut_and_comes_back(site: Site) -> None:
    folder = site.home("alice") / "cut-test"
    site.run("alice", ["mkdir", "-p", folder])
    job = site.submit("alice", "for i in {1..100}; do echo $i; sleep 0.2; done", "-w", "n2", "-o", "out", cwd=folder)
    site.wait_job(job, "RUNNING")
    with site.cut("n2"):
        site.wait_node("n2", "mixed*", timeout=40)
        before = len(site.read_file(folder / "out").split())
        time.sleep(1)
        assert len(site.read_file(folder / "out").split()) > before, "what runs behind the cut goes on"
        assert site.node_states()["n1"] == "idle"
    row = site.wait_job(job)
    assert row["state"] == "COMPLETED"
    assert len(site.read_file(folder / "out").split()) == 100


def test_node_dies_and_comes_back(site: Site) -> None:
    job = site.submit("alice", "sleep 300", "-w", "n3", "--no-requeue")
    site.wait_job(job, "RUNNING")
    site.node_kill("n3")
    site.wait_job(job, "NODE_FAIL", timeout=60)
    site.node_start("n3")
    site.wait_node("n3", "idle")


def test_slurmd_dies_and_its_job_goes_on(site: Site) -> None:
    job = site.submit("alice", "sleep 4", "-w", "n1")
    site.wait_job(job, "RUNNING")
    site.slurmd_kill("n1")
    time.sleep(1)
    site.slurmd_start("n1")
    assert site.wait_job(job)["state"] == "COMPLETED"


def test_slurmctld_hangs(site: Site) -> None:
    with site.paused("slurmctld"):
        asked = site.run("alice", ["squeue"], check=False, timeout=30)
        assert asked.returncode != 0
        assert "Socket timed out" in asked.stderr
    assert site.squeue() is not None


def test_slurmctld_dies(site: Site) -> None:
    job = site.submit("alice", "sleep 12")
    site.wait_job(job, "RUNNING")
    # Its start must be saved to disk: otherwise slurmctld starts it again, and holds it as "launch failed". A start
    # alone is not always saved within ten seconds; a change by scontrol is saved within five.
    site.scontrol("update", f"JobId={job}", "Comment=saved")
    time.sleep(6)
    with site.killed("slurmctld"):
        assert site.run("alice", ["scontrol", "ping"], check=False).returncode == 1
    assert site.wait_job(job)["state"] == "COMPLETED"


def test_slurmdbd_dies(site: Site) -> None:
    with site.killed("slurmdbd"):
        asked = site.run("alice", ["sacct"], check=False, timeout=40)
        assert "Connection refused" in asked.stderr
        job = site.submit("alice", "true")
        assert site.wait_job(job)["state"] == "COMPLETED"
    assert site.wait_accounted(job, timeout=60)["State"] == "COMPLETED"


def test_postgres(site: Site, ledger_url: str) -> None:
    job = site.submit("alice", f"psql -XAtc 'create table t as select 42 as x' {ledger_url}", "-o", "postgres.txt")
    assert site.wait_job(job)["state"] == "COMPLETED", "nodes reach it as well"
    name = ledger_url.rsplit("/", 1)[1]
    assert site.psql("select x from t", database=name) == "42"
    with site.killed("postgres"):
        asked = site.run("alice", ["psql", ledger_url, "-c", "select 1"], check=False)
        assert asked.returncode == 2
    assert site.psql("select x from t", database=name) == "42"


def test_started_command_is_ended_with_its_children(site: Site) -> None:
    running = site.start("alice", ["sh", "-c", "sleep 300 & echo $!; wait"])
    child = wait_until(lambda: running.stdout.strip(), 10, "its output", lambda: running.stderr)
    assert site.exists(f"/proc/{child}")
    running.signal("TERM")
    assert running.wait(10) != 0
    wait_until(lambda: not site.exists(f"/proc/{child}"), 10, "the end of its child")


def test_proposal_is_real(site: Site, proposal: Callable[..., Proposal]) -> None:
    mine = proposal(user="bob", runs=2)
    script = f"from extra_data import open_run; print(len(open_run({mine.number}, 2).train_ids))"
    job = site.submit("bob", f'{site.python} -c "{script}"', "-o", f"{mine.database}/%j.txt")
    assert site.wait_job(job)["state"] == "COMPLETED", site.read_file(mine.database / f"{job}.txt")
    assert site.read_file(mine.database / f"{job}.txt") == "12\n"
    mine.add_runs()
    assert site.exists(mine.raw / "r0003", user="bob")


def test_product_runs_on_the_login_node(site: Site, proposal: Callable[..., Proposal]) -> None:
    if not site.exists(site.product / "bin/amore"):
        pytest.skip("the product is not installed: see AMORE_INSTALL_DIR")
    mine = proposal(runs=1)
    mine.amore("proposal", str(mine.number), program="amore-proto")
    mine.amore("db-config", "context_python", str(site.python), program="amore-proto")
    context = "from damnit_ctx import Variable\n\n@Variable()\ndef trains(run):\n    return len(run.train_ids)\n"
    site.write_file(mine.database / "context.py", context)
    mine.amore("reprocess", "1", program="amore-proto", timeout=120)
    table = mine.amore("table", "--csv").stdout
    assert "12" in table


@pytest.mark.version
def test_the_shell_of_the_readme(site: Site) -> None:
    """In the shell that `make slurm-cluster-shell` opens, the commands are found and process runs through Slurm."""
    if not isinstance(site, ComposeSite):
        pytest.skip("the shell is one on the cluster in containers")
    shell = Path(__file__).parent / "cluster" / "shell.sh"

    def typed(words: str) -> str:
        argv = [shell, os.environ.get("SUITE", "bookworm"), "bash", "-c", words]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    typed("amore-proto reprocess 1-3")
    table = json.loads(typed("amore table --json --names"))
    assert {row["run"]: row["values"]["trains"] for row in table} == {1: 12, 2: 12, 3: 12}
    assert all(row["values"]["heavy"] == 144 for row in table)
    logs = typed("ls slurm_logs").split()
    assert len(logs) >= 6 and all(log.startswith("r") and log.endswith(".out") for log in logs)
