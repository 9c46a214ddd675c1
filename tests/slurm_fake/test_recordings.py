"""The fake answers as real Slurms have answered: word for word for refusals, by shape for lists.

Amore's queries are made to a cluster with jobs in each state, and the answers are compared with `slurm-tests/recorded/`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from databases import wait_until
from fake_slurm.cluster import Cluster, is_alive
from fake_slurm.submit import user
from fake_slurm.texts import REFUSALS

RECORDED = Path(__file__).resolve().parents[2] / "slurm-tests/recorded"
VERSIONS = [path.name for path in sorted(RECORDED.glob("*-compose"))]
END = ["--time=5", "--nodes=1", "--ntasks=1"]
ALWAYS = ["--parsable", "--export=ALL", "--open-mode=append", "--no-requeue", *END]
SLEEP = "#!/bin/sh\nsleep 300\n"
# Parts of a list of states or reasons that are not compared: lists of hosts, numbers, times.
SHAPES = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "TIME"),
    (r"\bn(\[\d-\d\]|\d)(,n\d)*", "NODES"),
    (r"\d+", "9"),
)


class Recording:
    """A command that was executed on a real cluster, and its output."""

    def __init__(self, version: str, name: str) -> None:
        lines = (RECORDED / version / f"{name}.txt").read_text().splitlines()
        self.code = int(lines[1].removeprefix("# code "))
        at = lines.index("# stderr")
        self.out, self.error = lines[2:at], lines[at + 1 :]


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Each version that was recorded."""
    return request.param


def submit(cluster: Cluster, *options: str, script: str = SLEEP) -> str:
    """Submits a job that is accepted, and returns its number."""
    answer = try_to_submit(cluster, *options, script=script)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def try_to_submit(cluster: Cluster, *options: str, script: str = SLEEP) -> subprocess.CompletedProcess[str]:
    """Submits a job, and returns the result of sbatch."""
    log = f"{cluster.store.folder}/%j.out"
    # If an option is given twice, the last one counts.
    given = [f"--chdir={cluster.store.folder}", f"--output={log}", "--job-name=x", *options]
    return cluster.run("sbatch", *ALWAYS, *given, script=script)


REFUSED = {
    "account-unknown": ["--account=nosuch"],
    "feature-unknown": ["--constraint=nosuch"],
    "gres-unknown": ["--gpus=1"],
    "memory-too-much": ["--mem=900000M"],
    "name-too-long": ["--job-name=" + "x" * 1025],
    "node-unknown": ["--exclude=n99"],
    "partition-unknown": ["--partition=nosuch"],
    "qos-unknown": ["--qos=nosuch"],
    "reservation-not-permitted": ["--reservation=theirs"],
    "reservation-too-small": ["--reservation=small", "--nodes=3"],
    "reservation-unknown": ["--reservation=nosuch"],
}


@pytest.mark.parametrize("name", [*REFUSED, "limit-of-submitted-jobs", "qos-limit", "script-empty", "script-without-interpreter"])
def test_refusals_word_for_word(cluster: Cluster, name: str) -> None:
    cluster.reserve("theirs", "n1", accounts=("chemistry",))
    cluster.reserve("small", "n1")
    scripts = {"script-empty": "\n", "script-without-interpreter": "true\n"}
    if name == "limit-of-submitted-jobs":
        cluster.limit(0)
    if name == "qos-limit":
        cluster.next_submission(refuse=name)
    answer = try_to_submit(cluster, *REFUSED.get(name, []), script=scripts.get(name, SLEEP))
    for version in VERSIONS:
        real = Recording(version, f"sbatch/{name}")
        assert (answer.returncode, answer.stderr.splitlines()) == (real.code, real.error), version
    assert answer.stdout == ""
    # If a job requests nodes that do not exist, Slurm keeps it as a failed job.
    kept = {("FAILED", "BadConstraints")} if name in ("memory-too-much", "reservation-too-small") else set()
    assert {(job["state"], job["reason"]) for job in cluster.jobs()} == kept


def test_each_refusal_is_compared() -> None:
    compared = {*REFUSED, "limit-of-submitted-jobs", "qos-limit", "script-empty", "script-without-interpreter"}
    # Not recorded; see slurm-tests/scenes/reservation-over.json.
    assert compared == set(REFUSALS) - {"reservation-over"}


def test_a_submission_is_answered_with_its_number(cluster: Cluster, version: str) -> None:
    for name, options in {"accepted-parsable": [], "accepted-parsable-cluster": ["--clusters=lab"]}.items():
        real = Recording(version, f"sbatch/{name}")
        assert shape(submit(cluster, *options)) == shape(real.out[0])


