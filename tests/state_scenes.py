"""Scenes of state that functions share: one table, for the tests without Slurm and for those with its jobs.

The values are the same wherever the functions are executed; only the number of executions differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Executions = dict[str, int]


@dataclass(frozen=True)
class Scene:
    """A context file (`effect` records an execution), and its expected results for a run."""

    context: str
    #: The content of the table, wherever the functions are executed: for an error, its class; `...` for any value.
    rows: dict[str, object]
    #: How often functions are executed without Slurm, where every variable is computed in one place.
    here: Executions = field(default_factory=dict)
    #: The same with Slurm, where variables with cluster=True are computed in jobs.
    in_jobs: Executions = field(default_factory=dict)
    #: How many runs are processed together; the numbers above are for one run.
    runs: int = 1

    def executions(self, counts: Executions) -> Executions:
        """Executions for all runs."""
        return {name: count * self.runs for name, count in counts.items()}

    def check(self, rows: dict[str, object]) -> None:
        """Fails unless a run has these rows."""
        found = {name: value[0] if isinstance(value, tuple) else value for name, value in rows.items()}
        assert {name: value for name, value in found.items() if self.rows.get(name) is not ...} == {
            name: value for name, value in self.rows.items() if value is not ...
        }


# A file that opens a device in one function and uses it in others.
DEVICE = """
DEVICE = None

class Device:
    def __init__(self, size): self.values = list(range(size))
    def total(self): return sum(self.values)

@Variable
def opened(run):
    global DEVICE
    effect("opened")
    DEVICE = Device(10)
    return len(DEVICE.values)

@Variable
def drawn_here(run, _: "var#opened"): return DEVICE.total()

@Variable(cluster=True)
def drawn_in_a_job(run, _: "var#opened"): return DEVICE.total()

@Variable(cluster=True, cpus=2)
def undeclared(run): return DEVICE.total()
"""
DEVICE_ROWS = {"opened": 10, "drawn_here": 45, "drawn_in_a_job": 45, "undeclared": 45}

FILLED = """
TABLE = {}

@Variable(WRITER)
def fill(run):
    effect("fill")
    TABLE.update(left=1, right=2)
    return "filled"

@Variable(READER)
def left(run, _: "var#fill"):
    effect("left")
    return TABLE["left"]

@Variable(READER)
def breaks(run, _: "var#left"):
    BREAKS

@Variable(READER)
def right(run, _: "var#fill", __: "var#breaks" = None):
    effect("right")
    return TABLE["right"]

@Variable(READER)
def undeclared(run, _: "var#breaks" = None):
    return len(TABLE)
"""
FILLED_ROWS = {"fill": "filled", "left": 1, "breaks": "ProcessKilled", "right": 2, "undeclared": 2}


def filled(breaks: str, *, writer: str = "cluster=True", reader: str = "cluster=True") -> str:
    """A table is filled; in one of the later variables, the process may die."""
    return FILLED.replace("BREAKS", breaks).replace("WRITER", writer).replace("READER", reader)


# In DAMNIT, variables with cluster=True are executed in another process, which runs later.
LATER = """
SEEN = []
@Variable(cluster=True)
def heavy(run):
    SEEN.append(1)
    return len(SEEN)
@Variable
def light(run):
    SEEN.append(2)
    return len(SEEN)
@Variable(cluster=True)
def heavy_too(run): return len(SEEN)
"""

FILES = """
import time

@Variable
def begun(run):
    effect("begun")
    with open("begun.txt", "w") as file: file.write("h")
    time.sleep(0.2)
    return 1

@Variable
def only(run):
    effect("only")
    time.sleep(0.2)
    with open("only.txt", "a") as file: file.write("1")
    return 1

@Variable
def added(run):
    effect("added")
    with open("begun.txt", "a") as file: file.write("1")
    return 1

@Variable
def seen_here(run):
    time.sleep(0.5)
    return open("begun.txt").read() + open("only.txt").read()

@Variable(cluster=True)
def seen(run): return open("begun.txt").read()

@Variable(cluster=True, cpus=2)
def seen_too(run): return open("only.txt").read()
"""

CHANGED_IN_PLACE = """
import numpy as np

@Variable
def image(run):
    effect("image")
    return np.array([1., 2., 3.])

@Variable
def norm(run, img: "var#image"):
    effect("norm")
    img -= 1
    return 1

@Variable(cluster=True)
def in_a_job(run, img: "var#image", n: "var#norm"): return float(img[2])

@Variable
def beside(run, img: "var#image", n: "var#norm"): return float(img[2])
"""

SCENES = {
    "a device": Scene(DEVICE, DEVICE_ROWS, {"opened": 1}, {"opened": 3}, runs=2),
    # The writer is executed again instead of the process that died.
    "a death in a job": Scene(
        filled("os.abort()", writer=""),
        FILLED_ROWS,
        {"fill": 2, "left": 1, "right": 1},
        {"fill": 3, "left": 1, "right": 1},
    ),
    "a death beside the writer": Scene(
        filled("os.abort()"), FILLED_ROWS, {"fill": 2, "left": 1, "right": 1}, {"fill": 2, "left": 1, "right": 1}
    ),
    "light before heavy": Scene(LATER, {"heavy": 1, "light": 1, "heavy_too": 2}),
    # A variable that only appends is not executed again for the job, which waits for it.
    "files of a fixed name": Scene(
        FILES,
        {"begun": 1, "added": 1, "only": 1, "seen_here": "h11", "seen": "h1", "seen_too": "1"},
        {"begun": 1, "added": 1, "only": 1},
        {"begun": 2, "added": 2, "only": 1},
    ),
    "a value that a dependent changes": Scene(
        CHANGED_IN_PLACE,
        {"image": ..., "norm": 1, "in_a_job": 2, "beside": 2},
        {"image": 1, "norm": 1},
        {"image": 1, "norm": 2},
        runs=2,
    ),
}
