"""What is told of a context file, and what is wrong with it."""

from __future__ import annotations

import pytest

HEAD = "from damnit_ctx import Cell, Group, GroupError, Pipeline, Skip, Variable\n"


def kinds(told, severity="error"):
    return [problem["kind"] for problem in told["problems"] if problem["severity"] == severity]


@pytest.fixture
def describe(database):
    made = []

    def describe(text):
        if not made:
            made.append(database(HEAD))
        return made[0].describe(text)

    return describe


def test_everything_that_a_variable_declares(describe):
    told = describe(
        HEAD
        + '''
@Variable(
    title="Flux [uJ]", summary="mean", data="proc", cluster=True, tags=["a", "b"], transient=True, units="uJ"
)
def flux(run, other: "var#other"=None, n: "meta#run_number"=1, plain=3):
    """Of photons."""

@Variable
def other(run):
    return 1

@Variable("Given", description="Said", tags="one")
def third(run):
    """Not this."""
'''
    )
    flux, other, third = told["variables"]
    print_ = flux.pop("fingerprint")
    assert len(print_) == 64
    assert flux == {
        "name": "flux",
        "title": "Flux [uJ]",
        "description": "Of photons.",
        "summary": "mean",
        "data": "proc",
        "cluster": True,
        "resources": {},
        "tags": ["a", "b"],
        "transient": True,
        "units": "uJ",
        "arguments": [
            {"name": "other", "annotation": "var#other", "has_default": True},
            {"name": "n", "annotation": "meta#run_number", "has_default": True},
        ],
        "line": 6,
        "file": None,
    }
    assert (other["title"], other["description"], other["data"], other["line"]) == ("other", None, None, 10)
    assert (third["title"], third["description"], third["tags"]) == ("Given", "Said", ["one"])
    assert kinds(told) == []


def test_resources(describe):
    told = describe(
        HEAD
        + """
@Variable(
    cluster=True, cpus=8, mem="64G", gpus=1, time="2:00:00", nodes=2, constraint="A100|V100", partition="upex",
    reservation="upex_007", account="spb", qos="express",
)
def heavy(run): return 1

@Group
class Detector:
    @Variable(cluster=True, cpus=4)
    def mean(self, run): return 1

d = Detector()
p = Pipeline()
p.add(Variable(title="x", cluster=True, mem=500)(heavy.func))
"""
    )
    assert kinds(told) == []
    assert {variable["name"]: variable["resources"] for variable in told["variables"]} == {
        "heavy": {
            "cpus": 8,
            "mem_mib": 65536,
            "gpus": 1,
            "time_minutes": 120,
            "nodes": 2,
            "constraint": "A100|V100",
            "partition": "upex",
            "reservation": "upex_007",
            "account": "spb",
            "qos": "express",
        },
        "d.mean": {"cpus": 4},
    }


def test_all_wrong_resources_at_once(describe):
    told = describe(
        HEAD
        + """
@Variable(cluster=True, cpus="8", mem="64GB", gpus=0, time="two hours", nodes=2, partition="a b")
def a(run): return 1

@Variable(cluster=True, mem="lots", cpus=2.5)
def b(run): return 1
"""
    )
    found = [p for p in told["problems"] if p["kind"] == "bad-resources"]
    assert [(p["line"], p["message"], p.get("hint")) for p in found] == [
        (4, "variable a: cpus='8', which must be a positive integer", None),
        (4, "variable a: mem='64GB', which is not an amount of memory", "write '64G'"),
        (4, "variable a: gpus=0, which must be a positive integer", "omit it if none is needed"),
        (
            4,
            "variable a: time='two hours', which is not a time",
            "minutes, 'mm:ss', 'hh:mm:ss', 'd-hh', 'd-hh:mm' or 'd-hh:mm:ss', as for sbatch",
        ),
        (4, "variable a: partition='a b', which must be a single word for sbatch, without spaces", None),
        (7, "variable b: cpus=2.5, which must be a positive integer", None),
        (
            7,
            "variable b: mem='lots', which is not an amount of memory",
            "an integer followed by K, M, G or T, as for sbatch: '500M', '64G'; without a unit it is MiB",
        ),
    ]
    assert {p["severity"] for p in found} == {"error"}
    assert [variable["resources"] for variable in told["variables"]] == [{"nodes": 2}, {}]