def shape(text: str) -> str:
    """The text without the parts that differ each time."""
    for pattern, name in SHAPES:
        text = re.sub(pattern, name, text)
    return text


@pytest.fixture
def busy(cluster: Cluster) -> Cluster:
    """Jobs in each state that the fake supports and that was recorded with a real Slurm."""
    cluster.reserve("later", "n1", start=3600, end=7200)
    cluster.reserve("active", "n3")
    cluster.reserve("theirs", "n1", accounts=("physics",), users=("alice", "carol"))
    cluster.reserve("going", "n2", start=3600, end=7200)
    submit(cluster, "--comment=amore:0123abcd", script="#!/bin/sh\ntrue\n")
    submit(cluster, script="#!/bin/sh\nexit 42\n")
    submit(cluster, script="#!/bin/sh\nkill -9 $$\n")
    submit(cluster, f"--output={cluster.store.folder}/nowhere/%j.out")
    submit(cluster, "--reservation=later")
    submit(cluster, "--reservation=active")
    submit(cluster, "--reservation=going")
    cluster.reservation_over("going")
    submit(cluster, "--partition=down")
    submit(cluster, "--partition=short")
    submit(cluster, "--nodes=5", "--ntasks=5")
    submit(cluster, "--cpus-per-task=9")
    for reason in ("JobHeldUser", "Priority", "BeginTime"):
        cluster.next_submission(hold=reason)
        submit(cluster)
    ends = {how: submit(cluster) for how in ("TIMEOUT", "OUT_OF_MEMORY", "PREEMPTED", "CANCELLED")}
    for how, number in ends.items():
        wait_until(lambda number=number: cluster.job(number)["state"] == "RUNNING", f"{number} to run", cluster.jobs)
        if how == "CANCELLED":
            assert cluster.run("scancel", number).returncode == 0
        else:
            cluster.end(number, how)
    submit(cluster)

    def settled() -> bool:
        jobs = cluster.jobs()
        return sum(job["state"] == "RUNNING" for job in jobs) == 2 and all(
            job["reason"] != "None" for job in jobs if job["state"] == "PENDING"
        ) and all(cluster.job(number)["state"] == how for how, number in ends.items())

    wait_until(settled, "all jobs to be where they stay", cluster.jobs)
    return cluster


