"""Variables that end in no column are warned of, with the lines of the file; and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
HEAD = """\
from damnit_ctx import Group, Pipeline, Variable

def logged(function):
    def wrapper(run):
        return function(run)
    return wrapper
"""
LOST = {
    "decorator above": (
        "@logged\n@Variable(title='Outside')\ndef outside(run): return 1\n",
        3,
        "the decorator in line 7",
    ),
    "no group": (
        "class Camera:\n    @Variable(title='E')\n    def exposure(self, run): return 2\n",
        3,
        "Camera.exposure is in a class that is not a group",
    ),
    "list": ("def f(run): return 1\nALL = [Variable(title='T')(f)]\n", 2, "no top-level name of the file"),
    "dictionary": (
        "ALL = {}\nfor name in 'ab':\n    @Variable(title=name)\n    def f(run): return 1\n    ALL[name] = f\ndel f\n",
        4,
        "no top-level name of the file",
    ),
    "deleted": ("if True:\n    @Variable\n    def f(run): return 1\n    del f\n", 3, "no top-level name of the file"),
    "underscores": ("@Variable\ndef __f(run): return 1\n", 2, "two underscores"),
    "replaced": ("@Variable\ndef f(run): return 1\nf = 3\n", 2, "stands for a int"),
    "no instance": (
        "@Group\nclass G:\n    @Variable\n    def f(self, run): return 1\n",
        2,
        "the group G has no instance",
    ),
}


@pytest.mark.parametrize("what", LOST)
def test_a_variable_that_gets_lost(database, what):
    text, line, words = LOST[what]
    problems = [p for p in database(HEAD + text).describe()["problems"] if p["kind"] != "pyflakes"]
    assert problems and {p["kind"] for p in problems} <= {"no-column", "duplicate-name"}
    first = problems[-1]
    assert first["severity"] == "warning" and first["line"] == line + 6
    assert words in first["message"] and first["hint"]


def test_wrappers_of_one_name_are_told_apart(database):
    text = HEAD + (
        "@Variable(title='Twice')\n@logged\ndef twice(run):\n    return 3\n\n"
        "@Variable(title='Thrice')\n@logged\ndef thrice(run):\n    return 4\n"
    )
    (problem,) = [p for p in database(text).describe()["problems"] if p["kind"] != "pyflakes"]
    assert problem["kind"] == "duplicate-name" and problem["line"] == 9
    for words in ("Twice", "Thrice", "twice", "thrice", "line 14"):
        assert words in problem["message"]
    assert "functools.wraps" in problem["hint"]


KEPT = {
    "groups": (
        "@Group\nclass Base:\n    source: str = ''\n    @Variable\n    def f(self, run): return 1\n"
        "class Mixin:\n    @Variable\n    def g(self, run): return 1\n"
        "@Group\nclass Camera(Mixin, Base):\n    @Variable\n    def h(self, run): return 1\n"
        "@Group\nclass Both:\n    inner: object = None\n    @Variable\n    def k(self, run): return 1\n"
        "a = Camera(source='a')\nb = Both(inner=Camera(source='b'))\n"
    ),
    "overridden": (
        "@Group\nclass Base:\n    @Variable(title='F')\n    def f(self, run): return 1\n"
        "@Group\nclass Other(Base):\n    @Variable(title='F')\n    def f(self, run): return 2\n"
        "a = Other()\n"
    ),
    "chosen": (
        "@Variable\ndef f(run): return 1\ndef g(run): return 2\n"
        "Pipeline.set_default(Pipeline().add(f, [Variable(title='G')(g)]) or Pipeline.default())\n"
    ),
    "made": (
        "def maker(n):\n    def f(run): return n\n    f.__name__ = f'v{n}'\n    return Variable(title=f'V{n}')(f)\n"
        "for n in range(3): globals()[f'v{n}'] = maker(n)\n"
    ),
    "another name": ("@Variable\ndef f(run): return 1\ng = f\n"),
    "below": (
        "import functools\ndef kept(f):\n    @functools.wraps(f)\n    def w(run): return f(run)\n    return w\n"
        "@Variable(title='A')\n@kept\ndef a(run): return 1\n@Variable(title='B')\n@kept\ndef b(run): return 1\n"
    ),
}


@pytest.mark.parametrize("what", KEPT)
def test_no_false_alarm(database, what):
    problems = database(HEAD + KEPT[what]).describe()["problems"]
    assert [p for p in problems if p["kind"] in ("no-column", "duplicate-name")] == []


def test_a_variable_of_a_helper_is_no_loss(database):
    db = database("from damnit_ctx import Variable\nfrom shared import first\n")
    (db.folder / "shared.py").write_text(
        "from damnit_ctx import Variable\n@Variable\ndef first(run): return 1\n@Variable\ndef second(run): return 2\n"
    )
    assert [p for p in db.describe()["problems"] if p["kind"] != "pyflakes"] == []


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("demo/**/context*.py")) + [REPOSITORY / "templates/context.py"])
def test_our_own_files_have_none(database, path):
    if not path.exists():
        pytest.skip("not there")
    problems = database(path.read_text()).describe()["problems"]
    assert [p for p in problems if p["kind"] in ("no-column", "duplicate-name")] == []
