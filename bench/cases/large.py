"""Large values: storing a detector-like array of 1 GiB, and replacing a scalar in a file that contains an
array of this size.

The time of storing is the difference between two complete commands: one whose variable returns the array,
and one whose variable creates the same array and returns the mean of its first train. So neither creating
the array nor the start-up is counted. The memory is the largest PSS of all processes together, minus the
size of the array.
"""

from pathlib import Path
from statistics import median

import data
import values
from report import Measure
from sides import Bench, Case, Side, settle

CONTEXTS = Path(__file__).parents[1] / "contexts"
ARRAY_BYTES = 256 * 16 * 512 * 128 * 4
REPETITIONS = 3


def _context(bench: Bench, name: str, **constants: object) -> Path:
    """A context file with constants inserted at the top."""
    path = bench.target / "work" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "".join(f"{key} = {value!r}\n" for key, value in constants.items())
    path.write_text(head + (CONTEXTS / f"{name}.py").read_text())
    return path


def _process(
    bench: Bench, case: str, side: Side, number: str, context: Path, watch_memory: bool = False
) -> tuple[float, int, Path]:
    """Process run 1 in a fresh directory. Returns the seconds, the peak memory in bytes, and the directory.
    """
    data_root = data.trivial(bench.target)
    folder = bench.folder(case, side, number)
    side.prepare(folder, context, data_root)
    settle()
    cost = side.reprocess(folder, data_root, [1], watch_memory=watch_memory)
    return cost.wall_s, cost.peak_bytes, folder


def _store(bench: Bench) -> list[Measure]:
    stored: dict[str, list[float]] = {"ours": [], "peer": []}
    made: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(bench.repetitions(REPETITIONS)):
        for name, store in ((made, False), (stored, True)):
            context = _context(bench, "large", STORE=store)
            folders = []
            for side in bench.sides:
                wall_s, _, folder = _process(bench, "store_1gb", side, f"{number}-{store}", context)
                name[side.name].append(wall_s)
                folders.append(folder)
            if number == 0:
                values.check(folders[0], folders[1], runs=[1], variables=1)
            bench.clear("store_1gb")
    speed = {
        side: [ARRAY_BYTES / 1e6 / max(wall_s - median(made[side]), 1e-3) for wall_s in stored[side]]
        for side in stored
    }
    return [
        Measure(
            "store_1gb",
            "MB/s",
            speed["ours"],
            speed["peer"],
            higher_is_better=True,
            note="time of the command that stores the array less that of the command that only makes it",
            extra={"array_bytes": ARRAY_BYTES, "with_array_s": stored, "without_array_s": made},
        )
    ]


def _memory(bench: Bench) -> list[Measure]:
    context = _context(bench, "large", STORE=True)
    peaks: dict[str, float] = {}
    for side in bench.sides:
        _, peak_bytes, _ = _process(bench, "store_1gb_extra_memory", side, "0", context, watch_memory=True)
        peaks[side.name] = (peak_bytes - ARRAY_BYTES) / 1e6
        bench.clear("store_1gb_extra_memory")
    return [
        Measure(
            "store_1gb_extra_memory",
            "MB",
            [peaks["ours"]],
            [peaks["peer"]],
            note="peak PSS of all processes, interpreters included, less the array itself",
            extra={"array_bytes": ARRAY_BYTES},
        )
    ]


def _small(bench: Bench) -> list[Measure]:
    case = "small_value_into_large_file"
    data_root = data.trivial(bench.target)
    folders = {}
    context = _context(bench, "large_and_small", SMALL=0)
    for side in bench.sides:
        _, _, folders[side.name] = _process(bench, case, side, "0", context)
    walls: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(1, bench.repetitions(REPETITIONS) + 1):
        # A different number each time, so that the table shows whether the new value has arrived.
        text = _context(bench, "large_and_small", SMALL=number).read_text()
        for side in bench.sides:
            folder = folders[side.name]
            (folder / "context.py").write_text(text)
            settle()
            walls[side.name].append(side.reprocess(folder, data_root, [1], match="Small").wall_s)
            if values.table(folder)[1, "small"] != number:
                raise values.Differ(f"{folder}: the table does not show the new value {number}")
        if number == 1:
            values.check(folders["ours"], folders["peer"], runs=[1], variables=2)
    bench.clear(case)
    return [Measure(case, "s", walls["ours"], walls["peer"], extra={"file_bytes": 2**30})]


CASES = [
    Case(("store_1gb",), _store),
    Case(("store_1gb_extra_memory",), _memory),
    Case(("small_value_into_large_file",), _small),
]