def by_state(rows: list[list[str]], state: int, *fields: int) -> dict[str, set[tuple[str, ...]]]:
    """Shapes of some fields, by state."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for row in rows:
        found.setdefault(shape(row[state]), set()).add(tuple(shape(row[field]) for field in fields))
    return found


def test_the_queue(busy: Cluster) -> None:
    """For each state, whether there is a node, and the reason of the state."""
    asked = "%i|%T|%N|%P|%v|%k|%r"
    answer = busy.run("squeue", *"-h -a -r -t all -u".split(), str(os.getuid()), "-o", asked)
    ours = [line.split("|", 6) for line in answer.stdout.splitlines()]
    assert len(ours) == len(busy.jobs())
    # Recorded with more fields: %i|%F|%K|%A|%T|%j|%u|%P|%v|%k|%V|%S|%e|%l|%L|%N|%r, and names and comments with bars.
    real = []
    for version in VERSIONS:
        for name in ("squeue", "squeue-later"):
            for line in Recording(version, name).out:
                if line.count("|") == 16:
                    fields = line.split("|")
                    real.append([fields[at] for at in (0, 4, 15, 7, 8, 9, 16)])
    states, recorded = by_state(ours, 1, 2, 6), by_state(real, 1, 2, 6)
    assert set(states) >= {"PENDING", "RUNNING", "COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "PREEMPTED", "OUT_OF_MEMORY"}
    for state, kinds in states.items():
        assert kinds <= recorded[state], state
    for field in (0, 4, 5):
        assert {shape(row[field]) for row in ours if row[field] != "amore:0123abcd"} <= {shape(row[field]) for row in real}
    assert {row[4] for row in ours} == {"(null)", "active", "later"}


def test_jobs_that_the_queue_does_not_know(busy: Cluster, version: str) -> None:
    real = Recording(version, "squeue-job-unknown")
    answer = busy.run("squeue", "-h", "-a", "-t", "all", "-j", "999999", "-o", "%k")
    assert (answer.returncode, answer.stdout.splitlines(), answer.stderr.splitlines()) == (real.code, real.out, real.error)
    real = Recording(version, "squeue-jobs-one-unknown")
    first = busy.jobs()[0]["id"]
    answer = busy.run("squeue", "-h", "-a", "-r", "-t", "all", "-j", f"{first},999999", "-o", "%i|%T")
    assert (answer.returncode, [shape(line) for line in answer.stdout.splitlines()]) == (real.code, [shape(real.out[0])])
    real = Recording(version, "sbatch/scancel-unknown")
    answer = busy.run("scancel", "999999")
    assert (answer.returncode, answer.stdout, answer.stderr.splitlines()) == (real.code, "", real.error)


def test_accounting(busy: Cluster) -> None:
    fields = "JobID,State,ExitCode,NodeList,Partition,Reservation,Reason,SubmitLine"
    numbers = ",".join(job["id"] for job in busy.jobs())
    answer = busy.run("sacct", "-X", "-n", "-P", "-j", numbers, "-o", fields)
    ours = [line.split("|", 7) for line in answer.stdout.splitlines()]
    assert len(ours) == len(busy.jobs())
    # JobID,JobIDRaw,JobName,User,State,ExitCode,Partition,Reservation,Submit,Start,End,Timelimit,NodeList,Reason,SubmitLine
    real = []
    for version in VERSIONS:
        for line in Recording(version, "sacct").out:
            if line.count("|") == 14:
                each = line.split("|")
                real.append([each[at] for at in (0, 4, 5, 12, 6, 7, 13, 14)])
    # Accounting keeps such a job as a pending one.
    ours = [row for row in ours if row[1] != "RESV_DEL_HOLD"]
    states, recorded = by_state(ours, 1, 2, 3), by_state(real, 1, 2, 3)
    for state, kinds in states.items():
        assert kinds <= recorded[state], state
    assert {row[2] for row in ours if row[1] == "FAILED"} == {"42:0", "0:9", "0:53"}
    assert {shape(row[6]) for row in ours} <= {shape(row[6]) for row in real}
    assert all(row[7].startswith("sbatch --parsable ") for row in ours)
    # Jobs that may not start yet are only shown by number, not for a period.
    since = busy.run("sacct", "-X", "-n", "-P", "-u", str(os.getuid()), "-S", "now-2days", "-o", "JobID,SubmitLine")
    held = [job["id"] for job in busy.jobs() if job["reason"] in ("JobHeldUser", "BeginTime")]
    assert len(since.stdout.splitlines()) == len(busy.jobs()) - len(held) == len(busy.jobs()) - 2
    answer = busy.run("sacct", "-X", "-n", "-P", "-j", "999999", "-o", fields)
    assert all((answer.returncode, answer.stdout) == (Recording(each, "sacct-unknown").code, "") for each in VERSIONS)


def pairs(line: str) -> dict[str, str]:
    """`Key=Value Key=Value`."""
    return dict(word.partition("=")[::2] for word in line.split())


def test_partitions_and_reservations(busy: Cluster, version: str) -> None:
    """Each key exists in a real Slurm, the order is the same, and the value is possible."""
    for ask, name, form in (
        ("-a show partition -o", "scontrol-show-partition", "PartitionName"),
        ("show reservation -o", "scontrol-show-reservation", "ReservationName"),
    ):
        real = [pairs(line) for line in Recording(version, name).out]
        values: dict[str, set[str]] = {}
        for line in real:
            for key, value in line.items():
                values.setdefault(key, set()).add(shape(value))
        answer = busy.run("scontrol", *ask.split())
        ours = [pairs(line) for line in answer.stdout.splitlines()]
        assert answer.returncode == 0 and len(ours) == 3
        order = {key: at for at, key in enumerate(values)}
        for line in ours:
            # Keys that only other versions have.
            shared = [key for key in line if key in order]
            assert len(shared) >= len(line) - 3
            assert [order[key] for key in shared] == sorted(order[key] for key in shared)
            for key in shared:
                assert key == form or shape(line[key]) in values[key], (key, line[key], values[key])
    answer = busy.run("scontrol", "show", "reservation", "-o", env={"SLURM_TIME_FORMAT": "%s"})
    assert all(re.fullmatch(r"\d+", pairs(line)["StartTime"]) for line in answer.stdout.splitlines())


def test_a_site_without_reservations(cluster: Cluster, version: str) -> None:
    real = Recording(version, "scontrol-show-reservation-none")
    answer = cluster.run("scontrol", "show", "reservation", "-o")
    assert (answer.returncode, answer.stdout.splitlines()) == (real.code, real.out)


def test_nodes_accounts_and_settings(busy: Cluster, version: str) -> None:
    answer = busy.run("sinfo", "-h", "-a", "-o", "%P|%a|%l|%D|%T|%c|%m|%G")
    words = {"mixed", "idle"} | {line.split("|")[4] for line in Recording(version, "sinfo").out}
    kinds = {tuple(shape(each) for each in line.split("|")[1:4]) for line in Recording(version, "sinfo").out}
    for line in answer.stdout.splitlines():
        fields = line.split("|")
        assert len(fields) == 8 and fields[4] in words and tuple(shape(each) for each in fields[1:4]) in kinds
        assert fields[5:] == ["4", "4000", "(null)"]
    assert [line for line in answer.stdout.splitlines() if "*" in line][0].startswith("main*|")

    fields = "format=cluster,account,user,partition,qos,defaultqos,maxjobs,maxsubmit,maxwall,grpjobs"
    busy.limit(20)
    line = busy.run("sacctmgr", "-nP", "show", "assoc", f"user={user()}", fields).stdout.strip()
    real = Recording(version, "sacctmgr-show-assoc").out
    (alice,) = (each for each in real if "|alice|" in each)
    assert line.replace(f"|{user()}|", "|alice|").replace("|20|", "||") == alice
    assert line.split("|")[7] == next(each for each in real if "|bob|" in each).split("|")[7]

    real_config = dict(each.split("=", 1) for each in Recording(version, "scontrol-show-config").out if " = " in each)
    ours = [each.split("=", 1) for each in busy.run("scontrol", "show", "config").stdout.splitlines() if " = " in each]
    assert {"ClusterName", "SLURM_VERSION"} <= {key.strip() for key, _ in ours}
    for key, value in ours:
        assert shape(value) == shape(real_config[key]), key
    real_ping = Recording(version, "scontrol-ping")
    answer = busy.run("scontrol", "ping")
    assert (answer.returncode, answer.stdout.splitlines()) == (real_ping.code, real_ping.out)
    answer = busy.run("sbatch", "--version")
    assert [shape(answer.stdout.strip())] == [shape(each) for each in Recording(version, "sbatch-version").out]


ASKED = [version for version in VERSIONS if (RECORDED / version / "asked").is_dir()]


@pytest.fixture(params=ASKED)
def asked(request: pytest.FixtureRequest) -> str:
    """Each version with which Amore's own queries were recorded."""
    return f"{request.param}/asked"


