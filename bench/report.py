"""One measure and how it is reported: a line for people, an entry for `report.json`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

PEER_LIMIT_S = 120.0
"""A peer that has not finished by then is stopped where a measure says so, and counts as this long."""


@dataclass(frozen=True)
class Measure:
    """One quantity of both sides: the medians of the samples are compared."""

    name: str
    unit: str
    ours: Sequence[float]
    peer: Sequence[float]
    higher_is_better: bool = False
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """The entry of the report; `ratio` is above 1 where ours is better."""
        ours, peer = median(self.ours), median(self.peer)
        over, under = (ours, peer) if self.higher_is_better else (peer, ours)
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": ours,
            "peer": peer,
            # A quantity of zero has no ratio (JSON has no infinity either).
            "ratio": over / under if under > 0 else None,
            "better": "higher" if self.higher_is_better else "lower",
            "samples": {"ours": list(self.ours), "peer": list(self.peer)},
            **({"note": self.note} if self.note else {}),
            **self.extra,
        }

    def line(self) -> str:
        """The line printed for people."""
        entry = self.entry()
        ratio = "–" if entry["ratio"] is None else f"{entry['ratio']:.1f}×"
        return line(self.name, f"{entry['ours']:.4g} {self.unit}", f"{entry['peer']:.4g} {self.unit}", ratio)


def line(name: str, ours: str, peer: str, ratio: str) -> str:
    """A line of the table."""
    return f"{name:<30} {ours:>20} {peer:>20} {ratio:>10}"


def write(path: Path, measures: Sequence[Measure]) -> None:
    """Write the report, replacing an older one at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps([measure.entry() for measure in measures], indent=2) + "\n")
    part.replace(path)
