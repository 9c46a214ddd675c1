"""Runs a command, and shows its output if it fails or does not end."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
# Much longer than any command of these tests takes: a command that has not ended by then hangs.
PATIENCE_S = 300


def run(command, *, cwd=None, env=None, accept=(0,), patience_s=PATIENCE_S) -> subprocess.CompletedProcess:
    """Run a command until it ends, and capture its output as text; `env` is added to the environment.

    Output goes to a file: a process that the command leaves behind must not keep the caller waiting for the end of a pipe.
    Raises `AssertionError` with the end of the output if the exit code is not one of `accept`. If the command does not end,
    the error also says what each of its processes is doing.
    """
    command = [str(word) for word in command]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(patience_s)
            ending = f"ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            ending = f"did not end within {patience_s} s. Its processes:\n{doings(process.pid)}\nIts output"
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode not in accept:
        end = "\n".join(text.splitlines()[-60:])
        raise AssertionError(f"{' '.join(command)} (in {cwd}) {ending}:\n{end}")
    return subprocess.CompletedProcess(command, process.returncode, text)


def doings(session: int) -> str:
    """Describes each process of a session: its state, where it waits, its command line and, if gdb is available, its stacks.
    """
    told = []
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[3]) != session:
                continue
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            waits = (folder / "wchan").read_text()
        except (OSError, ValueError):
            continue
        told.append(f"{folder.name} (of {stat[1]}) {stat[0]} in {waits}: {words}")
        if shutil.which("gdb"):
            stacks = ["gdb", "-p", folder.name, "-batch", "-ex", "thread apply all bt 12"]
            found = subprocess.run(stacks, capture_output=True, text=True, timeout=60, check=False).stdout
            told += [f"    {line}" for line in found.splitlines() if line.startswith(("#", "Thread"))]
    return "\n".join(told)