def recorded_command(version: str, name: str) -> list[str]:
    """The command line of a recording, for the user who runs the tests."""
    first = (RECORDED / version / f"{name}.txt").read_text().splitlines()[0]
    words = shlex.split(first.removeprefix("# alice$ "))
    return [re.sub(r"\balice\b", user(), word).replace("2001", str(os.getuid())) for word in words]


def as_recorded(lines: list[str], cluster: Cluster) -> list[str]:
    """The fake's answer as that of an older Slurm to alice."""
    text = "\n".join(lines).replace(str(cluster.store.folder), "/gpfs/home/alice")
    text = text.replace(f"|{user()}|", "|alice|").replace(f"{user()}|", "alice|")
    text = text.replace(f"CANCELLED by {os.getuid()}|", "CANCELLED by 2001|")
    return sorted(re.sub(r"RaisedSignal:\d+\([^|]*\)", "JobLaunchFailure", line) for line in text.splitlines())


@pytest.fixture
def as_then(cluster: Cluster) -> Cluster:
    """With the jobs that record-asked.sh submits."""
    cluster.reserve("asked", "n3", users=(user(),))
    with cluster.store.change() as state:
        state["next_number"] = 1

    def one(*options: str, script: str) -> str:
        home = cluster.store.folder
        given = ["--job-name=r1-p1234-damnit", f"--chdir={home}", f"--output={home}/r1-p1234-%j.out", *END, *options]
        answer = cluster.run("sbatch", *ALWAYS[:4], *given, script=script)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    ends = {
        one("--comment=amore:0123abcd", script="#!/bin/sh\ntrue\n"): "COMPLETED",
        one("--comment=amore:0123abce", script="#!/bin/sh\nexit 42\n"): "FAILED",
        one("--comment=amore:0123abcf", script="#!/bin/sh\nkill -9 $$\n"): "FAILED",
        one("--output=/gpfs/nowhere/%j.out", script="#!/bin/sh\ntrue\n"): "FAILED",
        one("--comment=amore:0123abd0", "--reservation=asked", script=SLEEP): "RUNNING",
        one(script=SLEEP): "CANCELLED",
        one("--partition=down", script=SLEEP): "PENDING",
        one("--partition=down", script=SLEEP): "CANCELLED",
    }
    assert list(ends) == [str(number) for number in range(1, 9)]
    wait_until(lambda: cluster.job("6")["state"] == "RUNNING", "job 6", cluster.jobs)
    wait_until(lambda: {cluster.job(each)["reason"] for each in "78"} == {"PartitionDown"}, "the reasons", cluster.jobs)
    for number in ("6", "8"):
        assert cluster.run("scancel", number).returncode == 0
    wait_until(
        lambda: {job["id"]: job["state"] for job in cluster.jobs()} == ends, "all jobs to be where they stay", cluster.jobs
    )
    return cluster


