"""State that functions share: the values are as if a run's variables were executed one after another in one process."""

from __future__ import annotations

import json
from typing import Any

import h5py
import pytest

from conftest import REPOSITORY, Database
from state_kinds import ADDING, KINDS, Kinds, one_of_each
from state_scenes import LATER, SCENES, filled


def warnings(database: Database) -> list[dict[str, Any]]:
    """What `amore check` says about state."""
    problems = json.loads(database.amore("check", "--json").stdout)["problems"]
    return [problem for problem in problems if problem["kind"] == "shared-state"]


# Two variables that are only connected by a list, and many others that would be computed in parallel.
UNDECLARED = """
SEEN = []

@Variable
def first(run):
    effect("first")
    SEEN.append("x")
    return len(SEEN)

@Variable
def second(run):
    effect("second")
    return 10 + len(SEEN)

@Variable
def apart(run): return 1
@Variable
def also_apart(run): return 2
"""


@pytest.mark.parametrize("runs", [["1"], ["1-4"]])
def test_the_order_of_the_file_holds_however_many_runs_are_named(database: Database, runs: list[str]) -> None:
    database.context(UNDECLARED)
    database.amore("reprocess", *runs)
    for run in range(1, 5 if runs == ["1-4"] else 2):
        assert database.rows(run) == {"first": 1, "second": 11, "apart": 1, "also_apart": 2}
    assert set(database.executions().values()) == {4 if runs == ["1-4"] else 1}


def test_one_variable_alone_finds_what_those_before_it_leave(database: Database) -> None:
    database.context(UNDECLARED)
    database.amore("reprocess", "1", "--var", "second")
    assert database.rows(1) == {"second": 11}
    assert "first executed again for the state it leaves" in database.amore("log", "1").stdout
    # Variables that were not requested are not changed.
    database.amore("reprocess", "1")
    database.amore("reprocess", "1", "--match", "second")
    assert database.rows(1)["first"] == 1 and database.rows(1)["second"] == 11
    assert database.executions() == {"first": 3, "second": 3}


def test_check_warns_and_plan_tells_of_it(database: Database) -> None:
    database.context(UNDECLARED)
    lines = (database.path / "context.py").read_text().splitlines()
    change, read = (number + 1 for number, line in enumerate(lines) if "SEEN.append" in line or "10 + len" in line)
    said = database.amore("check").stdout
    assert f"second reads SEEN (line {read}), which first changes (line {change})" in said and "var#first" in said
    (problem,) = warnings(database)
    assert (problem["line"], problem["variables"]) == (read, ["first", "second"])
    assert "because they use SEEN: first, second" in database.amore("plan", "1").stdout
    plan = json.loads(database.amore("plan", "1", "--var", "second", "--json").stdout)["runs"][0]
    (task,) = plan["tasks"]
    assert [(step["name"], step.get("again", False)) for step in task["steps"]] == [("first", True), ("second", False)]
    assert task["shares"] == [{"state": "SEEN", "variables": ["first", "second"]}]
    assert "executed again here for the state it leaves in SEEN" in database.amore("plan", "1", "--var", "second").stdout


def test_nothing_is_warned_of_where_it_is_declared(database: Database) -> None:
    database.context(
        UNDECLARED.replace("def second(run)", 'def second(run, _: "var#between")')
        + '@Variable\ndef between(run, _: "var#first"): return 3\n'
    )
    assert warnings(database) == []


@pytest.mark.parametrize("death", ["os.abort()", "os._exit(1)", "import time; time.sleep(60)"])
def test_after_a_death_what_is_needed_is_left_again(database: Database, death: str) -> None:
    database.context(filled(death, writer="", reader=""))
    if "sleep" in death:
        database.amore("db-config", "variable_time", "1")
    database.amore("reprocess", "1", "2")
    for run in (1, 2):
        rows = database.rows(run)
        assert isinstance(rows.pop("breaks"), tuple)
        assert rows == {"fill": "filled", "left": 1, "right": 2, "undeclared": 2}
    assert database.executions() == {"fill": 4, "left": 2, "right": 2}


