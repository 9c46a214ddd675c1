"""What a command costs: wall time, CPU time of every process that it starts, and the peak memory of these
processes.

CPU time comes from `wait4`: the kernel reports the times of a process, and those of the children that it
waited for, to the parent that waits for it. Descendants whose parent has already ended are reparented to
this process (it is their "subreaper") and are counted too. A command that leaves a process running is an
error, because that process would affect other measurements.
"""

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.02
LEFT_BEHIND_S = 5.0


class CommandFailed(Exception):
    """A measured command failed or left a process running. The message ends with its output."""


@dataclass(frozen=True)
class Cost:
    """The cost of one command."""

    wall_s: float
    cpu_s: float
    peak_bytes: int = 0
    """Largest sum of proportional set sizes (PSS) over all its processes; 0 if not asked for."""
    stopped: bool = False
    """It was killed at the limit: `wall_s` is the limit, not an end."""

    def __add__(self, other: "Cost") -> "Cost":
        """The cost of one command and then another."""
        return Cost(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            max(self.peak_bytes, other.peak_bytes),
            self.stopped or other.stopped,
        )


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends. Call once, before measuring."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(root: int) -> list[int]:
    """Process IDs of all living descendants of `root` (without `root` itself)."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            # Format: pid (name, which may contain anything) state ppid …
            state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found.extend(below)
        todo.extend(below)
    return found


def proportional_size(pid: int) -> int:
    """PSS of a process in bytes: pages shared by n processes count 1/n in each. 0 if it has ended."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def kill_tree(root: int) -> None:
    """Kill a process and its descendants, until none is left that could start another one."""
    while pids := [pid for pid in (root, *descendants(root)) if _kill(pid)]:
        if pids == [root]:
            return


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


class _MemoryWatch(threading.Thread):
    """Polls the memory of a process tree until it is stopped."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root = root
        self.peak = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Poll."""
        while not self.over.wait(POLL_S):
            total = sum(proportional_size(pid) for pid in (self.root, *descendants(self.root)))
            self.peak = max(self.peak, total)


def run(
    argv: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    limit_s: float,
    watch_memory: bool = False,
) -> Cost:
    """Run a command in `folder` until it ends, or kill it and everything that it started after `limit_s`
    seconds.

    Its output is appended to `log`. Watching memory slows the watched processes down, so do not use the
    times of such a run. Raises CommandFailed.
    """
    stopped = threading.Event()
    with log.open("ab") as output:
        output.write(f"$ {' '.join(map(str, argv))}\n".encode())
        output.flush()
        start = time.perf_counter()
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

        def stop() -> None:
            stopped.set()
            kill_tree(process.pid)

        timer = threading.Timer(limit_s, stop)
        timer.daemon = True
        timer.start()
        watch = _MemoryWatch(process.pid)
        if watch_memory:
            watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - start
        except BaseException:
            # Interrupted: the command has its own session, so it did not get the signal from the terminal.
            kill_tree(process.pid)
            raise
        finally:
            timer.cancel()
            watch.over.set()
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = usage.ru_utime + usage.ru_stime
    if stopped.is_set():
        timer.join()
        for pid in descendants(os.getpid()):
            _kill(pid)
    cpu_s += _reap_orphans(argv)
    if stopped.is_set():
        return Cost(limit_s, cpu_s, watch.peak, stopped=True)
    if process.returncode != 0:
        raise CommandFailed(
            f"{' '.join(map(str, argv))}: exit code {process.returncode}\n{_tail(log)}\n(whole output: {log})"
        )
    return Cost(wall_s, cpu_s, watch.peak)


def output_of(argv: Sequence[str | Path], environment: Mapping[str, str]) -> str:
    """The output of a program that measures its own time. Raises CommandFailed with its standard error."""
    done = subprocess.run(argv, capture_output=True, text=True, env=dict(environment))
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(map(str, argv))}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def _reap_orphans(argv: Sequence[str | Path]) -> float:
    """Wait for processes that the command left behind; returns their CPU seconds."""
    cpu_s = 0.0
    deadline = time.monotonic() + LEFT_BEHIND_S
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return cpu_s
        if pid:
            cpu_s += usage.ru_utime + usage.ru_stime
        elif time.monotonic() > deadline:
            left = descendants(os.getpid())
            for pid in left:
                _kill(pid)
            raise CommandFailed(f"{' '.join(map(str, argv))} left processes running: {left}")
        else:
            time.sleep(0.01)


def _tail(log: Path, lines: int = 25) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