def test_what_amore_asks_line_by_line(as_then: Cluster, asked: str) -> None:
    for name in (
        *("squeue", "squeue-exit-codes", "squeue-tokens", "squeue-token-of-job", "sacct", "sacct-tokens"),
        *("sacctmgr-show-assoc", "sacctmgr-show-user"),
    ):
        real = Recording(asked, name)
        program, *words = recorded_command(asked, name)
        answer = as_then.run(program, *words)
        assert answer.returncode == real.code, (name, answer.stderr)
        assert as_recorded(answer.stdout.splitlines(), as_then) == sorted(real.out), name
    # The fake also has other accounts and partitions.
    for name in ("sacctmgr-show-parents", "sinfo"):
        real = Recording(asked, name)
        program, *words = recorded_command(asked, name)
        ours = as_then.run(program, *words).stdout.splitlines()
        assert set(map(shape, ours)) <= set(map(shape, real.out)), name


@pytest.mark.parametrize("how", ["dead", "silent"])
def test_a_controller_that_does_not_answer(as_then: Cluster, asked: str, how: str) -> None:
    as_then.set(message_timeout=0.1)
    folder = {"dead": "dead", "silent": "hung"}[how]
    with as_then.controller(how):
        for path in sorted((RECORDED / asked / folder).glob("*.txt")):
            name = f"{folder}/{path.stem}"
            real = Recording(asked, name)
            if path.stem == "sbatch":
                answer = try_to_submit(as_then)
            else:
                program, *words = recorded_command(asked, name)
                answer = as_then.run(program, *words)
            said = (answer.returncode, answer.stdout.splitlines(), answer.stderr.splitlines())
            assert said == (real.code, real.out, real.error), name


def test_accounting_that_does_not_answer(as_then: Cluster, asked: str) -> None:
    with as_then.accounting("dead"):
        for name in ("accounting-dead/sacct", "accounting-dead/sacctmgr-show-user"):
            real = Recording(asked, name)
            program, *words = recorded_command(asked, name)
            answer = as_then.run(program, *words)
            assert (answer.returncode, answer.stderr.splitlines()) == (real.code, real.error)


def test_time_limits_and_what_a_job_leaves_behind(cluster: Cluster) -> None:
    """Everything that a job has started ends with it."""
    cluster.set(minute=0.2, kill_wait=1)
    script = "#!/bin/sh\ntrap '' TERM\nsetsid sleep 300 &\necho $! > orphan\nsleep 300\n"
    number = submit(cluster, script=script)
    wait_until(lambda: cluster.job(number)["state"] == "TIMEOUT", "the time limit", cluster.jobs)
    assert not is_alive(int((cluster.store.folder / "orphan").read_text()))


@pytest.mark.parametrize(
    "words",
    [
        "squeue -h --me",
        "squeue -h -t all -o %i|%Z",
        "squeue -t all -o %i",
        "squeue -h -t all -O JobArrayID:|,state:|",
        "sacct -X -n -P -j 1 -o JobID,AllocCPUS",
        "sacct -n -P -j 1 -o JobID",
        "scontrol show job 1",
        "scancel --signal=USR1 1",
        "sinfo -s",
        "sacctmgr show qos",
        "sbatch --wrap true",
        "sbatch --parsable --export=NONE",
    ],
)
def test_what_it_does_not_know_is_an_error(cluster: Cluster, words: str) -> None:
    answer = cluster.run(*words.split(), script=SLEEP)
    assert answer.returncode == 1 and answer.stdout == ""
    assert "the fake Slurm does not know" in answer.stderr
    # Otherwise the cluster would report at its end that it got a request that it does not support.
    unknown = cluster.store.folder / "not-known.txt"
    assert len(unknown.read_text().splitlines()) == 1
    unknown.unlink()
