"""What functions do to the process they run in: forks, processes of their own, closed streams, threads."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from worker import PACKAGE

HEAD = "import os, sys, threading, time\nimport numpy as np\nfrom damnit_ctx import Variable\n"


@pytest.mark.parametrize(
    ("ending", "status"),
    [("pass", 0), ("sys.exit(3)", 3), ("raise ValueError('in the copy')", 1), ("sys.exit('x')", 1)],
)
def test_a_forked_copy_of_a_variable_does_not_go_on_with_the_steps(database, ending, status):
    db = database(
        HEAD
        + f"""
@Variable
def forks(run):
    pid = os.fork()
    if pid == 0:
        {ending}
        return -1
    _, status = os.waitpid(pid, 0)
    return os.WEXITSTATUS(status)

@Variable
def after(run):
    return os.getpid()
"""
    )
    child = db.run("forks", "after")
    assert [event["ev"] for event in child.events] == [
        "opened", "started", "value", "started", "value", "done",
    ], child.text  # fmt: skip
    assert child.values["forks"].data == status
    assert child.values["after"].data == child.forked["pid"]
    assert child.text.count("after computed") == 1
    assert ("in the copy" in child.text) == ("in the copy" in ending)


def test_a_copy_that_is_forked_at_import_stays_silent(database):
    db = database(HEAD + "forked = os.fork()\nif forked: os.waitpid(forked, 0)\n@Variable\ndef x(run): return 1\n")
    child = db.run("x")
    assert [event["ev"] for event in child.events] == ["opened", "started", "value", "done"], child.text


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_functions_of_the_file_are_found_by_multiprocessing(database, method):
    db = database(
        HEAD
        + f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def double(number):
    return 2 * number

@Variable
def doubled(run):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({method!r})) as pool:
        return list(pool.map(double, [1, 2, 3]))
"""
    )
    # The processes get the text that is executed, not what stands in the file by then.
    db.path.write_text("raise RuntimeError('edited meanwhile')\n")
    child = db.run("doubled")
    assert child.of("doubled")["ev"] == "value", child.text
    assert child.values["doubled"].data.tolist() == [2, 4, 6]


@pytest.mark.parametrize("where", ["at the head", "late"])
def test_cloudpickle_sends_functions_of_the_file_whole(database, where):
    cloudpickle = pytest.importorskip("cloudpickle")
    head, late = ("import cloudpickle\n", "") if where == "at the head" else ("", "import cloudpickle; ")
    db = database(
        head
        + HEAD
        + f"""
import subprocess

def double(number):
    return 2 * number

@Variable
def sent(run):
    {late}code = cloudpickle.dumps(double)
    elsewhere = {{name: value for name, value in os.environ.items() if not name.startswith("AMORE_")}}
    program = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1]))(21))"
    result = subprocess.run([sys.executable, "-c", program, code.hex()], env=elsewhere, capture_output=True, text=True)
    return result.stdout + result.stderr
""",
        PYTHONPATH=os.pathsep.join([str(PACKAGE), str(Path(cloudpickle.__file__).parents[1])]),
    )
    child = db.run("sent")
    assert child.of("sent")["ev"] == "value", child.text + str(child.events)
    assert child.values["sent"].data == "42\n"


@pytest.mark.parametrize(
    "act", ["sys.stdout.close()", "sys.stderr.close()", "sys.stdout = sys.stderr = None", "sys.stderr = object()"]
)
def test_closed_streams_cost_no_value(database, act):
    db = database(
        HEAD
        + f"@Variable\ndef closes(run):\n    {act}\n    return 1\n@Variable\ndef fails(run): raise ValueError('oh')\n"
    )
    child = db.run("closes", "fails")
    assert child.values["closes"].data == 1
    assert child.of("fails")["class"] == "ValueError"
    assert child.events[-1]["ev"] == "done"
    assert "closes computed" in child.text
    assert "ValueError: oh" in child.text


def test_a_crash_is_told_of_the_thread_that_crashed(database):
    db = database(
        HEAD
        + """
def waits():
    time.sleep(600)

@Variable
def crashes(run):
    for _ in range(3):
        threading.Thread(target=waits, daemon=True).start()
    os.kill(os.getpid(), 11)
"""
    )
    child = db.run("crashes")
    assert child.exited["signal"] == 11
    crash = child.last_words[child.last_words.index("Fatal Python error") :]
    frames = re.findall(rf'File "{re.escape(str(db.path))}", line \d+ in (\w+)', crash)
    assert frames == ["crashes"]


def test_what_functions_log_stands_in_the_log(database):
    db = database(HEAD + "import logging\n@Variable\ndef x(run):\n    logging.getLogger('mine').info('seen: %d', 7)\n")
    child = db.run("x")
    assert "INFO mine: seen: 7" in child.text


def test_messages_hold_nothing_that_a_file_cannot(database):
    db = database(HEAD + "@Variable\ndef x(run): raise ValueError('a\\0b \\ud800')\n")
    child = db.run("x")
    assert child.of("x")["message"] == "a\\x00b \\ud800"
    json.dumps(child.of("x"), ensure_ascii=False).encode("utf-8")


def test_a_fragment_that_was_collected_meanwhile_is_looked_for_in_the_run_file(database, tmp_path: Path):
    db = database(HEAD + "@Variable\ndef late(run, early: 'var#early'): return early + 1\n")
    folder = db.folder / "extracted_data"
    folder.mkdir()
    with h5py.File(folder / "p1234_r1.h5", "w") as file:
        file["early/data"] = np.arange(3)
    gone = os.fspath(folder / "p1234_r1.00000000.ready.h5")
    child = db.run("late", given={"early": gone})
    assert child.values["late"].data.tolist() == [1, 2, 3], child.text
    os.remove(folder / "p1234_r1.h5")
    child = db.run("late", given={"early": gone})
    assert child.of("late")["class"] == "DependencyError" and "early" in child.of("late")["message"]


def test_exceptions_of_the_file_go_by_their_own_names(database):
    db = database(HEAD + "class TooDim(Exception): pass\n@Variable\ndef x(run): raise TooDim('12 uJ')\n")
    failed = db.run("x").of("x")
    assert failed["class"] == "TooDim"
    assert failed["traceback"].splitlines()[-1] == "TooDim: 12 uJ"
