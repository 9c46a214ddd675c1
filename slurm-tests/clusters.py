"""A real Slurm cluster for tests: runs commands on it, breaks parts of it, and repairs them.

There are two kinds, with the same users, accounts, partitions and nodes: in containers (compose_site.py), and without
(host_site.py).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NODES = ("n1", "n2", "n3")
USERS = ("alice", "bob", "carol")
SERVICES = ("db", "slurmdbd", "slurmctld", "postgres")
# Separates fields. No job has such a name.
FIELD = "\x1f"
SQUEUE = {
    "id": "%i",
    "array_job": "%F",
    "array_task": "%K",
    "job": "%A",
    "state": "%T",
    "name": "%j",
    "user": "%u",
    "account": "%a",
    "partition": "%P",
    "reservation": "%v",
    "comment": "%k",
    "nodes": "%N",
    "start": "%S",
    "left": "%L",
    "reason": "%r",
}
SACCT = [
    *("JobID", "JobIDRaw", "JobName", "User", "Account", "Partition", "State", "ExitCode", "Reservation"),
    *("Submit", "Start", "End", "NodeList", "SubmitLine"),
]
FINAL = [
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
]


class CommandFailed(AssertionError):
    """A command ended with an exit code other than 0, and `check` was set."""


class Running:
    """A command in the background; its output goes to files."""

    def __init__(self, argv: Sequence[str], kill: Callable[[str], None], holds_lock: Callable[[], bool]) -> None:
        self.argv = list(argv)
        self._kill = kill
        self._holds_lock = holds_lock
        self._out = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - lives as long as the command
        self._err = tempfile.TemporaryFile("w+b")  # noqa: SIM115
        self._process = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err, start_new_session=True
        )

    @staticmethod
    def _text(file: Any) -> str:
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")

    @property
    def stdout(self) -> str:
        """The standard output so far."""
        return self._text(self._out)

    @property
    def stderr(self) -> str:
        """The standard error so far."""
        return self._text(self._err)

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float = 60) -> int:
        """Its exit code; `subprocess.TimeoutExpired` if it does not end."""
        return self._process.wait(timeout)

    def signal(self, name: str = "TERM") -> None:
        """Sends a signal to the command itself and to all in its process group."""
        self._kill(name)
        if name == "CONT":
            # The process that started it for another user (runuser) has stopped with it, and would wait for ever.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """SIGSTOP, at a moment when it locks no file.

        A stopped process keeps its locks, and SQLite's locks keep everybody from the run table: other tests cover what
        happens then. It writes about once a second, so a moment between two writes is found soon.
        """
        for _ in range(20):
            self.signal("STOP")
            if not self._holds_lock():
                return
            self.signal("CONT")
            time.sleep(0.1)
        pytest.fail(f"{self.argv} locks files all the time")

    def kill(self) -> None:
        """Ends it at once."""
        if self.poll() is None:
            self.signal("KILL")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            if self.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


class Site(ABC):
    """One cluster: three nodes, slurmctld, slurmdbd, PostgreSQL and a place where users type."""

    #: The file system that all nodes share.
    shared: PurePosixPath
    #: Where proposals are: `EXTRA_DATA_DATA_ROOT`.
    data_root: PurePosixPath
    #: The product as installed.
    product: PurePosixPath
    #: A Python with extra_data, pyyaml and requests.
    python: PurePosixPath
    #: demo/ of the repository.
    demo: PurePosixPath
    #: Where slurmctld keeps its state: on which machine, and in which folder.
    controller_state: tuple[str, PurePosixPath]

    def __init__(self) -> None:
        self._controller_was_killed = False
        self._broken: dict[tuple[str, str], Callable[[], None]] = {}
        self._started: list[Running] = []
        self._notes: list[tuple[str, str]] = []

    # The operations that differ between the two kinds of site.

    @abstractmethod
    def command(
        self, user: str, argv: Sequence[str], cwd: str | None, env: Mapping[str, str], where: str, stdin: bool
    ) -> list[str]:
        """The command line to run here so that `argv` runs there."""

    @abstractmethod
    def kill_group(self, where: str, pid: int, name: str) -> None:
        """Sends a signal to a process group."""

    @abstractmethod
    def is_up(self) -> bool:
        """Whether there is a cluster to talk to."""

    @abstractmethod
    def postgres_url(self, database: str = "amore") -> str:
        """URL of a PostgreSQL database for Amore; its role may create databases."""

    @abstractmethod
    def service_pause(self, name: str) -> None:
        """Stops a service without ending it: it no longer answers, its connections stay open."""

    @abstractmethod
    def service_unpause(self, name: str) -> None:
        """Lets a paused service continue."""

    @abstractmethod
    def service_kill(self, name: str, machine: bool = False) -> None:
        """Ends a service at once, as a crash would: connections are refused.

        With `machine`, as if its machine were switched off: there is no answer at all.
        """

    @abstractmethod
    def service_start(self, name: str) -> None:
        """Starts a killed service and waits until it answers."""

    @abstractmethod
    def node_kill(self, node: str) -> None:
        """The node is switched off: slurmd and everything that runs on it ends at once."""

    @abstractmethod
    def node_start(self, node: str) -> None:
        """Switches a killed node on, without waiting: see `wait_idle`."""

    @abstractmethod
    def slurmd_kill(self, node: str) -> None:
        """Only slurmd dies; the node's jobs continue."""

    @abstractmethod
    def slurmd_start(self, node: str) -> None:
        """Starts slurmd again."""

    @abstractmethod
    def node_cut(self, node: str) -> None:
        """Cuts the node off from the network; its jobs continue, and still see the shared file system."""

    @abstractmethod
    def node_join(self, node: str) -> None:
        """Reconnects the node, with the address that it had."""

    @abstractmethod
    def data_hide(self, node: str) -> None:
        """The node does not see the proposals, as if the file system were not mounted there."""

    @abstractmethod
    def data_show(self, node: str) -> None:
        """The node sees them again."""

    @abstractmethod
    def small_file_system(self) -> contextlib.AbstractContextManager[PurePosixPath]:
        """An empty file system of 32 MiB that login and nodes share, inside a block."""

    # Commands.

    def home(self, user: str) -> PurePosixPath:
        """A user's home directory, on the shared file system."""
        return PurePosixPath("/root") if user == "root" else self.shared / "home" / user

    def _prepared(
        self, user: str, argv: Sequence[Any], cwd: Any, env: Mapping[str, str] | None, where: str, stdin: bool
    ) -> list[str]:
        # As after `module load exfel amore`.
        path = f"{self.product}/bin:{self.python.parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        everything = {"PATH": path, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", **(env or {})}
        return self.command(
            user, [str(word) for word in argv], str(cwd or self.home(user)), everything, where, stdin
        )

    def run(
        self,
        user: str,
        argv: Sequence[Any],
        cwd: Any = None,
        env: Mapping[str, str] | None = None,
        where: str = "login",
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command as a user, by default in their home on the login node, and waits for it.

        An exit code other than 0 raises `CommandFailed` if `check`; a timeout raises `subprocess.TimeoutExpired`, and
        the command is killed.
        """
        limited = ["timeout", "--kill-after=5", str(timeout), *argv]
        began = time.monotonic()
        done = subprocess.run(
            self._prepared(user, limited, cwd, env, where, stdin is not None),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout + 30,
        )
        if done.returncode in (124, 137) and time.monotonic() - began >= timeout:
            raise subprocess.TimeoutExpired([str(word) for word in argv], timeout, done.stdout, done.stderr)
        if check and done.returncode != 0:
            text = shlex.join(str(word) for word in argv)
            raise CommandFailed(f"{user}@{where}$ {text}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def start(
        self,
        user: str,
        argv: Sequence[Any],
        cwd: Any = None,
        env: Mapping[str, str] | None = None,
        where: str = "login",
    ) -> Running:
        """Starts a command in the background. If it still runs at the end of a test, it is killed."""
        note = f"/tmp/amore-test-{uuid.uuid4().hex}"
        script = 'echo $$ > "$0" && exec "$@"'
        command = self._prepared(user, ["setsid", "-w", "sh", "-c", script, note, *argv], cwd, env, where, False)

        def group() -> int:
            found = self.run("root", ["sh", "-c", f"cat {note} 2>/dev/null || sleep 0.5; cat {note}"], where=where)
            return int(found.stdout.split()[0])

        def kill(name: str) -> None:
            self.kill_group(where, group(), name)

        def holds_lock() -> bool:
            leader = str(group())
            members = self.run("root", ["ps", "-e", "-o", "pgid=,pid="], where=where).stdout.splitlines()
            mine = {pid for pgid, pid in (line.split() for line in members) if pgid == leader}
            locks = self.run("root", ["cat", "/proc/locks"], where=where).stdout.splitlines()
            return any(lock.split()[4] in mine for lock in locks)

        self._notes.append((where, note))
        running = Running(command, kill, holds_lock)
        self._started.append(running)
        return running

    def write_file(self, path: Any, text: str, user: str = "alice", mode: str | None = None) -> None:
        """Writes a file as a user; creates parent directories."""
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1"' + (f' && chmod {mode} "$1"' if mode else "")
        self.run(user, ["sh", "-c", script, "sh", path], stdin=text)

    def read_file(self, path: Any, user: str = "root") -> str:
        """The content of a file."""
        return self.run(user, ["cat", path]).stdout

    def exists(self, path: Any, user: str = "root") -> bool:
        """Whether the file exists."""
        return self.run(user, ["test", "-e", path], check=False).returncode == 0

    # Slurm.

    def scontrol(self, *arguments: str, check: bool = True, timeout: float = 60) -> str:
        """The output of scontrol, run by root."""
        return self.run("root", ["scontrol", *arguments], check=check, timeout=timeout).stdout

    def slurm_version(self) -> str:
        """For instance 22.05.8."""
        return self.run("root", ["sinfo", "--version"]).stdout.split()[-1]

    def squeue(self, *arguments: str) -> list[dict[str, str]]:
        """All jobs and array tasks in squeue, including those that ended (until MinJobAge)."""
        layout = FIELD.join(SQUEUE.values())
        text = self.run("root", ["squeue", "-a", "-h", "-r", "-t", "all", "-o", layout, *arguments]).stdout
        return [dict(zip(SQUEUE, line.split(FIELD), strict=True)) for line in text.splitlines()]

    def sacct(self, *arguments: str) -> list[dict[str, str]]:
        """All jobs in accounting, without steps. It lags by a second or two."""
        options = ["-a", "-X", "-n", "-P", f"--delimiter={FIELD}", "-o", ",".join(SACCT)]
        text = self.run("root", ["sacct", *options, *arguments]).stdout
        return [dict(zip(SACCT, line.split(FIELD), strict=True)) for line in text.splitlines()]

    def submit(
        self, user: str, script: str, *options: str, cwd: Any = None, env: Mapping[str, str] | None = None
    ) -> str:
        """Submits a shell script with sbatch and returns the job's number."""
        if not script.startswith("#!"):
            script = f"#!/bin/bash\n{script}\n"
        done = self.run(user, ["sbatch", "--parsable", *options], cwd=cwd, env=env, stdin=script)
        return done.stdout.strip().split(";")[0]

    def job(self, job: str) -> dict[str, str]:
        """One job in squeue; empty if it is not known."""
        known = self.run(
            "root", ["squeue", "-a", "-h", "-r", "-t", "all", "-o", FIELD.join(SQUEUE.values()), "-j", job], check=False
        )
        lines = known.stdout.splitlines()
        return dict(zip(SQUEUE, lines[0].split(FIELD), strict=True)) if lines else {}

    def wait_job(self, job: str, *states: str, timeout: float = 60) -> dict[str, str]:
        """Waits until squeue shows the job in one of these states (default: any final one)."""
        wanted = states or FINAL

        def there() -> dict[str, str]:
            row = self.job(job)
            return row if row.get("state") in wanted else {}

        return wait_until(there, timeout, f"job {job} in {'/'.join(wanted)}", lambda: self.job(job))

    def wait_accounted(self, job: str, timeout: float = 30) -> dict[str, str]:
        """Waits until accounting has the final state of the job."""

        def there() -> dict[str, str]:
            rows = self.sacct("-j", job)
            return rows[0] if rows and rows[0]["State"].split()[0] in FINAL else {}

        return wait_until(there, timeout, f"job {job} in sacct", lambda: self.sacct("-j", job))

    def node_states(self) -> dict[str, str]:
        """The nodes' states as sinfo prints them: `idle`, `mixed*`, `down*` …"""
        text = self.run("root", ["sinfo", "-h", "-N", "-p", "main", "-o", "%N %T"]).stdout
        return dict(line.split() for line in text.splitlines())

    def wait_node(self, node: str, *states: str, timeout: float = 60) -> None:
        """Waits until sinfo shows the node in one of these states."""
        wait_until(
            lambda: self.node_states()[node] in states, timeout, f"{node} in {'/'.join(states)}", self.node_states
        )

    def wait_idle(self, timeout: float = 60) -> None:
        """Waits until all nodes are idle."""
        wait_until(lambda: set(self.node_states().values()) == {"idle"}, timeout, "idle nodes", self.node_states)

    @contextlib.contextmanager
    def reservation(
        self,
        name: str,
        users: str = "alice",
        start: str = "now",
        minutes: int = 30,
        nodes: str = "n1",
        **more: str,
    ) -> Iterator[str]:
        """A reservation, deleted at the end with the jobs in it. `more` are further keys (Accounts=…, Flags=…)."""
        keys = {"Users": users, "StartTime": start, "Duration": str(minutes), "Nodes": nodes, **more}
        self.scontrol("create", "reservation", f"ReservationName={name}", *(f"{k}={v}" for k, v in keys.items() if v))
        try:
            yield name
        finally:
            self.reservation_delete(name)

    def reservation_delete(self, name: str) -> None:
        """Deletes a reservation, after the jobs in it."""
        script = """
            for _ in $(seq 60); do
                jobs=$(squeue -a -h -R "$1" -o %A | sort -u)
                [ -z "$jobs" ] || scancel $jobs
                out=$(scontrol delete "ReservationName=$1" 2>&1) && exit 0
                case $out in *invalid*|*"not found"*) exit 0 ;; esac
                sleep 0.3
            done
            echo "$out" >&2; exit 1
        """
        self.run("root", ["sh", "-c", script, "sh", name], timeout=60)

    # PostgreSQL.

    def psql(self, sql: str, database: str = "amore", timeout: float = 30) -> str:
        """The output of psql: unaligned, without headers."""
        options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]
        return self.run("alice", ["psql", self.postgres_url(database), *options], timeout=timeout).stdout.strip()

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a fresh, empty database, dropped at the end."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.psql(f"create database {name}")
        try:
            yield self.postgres_url(name)
        finally:
            self.psql(f"drop database {name} with (force)")

    # Faults that last for a block.

    @contextlib.contextmanager
    def paused(self, service: str) -> Iterator[None]:
        """Inside this block, a service hangs."""
        self.service_pause(service)
        try:
            yield
        finally:
            self.service_unpause(service)

    @contextlib.contextmanager
    def killed(self, service: str, machine: bool = False) -> Iterator[None]:
        """Inside this block, a service (or its whole machine) is dead."""
        self.service_kill(service, machine)
        try:
            yield
        finally:
            self.service_start(service)

    @contextlib.contextmanager
    def hidden(self, node: str) -> Iterator[None]:
        """Inside this block, a node does not see the proposals."""
        self.data_hide(node)
        try:
            yield
        finally:
            self.data_show(node)

    @contextlib.contextmanager
    def partition(self, name: str, **keys: tuple[str, str]) -> Iterator[None]:
        """Inside this block, a partition has other settings: `PreemptMode=("CANCEL", "REQUEUE")` (now, afterwards)."""
        what = f"PartitionName={name}"
        self.scontrol("update", what, *(f"{key}={inside}" for key, (inside, _) in keys.items()))
        try:
            yield
        finally:
            self.scontrol("update", what, *(f"{key}={after}" for key, (_, after) in keys.items()))

    @contextlib.contextmanager
    def drained(self, *nodes: str) -> Iterator[None]:
        """Inside this block, no new jobs start on these nodes."""
        what = f"NodeName={','.join(nodes)}"
        self.scontrol("update", what, "State=DRAIN", "Reason=maintenance")
        try:
            yield
        finally:
            self.scontrol("update", what, "State=RESUME")

    @contextlib.contextmanager
    def limited(self, *what: str, now: str, afterwards: str) -> Iterator[None]:
        """Inside this block, a limit is changed: `limited("user", "bob", now="MaxJobs=1", afterwards="MaxJobs=4")`."""
        modify = ["sacctmgr", "-i", "modify", *what, "set"]
        self.run("root", [*modify, now])
        try:
            yield
        finally:
            self.run("root", [*modify, afterwards])

    @contextlib.contextmanager
    def cut(self, node: str) -> Iterator[None]:
        """Inside this block, a node is cut off from the network."""
        self.node_cut(node)
        try:
            yield
        finally:
            self.node_join(node)

    def _breaks(self, kind: str, what: str, repair: Callable[[], None]) -> None:
        """Records what `restore` has to undo if the test does not."""
        self._broken[kind, what] = repair
        self._controller_was_killed |= (kind, what) == ("kill", "slurmctld")

    def _mended(self, kind: str, what: str) -> None:
        self._broken.pop((kind, what), None)

    def controller_saves(self, job: str) -> None:
        """Waits until slurmctld has saved what it knows about a job, so that a kill makes it forget nothing.

        It saves some seconds after a change.
        """
        where, folder = self.controller_state

        def saved() -> str:
            return self.run("root", ["stat", "-c", "%y", folder / "job_state"], where=where, check=False).stdout

        # The first time, this may be an earlier save.
        for nice in ("1", "2"):
            before = saved()
            self.scontrol("update", f"JobId={job}", f"Nice={nice}")
            wait_until(lambda before=before: saved() != before, 30, "slurmctld to write its state")

    def _fresh_numbers(self) -> None:
        """A slurmctld that was killed assigns numbers again, for which accounting and nodes know the first job."""
        used = [int(row["JobID"].split("_")[0].split("+")[0]) for row in self.sacct("-D", "-S", "now-1days")]
        while (number := int(self.submit("alice", "true", "--hold"))) <= max(used, default=0):
            self.run("root", ["scancel", str(number)])
        self.run("root", ["scancel", str(number)])

    def no_remains(self) -> None:
        """Waits until jobs that slurmctld has forgotten are gone from the nodes."""

        def remains() -> list[str]:
            found = (self.run("root", ["pgrep", "-x", "slurmstepd"], where=node, check=False).stdout for node in NODES)
            return " ".join(found).split()

        wait_until(lambda: not remains(), 30, "the end of forgotten jobs", remains)

    def wait_service(self, name: str) -> None:
        """Waits until a service answers."""
        probes: dict[str, Callable[[], bool]] = {
            "slurmctld": lambda: self.run("root", ["scontrol", "ping"], check=False).returncode == 0,
            "slurmdbd": lambda: self.run("root", ["sacctmgr", "-n", "list", "cluster"], check=False).returncode == 0,
            "db": lambda: self.run("root", ["sacctmgr", "-n", "list", "cluster"], check=False).returncode == 0,
            "postgres": lambda: (
                self.run("alice", ["psql", self.postgres_url(), "-c", "select 1"], check=False).returncode == 0
            ),
        }
        wait_until(probes[name], 60, f"{name} to answer")

    def restore(self) -> None:
        """Undoes what a test left: broken parts, running commands, jobs, reservations, nodes that are not idle."""
        for running in self._started:
            running.kill()
        self._started.clear()
        for key in list(self._broken):
            repair = self._broken.pop(key, None)
            if repair is not None:
                repair()
        while self._notes:
            where, note = self._notes.pop()
            self.run("root", ["rm", "-f", note], where=where)
        script = """
            for _ in $(seq 150); do
                jobs=$(squeue -a -h -o %A | sort -u)
                [ -z "$jobs" ] || scancel $jobs
                scontrol show reservation -o | sed -n 's/^ReservationName=\\([^ ]*\\).*/\\1/p' |
                    while read -r name; do scontrol delete "ReservationName=$name"; done
                states=$(sinfo -h -N -p main -o '%N %T')
                echo "$states" | while read -r node state; do
                    case $state in down*|drain*) scontrol update "NodeName=$node" State=RESUME ;; esac
                done
                [ -z "$jobs" ] && [ "$(echo "$states" | grep -c ' idle$')" = 3 ] && exit 0
                sleep 0.3
            done 2>/dev/null
            squeue; sinfo -N; exit 1
        """
        self.run("root", ["sh", "-c", script], timeout=90)
        if self._controller_was_killed:
            self._controller_was_killed = False
            self.no_remains()
            self._fresh_numbers()


