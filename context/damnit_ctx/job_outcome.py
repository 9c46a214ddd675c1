"""How the Slurm job of a variable ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional


@dataclass(frozen=True)
class JobOutcome:
    """How a variable's Slurm job ended: the value of an argument annotated ``"job#outcome"``.

    Attributes:
        id: the job's id; ``None`` if the command was executed without Slurm.
        state: Slurm's job state: ``"COMPLETED"``, ``"FAILED"``, ``"TIMEOUT"``, ``"OUT_OF_MEMORY"``, ``"CANCELLED"`` ...
        reason: further details; may be empty.
        exit_code: of the command; ``None`` if it did not exit by itself.
        signal: the signal that ended it, if any.
        directory: its directory.
        log: the file with its output, if known.
        elapsed: run time in seconds.
        tail: the last lines of its output, if it failed.
        cluster: the job's cluster, if the setting ``slurm_clusters`` names any.
    """

    id: Optional[str]
    state: str
    reason: str
    exit_code: Optional[int]
    signal: Optional[int]
    directory: Path
    log: Optional[Path]
    elapsed: float
    tail: str
    cluster: Optional[str] = None

    @property
    def ok(self) -> bool:
        """Whether it completed with exit code 0."""
        return self.state == "COMPLETED" and self.exit_code == 0

    @classmethod
    def received(cls, message: Mapping[str, Any]) -> JobOutcome:
        """From the form in which it is passed between processes (``JobOutcome`` in crates/model)."""
        log = message.get("log")
        return cls(
            id=message.get("id"),
            state=message["state"],
            reason=message.get("reason", ""),
            exit_code=message.get("exit_code"),
            signal=message.get("signal"),
            directory=Path(message["directory"]),
            log=None if log is None else Path(log),
            elapsed=float(message["elapsed"]),
            tail=message.get("tail", ""),
            cluster=message.get("cluster"),
        )