def test_a_variable_under_which_the_process_died_is_not_executed_again(database: Database) -> None:
    database.context(
        """
COUNTS = []
@Variable
def one(run):
    COUNTS.append(1)
    return len(COUNTS)
@Variable
def deadly(run):
    effect("deadly")
    COUNTS.append(2)
    os.abort()
@Variable
def failing(run):
    COUNTS.append(3)
    raise ValueError("half done")
@Variable
def second_death(run): os.abort()
@Variable
def last(run): return str(COUNTS)
"""
    )
    database.amore("reprocess", "1")
    rows = database.rows(1)
    # As in DAMNIT, state that a failed variable has changed before its error is kept.
    assert (rows["one"], rows["failing"][0]) == (1, "ValueError")
    assert rows["last"] == "[1, 3]"
    assert database.executions() == {"deadly": 1}


def last_values(database: Database, run: int, kinds: Kinds = KINDS) -> dict[str, object]:
    """The values of the reading variables, by kind."""
    rows = database.rows(run)
    found = {}
    for number, (kind, (*_, expected)) in enumerate(kinds.items()):
        value = rows.get(f"last_{number}")
        found[kind] = round(value, 6) if isinstance(expected, float) and isinstance(value, float) else value
    return found


EXPECTED = {kind: expected for kind, (*_, expected) in KINDS.items()}


def test_every_kind_of_state(database: Database) -> None:
    database.context(one_of_each())
    assert {problem["variables"][1] for problem in warnings(database)} >= {f"last_{number}" for number in range(len(KINDS))}
    database.amore("reprocess", "1")
    assert last_values(database, 1) == EXPECTED
    # Each pair is independent, except for those that use the same random generator.
    plan = json.loads(database.amore("plan", "1", "--json").stdout)["runs"][0]
    assert len([shared for task in plan["tasks"] for shared in task["shares"]]) >= len(KINDS) - 1


def test_every_kind_of_state_after_a_death(database: Database) -> None:
    database.context(one_of_each(between="@Variable\ndef dies(run): os.abort()\n"))
    database.amore("reprocess", "2")
    assert last_values(database, 2) == EXPECTED


def test_every_kind_of_state_for_those_who_read_alone(database: Database) -> None:
    kinds = {kind: KINDS[kind] for kind in KINDS if kind not in ADDING}
    database.context(one_of_each(kinds))
    names = [f"--var=last_{number}" for number in range(len(kinds))]
    database.amore("reprocess", "3", *names)
    assert last_values(database, 3, kinds) == {kind: EXPECTED[kind] for kind in kinds}
    assert len(database.rows(3)) == len(kinds)


def test_what_is_added_to_a_file_stays_and_is_not_added_twice(database: Database) -> None:
    kinds = {kind: KINDS[kind] for kind in sorted(ADDING)}
    expected = {kind: EXPECTED[kind] for kind in kinds}
    database.context(one_of_each(kinds, between="@Variable\ndef dies(run): os.abort()\n"))
    database.amore("reprocess", "1")
    assert last_values(database, 1, kinds) == expected
    names = [f"--var=last_{number}" for number in range(len(kinds))]
    database.amore("reprocess", "1", *names)
    assert last_values(database, 1, kinds) == expected
    # In DAMNIT, too, the file contains the text of both times.
    database.amore("reprocess", "1", "--var=change_1", "--var=last_1")
    assert list(last_values(database, 1, kinds).values())[1] == "55"


FRESH_AND_ADDED = """
@Variable
def header(run):
    effect("header")
    with open("table.txt", "w") as file: file.write("h")
    return 1
@Variable
def one(run):
    effect("one")
    with open("table.txt", "a") as file: file.write("1")
    return 1
@Variable
def dies(run, _: "var#one"): os.abort()
@Variable
def two(run, _: "var#dies" = None):
    effect("two")
    with open("table.txt", "a") as file: file.write("2")
    return 1
@Variable
def text(run, _: "var#two"): return open("table.txt").read()
"""


def test_a_file_that_is_begun_again_gets_again_what_was_added(database: Database) -> None:
    database.context(FRESH_AND_ADDED)
    database.amore("reprocess", "1")
    assert database.rows(1)["text"] == "h12"
    database.amore("reprocess", "1", "--var", "text")
    assert database.rows(1)["text"] == "h12"
    # Both times the process ended in `dies`.
    assert database.executions() == {"header": 4, "one": 4, "two": 2}


