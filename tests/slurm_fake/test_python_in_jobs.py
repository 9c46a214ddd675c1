"""The Python in a job: what it gets of the submitter's environment, where it executes the file, and the message if it cannot.
"""

from __future__ import annotations

import h5py
from databases import Database

from pipe.conftest import context_python


def test_what_is_found_here_is_found_in_jobs(database: Database) -> None:
    (database.path / "lib").mkdir()
    (database.path / "lib/ours.py").write_text("X = 1\n")
    database.context(
        """
import ours
from damnit_ctx import Skip

@Variable
def here(run): return ours.X

@Variable(cluster=True)
def there(run):
    import matplotlib.pyplot as plt
    plt.plot([1, 3, 2])
    return plt.gcf()

@Variable(cluster=True)
def value(run): return ours.X + 1

@Variable(cluster=True)
def shell(run): return " ".join(name for name in ("PYTHONPATH", "PYTHONHOME", "SECRET") if name in os.environ)

@Variable(job=SlurmJob([PYTHON, "-c", "import ours; print(ours.X)"]))
def command(run, job: "job#outcome"): return job.log.read_text()

class Skip(Exception): pass

@Variable(cluster=True)
def no_skip(run): raise Skip("not one")
""".replace("PYTHON,", f"{context_python()!r},")
    )
    shell = {
        "PYTHONPATH": "lib",
        "PYTHONHOME": "/nowhere",
        "SECRET": "word",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    database.amore("reprocess", "1", env={**database.environment, **shell})
    rows = database.rows(1)
    assert (rows["here"], rows["value"], rows["command"].strip()) == (1, 2, "1")
    assert isinstance(rows["there"], bytes) and rows["shell"] == "PYTHONPATH"
    assert rows["no_skip"] == ("context.Skip", "not one")


def test_a_job_that_cannot_execute_the_file_says_so_for_its_variables(database: Database) -> None:
    database.context(
        """
if "SLURM_JOB_ID" in os.environ:
    import only_here

@Variable
def here(run): return 1

@Variable(cluster=True)
def in_a_job(run): return 2

@Variable(cluster=True)
def after(run, x: "var#in_a_job"): return 3
"""
    )
    said = database.amore("reprocess", "1", code=3)
    job = database.job(1)
    words = said.stdout + said.stderr
    assert f"job {job} on " in words and "only_here" in words
    rows = database.rows(1)
    assert rows["here"] == 1
    for name in ("in_a_job", "after"):
        kind, message = rows[name]
        assert kind == "ModuleNotFoundError" and "only_here" in message
        assert f"in job {job} on " in message and "PYTHONPATH" in message
    explained = database.amore("explain", "1", "in_a_job").stdout
    assert "only_here" in explained and "PYTHONPATH" in explained
    assert len(database.jobs(1)) == 1
    with h5py.File(database.run_file(1)) as file:
        assert file[".errors/in_a_job"].attrs["type"] == "ModuleNotFoundError"


def test_a_job_executes_the_file_where_it_was_planned(database: Database) -> None:
    clone = database.path.parent / "clone"
    clone.mkdir()
    database.context(
        """
import atexit
import numerics
PLACE = os.getcwd()
FACTOR = int(open("factor.txt").read())

@Variable(cluster=True)
def answer(run):
    os.chdir("/")
    book = open(here("book.txt"), "w")
    book.write("words")
    globals()["BOOK"] = book
    atexit.register(effect, "ended")
    return FACTOR * numerics.MORE

@Variable(cluster=True)
def place(run, x: "var#answer"): return f"{PLACE} {os.getcwd()} {__file__}"
"""
    )
    (database.path / "context.py").rename(clone / "context.py")
    (database.path / "context.py").symlink_to(clone / "context.py")
    (clone / "numerics.py").write_text("MORE = 2\n")
    (database.path / "factor.txt").write_text("21")
    database.amore("reprocess", "1")
    here = database.path
    assert database.rows(1) == {"answer": 42, "place": f"{here} {here} {here / 'context.py'}"}
    assert database.executions()["ended"] == 1 and (here / "book.txt").read_text() == "words"
