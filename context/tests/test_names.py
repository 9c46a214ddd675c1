"""Names: those that DAMNIT 0.4 offers, those of exceptions, identifiers as Python compares them."""

from __future__ import annotations

import pytest

OLD_NAMES = (
    "from damnit.context import Cell, Skip, Variable\n",
    "from damnit.context import *\n",
    "import damnit.context as ctx\nCell, Skip, Variable = ctx.Cell, ctx.Skip, ctx.Variable\n",
    "from damnit_ctx import Cell, Variable\nfrom damnit_exceptions import Skip\n",
    "from damnit.ctxsupport.damnit_ctx import Cell, Skip, Variable\n",
)
VARIABLES = (
    "@Variable(title='Weight')\ndef weight(run): return 3\n"
    "@Variable(title='Doubled')\ndef doubled(run, weight: 'var#weight'): return Cell(2 * weight, bold=True)\n"
    "@Variable(title='Nothing')\ndef nothing(run): raise Skip('nothing to see')\n"
)
# The real package would bring variables of its own: what it does when it is imported must not happen.
REAL = {
    "__init__.py": "from .api import Damnit\n",
    "api.py": "class Damnit:\n    pass\n",
    "context.py": "raise ImportError('the module of the package itself')\n",
}


@pytest.fixture(params=["with", "without"])
def package(request, tmp_path):
    """The environment of a host: with a package damnit, or without."""
    if request.param == "without":
        return {}
    folder = tmp_path / "site-packages/damnit"
    folder.mkdir(parents=True)
    for name, text in REAL.items():
        (folder / name).write_text(text)
    return {"MORE": str(folder.parent)}


@pytest.mark.parametrize("head", OLD_NAMES)
def test_what_damnit_offers_under_its_own_name(database, package, head):
    db = database(head + VARIABLES, **package)
    assert all(problem["kind"] == "pyflakes" for problem in db.describe()["problems"])
    child = db.run("weight", "doubled", "nothing")
    assert child.values["weight"].data == 3 and child.values["doubled"].data == 6, child.text
    assert child.values["doubled"].message["bold"] is True
    assert child.of("nothing")["class"] == "Skip"


def test_every_name_is_there_and_the_rest_of_the_package_stays(database, package):
    text = (
        "import damnit.context as ctx\nfrom damnit.context import *\n"
        "try:\n    from damnit import Damnit\nexcept ImportError:\n    Damnit = None\n"
        "import damnit_ctx, numpy as np\n"
        "@Variable\ndef all_(run): return all(hasattr(ctx, name) for name in ctx.__all__)\n"
        "@Variable\ndef same(run): return ctx.Variable is damnit_ctx.Variable and ctx.Skip is damnit_ctx.Skip\n"
        "@Variable\ndef real(run): return Damnit is not None\n"
        "@Variable\ndef png(run): return len(generate_thumbnail(np.eye(3)).data) > 100\n"
        "@Variable\ndef file(run):\n"
        "    with add_to_h5_file('more.h5') as file: file['n'] = 1\n"
        "    return list(ContextFile.from_str('from damnit.context import Variable\\n@Variable\\ndef v(run): return 1').vars)[0]\n"
    )
    child = database(text, **package).run("all_", "same", "real", "png", "file")
    assert len(child.values) == 5, child.text
    assert child.values["all_"].data and child.values["same"].data and child.values["png"].data
    assert bool(child.values["real"].data) is bool(package)
    assert child.values["file"].data == "v"


@pytest.mark.parametrize(
    "statement",
    [
        "from damnit.context import Variable, Trigger\n",
        "import damnit.context as ctx\nctx.Trigger\n",
        "from damnit_ctx import Trigger\n",
    ],
)
def test_a_name_that_only_a_fork_has(database, package, statement):
    (problem,) = [p for p in database(statement, **package).describe()["problems"] if p["kind"] == "import"]
    assert "Trigger" in problem["message"] and problem["line"] in (1, 2)
    assert "neither DAMNIT 0.4 nor Amore" in problem["hint"] and "Variable" in problem["hint"]


def test_the_rest_of_a_package_that_is_not_there(database):
    (problem,) = database("from damnit import Damnit\n").describe()["problems"][:1]
    assert "Damnit" in problem["message"] and "install damnit" in problem["hint"]


