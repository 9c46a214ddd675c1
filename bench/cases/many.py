"""50 runs in one command: trivial ones (one variable each) and realistic ones (24 variables each)."""

from dataclasses import dataclass
from pathlib import Path

import data
import values
from measure import Cost
from report import Measure
from sides import Bench, Case, settle

CONTEXTS = Path(__file__).parents[1] / "contexts"
REPETITIONS = {"ours": 3, "peer": 1}
"""DAMNIT takes minutes, so it runs once; ours varies more from sample to sample, being short."""


@dataclass(frozen=True)
class _Costs:
    runs: int
    ours: list[Cost]
    peer: list[Cost]

    def runs_per_second(self, name: str) -> Measure:
        return Measure(
            name,
            "runs/s",
            [self.runs / cost.wall_s for cost in self.ours],
            [self.runs / cost.wall_s for cost in self.peer],
            higher_is_better=True,
            extra={"runs": self.runs},
        )

    def cpu_per_run(self, name: str) -> Measure:
        return Measure(
            name,
            "CPU-s/run",
            [cost.cpu_s / self.runs for cost in self.ours],
            [cost.cpu_s / self.runs for cost in self.peer],
            extra={"runs": self.runs},
        )


def _trivial(bench: Bench) -> list[Measure]:
    costs = _take(bench, "trivial", data.trivial(bench.target), variables=1)
    return [costs.runs_per_second("trivial_50"), costs.cpu_per_run("trivial_50_cpu")]


def _realistic(bench: Bench) -> list[Measure]:
    costs = _take(bench, "realistic", data.realistic(bench.target), variables=24)
    return [costs.runs_per_second("realistic_50")]


def _take(bench: Bench, kind: str, data_root: Path, variables: int) -> _Costs:
    runs = list(range(1, (5 if bench.quick else data.RUNS) + 1))
    costs: dict[str, list[Cost]] = {"ours": [], "peer": []}
    last: dict[str, Path] = {}
    for number in range(max(REPETITIONS.values())):
        for side in bench.sides:
            if number >= bench.repetitions(REPETITIONS[side.name]):
                continue
            folder = bench.folder(f"{kind}_50", side, number)
            side.prepare(folder, CONTEXTS / f"{kind}.py", data_root)
            settle()
            costs[side.name].append(side.reprocess(folder, data_root, runs))
            last[side.name] = folder
            if number == 0 and len(last) == 2:
                values.check(last["ours"], last["peer"], runs, variables)
    bench.clear(f"{kind}_50")
    return _Costs(len(runs), costs["ours"], costs["peer"])


CASES = [Case(("trivial_50", "trivial_50_cpu"), _trivial), Case(("realistic_50",), _realistic)]
