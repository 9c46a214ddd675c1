"""A child ends as a Python program ends: handlers at exit, threads, buffers, files."""

from __future__ import annotations

import gzip
import time

import h5py
import pytest

HEAD = "import atexit, os, sys, threading, time\nfrom damnit_ctx import Variable\n"


def note(name):
    return f"lambda: open('{name}', 'a').write('ended\\n')"


def test_what_is_left_open_is_closed_and_handlers_run(database):
    text = HEAD + (
        "import h5py, gzip\nBOOK = TEXT = PACKED = None\n"
        "class Closes:\n    def __del__(self): os.close(os.open('deleted', os.O_CREAT | os.O_WRONLY))\n"
        "closes = Closes()\n"
        "@Variable\ndef hits(run):\n"
        "    global BOOK, TEXT, PACKED\n"
        "    BOOK = h5py.File('hits.h5', 'w', libver='latest')\n    BOOK['n'] = [1, 2, 3]\n"
        "    TEXT = open('text.txt', 'w')\n    TEXT.write('words')\n"
        "    PACKED = gzip.open('packed.gz', 'wt')\n    PACKED.write('words')\n"
        f"    atexit.register({note('handler')})\n"
        "    threading.Thread(target=lambda: (time.sleep(0.3), open('thread', 'w').write('ended'))).start()\n"
        "    return 3\n"
    )
    db = database(text)
    child = db.run("hits")
    assert child.values["hits"].data == 3 and child.exited["code"] == 0, child.text
    with h5py.File(db.folder / "hits.h5") as file:
        assert list(file["n"]) == [1, 2, 3]
    assert (db.folder / "text.txt").read_text() == "words"
    assert (db.folder / "handler").read_text() == "ended\n" and (db.folder / "thread").exists()
    assert (db.folder / "deleted").exists()
    assert gzip.decompress((db.folder / "packed.gz").read_bytes()) == b"words"


def test_files_that_other_objects_hold_are_written_out(database):
    # The thread is a daemon, and its frame keeps the file.
    text = HEAD + (
        "import h5py\n"
        "@Variable\ndef v(run):\n"
        "    ready = threading.Event()\n"
        "    def hold():\n"
        "        file = h5py.File('held.h5', 'w')\n        file['n'] = 1\n"
        "        text = open('held.txt', 'w')\n        text.write('words')\n"
        "        ready.set()\n        time.sleep(1000)\n"
        "    threading.Thread(target=hold, daemon=True).start()\n"
        "    ready.wait()\n    return 1\n"
    )
    db = database(text)
    child = db.run("v")
    assert child.exited["code"] == 0, child.text
    with h5py.File(db.folder / "held.h5") as file:
        assert file["n"][()] == 1
    assert (db.folder / "held.txt").read_text() == "words"


def test_executors_and_processes_end(database):
    text = HEAD + (
        "from concurrent.futures import ThreadPoolExecutor\nimport multiprocessing as mp\n"
        "POOL = ThreadPoolExecutor(1)\n"
        "def work(name): time.sleep(0.3); open(name, 'w').write('ended')\n"
        "@Variable\ndef v(run):\n"
        "    POOL.submit(work, 'future')\n"
        "    mp.get_context('fork').Process(target=work, args=('process',)).start()\n"
        "    return 1\n"
    )
    db = database(text)
    child = db.run("v")
    assert child.exited["code"] == 0, child.text
    assert (db.folder / "future").exists() and (db.folder / "process").exists()


def test_handlers_of_the_host_are_not_for_its_children(database, tmp_path):
    # A library that makes a temporary directory when it is imported, as matplotlib does without a home.
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages/makes_a_directory.py").write_text(
        "import atexit, shutil, tempfile, weakref\n"
        "PLACE = tempfile.mkdtemp()\natexit.register(shutil.rmtree, PLACE)\n"
        "KEPT = tempfile.TemporaryDirectory()\n"
    )
    text = HEAD.replace("import atexit", "import makes_a_directory\nimport atexit") + (
        "@Variable\ndef v(run):\n"
        f"    atexit.register({note('handler')})\n"
        "    return os.path.isdir(makes_a_directory.PLACE) and os.path.isdir(makes_a_directory.KEPT.name)\n"
        "@Variable\ndef host(run):\n    return os.getppid()\n"
    )
    db = database(text, MORE=str(tmp_path / "site-packages"))
    for nth in (1, 2):
        child = db.run("v")
        assert child.values["v"].data, child.text
        assert (db.folder / "handler").read_text() == "ended\n" * nth


def test_what_fails_at_the_end_hurts_nobody(database):
    text = HEAD + (
        "@Variable\ndef v(run):\n"
        f"    atexit.register({note('first')})\n"
        "    atexit.register(lambda: 1 / 0)\n"
        "    return 1\n"
        "@Variable\ndef crash(run):\n    atexit.register(os.abort)\n    return 2\n"
    )
    db = database(text)
    child = db.run("v")
    assert child.exited["code"] == 0 and (db.folder / "first").exists()
    assert "ZeroDivisionError" in child.text
    child = db.run("crash")
    assert child.values["crash"].data == 2 and child.exited["signal"] == 6


def test_a_process_that_does_not_end_is_ended(database, tmp_path):
    text = HEAD + (
        "def lingers(): time.sleep(1000)\n"
        "@Variable\ndef v(run):\n    threading.Thread(target=lingers).start()\n    return 1\n"
    )
    begun = time.monotonic()
    child = database(text).run("v")
    assert child.values["v"].data == 1 and child.exited["code"] == 1
    assert time.monotonic() - begun < 60
    assert "Timeout" in child.text and "in lingers" in child.text


@pytest.mark.parametrize("what", ["describe", "cannot_start"])
def test_the_file_itself_may_leave_something(database, what):
    fails = "1 / 0\n" if what == "cannot_start" else ""
    db = database(HEAD + f"atexit.register({note('handler')})\n@Variable\ndef v(run): return 1\n{fails}")
    if what == "describe":
        db.describe()
    else:
        assert db.run("v").events[0]["ev"] == "cannot_start"
    assert (db.folder / "handler").exists()