def test_all_problems_at_once(describe):
    told = describe(
        HEAD
        + """
@Variable(data="both")
def a(run): return 1
@Variable(tags=["", 3])
def b(run): return 1
@Variable(tags=5)
def b2(run): return 1
@Variable(units="")
def c(run): return 1
@Variable(title=5)
def d(run): return 1
@Variable
def e(run, x: "vra#a"): return 1
@Variable
def f(run, x: "meta#nothing"): return 1
@Variable
def g(run, x): return 1
@Variable
def h(): return 1
@Variable
def i(x: "var#a"): return 1
j = Variable(title="j")(lambda run: 1)
k = Variable(title="k")
@Variable
def l(run, x: "a"): return 1
@Variable(summary="maen")
def m(run): return 1
"""
    )
    found = [(p["kind"], p.get("line"), p["severity"]) for p in told["problems"] if p["kind"] != "pyflakes"]
    assert found == [
        ("bad-argument", None, "error"),
        ("bad-data", 4, "error"),
        ("bad-tags", 6, "error"),
        ("bad-tags", 8, "error"),
        ("bad-units", 10, "error"),
        ("bad-argument", 12, "error"),
        ("bad-annotation", 14, "error"),
        ("bad-annotation", 16, "error"),
        ("bad-annotation", 18, "error"),
        ("bad-argument", 20, "error"),
        ("bad-annotation", 22, "error"),
        ("bad-name", 23, "error"),
        ("bad-annotation", 26, "error"),
        ("bad-argument", 28, "warning"),
    ]
    assert all(problem["variables"] for problem in told["problems"] if problem["kind"] != "pyflakes")
    assert len(told["variables"]) == 13


@pytest.mark.parametrize(
    "text, line, column",
    [("x = 1\ndef broken(:\n", 2, 12), ("x = (\n", 1, 5), ("x = '\0'\n", None, None), ("if True:\nx = 1\n", 2, 1)],
)
def test_syntax_errors_are_told_once(describe, text, line, column):
    told = describe(text)
    (problem,) = told["problems"]
    assert problem["kind"] == "syntax" and told["variables"] == []
    if line is not None:
        assert problem["line"] == line and abs(problem["column"] - column) <= 1


def test_exceptions_at_import(describe):
    told = describe(
        HEAD + "@Variable\ndef a(run): return 1\ndef helper():\n    raise ValueError('no beam')\nhelper()\n"
        "@Variable\ndef b(run): return 1\n"
    )
    (problem,) = (problem for problem in told["problems"] if problem["severity"] == "error")
    assert problem["kind"] == "import" and problem["line"] == 5 and problem["message"] == "ValueError: no beam"
    assert "in helper" in problem["traceback"] and "damnit_ctx" not in problem["traceback"]
    assert [variable["name"] for variable in told["variables"]] == ["a"]


def test_other_ways_to_fail_at_import(describe):
    (problem,) = (p for p in describe("import nothing_of_that_name\n")["problems"] if p["severity"] == "error")
    assert problem["kind"] == "import" and "nothing_of_that_name" in problem["hint"]
    assert kinds(describe("import sys\nsys.exit(4)\n")) == ["import"]
    assert kinds(describe("def f(): f()\nf()\n")) == ["import"]


def test_names_that_are_declared_twice(describe):
    told = describe(HEAD + "@Variable\ndef a(run): return 1\n@Variable\ndef a(run): return 2\n")
    warnings = {(p["kind"], p["line"]) for p in told["problems"]}
    assert ("duplicate-name", 3) in warnings
    assert kinds(told) == []
    assert len(told["variables"]) == 1


def test_pyflakes_warns_but_not_of_our_annotations(describe):
    told = describe(
        "import os\n"
        + HEAD.replace("Cell, Group, GroupError, Pipeline, Skip, ", "")
        + "@Variable\ndef a(run, x: 'var#b', y: 'meta#run_number', z: 'undefined_type'=1):\n"
        "    unused = 1\n    return nowhere\n"
        "@Variable\ndef b(run): return 'var#nothing'\n"
    )
    flakes = [(p["line"], p["message"]) for p in told["problems"] if p["kind"] == "pyflakes"]
    assert [line for line, _ in flakes] == [1, 4, 5, 6]
    assert "'os'" in flakes[0][1] and "undefined_type" in flakes[1][1] and "nowhere" in flakes[3][1]
    assert kinds(told) == ["bad-annotation"]


def test_pyflakes_says_each_thing_once(describe):
    told = describe(HEAD + "f = lambda: (nowhere, nowhere)\n__all__ = ['x', 'x', 'y']\n")
    flakes = [(p["line"], p["column"], p["message"]) for p in told["problems"] if p["kind"] == "pyflakes"]
    assert len(flakes) == len(set(flakes)), flakes
    words = [message for _, _, message in flakes]
    assert [words.count(f"undefined name {name!r} in __all__") for name in "xy"] == [1, 1]
    assert words.count("undefined name 'nowhere'") == 2  # in two places


def test_group_errors(describe):
    told = describe(
        HEAD + "@Group\nclass G:\n    @Variable\n    def a(self, run, x: 'self#nothing'): return 1\ng = G()\n"
    )
    (problem,) = (problem for problem in told["problems"] if problem["severity"] == "error")
    assert problem["kind"] == "bad-group" and "nothing" in problem["message"]
    told = describe(HEAD + "@Group\nclass G:\n    name: str\n")
    (problem,) = (problem for problem in told["problems"] if problem["severity"] == "error")
    assert problem["kind"] == "bad-group" and problem["line"] == 2 + (problem["line"] == 3)


def test_odd_text(describe):
    told = describe(HEAD + "@Variable(title='a\\ud800\"/\\n')\ndef a(run): return 1\n")
    assert told["variables"][0]["title"] == 'a\\ud800"/\n'
    assert kinds(told) == []