@pytest.mark.parametrize(
    "text",
    [
        "T = {'a': 1}\n@Variable\ndef a(run): return T['a']\n@Variable\ndef b(run): return len(T)\n",
        "import logging\nlog = logging.getLogger('x')\n@Variable\ndef a(run): log.info('a')\n@Variable\ndef b(run): log.info('b')\n",  # noqa: E501
        "import re\nP = re.compile('x')\n@Variable\ndef a(run): return bool(P.match('x'))\n@Variable\ndef b(run): return bool(P.match('y'))\n",  # noqa: E501
        "A = np.arange(5)\n@Variable\ndef a(run): return A.sum()\n@Variable\ndef b(run): return (A + 1).max()\n",
        "@Variable\ndef a(run): return np.random.random()\n@Variable\ndef b(run): return np.random.random()\n",
        "class K:\n    N = 5\n@Variable\ndef a(run): return K.N\n@Variable\ndef b(run): return K.N + 1\n",
        "S = ['a']\n@Variable\ndef a(run):\n    s = list(S)\n    s.append(1)\n    return len(s)\n@Variable\ndef b(run):\n    s = S.copy(); s += [2]\n    return len(s)\n",  # noqa: E501
        "def make():\n    t = {}\n    t['a'] = 1\n    return t\n@Variable\ndef a(run): return len(make())\n@Variable\ndef b(run): return make()['a']\n",  # noqa: E501
    ],
)
def test_what_nobody_changes_keeps_nobody_together(database: Database, text: str) -> None:
    database.context(text)
    assert warnings(database) == []
    plan = json.loads(database.amore("plan", "1", "--json").stdout)["runs"][0]
    assert not any(task.get("shares") for task in plan["tasks"])


def test_a_cache_is_filled_once_in_a_process(database: Database) -> None:
    database.context(
        """
from functools import lru_cache
@lru_cache(maxsize=None)
def detector(number):
    effect("detector")
    return [number]
@Variable
def a(run, n: "meta#run_number"): return detector(n)[0]
@Variable
def b(run, n: "meta#run_number"): return detector(n)[0] + 1
@Variable
def c(run, n: "meta#run_number"): return detector(n)[0] + 2
"""
    )
    database.amore("reprocess", "1")
    assert database.rows(1) == {"a": 1, "b": 2, "c": 3}
    assert database.executions() == {"detector": 1}
    assert warnings(database) == []
    assert "cache of detector: a, b, c" in database.amore("plan", "1").stdout


def test_state_of_modules_beside_the_file_and_of_groups(database: Database) -> None:
    (database.path / "counts.py").write_text("SEEN = []\nTOTAL = 0\ndef count():\n    global TOTAL\n    TOTAL += 5\n")
    database.context(
        """
import counts
from counts import SEEN
from damnit_ctx import Group
@Variable
def one(run):
    counts.count()
    SEEN.append(1)
    return counts.TOTAL
@Variable
def two(run): return counts.TOTAL + len(counts.SEEN)

@Group
class Camera:
    number: int
    @Variable(title="open")
    def open(self, run):
        self.frames = self.number * 2
        return self.frames
    @Variable(title="frames")
    def used(self, run): return self.frames
left = Camera(number=1)
right = Camera(number=2)
"""
    )
    database.amore("reprocess", "1")
    rows = database.rows(1)
    assert rows == {"one": 5, "two": 6, "left.open": 2, "left.used": 2, "right.open": 4, "right.used": 4}
    shares = [
        shared
        for task in json.loads(database.amore("plan", "1", "--json").stdout)["runs"][0]["tasks"]
        for shared in task["shares"]
    ]
    # Each instance has its own state.
    assert {"state": "left.frames", "variables": ["left.open", "left.used"]} in shares
    database.amore("reprocess", "2", "--var", "right.used", "--var", "two")
    assert database.rows(2) == {"two": 6, "right.used": 4}


