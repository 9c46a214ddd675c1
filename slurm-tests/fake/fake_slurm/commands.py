"""The query commands and scancel; chooses the command by its name."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import submit
from .node import spool
from .options import NotKnown, needed, short
from .store import ACTIVE, BUSY, OVER, Job, State, Store, nodes_of, numbered
from .texts import DEAD, NO_DATABASE, NO_RESERVATIONS, SILENT, UNKNOWN_JOB, Refusal

PARTITION = (
    "PartitionName={name} AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default={default} QoS=N/A "
    "DefaultTime=00:10:00 DisableRootJobs=NO ExclusiveUser=NO ExclusiveTopo=NO GraceTime=0 Hidden={hidden} "
    "MaxNodes=UNLIMITED MaxTime={time} MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED MaxCPUsPerSocket=UNLIMITED "
    "NodeSets=ALL Nodes={nodes} "
    "PriorityJobFactor=1 PriorityTier=10 RootOnly=NO ReqResv={reserved_only} OverSubscribe=NO "
    "OverTimeLimit=NONE PreemptMode=OFF "
    "State={state} TotalCPUs={cpus} TotalNodes={count} SelectTypeParameters=NONE JobDefaults=(null) "
    "DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED TRES=cpu={cpus},mem={mem}M,node={count},billing={cpus}"
)
RESERVATION = (
    "ReservationName={name} StartTime={start} EndTime={end} Duration={duration} Nodes={nodes} NodeCnt={count} "
    "CoreCnt={cpus} Features=(null) PartitionName=(null) Flags=SPEC_NODES TRES=cpu={cpus} Users={users} Groups=(null) "
    "Accounts={accounts} Licenses=(null) State={state} BurstBuffer=(null) MaxStartDelay=(null)"
)
QUEUE: dict[str, Callable[[Job], str]] = {
    "%i": lambda job: job["id"],
    "%T": lambda job: job["state"],
    "%N": lambda job: ",".join(job["nodes"]),
    "%P": lambda job: job["partition"],
    "%v": lambda job: job["reservation"] or "(null)",
    "%j": lambda job: job["name"],
    "%k": lambda job: job["comment"] or "(null)",
    "%r": lambda job: job["reason"],
}
SHOWN = (
    "JobId={id} JobName={name} UserId={user}({uid}) Priority=1 Nice={nice} Account={account} QOS={qos} "
    "JobState={state} Reason={reason} Dependency=(null) Requeue=0 Restarts={restarts} BatchFlag=1 "
    "Reboot=0 ExitCode={exit} Partition={partition} "
    "ReqNodeList=(null) ExcNodeList=(null) NodeList={nodes} NumNodes={wanted_nodes} Reservation={reservation} "
    "OverSubscribe=OK Command=(null) WorkDir={chdir} Comment={comment} StdOut={output}"
)
# `NAME:|` is as wide as the value, followed by a bar.
LONG_QUEUE: dict[str, Callable[[Job], str]] = {
    "JobArrayID:|": lambda job: job["id"] + "|",
    "exit_code:|": lambda job: f"{wait_status(job)}|",
}
ACCOUNTING: dict[str, Callable[[Job], str]] = {
    "JobID": lambda job: job["id"],
    "State": lambda job: f"CANCELLED by {job['by']}" if job["state"] == "CANCELLED" else accounted_state(job),
    "ExitCode": lambda job: job["exit"],
    "NodeList": lambda job: ",".join(job["nodes"]) or "None assigned",
    "Partition": lambda job: job["partition"],
    "Reservation": lambda job: job["reservation"],
    "Reason": lambda job: job["reason"] if job["reason"].startswith("Partition") else "None",
    "SubmitLine": lambda job: job["line"],
    "Comment": lambda job: job["comment"],
}
ASSOCIATION = {
    "cluster": lambda state: state["settings"]["cluster"],
    "account": lambda state: state["person"]["account"],
    "user": lambda state: submit.user(),
    "partition": lambda state: "",
    "qos": lambda state: ",".join(sorted(state["person"]["qos"])),
    "defaultqos": lambda state: "",
    "maxjobs": lambda state: "",
    "maxsubmit": lambda state: str(state["person"]["max_submitted"] or ""),
    "maxwall": lambda state: "",
    "grpjobs": lambda state: "",
}


def wait_status(job: Job) -> int:
    """The status of wait(2), as squeue prints it; for a launch failure, a signal with another value above it."""
    if job["exit"] == "0:53":
        return 4021
    if job["state"] in ("CANCELLED", "TIMEOUT", "PREEMPTED") and job["nodes"]:
        # Accounting shows this as 0:0.
        return 15
    code, number = map(int, job["exit"].split(":"))
    return code << 8 | number


# Variables that would change an answer.
TELLING = ("SBATCH_", "SQUEUE_", "SACCT_", "SCONTROL_", "SINFO_")


def accounted_state(job: Job) -> str:
    """Accounting does not learn that a job is completing."""
    return "RUNNING" if job["state"] == "COMPLETING" else str(job["state"])


def reach(store: Store, prefix: str, dead: int = 1, silent: int = 1) -> State:
    """The state of the controller, if it answers; exits if it does not."""
    state = store.read()
    trouble = state["trouble"]["controller"]
    if trouble == "dead":
        raise Refusal(prefix + DEAD, dead)
    if trouble == "slow":
        time.sleep(state["settings"]["slow"])
    deadline = time.monotonic() + state["settings"]["message_timeout"]
    while store.read()["trouble"]["controller"] == "silent":
        if time.monotonic() > deadline:
            raise Refusal(prefix + SILENT, silent)
        store.wait(store.stamp(), 0.1)
    return store.read()


def squeue(store: Store, words: list[str]) -> str:
    """Jobs in the queue."""
    found, others = short(words, ("-h", "-a", "-r"), ("-t", "-u", "-j", "-o", "-O"))
    needed(found, "-h")
    if others or found.get("-t", "all") != "all":
        raise NotKnown(" ".join(words))
    state = reach(store, "slurm_load_jobs error: ")
    jobs = [job for job in state["jobs"] if "-t" in found or job["state"] in ACTIVE]
    if "-u" in found:
        jobs = [job for job in jobs if found["-u"] in (str(job["uid"]), job["user"])]
    if "-j" in found:
        if not any(numbered(state, number) for number in found["-j"].split(",")):
            raise Refusal(UNKNOWN_JOB)
        jobs = [job for job in jobs if job["id"] in found["-j"].split(",")]
    if "-O" in found:
        columns = [known(LONG_QUEUE, name) for name in found["-O"].split(",")]
        return "\n".join("".join(column(job) for column in columns) for job in jobs)
    columns = [known(QUEUE, name) for name in found["-o"].split("|")]
    return "\n".join("|".join(column(job) for column in columns) for job in jobs)


def sacct(store: Store, words: list[str]) -> str:
    """Jobs in accounting; only the latest with each number."""
    found, others = short(words, ("-X", "-n", "-P"), ("-j", "-u", "-S", "-o"))
    needed(found, "-X", "-n", "-P", "-o")
    if others or ("-j" in found) == ("-u" in found) or found.get("-S", "now-2days") != "now-2days":
        raise NotKnown(" ".join(words))
    state = accounting(store, "sacct: error: ", "Problem talking to the database: ")
    columns = [known(ACCOUNTING, name) for name in found["-o"].split(",")]
    records = {record["id"]: record for record in state["accounting"]}.values()
    if "-j" in found:
        shown = [record for record in records if record["id"] in found["-j"].split(",")]
    else:
        # Jobs that are not eligible yet are outside of the requested period.
        shown = [each for each in records if found["-u"] == str(each["uid"]) and each["eligible"]]
    return "\n".join("|".join(column(record) for column in columns) for record in shown)


def sacctmgr(store: Store, words: list[str]) -> str:
    """The associations of the caller."""
    state = accounting(store, "sacctmgr: error: ")
    person, cluster, user = state["person"], state["settings"]["cluster"], submit.user()
    if words[:3] == ["-nP", "show", "assoc"] and words[3:4] == [f"user={user}"]:
        columns = [known(ASSOCIATION, name) for name in words[4].removeprefix("format=").split(",")]
        return "|".join(column(state) for column in columns)
    if words == ["-nP", "show", "user", user, "format=user,defaultaccount"]:
        return f"{user}|{person['account']}"
    if words == ["-nP", "show", "assoc", "user=", "format=cluster,account,user,parentname"]:
        return f"{cluster}|root||\n{cluster}|{person['account']}||root"
    raise NotKnown(" ".join(words))


def accounting(store: Store, prefix: str, *more: str) -> State:
    """The state of accounting, if there is one that answers."""
    state = store.read()
    trouble = state["trouble"]["accounting"]
    if trouble == "absent":
        raise Refusal("Slurm accounting storage is disabled")
    if trouble == "dead":
        raise Refusal("\n".join(f"{prefix}{words}Connection timed out" for words in (*NO_DATABASE, *more)))
    return state


def scancel(store: Store, words: list[str]) -> str:
    """Cancels a job; prints nothing about unknown ones."""
    _, others = short(words, (), ())
    if len(others) != 1 or not others[0].isdigit():
        raise NotKnown(" ".join(words))
    reach(store, f"scancel: error: Kill job error on job id {others[0]}: ", dead=8, silent=140)
    with store.change() as state:
        job = numbered(state, others[0])
        if job is None or job["state"] in OVER:
            return ""
        job["by"] = os.getuid()
        if job["state"] in BUSY:
            job["told"] = {"state": "CANCELLED"}
        else:
            job["state"] = "CANCELLED"
    return ""


def scontrol(store: Store, words: list[str]) -> str:
    """The state of the controller, and what it manages."""
    if words == ["ping"]:
        try:
            reach(store, "")
        except Refusal:
            # Printed on standard output, although it is a failure.
            print("Slurmctld(primary) at slurmctld is DOWN")
            raise Refusal("") from None
        return "Slurmctld(primary) at slurmctld is UP"
    if words == ["show", "config"]:
        return config(reach(store, "slurm_load_ctl_conf error: "))
    if words[:3] == ["-o", "show", "job"] and len(words) == 4:
        job = numbered(reach(store, "slurm_load_jobs error: "), words[3])
        if job is None:
            raise Refusal(UNKNOWN_JOB)
        shown = {**job, "nodes": ",".join(job["nodes"]), "reservation": job["reservation"] or "(null)"}
        return SHOWN.format(**shown)
    if words[:2] == ["write", "batch_script"] and words[3:] == ["-"]:
        job = numbered(reach(store, "job script retrieval failed: "), words[2])
        if job is None:
            raise Refusal("job script retrieval failed: Invalid job id specified")
        return (spool(store, job) / "slurm_script").read_text()
    if words == ["show", "reservation", "-o"]:
        return reservations(reach(store, "slurm_load_reservations error: "))
    if words == ["-a", "show", "partition", "-o"]:
        return partitions(reach(store, "slurm_load_partitions error: "))
    raise NotKnown(" ".join(words))


def config(state: State) -> str:
    """The relevant lines of about two hundred."""
    settings = state["settings"]
    lines = {
        "ClusterName": settings["cluster"],
        "MessageTimeout": f"{settings['message_timeout']} sec",
        "SLURM_VERSION": settings["version"],
    }
    pairs = [f"{name:<23} = {value}" for name, value in lines.items()]
    return "\n".join([f"Configuration data as of {moment(time.time())}", *pairs])


def partitions(state: State) -> str:
    """A line for each."""
    lines = []
    for name, each in state["partitions"].items():
        nodes = {node: state["nodes"][node] for node in nodes_of(state, name)}
        lines.append(
            PARTITION.format(
                name=name,
                default="YES" if each["default"] else "NO",
                hidden="YES" if each["hidden"] else "NO",
                reserved_only="YES" if each["reserved_only"] else "NO",
                time=days(each["max_minutes"]),
                nodes=node_list(list(nodes)),
                state=each["state"],
                cpus=sum(node["cpus"] for node in nodes.values()),
                mem=sum(node["mem"] for node in nodes.values()),
                count=len(nodes),
            )
        )
    return "\n".join(lines)


def reservations(state: State) -> str:
    """A line for each, or a message if there are none."""
    lines = [
        RESERVATION.format(
            name=name,
            start=moment(each["start"]),
            end=moment(each["end"]),
            duration=days(int(each["end"] - each["start"]) // 60, "-"),
            nodes=node_list(each["nodes"]),
            count=len(each["nodes"]),
            cpus=sum(state["nodes"][node]["cpus"] for node in each["nodes"]),
            users=",".join(each["users"]) or "(null)",
            accounts=",".join(each["accounts"]) or "(null)",
            state="ACTIVE" if each["start"] <= time.time() < each["end"] else "INACTIVE",
        )
        for name, each in state["reservations"].items()
    ]
    return "\n".join(lines) or NO_RESERVATIONS


def sinfo(store: Store, words: list[str]) -> str:
    """The nodes of each partition, by state."""
    if words != ["-h", "-a", "-o", "%P|%a|%l|%D|%T|%c|%m|%G"]:
        raise NotKnown(" ".join(words))
    state = reach(store, "slurm_load_partitions: ")
    lines = []
    for name, each in state["partitions"].items():
        groups: dict[tuple[str, int, int], int] = {}
        for node in nodes_of(state, name):
            facts = state["nodes"][node]
            busy = sum(job["cpus"] for job in state["jobs"] if node in job["nodes"] and job["state"] in BUSY)
            word = "idle" if not busy else "mixed" if busy < facts["cpus"] else "allocated"
            if facts.get("drained"):
                word = "draining" if busy else "drained"
            kind = (word, facts["cpus"], facts["mem"])
            groups[kind] = groups.get(kind, 0) + 1
        up = "up" if each["state"] == "UP" else "down"
        star = "*" if each["default"] else ""
        lines += [
            f"{name}{star}|{up}|{days(each['max_minutes'], '')}|{count}|{word}|{cpus}|{mem}|(null)"
            for (word, cpus, mem), count in groups.items()
        ]
    return "\n".join(lines)


def node_list(names: list[str]) -> str:
    """`n[1-3]`."""
    if len(names) == 1:
        return names[0]
    return f"n[{names[0][1:]}-{names[-1][1:]}]"


def moment(at: float) -> str:
    """Formats a time according to the caller's SLURM_TIME_FORMAT."""
    style = os.environ.get("SLURM_TIME_FORMAT", "")
    if style not in ("", "%s"):
        raise NotKnown(f"SLURM_TIME_FORMAT={style}")
    return str(int(at)) if style else time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(at))


