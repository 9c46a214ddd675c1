"""A job on its node: one process that waits for its turn, executes the script, and records how it ended."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional

from .options import NotKnown
from .store import BUSY, OVER, Job, State, Store, find, nodes_of
from .texts import EXIT_CODES, NODES_OUT_OF_SERVICE, NOT_STARTED, REASONS

PR_SET_CHILD_SUBREAPER = 36


def spool(store: Store, job: Job) -> Path:
    """The folder with the copy of the script that is executed."""
    return store.folder / "spool" / f"job{job['key']:05}"


def log_path(pattern: str, number: str) -> Path:
    """The path from `--output`: `%j` is the job's number, `%%` a `%`."""

    def filled(match: re.Match[str]) -> str:
        if match[0] not in ("%j", "%%"):
            raise NotKnown(f"{match[0]} in --output={pattern}")
        return {"%j": number, "%%": "%"}[match[0]]

    return Path(re.sub("%.?", filled, pattern))


def start(store: Store, key: int) -> None:
    """Starts a detached process."""
    sys.stdout.flush()
    sys.stderr.flush()
    if child := os.fork():
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.closerange(3, 256)
    try:
        Node(store, key).run()
    except BaseException as error:
        if store.path.exists():
            store.note("not-known.txt", f"the node of job {key}: {type(error).__name__}: {error}")
    finally:
        # Whatever happened, the folder of the cluster may be gone: stop.
        for pid in descendants():
            hit(pid, signal.SIGKILL)
        os._exit(0)


