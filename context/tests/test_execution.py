"""Arguments, failures and their dependents, values of earlier tasks, children that die."""

from __future__ import annotations

import os
import signal

import h5py
import numpy as np
import pytest

HEAD = "import numpy as np\nfrom damnit_ctx import Cell, Skip, Variable\n"


def variables(*functions):
    return HEAD + "".join(f"@Variable\ndef {function}\n" for function in functions)


def test_arguments(database):
    text = variables(
        "a(run): return 3",
        "b(run): return [1, 2]",
        "run_number(run, n: 'meta#run_number'): return n",
        "proposal(run, n: 'meta#proposal'): return n",
        "folder(run, p: 'meta#proposal_path', d: 'meta#proposal_dir'): return str(p) + ' ' + str(d / 'raw')",
        "one(run, x: 'var#a'): return x * 2",
        "array(run, x: 'var#b'): return x + 1",  # dependents get the array, not the list
        "some(run, d: 'var#[ab]'): return ' '.join(d)",
        "all_(run, d: 'var#*'): return 'start_time' in d and len(d) > 3",
        "parameter(run, p: 'param#p'): return p",
        "parameter_default(run, p: 'param#q'=5): return p",
        "parameter_missing(run, p: 'param#q'): return p",
        "catalogue(run, s: 'mymdc#sample_name'): return s",
        "catalogue_default(run, s: 'mymdc#sample_name'='none'): return s",
        "unknown(run, s: 'nothing#at'): return s",
        "plain(run, x=4, *, y: int = 5): return x + y",
    )
    names = [line.split("(")[0][4:] for line in text.splitlines() if line.startswith("def ")]
    child = database(text).run(*names, parameters={"p": [1, 2]}, run=7)
    crossed = {name: value.data for name, value in child.values.items()}
    assert crossed["run_number"] == 7 and crossed["proposal"] == 1234
    folder, raw = crossed["folder"].split()
    assert raw == folder + "/raw"
    assert crossed["one"] == 6 and crossed["array"].tolist() == [2, 3]
    assert crossed["some"] == "a b" and crossed["all_"]
    assert crossed["parameter"].tolist() == [1, 2] and crossed["parameter_default"] == 5
    assert crossed["catalogue_default"] == "none" and crossed["plain"] == 9
    assert "'q'" in child.of("parameter_missing")["message"]
    assert "MyMdC" in child.of("catalogue")["message"]
    assert "'nothing#at'" in child.of("unknown")["message"]


def test_values_of_the_catalogue(database):
    text = variables(
        "name(run, s: 'mymdc#sample_name'): return s",
        "changes(run, t: 'mymdc#techniques'): t.append(1); return len(t)",
        "sees(run, t: 'mymdc#techniques'): return repr(t)",
        "kind(run, k: 'mymdc#run_type'): return k",
        "kind_default(run, k: 'mymdc#run_type'='unknown'): return k",
        "after(run, k: 'var#kind'): return k",
    )
    catalogue = {
        "sample_name": {"is": "value", "json": '"Lysozyme \\u00b5"'},
        "techniques": {"is": "value", "json": '[{"name": "x", "identifier": 1.50}]'},
        "run_type": {"is": "error", "class": "MymdcUnavailableError", "message": "no answer\nhint: wait"},
    }
    names = ("name", "changes", "sees", "kind", "kind_default", "after")
    child = database(text).run(*names, mymdc=catalogue)
    assert child.values["name"].data == "Lysozyme µ" and child.values["changes"].data == 2
    assert child.values["sees"].data == "[{'name': 'x', 'identifier': 1.5}]"
    assert child.values["kind_default"].data == "unknown"
    failed = child.of("kind")
    assert failed["class"] == "MymdcUnavailableError"
    assert failed["message"] == "argument 'k' (mymdc#run_type): no answer\nhint: wait"
    assert child.of("after")["class"] == "DependencyError"


def test_annotations_of_the_future(database):
    text = (
        "from __future__ import annotations\nfrom damnit_ctx import Variable\n"
        "@Variable\ndef a(run: object, n: 'meta#run_number', k: int = 3): return n + k\n"
    )
    db = database(text)
    assert db.describe()["problems"] == []
    assert db.run("a", run=2).values["a"].data == 5


