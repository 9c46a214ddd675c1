"""State that functions share, where the reader runs in a Slurm job."""

from __future__ import annotations

from databases import Database

# As a file opens a device in one function and uses it in others.
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


def test_the_writer_is_executed_again_in_the_readers_job(database: Database) -> None:
    database.context(DEVICE)
    database.amore("reprocess", "1-2")
    for run in (1, 2):
        assert database.rows(run) == {"opened": 10, "drawn_here": 45, "drawn_in_a_job": 45, "undeclared": 45}
    assert database.executions() == {"opened": 6}
    assert "executed again here for what it leaves in DEVICE" in database.amore("plan", "1").stdout
    assert database.leftovers() == []


FILLED = """
TABLE = {}

@Variable(LIGHT)
def fill(run):
    effect("fill")
    TABLE.update(left=1, right=2)
    return "filled"

@Variable(cluster=True)
def left(run, _: "var#fill"):
    effect("left")
    return TABLE["left"]

@Variable(cluster=True)
def breaks(run, _: "var#left"):
    BREAKS

@Variable(cluster=True)
def right(run, __: "var#breaks" = None):
    effect("right")
    return TABLE["right"]
"""


def test_after_a_death_in_a_job(database: Database) -> None:
    for number, light in enumerate(("", "cluster=True"), 1):
        database.effects.unlink(missing_ok=True)
        database.context(FILLED.replace("LIGHT", light).replace("BREAKS", "os.abort()"))
        database.amore("reprocess", str(number))
        rows = database.rows(number)
        assert rows.pop("breaks")[0] == "ProcessKilled"
        assert rows == {"fill": "filled", "left": 1, "right": 2}
        assert database.executions() == {"fill": 2 if light else 3, "left": 1, "right": 1}


def test_in_the_job_after_one_that_was_cut_off(database: Database) -> None:
    waits = 'effect("breaks"); wait_for("go"); return 1'
    database.context(FILLED.replace("LIGHT", "cluster=True").replace("BREAKS", waits))
    for run, end in enumerate(("PREEMPTED", "NODE_FAIL"), 1):
        (database.path / "go").unlink(missing_ok=True)
        database.effects.unlink(missing_ok=True)
        command = database.begin("reprocess", str(run))
        database.wait_effects(breaks=1)
        database.cluster.end(database.job(run), end)
        database.wait_effects(breaks=2)
        database.touch("go")
        command.ends()
        assert database.rows(run) == {"fill": "filled", "left": 1, "breaks": 1, "right": 2}
        assert database.executions() == {"fill": 2, "left": 1, "breaks": 2, "right": 1}


def test_a_writer_in_a_job_and_a_light_reader(database: Database) -> None:
    database.context(
        """
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
    )
    database.amore("reprocess", "1")
    assert database.rows(1) == {"heavy": 1, "light": 1, "heavy_too": 2}


def test_what_is_light_in_one_job_and_a_writer_with_a_command(database: Database) -> None:
    database.context(
        """
SEEN = []
@Variable(job=SlurmJob(["true"]))
def command(run, job: "job#outcome"):
    SEEN.append(job.state)
    return 1
@Variable
def read(run): return "".join(SEEN)
@Variable(cluster=True)
def read_in_a_job(run): return "".join(SEEN)
"""
    )
    database.amore("reprocess", "1")
    assert database.rows(1) == {"command": 1, "read": "COMPLETED", "read_in_a_job": "COMPLETED"}
    database.amore("db-config", "noncluster", "slurm")
    database.amore("db-config", "noncluster_mem", "200M")
    database.context(DEVICE)
    database.amore("reprocess", "2")
    assert database.rows(2) == {"opened": 10, "drawn_here": 45, "drawn_in_a_job": 45, "undeclared": 45}


FILES = """
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


def test_files_of_a_fixed_name(database: Database) -> None:
    database.context("import time\n" + FILES)
    database.amore("reprocess", "1")
    rows = database.rows(1)
    # What only adds is not executed again for the job, which waits for it.
    assert rows == {"begun": 1, "added": 1, "only": 1, "seen_here": "h11", "seen": "h1", "seen_too": "1"}
    assert database.executions() == {"begun": 2, "added": 2, "only": 1}


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


def test_a_value_that_a_dependent_changes_is_changed_again_in_the_job(database: Database) -> None:
    database.context(CHANGED_IN_PLACE)
    database.amore("reprocess", "1-2")
    for run in (1, 2):
        rows = database.rows(run)
        assert (rows["in_a_job"], rows["beside"]) == (2, 2)
    assert database.executions() == {"image": 2, "norm": 4}