def test_only_proc_data_arriving(database: Database) -> None:
    database.context(
        """
TABLE = {}
@Variable(data="raw")
def needed(run): return 4
@Variable(data="raw")
def fill(run, n: "var#needed"):
    TABLE["a"] = n
    return 1
@Variable(data="proc")
def read(run, n: "var#needed"): return TABLE["a"]
"""
    )
    plan = json.loads(database.amore("plan", "1", "--mock", "--data", "proc", "--json").stdout)["runs"][0]
    (task,) = plan["tasks"]
    assert [step["name"] for step in task["steps"]] == ["needed", "fill", "read"]
    database.amore("reprocess", "1", "--mock", "--var", "read")
    assert database.rows(1) == {"needed": 4, "read": 4}


@pytest.mark.parametrize("name", SCENES)
def test_scene_without_jobs(database: Database, name: str) -> None:
    """The same as with Slurm (tests/slurm_fake/test_state_in_jobs.py), except for how often functions are executed."""
    scene = SCENES[name]
    database.context(scene.context)
    database.amore("reprocess", f"1-{scene.runs}")
    for run in range(1, scene.runs + 1):
        scene.check(database.rows(run))
    assert database.executions() == scene.executions(scene.here)
    assert database.leftovers() == []


def test_check_tells_what_light_variables_do_not_see(database: Database) -> None:
    database.context(LATER)
    assert "does not see what it leaves" in database.amore("check").stdout


def test_a_value_that_is_computed_again_finds_what_its_function_reads(database: Database) -> None:
    database.context(
        """
from matplotlib.figure import Figure
LINES = []
@Variable
def fill(run):
    LINES.append([1, 2, 3])
    return 1
@Variable
def drawing(run):
    figure = Figure()
    axes = figure.add_subplot()
    for line in LINES: axes.plot(line)
    return figure
@Variable
def breaks(run): os.abort()
@Variable
def lines(run, figure: "var#drawing", _: "var#breaks" = None): return len(figure.axes[0].lines)
"""
    )
    database.amore("reprocess", "1")
    assert database.rows(1)["lines"] == 1


@pytest.mark.parametrize("file", ["bench/contexts/realistic.py", "demo/context.py"])
def test_files_that_share_nothing_run_in_as_many_parts_as_ever(database: Database, file: str) -> None:
    (database.path / "context.py").write_text((REPOSITORY / file).read_text())

    def local_tasks(processes: int) -> list[dict[str, Any]]:
        plan = database.amore("plan", "1", "--mock", "--json", "--concurrent-jobs", str(processes)).stdout
        tasks: list[dict[str, Any]] = json.loads(plan)["runs"][0]["tasks"]
        return [task for task in tasks if task["place"] == "local"]

    (together,) = local_tasks(1)
    # Only variables that need each other's values stay together.
    part = {step["name"]: {step["name"]} for step in together["steps"]}
    for step in together["steps"]:
        for need in step["needs"]:
            joined = part[step["name"]] | part[need]
            part.update(dict.fromkeys(joined, joined))
    parts = {frozenset(names) for names in part.values()}
    assert len(parts) > 5
    tasks = local_tasks(100)
    assert {frozenset(step["name"] for step in task["steps"]) for task in tasks} == parts
    assert [len(local_tasks(processes)) for processes in (2, 4)] == [2, 4]
    assert not any(task.get("shares") for task in tasks)


# A dependent that changes its argument: later dependents get the changed value.
IN_PLACE = """
@Variable
def image(run):
    effect("image")
    return np.array([1., 2., 3.])

@Variable
def norm(run, img: "var#image"):
    effect("norm")
    img -= 1
    return float(img.sum())

@Variable
def crashes(run, img: "var#image", _: "var#norm"): BREAKS

@Variable
def other(run, img: "var#image", n: "var#norm", _: "var#crashes" = None):
    return repr([*img.tolist(), float(n)])

@Variable
def any_of(run, all: "var#im*", _: "var#other"): return float(all["image"][0])

@Variable
def apart(run): return 1
"""


def stored_image(database: Database, run: int) -> list[float]:
    with h5py.File(database.run_file(run)) as file:
        return file["image/data"][:].tolist()


@pytest.mark.parametrize("runs", [["1"], ["1-3"]])
def test_a_value_that_a_dependent_changes(database: Database, runs: list[str]) -> None:
    database.context(IN_PLACE.replace("BREAKS", "return 1"))
    database.amore("reprocess", *runs)
    for run in range(1, 4 if runs == ["1-3"] else 2):
        rows = database.rows(run)
        assert rows["norm"] == 3 and rows["any_of"] == 0
        assert rows["other"] == "[0.0, 1.0, 2.0, 3.0]" and stored_image(database, run) == [1, 2, 3]
    said = database.amore("check").stdout
    assert "norm changes the value of image in place (line" in said


