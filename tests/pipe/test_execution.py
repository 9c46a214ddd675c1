"""Where and how a context file is executed: directory, links, names, environment, and the end of its processes."""

from __future__ import annotations

import json

import h5py
import pytest

from conftest import Database, context_python


def problems(database: Database, *arguments: str, code: int = 0) -> list[dict]:
    """What `amore check` finds, without the findings of pyflakes."""
    answer = json.loads(database.amore("check", "--json", *arguments, code=code).stdout)
    return [problem for problem in answer["problems"] if problem["kind"] != "pyflakes"]


def test_the_working_directory_is_the_database_directory_from_the_first_statement(database: Database) -> None:
    (database.path / "positions.txt").write_text("inner 4\nouter 9\n")
    database.context(
        "PLACE = os.getcwd()\n"
        "TABLE = dict(line.split() for line in open('positions.txt'))\n"
        "def reader(which):\n"
        "    def function(run): return 10 * int(TABLE[which])\n"
        "    function.__name__ = which\n"
        "    return Variable(title=which.title())(function)\n"
        "for which in TABLE: globals()[which] = reader(which)\n"
        "@Variable\ndef place(run): return PLACE\n"
    )
    assert problems(database) == []
    assert "3 variables" in database.amore("check").stdout
    words = ("check", str(database.path / "context.py"), "--python", context_python())
    assert "3 variables" in database.amore(*words, cwd="/").stdout
    assert "inner" in database.amore("plan", "1").stdout
    database.amore("reprocess", "1")
    rows = database.rows(1)
    assert (rows["inner"], rows["outer"], rows["place"]) == (40, 90, str(database.path))


def test_a_file_that_is_to_become_the_context_file_is_checked_as_such(database: Database) -> None:
    (database.path / "positions.txt").write_text("x")
    draft = database.path.parent / "draft"
    draft.mkdir()
    (draft / "new.py").write_text("open('positions.txt')\n")
    assert problems(database, str(draft / "new.py")) == []
    (draft / "here.txt").write_text("x")
    (draft / "new.py").write_text("open('here.txt')\n")
    outside = database.amore("check", "new.py", "--python", context_python(), cwd=draft)
    assert "no problems" in outside.stdout


def test_a_context_file_that_is_a_link(database: Database) -> None:
    """Files next to the link come first, then those next to its target."""
    clone = database.path.parent / "clone"
    clone.mkdir()
    other = database.path.parent / "other"
    other.mkdir()
    text = (
        "import calibration, numerics\nfrom damnit_ctx import SlurmJob, Variable\n"
        "@Variable\ndef answer(run): return calibration.ANSWER + numerics.MORE\n"
        "@Variable\ndef place(run): return __file__\n"
        "@Variable(job=SlurmJob(['./find.sh', '{directory}']))\n"
        "def found(run, job: 'job#outcome'): return (job.directory / 'found').read_text()\n"
    )
    for folder, more in ((clone, 2), (other, 3)):
        (folder / "context.py").write_text(text)
        (folder / "numerics.py").write_text(f"MORE = {more}\n")
        (folder / "find.sh").write_text(f"#!/bin/sh\nprintf {folder.name} >$1/found\n")
        (folder / "find.sh").chmod(0o755)
    (clone / "calibration.py").write_text("ANSWER = 0\n")
    (database.path / "calibration.py").write_text("ANSWER = 40\n")
    link = database.path / "context.py"
    link.symlink_to("../clone/context.py")
    assert problems(database) == []
    database.amore("reprocess", "1")
    rows = database.rows(1)
    assert (rows["answer"], rows["place"], rows["found"]) == (42, str(link), "clone")

    link.unlink()
    link.symlink_to(other / "context.py")
    database.amore("reprocess", "1")
    assert (database.rows(1)["answer"], database.rows(1)["found"]) == (43, "other")

    link.unlink()
    link.symlink_to("../clone/gone.py")
    for command in (["check"], ["reprocess", "1"]):
        said = database.amore(*command, code=4)
        assert f"a symbolic link to {clone / 'gone.py'}, which does not exist" in said.stdout + said.stderr


def test_a_variable_is_left_nothing_by_the_one_before(database: Database) -> None:
    database.context(
        "import tempfile\n"
        "@Variable\ndef goes(run):\n"
        "    open('seven.txt', 'w').write('7')\n"
        "    os.chdir(tempfile.mkdtemp())\n    os.umask(0o077)\n    os.environ['MODE'] = 'left'\n"
        "    np.seterr(all='raise')\n    return 1\n"
        "@Variable\ndef stays(run, _: 'var#goes'):\n"
        "    return ' '.join([str(os.path.exists('context.py')), oct(os.umask(0)), os.environ.get('MODE', '-'),\n"
        "                     np.geterr()['over']])\n"
        "@Variable\ndef reads(run, _: 'var#goes'): return int(open('seven.txt').read())\n"
    )
    database.amore("reprocess", "1")
    together = database.rows(1)
    assert together["reads"] == 7
    database.amore("reprocess", "1", "--var", "stays")
    assert database.rows(1)["stays"] == together["stays"]
    assert together["stays"].startswith("True ") and together["stays"].endswith(" - warn")