class Proposal:
    """A fresh proposal directory in the EuXFEL format, with raw runs of made-up data, owned by a user."""

    def __init__(self, site: Site, user: str = "alice", runs: int = 3) -> None:
        self.site = site
        self.user = user
        # The directory is created first, so that two test sessions never get the same number.
        script = """
            umask 022; mkdir -p "$1" && cd "$1" || exit 1
            number=900001
            until mkdir "p$number" 2>/dev/null; do number=$((number + 1)); done
            echo "$number"
        """
        above = site.data_root / "SPB/202601"
        self.number = int(site.run("root", ["sh", "-c", script, "sh", above]).stdout)
        self.path = above / f"p{self.number:06}"
        self.raw = self.path / "raw"
        #: Where the product's files belong; there, and empty.
        self.database = self.path / "usr/Shared/amore"
        self.runs = 0
        self.add_runs(runs)
        self.site.run(user, ["mkdir", "-p", self.database])

    def add_runs(self, count: int = 1) -> None:
        """Writes further raw runs (for every second one also calibrated files); each appears complete."""
        self.runs += count
        maker = [self.site.python, self.site.demo / "make_proposal.py", "--root", self.site.data_root, "--small"]
        self.site.run("root", [*maker, "--proposal", self.number, "--runs", self.runs], timeout=120)
        self.site.run("root", ["chown", "-R", f"{self.user}:", self.path])

    def amore(self, *arguments: str, program: str = "amore", **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs one of Amore's programs as the owner, in the database directory."""
        options.setdefault("cwd", self.database)
        return self.site.run(self.user, [program, *arguments], **options)

    def start_amore(self, *arguments: str, program: str = "amore", **options: Any) -> Running:
        """Starts one of Amore's programs as the owner, in the database directory."""
        options.setdefault("cwd", self.database)
        return self.site.start(self.user, [program, *arguments], **options)

    def remove(self) -> None:
        """Removes it with everything in it."""
        self.site.run("root", ["rm", "-rf", self.path])


def wait_until(
    condition: Callable[[], Any], timeout: float, what: str, seen: Callable[[], Any] | None = None, pause: float = 0.2
) -> Any:
    """The first true value of `condition`; fails after `timeout` seconds with what was seen instead."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail(f"waited {timeout} s for {what}" + (f"; seen: {seen()}" if seen else ""))
        time.sleep(pause)
