"""Variables that run a command in a Slurm job of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Optional, Union

from . import resources
from .errors import clean

_PLAIN = (str, bool, int, float)


class SlurmJob:
    """The command of a variable. It runs in a Slurm job of its own; only the variable's dependents wait for it.

    ::

        @Variable(title="Hits", job=SlurmJob(["./find_hits.sh", "{run}", "{threshold}", "{directory}"], cpus=32))
        def hits(run, job: "job#outcome", threshold: "var#threshold"):
            return int((job.directory / "hits.txt").read_text())

    Args:
        command: the program and its arguments, or the path of a script. They are not interpreted by a shell. A program
            with a ``/`` is relative to the directory of the context file, others are found in ``PATH``. Words may have
            ``{run}``, ``{proposal}``, ``{proposal_dir}``, ``{raw_dir}``, ``{proc_dir}``, ``{run_file}`` (the run's
            HDF5 file with the variable's dependencies), ``{directory}`` (an empty one for run and variable) and, by
            the names of the function's arguments, numbers and texts that it depends on. ``{{`` and ``}}`` are braces.
        cpus, mem, gpus, time, nodes, constraint, partition, reservation, account, qos: as those of `Variable`.
        ntasks: number of tasks of the job, for programs that start processes with ``srun`` or MPI: `cpus` is then per
            task, and the command itself runs once, on the first node.
        check: call the function only if the job completed with exit code 0; otherwise the variable gets the error. With
            ``check=False`` it is called however the job ended.
    """

    def __init__(
        self,
        command: Any,
        *,
        cpus: Optional[int] = None,
        mem: Union[str, int, None] = None,
        gpus: Optional[int] = None,
        time: Union[str, int, None] = None,
        nodes: Optional[int] = None,
        constraint: Optional[str] = None,
        partition: Optional[str] = None,
        reservation: Optional[str] = None,
        account: Optional[str] = None,
        qos: Optional[str] = None,
        ntasks: Optional[int] = None,
        check: bool = True,
    ) -> None:
        # A single path is a script without arguments. Problems are reported in problems.py.
        self.command: Any = [command] if isinstance(command, (str, os.PathLike)) else command
        self.check = check
        given = (cpus, mem, gpus, time, nodes, constraint, partition, reservation, account, qos, ntasks)
        self.resources: dict[str, Any] = {
            argument: value for argument, value in zip(resources.JOB_ARGUMENTS, given) if value is not None
        }

    def words(self) -> list[str]:
        """The command's words as text, without invalid ones."""
        if not isinstance(self.command, (list, tuple)):
            return []
        return [text for word in self.command if (text := _text(word)) is not None]

    def __repr__(self) -> str:
        return f"SlurmJob({self.command!r})"


def _text(word: Any) -> Optional[str]:
    if isinstance(word, os.PathLike):
        word = os.fspath(word)
    if isinstance(word, _PLAIN) and not isinstance(word, bool):
        return str(word)
    return None


def wrong(job: Any) -> Iterator[tuple[str, str, Optional[str]]]:
    """Kind, message and hint for each problem of ``job=``."""
    if not isinstance(job, SlurmJob):
        yield "bad-argument", f"job={job!r}, which must be a SlurmJob", 'job=SlurmJob(["./script.sh", "{run}"])'
        return
    command = job.command
    if not isinstance(command, (list, tuple)) or not command:
        yield (
            "bad-argument",
            f"the command of its job is {command!r}, which must be a list of words or the path of a script",
            'SlurmJob(["./script.sh", "{run}"])',
        )
        return
    for word in command:
        text = _text(word)
        if text is None:
            yield "bad-argument", f"the command of its job has the word {word!r}, which must be a text", None
        elif "\0" in text:
            yield "bad-argument", f"the command of its job has the word {word!r}: an argument cannot contain NUL", None
    program = _text(command[0])
    if program is not None and not program.strip():
        yield "bad-argument", "the command of its job starts with an empty word: the program is missing", None
    elif program is not None and len(command) == 1 and " " in program.strip() and not os.path.exists(program):
        yield (
            "bad-argument",
            f"the command of its job is a single word with spaces: {program!r}",
            "give a list of words; they are not interpreted by a shell",
        )
    if not isinstance(job.check, bool):
        yield "bad-argument", f"check={job.check!r} of its job, which must be True or False", None
    for message, hint in resources.wrong(job.resources):
        yield "bad-resources", message, hint


def spec(job: Any, defaults: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """A ``JobSpec``. Invalid parts have already been reported as problems."""
    if not isinstance(job, SlurmJob):
        return None
    return {
        "command": [clean(word) for word in job.words()],
        "resources": resources.read(job.resources),
        "check": bool(job.check),
        "defaults": {argument: clean(str(value)) for argument, value in defaults.items() if isinstance(value, _PLAIN)},
    }