def days(minutes: int, style: str = "-") -> str:
    """`1-00:00:00` and `00:01:00`; in sinfo's short form `1:00`."""
    whole, rest = divmod(minutes, 1440)
    if whole:
        return f"{whole}-{rest // 60:02}:{rest % 60:02}:00"
    if style:
        return f"{rest // 60:02}:{rest % 60:02}:00"
    return f"{rest // 60}:{rest % 60:02}:00" if rest >= 60 else f"{rest}:00"


def known(columns: dict[str, Callable[[dict], str]], name: str) -> Callable[[dict], str]:
    """The column with this name."""
    if name not in columns:
        raise NotKnown(f"the field {name}")
    return columns[name]


COMMANDS = {
    "sbatch": submit.sbatch,
    "squeue": squeue,
    "sacct": sacct,
    "scontrol": scontrol,
    "scancel": scancel,
    "sinfo": sinfo,
    "sacctmgr": sacctmgr,
}


def main() -> int:
    """Acts as the command whose name it was called with; the folder of that link is in the cluster's folder."""
    link = Path(sys.argv[0]).absolute()
    program, words = link.name, sys.argv[1:]
    store = Store(link.parent.parent)
    store.note("calls.txt", " ".join([program, *words]))
    try:
        told = sorted(name for name in os.environ if name.startswith(TELLING))
        if told:
            raise NotKnown(f"environment variables {', '.join(told)}")
        if words == ["--version"]:
            answer = f"slurm-wlm {store.read()['settings']['version']}"
        else:
            answer = COMMANDS[program](store, words)
    except Refusal as refusal:
        if str(refusal):
            print(refusal, file=sys.stderr)
        return refusal.code
    except NotKnown as what:
        store.note("not-known.txt", f"{program}: {what}")
        print(f"{program}: error: the fake Slurm does not know {what}", file=sys.stderr)
        return 1
    if answer:
        print(answer)
    return 0
