"""Plays the scenes of slurm-tests/scenes on any Slurm; the README there describes the steps."""

from __future__ import annotations

import json
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

FOLDER = Path(__file__).resolve().parents[1] / "scenes"
NODES = ("n1", "n2", "n3")
SCRIPTS = {
    "ends": "true",
    "fails": "exit 42",
    "is killed": "kill -9 $$",
    "sleeps": "sleep 300",
    "eats memory": "exec python3 -c 'x = bytearray(300_000_000)'",
}
QUEUE = {"state": "%T", "nodes": "%N", "partition": "%P", "reservation": "%v", "comment": "%k", "reason": "%r"}
ACCOUNTING = {"state": "State", "nodes": "NodeList", "reason": "Reason", "exit": "ExitCode"}


def scenes() -> dict[str, dict[str, Any]]:
    """All scenes by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def named() -> list[str]:
    """Their names."""
    return list(scenes())


class Stage(ABC):
    """A Slurm on which one user plays a scene."""

    log: str

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.jobs: dict[str, str] = {}

    @abstractmethod
    def run(self, words: list[str], script: Optional[str] = None) -> subprocess.CompletedProcess[str]:
        """Runs a command as the user."""

    @abstractmethod
    def directory(self) -> str:
        """Working directory of jobs."""

    def nowhere(self) -> str:
        """A folder that does not exist."""
        return f"{self.directory()}/nowhere"

    @abstractmethod
    def until(self, there: Callable[[], Any], what: str) -> None:
        """Waits, or fails."""

    def do(self, what: str, step: dict[str, Any]) -> None:
        """Performs an action of an administrator; a refusal of Slurm raises ValueError."""
        raise AssertionError(f"nothing that can be done: {what}")

    def script(self, name: str) -> str:
        """The script of this name."""
        return f"#!/bin/sh\n{SCRIPTS[name]}\n"

    def submit(self, step: dict[str, Any]) -> None:
        """Submits with the options that Amore uses."""
        log = f"{self.nowhere()}/%j.out" if step.get("log") == "nowhere" else self.log
        always = ["--parsable", "--export=ALL", "--open-mode=append", "--no-requeue", "--job-name=scene"]
        place = [f"--chdir={self.directory()}", f"--output={log}", "--time=5", "--nodes=1", "--ntasks=1"]
        words = ["sbatch", *always, *place, *step.get("options", [])]
        answer = self.run(words, self.script(step["script"]))
        if refusal := step.get("expect", {}).get("refusal"):
            said = [line.removeprefix("sbatch: error: ") for line in answer.stderr.splitlines()]
            assert (answer.returncode, said, answer.stdout) == (1, refusal, ""), step
            return
        assert answer.returncode == 0, (step, answer.stderr)
        self.jobs[step["submit"]] = answer.stdout.strip()

    def queue(self, name: str) -> dict[str, str]:
        """The job in the queue; empty if it is not there."""
        layout = "|".join(QUEUE.values())
        answer = self.run(["squeue", "-h", "-a", "-t", "all", "-j", self.jobs[name], "-o", layout])
        return row(list(QUEUE), answer.stdout)

    def accounting(self, name: str) -> dict[str, str]:
        """The job in accounting; empty if it is not known."""
        fields = ",".join(ACCOUNTING.values())
        answer = self.run(["sacct", "-X", "-n", "-P", "-j", self.jobs[name], "-o", fields])
        return row(list(ACCOUNTING), answer.stdout)

    def filled(self, text: str) -> str:
        """Replaces `{a}` by the number of a job, and `{uid}` by that of the user."""
        for name, number in {**self.jobs, "uid": str(self.uid)}.items():
            text = text.replace(f"{{{name}}}", number)
        return text

    def unlike(self, expected: dict[str, Any], found: dict[str, str]) -> str:
        """The first difference from what is expected."""
        for key, wanted in expected.items():
            if key not in found:
                return f"there is no {key}"
            value: Any = count(found[key]) if key == "nodes" else found[key]
            if not allows(self.filled(wanted) if isinstance(wanted, str) else wanted, value):
                return f"{key} is {value}"
        return ""


def play(stage: Stage, scene: dict[str, Any]) -> None:
    """Plays all steps, in order."""
    for step in scene["steps"]:
        play_step(stage, step)


def play_step(stage: Stage, step: dict[str, Any]) -> None:
    """Plays one step: performs its action, or checks what is expected."""
    expected = step.get("expect")
    if "submit" in step:
        stage.submit(step)
    elif name := step.get("wait"):
        wanted = {"state": step["state"], **({"reason": step["reason"]} if "reason" in step else {})}
        stage.until(lambda: not stage.unlike(wanted, stage.queue(name)), str(step))
    elif name := step.get("queue"):
        assert not (wrong := stage.unlike(expected, stage.queue(name))), (step, wrong)
    elif name := step.get("accounting"):
        stage.until(lambda: not stage.unlike(expected, stage.accounting(name)), str(step))
    elif name := step.get("listed"):
        words = ["sacct", "-X", "-n", "-P", "-u", str(stage.uid), "-S", "now-2days", "-o", "JobID"]
        stage.until(lambda: (stage.jobs[name] in stage.run(words).stdout.splitlines()) == expected, str(step))
    elif "find" in step:
        stage.until(lambda: find(stage, step), str(step))
    elif "command" in step:
        answer = stage.run([stage.filled(word) for word in step["command"]])
        out, error = answer.stdout.splitlines(), answer.stderr.splitlines()
        said = {"code": answer.returncode, "stdout": out, "stderr": error}
        assert {key: said[key] for key in expected} == expected, (step, said)
    else:
        happens(stage, step)


def find(stage: Stage, step: dict[str, Any]) -> bool:
    """Looks for jobs with a comment."""
    answer = stage.run(["squeue", "-h", "-a", "-r", "-t", "all", "-u", str(stage.uid), "-o", "%i|%k"])
    pairs = (line.partition("|") for line in answer.stdout.splitlines())
    found = [number for number, _, comment in pairs if comment == step["comment"]]
    if found:
        stage.jobs[step["find"]] = found[-1]
    return len(found) == step["expect"]


def happens(stage: Stage, step: dict[str, Any]) -> None:
    """An action of an administrator, or a fault."""
    refusal = step.get("expect", {}).get("refusal")
    try:
        stage.do(step["do"], step)
    except ValueError as said:
        assert refusal and refusal in str(said), (step, said)
        return
    assert not refusal, f"{step} was done"


def allows(expected: Any, found: Any) -> bool:
    """Whether it is the expected value, or one of the expected values."""
    return found in expected if isinstance(expected, list) else found == expected


def row(names: list[str], text: str) -> dict[str, str]:
    """The first line, by names; the last field may contain the separator."""
    lines = text.splitlines()
    return dict(zip(names, lines[0].split("|", len(names) - 1), strict=False)) if lines else {}


def count(nodes: str) -> int:
    """Number of nodes in a list."""
    if nodes in ("", "None assigned"):
        return 0
    _, bracket, ranges = nodes.rstrip("]").partition("[")
    if not bracket:
        return len(nodes.split(","))
    spans = (part.partition("-") for part in ranges.split(","))
    return sum(int(last or first) - int(first) + 1 for first, _, last in spans)