class Node:
    """Executes a job."""

    def __init__(self, store: Store, key: int) -> None:
        self.store = store
        self.key = key

    def run(self) -> None:
        """From the queue to the end."""
        # Processes left behind by the script become our children, so that they can be found.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        # More than once only if it is requeued.
        while (job := self.turn()) is not None:
            process = None if job["launch_fails"] else self.launch(job)
            if process is None:
                self.ended("FAILED", "0:53", NOT_STARTED)
                return
            self.follow(job, process)

    def turn(self) -> Optional[Job]:
        """Waits until the job may start; None if it is over before, or nobody waits for it any more."""
        while self.has_owner():
            stamp = self.store.stamp()
            with self.store.change() as state:
                job = find(state, self.key)
                if job is None or job["state"] != "PENDING":
                    return None
                job["reason"], nodes = placed(state, job)
                if nodes:
                    job.update(state="RUNNING", nodes=nodes, begun=time.time(), pid=os.getpid())
                    return job
            self.store.wait(stamp, 0.5)
        return None

    def has_owner(self) -> bool:
        """Whether the test that created the cluster still runs."""
        try:
            os.kill(self.store.read()["owner"], 0)
        except (OSError, ValueError):
            return False
        return True

    def launch(self, job: Job) -> Optional[subprocess.Popen[bytes]]:
        """Executes the script; None if its folder or the folder of its log is missing."""
        try:
            with open(log_path(job["output"], job["id"]), "ab") as log:
                return subprocess.Popen(
                    [str(spool(self.store, job) / "slurm_script")],
                    cwd=job["chdir"],
                    env=environment(self.store, job),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError:
            return None

    def follow(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        """Waits until the script has ended, or has to be ended."""
        limit = job["begun"] + job["minutes"] * self.store.read()["settings"]["minute"]
        stamp: tuple[int, ...] = ()
        looked = 0.0
        while process.poll() is None:
            if self.store.stamp() != stamp or time.monotonic() - looked > 1:
                stamp, looked = self.store.stamp(), time.monotonic()
                state = self.store.read()
                known = find(state, self.key)
                forgotten = known is None and self.key not in state["orphans"]
                if forgotten or (known and known["told"]) or not self.has_owner():
                    self.end(process, known)
                    return
            if time.time() > limit:
                limit = float("inf")
                with self.store.change() as state:
                    if (known := find(state, self.key)) is not None and not known["told"]:
                        known["told"] = {"state": "TIMEOUT"}
            time.sleep(0.03)
        code = process.returncode
        if code == 0:
            self.ended("COMPLETED", "0:0")
        elif code > 0:
            self.ended("FAILED", f"{code}:0", "NonZeroExitCode")
        else:
            self.ended("FAILED", f"0:{-code}", f"RaisedSignal:{-code}({signal.strsignal(-code)})")

    def end(self, process: subprocess.Popen[bytes], job: Optional[Job]) -> None:
        """Ends everything that the job has started: with notice, unless its node or the cluster is gone."""
        if job is not None and job["told"] and not job["told"].get("suddenly"):
            with self.store.change() as state:
                if (known := find(state, self.key)) is not None:
                    known["state"] = "COMPLETING"
            self.note_in_log(job)
            for pid in descendants():
                hit(pid, signal.SIGTERM)
                hit(pid, signal.SIGCONT)
            deadline = time.monotonic() + self.store.read()["settings"]["kill_wait"]
            while descendants() and time.monotonic() < deadline:
                reap(process)
                time.sleep(0.03)
        while found := descendants():
            for pid in found:
                hit(pid, signal.SIGKILL)
            reap(process)
            time.sleep(0.03)
        if job is not None and job["told"]:
            self.ended(job["told"]["state"])

    def note_in_log(self, job: Job) -> None:
        """Writes the line that slurmstepd writes to the log of a job that it ends."""
        words = {
            "TIMEOUT": " DUE TO TIME LIMIT",
            "PREEMPTED": " DUE TO PREEMPTION",
            "PENDING": " DUE TO JOB REQUEUE",
        }
        why = words.get(job["told"]["state"], "")
        at = time.strftime("%Y-%m-%dT%H:%M:%S")
        with open(log_path(job["output"], job["id"]), "a") as log:
            log.write(f"slurmstepd: error: *** JOB {job['id']} ON {job['nodes'][0]} CANCELLED AT {at}{why} ***\n")

    def ended(self, how: str, code: Optional[str] = None, reason: Optional[str] = None) -> None:
        """Records the end, if the controller still knows the job."""
        with self.store.change() as state:
            job = find(state, self.key)
            if job is None or job["state"] in OVER:
                return
            if how == "PENDING":
                later = time.time() + state["settings"]["requeue_wait"]
                job.update(state=how, exit="0:0", reason="BeginTime", nodes=[], told=None, not_before=later)
                job["restarts"] += 1
                return
            job.update(state=how, exit=code or EXIT_CODES.get(how, "0:0"), reason=reason or REASONS[how], told=None)


def placed(state: State, job: Job) -> tuple[str, list[str]]:
    """Why a job waits, or the nodes for it."""
    if job["held"]:
        return job["held"], []
    if job["not_before"] > time.time():
        return "BeginTime", []
    if state["trouble"]["controller"] in ("silent", "dead"):
        return job["reason"], []
    partition = state["partitions"][job["partition"]]
    if partition["state"] != "UP":
        return "PartitionDown", []
    if job["minutes"] > partition["max_minutes"]:
        return "PartitionTimeLimit", []
    possible = set(nodes_of(state, job["partition"]))
    if job["wanted_nodes"] > len(possible):
        return "PartitionNodeLimit", []
    if job["cpus"] > max(state["nodes"][name]["cpus"] for name in possible):
        return "PartitionConfig", []
    running = [other for other in state["jobs"] if other["state"] in BUSY]
    limits = state["qos"].get(job["qos"], {})
    if job["minutes"] > limits.get("max_minutes", job["minutes"]):
        return "QOSMaxWallDurationPerJobLimit", []
    if sum(other["qos"] == job["qos"] for other in running) >= limits.get("max_jobs", len(running) + 1):
        return "QOSMaxJobsPerUserLimit", []
    if all(state["nodes"][name].get("drained") for name in possible):
        return NODES_OUT_OF_SERVICE, []
    if job["reservation"]:
        names = job["reservation"].split(",")
        now = time.time()
        begun = [
            each
            for name, each in state["reservations"].items()
            if name in names and each["start"] <= now < each["end"]
        ]
        if not begun:
            return "Reservation", []
        possible &= {name for each in begun for name in each["nodes"]}
    free = [
        name
        for name, each in state["nodes"].items()
        if name in possible
        and name not in job["exclude"]
        and not each.get("drained")
        and each["cpus"] - sum(other["cpus"] for other in running if name in other["nodes"]) >= job["cpus"]
    ]
    if len(free) < job["wanted_nodes"]:
        return "Resources", []
    return "None", free[: job["wanted_nodes"]]


def environment(store: Store, job: Job) -> dict[str, str]:
    """The result of `--export=ALL`: the environment of sbatch, and Slurm's own variables."""
    state = store.read()
    found = {
        **job["environment"],
        "TMPDIR": "/tmp",
        "ENVIRONMENT": "BATCH",
        "HOSTNAME": job["nodes"][0],
        "SLURM_JOB_ID": job["id"],
        "SLURM_JOBID": job["id"],
        "SLURM_JOB_NAME": job["name"],
        "SLURM_JOB_PARTITION": job["partition"],
        "SLURM_JOB_ACCOUNT": job["account"],
        "SLURM_JOB_QOS": job["qos"],
        "SLURM_JOB_NODELIST": ",".join(job["nodes"]),
        "SLURM_NODELIST": ",".join(job["nodes"]),
        "SLURM_JOB_NUM_NODES": str(job["wanted_nodes"]),
        "SLURM_NNODES": str(job["wanted_nodes"]),
        "SLURM_JOB_USER": job["user"],
        "SLURM_JOB_UID": str(job["uid"]),
        "SLURM_SUBMIT_DIR": job["chdir"],
        "SLURM_CLUSTER_NAME": state["settings"]["cluster"],
        "SLURMD_NODENAME": job["nodes"][0],
        "SLURM_JOB_START_TIME": str(int(job["begun"])),
        "SLURM_JOB_END_TIME": str(int(job["begun"] + 60 * job["minutes"])),
    }
    if job["restarts"]:
        found["SLURM_RESTART_COUNT"] = str(job["restarts"])
    if "--cpus-per-task=" in job["line"]:
        found["SLURM_CPUS_PER_TASK"] = str(job["cpus"])
    if job["mem"]:
        found["SLURM_MEM_PER_NODE"] = job["mem"].rstrip("M")
    if job["reservation"]:
        found["SLURM_JOB_RESERVATION"] = job["reservation"]
    return found


def descendants() -> list[int]:
    """All running processes that descend from this one."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            parents[int(folder.name)] = int(parent)
    found: list[int] = []
    wanted = [os.getpid()]
    while wanted:
        above = wanted.pop()
        below = [pid for pid, parent in parents.items() if parent == above]
        found += below
        wanted += below
    return found


def hit(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def reap(process: subprocess.Popen[bytes]) -> None:
    """Reaps the script, and the processes that it left behind."""
    process.poll()
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
