"""How the Slurm job of a variable ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional


@dataclass(frozen=True)
class JobOutcome:
    """How a variable's Slurm job ended: what an argument annotated ``"job#outcome"`` gets.

    Attributes:
        id: the job's id; ``None`` if the command was executed without Slurm.
        state: Slurm's word: ``"COMPLETED"``, ``"FAILED"``, ``"TIMEOUT"``, ``"OUT_OF_MEMORY"``, ``"CANCELLED"`` ...
        reason: what is known beside the state; may be empty.
        exit_code: of the command; ``None`` if it did not exit by itself.
        signal: the signal that ended it, if one did.
        directory: the folder that was its own.
        log: the file with its output, if it is known.
        elapsed: seconds that it ran.
        tail: the last lines of its output, if it failed.
        cluster: the cluster that has the job, where the setting ``slurm_clusters`` names any.
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
        """Did it complete with exit code 0?"""
        return self.state == "COMPLETED" and self.exit_code == 0

    @classmethod
    def received(cls, message: Mapping[str, Any]) -> JobOutcome:
        """From the words in which it crosses between processes (``JobOutcome`` in crates/model)."""
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
