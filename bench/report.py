"""One measurement and its report: a line of text, and an entry in `report.json`."""

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
    """A quantity that is measured on both sides. The medians of the samples are compared."""

    name: str
    unit: str
    ours: Sequence[float]
    peer: Sequence[float]
    higher_is_better: bool = False
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """The entry in the report. `ratio` is above 1 if ours is better."""
        ours, peer = median(self.ours), median(self.peer)
        over, under = (ours, peer) if self.higher_is_better else (peer, ours)
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": ours,
            "peer": peer,
            # If a quantity is zero there is no ratio, because JSON has no infinity.
            "ratio": over / under if under > 0 else None,
            "better": "higher" if self.higher_is_better else "lower",
            "samples": {"ours": list(self.ours), "peer": list(self.peer)},
            **({"note": self.note} if self.note else {}),
            **self.extra,
        }

    def line(self) -> str:
        """The line of text."""
        entry = self.entry()
        ratio = "–" if entry["ratio"] is None else f"{entry['ratio']:.1f}×"
        return line(self.name, f"{entry['ours']:.4g} {self.unit}", f"{entry['peer']:.4g} {self.unit}", ratio)


def line(name: str, ours: str, peer: str, ratio: str) -> str:
    """A line of the table."""
    return f"{name:<30} {ours:>20} {peer:>20} {ratio:>10}"


def write(path: Path, measures: Sequence[Measure]) -> None:
    """Write the report, replacing an older one atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps([measure.entry() for measure in measures], indent=2) + "\n")
    part.replace(path)
