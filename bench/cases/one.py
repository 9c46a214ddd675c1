"""One trivial run: from the command line to the value in the table. No process of either side is running
before.
"""

from pathlib import Path

import data
import values
from report import Measure
from sides import Bench, Case, settle

CONTEXT = Path(__file__).parents[1] / "contexts" / "trivial.py"


def _cold_run(bench: Bench) -> list[Measure]:
    """Measure both sides in turn, after one untimed run of each that fills the disk cache."""
    data_root = data.trivial(bench.target)
    walls: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(bench.repetitions(5) + 1):
        folders = []
        for side in bench.sides:
            folder = bench.folder("cold_run", side, number)
            folders.append(folder)
            side.prepare(folder, CONTEXT, data_root)
            settle()
            cost = side.reprocess(folder, data_root, [1])
            if number > 0:
                walls[side.name].append(cost.wall_s)
        values.check(folders[0], folders[1], runs=[1], variables=1)
    bench.clear("cold_run")
    return [Measure("cold_run", "s", walls["ours"], walls["peer"])]


CASES = [Case(("cold_run",), _cold_run)]
