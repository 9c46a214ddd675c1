"""sbatch: accepts a job, or refuses it with Slurm's message."""

from __future__ import annotations

import os
import pwd
import sys
import time

from . import node
from .options import NotKnown, long, needed
from .store import OVER, Job, State, Store, nodes_of, numbered
from .texts import DEAD, FAILED, SILENT, Refusal, refusal

FLAGS = ("--parsable", "--export=ALL", "--open-mode=append", "--no-requeue")
VALUED = (
    *("--job-name", "--comment", "--chdir", "--output"),
    *("--reservation", "--partition", "--account", "--qos", "--clusters", "--constraint", "--exclude"),
    *("--time", "--cpus-per-task", "--mem", "--gpus", "--nodes", "--ntasks", "--nice"),
)


def sbatch(store: Store, words: list[str]) -> str:
    """Its output, once the job is in the queue."""
    asked = long(words, FLAGS, VALUED)
    needed(asked, *FLAGS, "--job-name", "--chdir", "--output", "--time", "--nodes", "--ntasks")
    script = sys.stdin.buffer.read()
    if not script.strip():
        raise refusal("script-empty")
    if not script.startswith(b"#!"):
        raise refusal("script-without-interpreter")
    with store.change() as state:
        trouble = state["trouble"]["submissions"]
        told = trouble.pop(0) if trouble else {}
        silent = state["trouble"]["controller"] == "silent"
        if state["trouble"]["controller"] == "dead":
            raise Refusal(FAILED + DEAD)
        # Raised later: an exception would leave the state unchanged, and the next submission would get the same fault.
        job = None if "refuse" in told else take(state, asked, words, told)
    if job is None:
        raise refusal(told["refuse"], partition=asked.get("--partition", ""))
    if job["state"] in OVER:
        raise refusal(job["unfit"])
    spool = node.spool(store, job)
    spool.mkdir(parents=True)
    (spool / "slurm_script").write_bytes(script)
    (spool / "slurm_script").chmod(0o700)
    node.start(store, job["key"])
    if silent:
        wait_for_controller(store)
    if told.get("lose_answer"):
        raise Refusal(FAILED + SILENT)
    cluster = asked.get("--clusters")
    return f"{job['id']};{cluster}" if cluster else job["id"]


def wait_for_controller(store: Store) -> None:
    """The controller has the job but does not answer: the client gives up after a while."""
    deadline = time.monotonic() + store.read()["settings"]["message_timeout"]
    while store.read()["trouble"]["controller"] == "silent":
        if time.monotonic() > deadline:
            raise Refusal(FAILED + SILENT)
        store.wait(store.stamp(), 0.1)


def take(state: State, asked: dict[str, str], words: list[str], told: dict[str, str]) -> Job:
    """Puts a new job in the queue. One that requests nodes that do not exist is refused, but kept as a failed job."""
    partition = asked.get("--partition") or next(name for name, each in state["partitions"].items() if each["default"])
    unfit = check(state, asked, partition)
    number = told.get("number") or str(state["next_number"])
    state["next_number"] = max(state["next_number"], int(number) + 1)
    if (old := numbered(state, number)) is not None:
        state["jobs"].remove(old)
    state["submitted"] += 1
    job: Job = {
        "key": state["submitted"],
        "id": number,
        "uid": os.getuid(),
        "user": user(),
        "name": asked["--job-name"],
        "comment": asked.get("--comment", ""),
        "chdir": asked["--chdir"],
        "output": asked["--output"],
        "reservation": asked.get("--reservation", ""),
        "partition": partition,
        "account": asked.get("--account", state["person"]["account"]),
        "qos": asked.get("--qos", "normal"),
        "minutes": integer(asked, "--time"),
        "cpus": integer(asked, "--cpus-per-task"),
        "mem": asked.get("--mem", ""),
        # Recorded without effect: jobs start where they fit.
        "nice": integer(asked, "--nice") if "--nice" in asked else 0,
        "wanted_nodes": integer(asked, "--nodes"),
        # For --export=ALL.
        "environment": dict(os.environ),
        "exclude": [name for name in asked.get("--exclude", "").split(",") if name],
        "line": " ".join(["sbatch", *words]),
        "state": "PENDING",
        "reason": told.get("hold", "None"),
        # Only a release lets a held job start.
        "held": told.get("hold", ""),
        "eligible": told.get("hold", "") not in ("JobHeldUser", "JobHeldAdmin", "BeginTime"),
        "launch_fails": bool(told.get("fail_launch")),
        "nodes": [],
        "exit": "0:0",
        "by": None,
        "told": None,
        "begun": None,
        "unfit": unfit,
        # How often it was requeued, and until when it waits at least.
        "restarts": 0,
        "not_before": 0.0,
        "requeue": False,
    }
    if unfit:
        job.update(state="FAILED", reason="BadConstraints", exit="1:0")
    state["jobs"].append(job)
    return job