def test_a_value_that_a_dependent_changes_for_one_variable_alone(database: Database) -> None:
    database.context(IN_PLACE.replace("BREAKS", "return 1"))
    database.amore("reprocess", "1", "--var", "other")
    assert database.rows(1)["other"] == "[0.0, 1.0, 2.0, 3.0]"
    database.amore("reprocess", "1")
    database.amore("reprocess", "1", "--var", "other")
    assert database.rows(1)["other"] == "[0.0, 1.0, 2.0, 3.0]" and stored_image(database, 1) == [1, 2, 3]
    database.amore("reprocess", "1", "--var", "any_of")
    assert database.rows(1)["any_of"] == 0


def test_a_value_that_a_dependent_changes_after_a_death(database: Database) -> None:
    database.context(IN_PLACE.replace("BREAKS", "os.abort()"))
    database.amore("reprocess", "1")
    assert database.rows(1)["other"] == "[0.0, 1.0, 2.0, 3.0]" and stored_image(database, 1) == [1, 2, 3]
    assert database.rows(1)["any_of"] == 0 and database.executions() == {"image": 1, "norm": 2}


# Attributes of the run, and names of the module in text form.
BY_NAME = """
def note(where): where.noted = ["a"]

@Variable
def first(run):
    run.my_note = 5
    setattr(run, "other_note", 6)
    note(run)
    globals()["LATE"] = 3
    setattr(sys.modules[__name__], "LATER", 4)
    return 1

@Variable
def dies(run, _: "var#first"): BREAKS

@Variable
def attributes(run, _: "var#dies" = None):
    return repr([getattr(run, "my_note", None), run.other_note, getattr(run, "noted", None)])

@Variable
def names(run): return repr([globals().get("LATE"), "LATER" in globals(), vars().get("x")])

@Variable
def plain(run, _: "var#dies" = None): return LATE + LATER

@Variable
def apart(run): return len(run.train_ids) > 0
"""
BY_NAME_RIGHT = {"first": 1, "attributes": "[5, 6, ['a']]", "names": "[3, True, None]", "plain": 7, "apart": True}


@pytest.mark.parametrize("runs, breaks", [("1", "return 1"), ("1-3", "return 1"), ("1", "os.abort()")])
def test_attributes_of_the_run_and_names_by_their_text(database: Database, runs: str, breaks: str) -> None:
    database.context("import sys\n" + BY_NAME.replace("BREAKS", breaks))
    database.amore("reprocess", runs)
    for run in range(1, 4 if runs == "1-3" else 2):
        rows = database.rows(run)
        del rows["dies"]
        assert rows == BY_NAME_RIGHT


def test_attributes_of_the_run_for_those_who_read_alone(database: Database) -> None:
    database.context("import sys\n" + BY_NAME.replace("BREAKS", "return 1"))
    for name in ("attributes", "names", "plain"):
        database.amore("reprocess", "1", "--var", name)
        assert database.rows(1)[name] == BY_NAME_RIGHT[name]
    task = json.loads(database.amore("plan", "1", "--var", "apart", "--json").stdout)["runs"][0]["tasks"][0]
    assert [step["name"] for step in task["steps"]] == ["apart"]


def test_a_dependent_sees_the_value_in_the_table_though_its_function_was_executed_again(database: Database) -> None:
    """The function draws another number each time. It is executed again only for the state of the module."""
    database.context("""
N = 0

@Variable
def drawn(run):
    global N
    N += 1
    effect("drawn")
    return int.from_bytes(os.urandom(4), "big")

@Variable
def dies(run, drawn: "var#drawn"): os.abort()

@Variable
def after(run, drawn: "var#drawn", _: "var#dies" = None):
    return f"{N} {int(drawn)}"
""")
    database.amore("reprocess", "1", code=None)
    values = database.rows(1)
    assert values["after"] == f"1 {values['drawn']}"
    assert database.executions()["drawn"] == 2