def test_a_child_ends_as_a_program_ends(database: Database) -> None:
    database.context(
        "import atexit, h5py, threading, time\nBOOK = None\n"
        "@Variable\ndef hits(run):\n"
        "    global BOOK\n    BOOK = h5py.File('hits.h5', 'w')\n    BOOK['n'] = [1, 2, 3]\n"
        "    atexit.register(lambda: open('ended.txt', 'w').write('ended'))\n"
        "    return 3\n"
        "@Variable\ndef crashes(run):\n    atexit.register(os.abort)\n    return 4\n"
    )
    database.amore("reprocess", "1", "--var", "hits")
    assert (database.path / "ended.txt").read_text() == "ended"
    with h5py.File(database.path / "hits.h5") as file:
        assert list(file["n"]) == [1, 2, 3]
    database.amore("reprocess", "1", "--var", "crashes")
    assert database.rows(1)["crashes"] == 4
    assert "did not end cleanly: the process of this variable was killed by SIGABRT" in database.amore("log", "1").stdout


def test_a_child_that_does_not_end_keeps_no_value_back(database: Database) -> None:
    database.context(
        "import threading, time\n"
        "def lingers(): time.sleep(1000)\n"
        "@Variable\ndef v(run):\n    threading.Thread(target=lingers).start()\n    return 5\n"
    )
    process = database.start("reprocess", "1")
    while database.rows(1).get("v") != 5:
        assert process.poll() is None, process.communicate()
    still_running = process.poll() is None
    assert process.wait(60) == 0 and still_running
    log = database.amore("log", "1").stdout
    assert "in lingers" in log and "did not end by itself" in log


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "TkAgg", "no such", None])
def test_figures_are_stored_whatever_the_shell_says(database: Database, backend: str | None) -> None:
    database.context(
        "@Variable\ndef figure(run):\n"
        "    import matplotlib.pyplot as plt\n"
        "    figure, axes = plt.subplots()\n    axes.plot([1, 3, 2])\n    return figure\n"
    )
    environment = {name: value for name, value in database.environment.items() if name != "MPLBACKEND"}
    if backend is not None:
        environment["MPLBACKEND"] = backend
    database.amore("reprocess", "1", env=environment)
    assert isinstance(database.rows(1)["figure"], bytes)


@pytest.mark.parametrize("path", ["lib", "{here}/lib", ":lib"])
def test_the_search_path_of_the_shell(database: Database, path: str) -> None:
    (database.path / "lib").mkdir()
    (database.path / "lib/ours.py").write_text("X = 1\n")
    database.context("import ours\n@Variable\ndef here(run): return ours.X\n")
    # The home of another interpreter does not apply to this one.
    environment = {**database.environment, "PYTHONPATH": path.format(here=database.path), "PYTHONHOME": "/nowhere"}
    assert "1 variable" in database.amore("check", env=environment).stdout
    database.amore("reprocess", "1", env=environment)
    assert database.rows(1)["here"] == 1


def test_a_skip_is_what_its_class_says(database: Database) -> None:
    database.context(
        "Given = Skip\nclass Skip(Exception): pass\nclass NoBeam(Given): pass\n"
        "@Variable\ndef own(run): raise Skip('no skip')\n"
        "@Variable\ndef dark(run): raise NoBeam('dark')\n"
        "@Variable\ndef after_own(run, x: 'var#own'): return 1\n"
    )
    said = database.amore("reprocess", "1")
    rows = database.rows(1)
    assert rows["own"] == ("context.Skip", "no skip") and rows["dark"] == ("Skip", "dark")
    assert rows["after_own"][0] == "DependencyError"
    assert "1 skipped" in said.stdout + said.stderr
    table = database.amore("table").stdout
    assert "! context.Skip" in table and "skipped" in table
    with h5py.File(database.run_file(1)) as file:
        # So DAMNIT's readers can distinguish them too.
        assert file[".errors/own"].attrs["type"] == "context.Skip" and file[".errors/dark"].attrs["type"] == "Skip"


def test_names_as_they_are_typed(database: Database) -> None:
    database.context(
        "@Variable(title='Size [\u00b5m]')\ndef \u00b5m(run): return 3\n"
        "@Variable(title='Total')\ndef total(run, size: 'var#\u00b5m'): return size\n"
    )
    assert problems(database) == []
    database.amore("reprocess", "1")
    assert database.rows(1)["total"] == 3
    for typed in ("\u00b5m", "\u03bcm"):
        assert "total" not in database.amore("plan", "1", "--var", typed).stdout
        database.amore("reprocess", "1", "--var", typed)
        assert "no variable" not in database.amore("explain", "1", typed).stdout


def test_variables_that_get_lost_are_warned_of(database: Database) -> None:
    database.context(
        "def logged(function):\n    def wrapper(run): return function(run)\n    return wrapper\n"
        "@logged\n@Variable(title='Outside')\ndef outside(run): return 1\n"
        "class Camera:\n    @Variable(title='Exposure')\n    def exposure(self, run): return 2\n"
        "@Variable(title='Twice')\n@logged\ndef twice(run): return 3\n"
        "@Variable(title='Thrice')\n@logged\ndef thrice(run): return 4\n"
    )
    lines = (database.path / "context.py").read_text().splitlines()
    found = {lines[problem["line"] - 1].split("(")[0].strip(): problem for problem in problems(database)}
    assert set(found) == {"def outside", "def exposure", "def twice"}
    assert {problem["severity"] for problem in found.values()} == {"warning"}
    assert "Thrice" in found["def twice"]["message"]
    assert str(1 + lines.index("def thrice(run): return 4")) in found["def twice"]["message"]