def check(state: State, asked: dict[str, str], partition: str) -> str:
    """Raises Slurm's refusal, or returns the name of a refusal for which Slurm keeps a job."""
    unfit = ""
    if len(asked["--job-name"]) > 1024:
        raise refusal("name-too-long")
    if partition not in state["partitions"]:
        raise refusal("partition-unknown", partition=partition)
    for name in filter(None, asked.get("--reservation", "").split(",")):
        found = state["reservations"].get(name)
        if found is None:
            raise refusal("reservation-unknown")
        # Root may use reservations of others.
        if found["users"] and os.getuid() != 0 and user() not in found["users"]:
            raise refusal("reservation-not-permitted")
        if found["accounts"] and asked.get("--account", state["person"]["account"]) not in found["accounts"]:
            raise refusal("reservation-not-permitted")
        if found["end"] <= time.time():
            raise refusal("reservation-over")
        if integer(asked, "--nodes") > len(set(found["nodes"]) & set(nodes_of(state, partition))):
            unfit = "reservation-too-small"
    if state["partitions"][partition]["reserved_only"] and not asked.get("--reservation"):
        raise Refusal(FAILED + "Access/permission denied")
    person = state["person"]
    if asked.get("--account", person["account"]) != person["account"]:
        raise refusal("account-unknown")
    if asked.get("--qos", "normal") not in person["qos"]:
        raise refusal("qos-unknown")
    if "--constraint" in asked:
        raise refusal("feature-unknown")
    if "--gpus" in asked:
        raise refusal("gres-unknown")
    mem = asked.get("--mem", "0M")
    if not mem.endswith("M"):
        raise NotKnown(f"the unit in --mem={mem}")
    if int(mem[:-1]) > max(each["mem"] for each in state["nodes"].values()):
        unfit = "memory-too-much"
    if set(filter(None, asked.get("--exclude", "").split(","))) - set(state["nodes"]):
        raise refusal("node-unknown")
    if asked.get("--clusters", state["settings"]["cluster"]) != state["settings"]["cluster"]:
        raise NotKnown(f"the cluster {asked['--clusters']}")
    node.log_path(asked["--output"], "0")
    in_queue = [job for job in state["jobs"] if job["state"] not in OVER]
    qos = asked.get("--qos", "normal")
    most = state["qos"].get(qos, {}).get("max_submitted")
    if most is not None and sum(job["qos"] == qos for job in in_queue) >= most:
        raise refusal("qos-limit")
    if person["max_submitted"] is not None and len(in_queue) >= person["max_submitted"]:
        raise refusal("limit-of-submitted-jobs")
    return unfit


def integer(asked: dict[str, str], name: str) -> int:
    """An option that must be a number; 1 if it is not given."""
    value = asked.get(name, "1")
    if not value.isdigit():
        raise NotKnown(f"{name}={value}")
    return int(value)


def user() -> str:
    """Name of the caller."""
    return pwd.getpwuid(os.getuid()).pw_name