def test_failures_and_dependents(database):
    text = variables(
        "broken(run): raise ValueError('first\\nsecond')",
        "skipped(run): raise Skip('not today')",
        "nothing(run): return None",
        "after_broken(run, x: 'var#broken'): return 1",
        "after_two(run, x: 'var#after_broken', y: 'var#skipped'): return 1",
        "after_skipped(run, x: 'var#skipped'): return 1",
        "after_after(run, x: 'var#after_skipped'): return 1",
        "after_nothing(run, x: 'var#nothing'): return 1",
        "default(run, x: 'var#broken'=7): return x",
        "exits(run): import sys; sys.exit(3)",
        "recurses(run): return recurses.func(run)",
        "unsaved(run): return {}",
        "after_unsaved(run, x: 'var#unsaved'): return 1",
        "last(run): return 1",
    )
    names = [line.split("(")[0][4:] for line in text.splitlines() if line.startswith("def ")]
    child = database(text).run(*names)
    classes = {name: child.of(name).get("class", child.of(name)["ev"]) for name in names}
    assert classes == {
        "broken": "ValueError",
        "skipped": "Skip",
        "nothing": "nothing",
        "after_broken": "DependencyError",
        "after_two": "DependencyError",
        "after_skipped": "Skip",
        "after_after": "Skip",
        "after_nothing": "Skip",
        "default": "value",
        "exits": "SystemExit",
        "recurses": "RecursionError",
        "unsaved": "TypeError",
        "after_unsaved": "DependencyError",
        "last": "value",
    }
    assert child.of("after_two")["message"].splitlines()[1:] == [
        "├ (after_broken) not run",
        "│  └ (broken) failed: ValueError: first",
        "│     second",
        "└ (skipped) failed: Skip: not today",
    ]
    assert child.of("after_nothing")["message"] == "Dependencies returned no data:\n- 'nothing'"
    traceback = child.of("broken")["traceback"]
    assert 'context.py", line 4, in broken' in traceback and "raise ValueError" in traceback
    assert "damnit_ctx" not in traceback
    assert "not today" in child.text and "second" in child.text


def test_a_variable_that_vanishes_when_the_file_is_executed_again(database):
    child = database(variables("a(run): return 1")).run("a", "b")
    assert child.of("b")["class"] == "KeyError"
    assert child.values["a"].data == 1


def test_transient_values_are_handed_on_as_they_are(database):
    text = HEAD + (
        "@Variable(transient=True)\ndef t(run): return {'x': [1]}\n"
        "@Variable(transient=True)\ndef c(run): return Cell(5)\n"
        "@Variable(transient=True)\ndef n(run): return None\n"
        "@Variable\ndef v(run, t: 'var#t', c: 'var#c'): return [t['x'][0], c]\n"
    )
    child = database(text).run("t", "c", "n", "v")
    assert [child.of(name)["ev"] for name in "tcn"] == ["kept", "kept", "nothing"]
    assert child.values["v"].data.tolist() == [1, 5]


def test_output_stands_in_the_log_in_order(database):
    text = variables(
        "v(run): import os, sys; print('one'); os.write(1, b'two\\n'); "
        "print('three', file=sys.stderr); print('fo\\udcffur')"
    )
    log = database(text).run("v").text
    assert [word for word in log.split() if word in ("one", "two", "three", "fo\\udcffur", "v")] == [
        *("one", "two", "three", "fo\\udcffur"),
        "v",
    ]


def test_the_folder_of_the_file_is_importable_and_file_is_set(database):
    db = database("import os\nimport beside\n" + variables("v(run): return beside.X + os.path.basename(__file__)"))
    (db.folder / "beside.py").write_text("X = 'first '")
    assert db.run("v").values["v"].data == "first context.py"
    (db.folder / "beside.py").write_text("X = 'other '")
    os.utime(db.folder / "beside.py", (1, 1))
    assert db.run("v").values["v"].data == "other context.py"


def test_random_numbers_differ_from_run_to_run(database):
    db = database(variables("v(run): return np.random.rand()"))
    assert db.run("v").values["v"].data != db.run("v").values["v"].data


@pytest.mark.parametrize(
    "act, ended",
    [
        ("os.abort()", ("signal", signal.SIGABRT)),
        ("os.kill(os.getpid(), 9)", ("signal", signal.SIGKILL)),
        ("os._exit(5)", ("code", 5)),
        ("ctypes.string_at(0)", ("signal", signal.SIGSEGV)),
    ],
)
def test_a_child_that_dies(database, act, ended):
    db = database("import os, ctypes\n" + variables("a(run): return 1", f"v(run): {act}"))
    child = db.run("a", "v")
    assert [event["ev"] for event in child.events] == ["opened", "started", "value", "started"]
    how, number = ended
    assert child.exited[how] == number
    if number in (signal.SIGABRT, signal.SIGSEGV):
        assert "Fatal Python error" in child.last_words and 'context.py"' in child.last_words
    # Others may write to the log at the same time.
    assert "Fatal Python error" not in child.text
    # The host is well, and what the dead child left is told to the next one.
    rest = db.run("a", ended={"v": {"how": "error", "class": "ProcessKilled", "message": "killed"}})
    assert rest.values["a"].data == 1


def test_what_ended_before_is_known(database):
    text = variables(
        "a(run): return 1", "b(run): return 1", "c(run, x: 'var#a'): return x", "d(run, x: 'var#b'): return x"
    )
    dead = {"how": "error", "class": "ProcessKilled", "message": "killed by SIGSEGV"}
    child = database(text).run("c", "d", ended={"a": dead, "b": {"how": "nothing"}})
    assert child.of("c")["message"].endswith("└ (a) failed: ProcessKilled: killed by SIGSEGV")
    assert child.of("d")["message"] == "Dependencies returned no data:\n- 'b'"