def test_a_skip_is_what_its_class_says(database):
    """Not what its class is called; nor is a missing source."""
    text = (
        "import damnit_ctx\nfrom damnit_ctx import Variable\n"
        "class Skip(Exception): pass\n"
        "class NoBeam(damnit_ctx.Skip): pass\n"
        "class SourceNameError(KeyError): pass\n"
        "class DependencyError(Exception): pass\n"
        "@Variable\ndef own(run): raise Skip('not a skip')\n"
        "@Variable\ndef skip(run): raise NoBeam('dark')\n"
        "@Variable\ndef source(run): raise SourceNameError('x')\n"
        "@Variable\ndef dependency(run): raise DependencyError('first\\nsecond')\n"
        "@Variable\ndef after_own(run, x: 'var#own'): return 1\n"
        "@Variable\ndef after_skip(run, x: 'var#skip'): return 1\n"
        "@Variable\ndef after_source(run, x: 'var#source'): return 1\n"
        "@Variable\ndef after_dependency(run, x: 'var#dependency'): return 1\n"
    )
    db = database(text)
    child = db.run("own", "skip", "source", "dependency", "after_own", "after_skip", "after_source", "after_dependency")
    classes = {event["name"]: event["class"] for event in child.events if event["ev"] == "failed"}
    assert classes == {
        "own": "context.Skip",
        "skip": "Skip",
        "source": "context.SourceNameError",
        "dependency": "context.DependencyError",
        "after_own": "DependencyError",
        "after_skip": "Skip",
        "after_source": "DependencyError",
        "after_dependency": "DependencyError",
    }
    assert "first" in child.of("after_dependency")["message"]
    skipped = {event["name"]: event["skipped"] for event in child.events if event["ev"] == "failed"}
    assert skipped == {name: name in ("skip", "after_skip") for name in classes}


def test_how_dependencies_ended_is_told_by_a_field_and_was_by_the_name_of_the_class(database):
    text = "from damnit_ctx import Variable\n" + "".join(
        f"@Variable\ndef {name}(run): raise RuntimeError('computed again')\n"
        f"@Variable\ndef after_{name}(run, x: 'var#{name}'): return 1\n"
        for name in ("skip", "own", "before")
    )
    error = {"how": "error", "class": "Skip", "message": "no beam"}
    ended = {"skip": {**error, "skipped": True}, "own": {**error, "skipped": False}, "before": error}
    child = database(text).run("after_skip", "after_own", "after_before", ended=ended)
    classes = {event["name"]: (event["class"], event["skipped"]) for event in child.events if event["ev"] == "failed"}
    assert classes == {
        "after_skip": ("Skip", True),
        "after_own": ("DependencyError", False),
        "after_before": ("Skip", True),
    }


def test_identifiers_are_compared_as_python_does(database):
    text = (
        "from damnit_ctx import Group, Variable\n"
        "@Variable(title='Size [\u00b5m]')\ndef \u00b5m(run): return 3\n"
        "@Variable\ndef total(run, size: 'var#\u00b5m'): return size\n"
        "@Variable\ndef found(run, sizes: 'var#\u00b5*'): return len(sizes)\n"
        "def made(run): return 4\nmade.__name__ = '\u00b5_made'\nm = Variable(made)\n"
        "@Variable\ndef of_made(run, x: 'var#\u00b5_made'): return x\n"
        "@Group\nclass Stage:\n"
        "    @Variable\n    def \u00b5x(self, run): return 5\n"
        "    @Variable\n    def twice(self, run, x: 'self#\u00b5x'): return 2 * x\n"
        "\u00b5 = Stage()\n"
        "@Variable\ndef of_stage(run, x: 'var#\u00b5.\u00b5x'): return x\n"
    )
    db = database(text)
    described = db.describe()
    assert described["problems"] == []
    specs = {spec["name"]: spec for spec in described["variables"]}
    assert specs["\u03bcm"]["title"] == "Size [\u00b5m]"
    assert specs["total"]["arguments"][0]["annotation"] == "var#\u03bcm"
    child = db.run(*sorted(specs, key=lambda name: name == "of_stage"))
    values = {name: value.data for name, value in child.values.items()}
    assert values["total"] == 3 and values["of_made"] == 4 and values["of_stage"] == 5
    assert values["\u03bc.twice"] == 10 and values["found"] >= 1