def test_a_memory_limit(database):
    text = variables("v(run): return np.ones(1 << 30)", "w(run): return 1")
    child = database(text).run("v", "w", memory_bytes=4 << 30)
    assert "MemoryError" in child.of("v")["class"]
    assert child.values["w"].data == 1


def test_a_traceback_on_request(database):
    db = database("import time\n" + variables("v(run): print('sleeps', flush=True); time.sleep(60)"))
    child = db.run("v", answer=False)
    while "sleeps" not in child.text:
        pass
    os.kill(child.forked["pid"], signal.SIGUSR2)
    while 'context.py", line 5 in v' not in child.words:
        pass
    os.killpg(child.forked["pid"], signal.SIGKILL)
    assert db.host.hear()["signal"] == signal.SIGKILL


def test_a_file_that_cannot_be_executed(database):
    (event,) = database("import numpy\nraise RuntimeError('no')\n").run("v").events
    assert event["ev"] == "cannot_start" and event["class"] == "RuntimeError"
    assert 'context.py", line 2' in event["traceback"] and "damnit_ctx" not in event["traceback"]


def test_values_of_earlier_tasks(database, tmp_path):
    path = tmp_path / "p1234_r1.h5"
    with h5py.File(path, "w") as file:
        file["number/data"] = 5
        file["array/data"] = np.arange(3.0)
        file["text/data"] = "früher"
        file.create_group("figure").attrs["_damnit_objtype"] = "image"
        file["figure/data"] = np.zeros((2, 2, 4), "u1")
        file[".reduced/bare"] = 5
    text = variables(
        "number(run): raise RuntimeError('computed again')",
        "array(run): raise RuntimeError('computed again')",
        "text(run): raise RuntimeError('computed again')",
        "bare(run): return Cell(None, summary_value=5)",
        "base(run): return 'base'",
        "figure(run, b: 'var#base'): return [ord(c) for c in b]",
        "v(run, n: 'var#number', a: 'var#array', t: 'var#text', f: 'var#figure'): "
        "return f'{n * 2} {a.sum()} {t} {f[0]}'",
        "w(run, x: 'var#bare'): return 1",
        "g(run, d: 'var#[nt]*'): return ' '.join(sorted(d))",
    )
    given = {name: str(path) for name in ("number", "array", "text", "figure", "bare")}
    child = database(text).run("v", "w", "g", given=given)
    assert child.values["v"].data == "10 3.0 früher 98"
    assert [event["name"] for event in child.events if event["ev"] == "started"] == ["v", "w", "g"]
    assert child.of("w")["class"] == "Skip"
    assert child.values["g"].data == "number text"


def test_labelled_values_of_earlier_tasks(database, tmp_path):
    """What DAMNIT or an earlier version has stored does not say how it was returned: it is computed again."""
    path = tmp_path / "p1234_r1.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("flux")
        group.attrs["_damnit_objtype"] = "dataarray"
        group["__xarray_dataarray_variable__"] = np.arange(4)
    text = variables(
        "flux(run): return [5]",
        "v(run, f: 'var#flux'): return f",
    )
    child = database(text).run("v", given={"flux": str(path)})
    assert child.values["v"].data == [5]
    assert "flux is computed again: how this dataarray was returned is not recorded in the file" in child.text


ALARMS = (
    "import signal, time\n"
    "def no(number, frame): raise RuntimeError('of another variable')\n"
    "WATCHED = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)\n"
)


def test_timers_and_handlers_end_with_the_variable_that_set_them(database):
    text = ALARMS + variables(
        "deadly(run): signal.alarm(1); return 1",
        "raises(run): signal.setitimer(signal.ITIMER_PROF, 0.2); raise ValueError('no')",
        "handles(run):\n"
        "    [signal.signal(each, no) for each in WATCHED]\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.5)\n"
        "    return 2",
        "own(run):\n"
        "    signal.signal(signal.SIGALRM, lambda *_: None)\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
        "    signal.pause()\n"
        "    return 3",
        "innocent(run):\n"
        "    end = time.monotonic() + 1.2\n"
        "    while time.monotonic() < end: pass\n"
        "    return [signal.getsignal(each) for each in WATCHED].count(no)",
    )
    child = database(text).run("deadly", "raises", "handles", "own", "innocent")
    assert child.exited["code"] == 0, child.text
    assert [child.values[name].data for name in ("deadly", "handles", "own", "innocent")] == [1, 2, 3, 0]


def test_a_traceback_on_request_after_a_handler_took_its_place(database):
    db = database(
        ALARMS
        + variables(
            "handles(run): signal.signal(signal.SIGUSR2, no)",
            "asked(run): print('sleeps', flush=True); time.sleep(60)",
        )
    )
    child = db.run("handles", "asked", answer=False)
    while "sleeps" not in child.text:
        pass
    os.kill(child.forked["pid"], signal.SIGUSR2)
    while "in asked" not in child.words:
        pass
    os.killpg(child.forked["pid"], signal.SIGKILL)
    assert db.host.hear()["signal"] == signal.SIGKILL
