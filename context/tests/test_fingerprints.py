"""What changes a fingerprint and what does not."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from worker import PACKAGE

from damnit_ctx.context_file import Execution
from damnit_ctx.fingerprint import Fingerprints

BASE = '''
import math
from damnit_ctx import Group, Variable
SCALE = 2
TABLE = {"a": 1}

def helper(x):
    """Doubles."""
    return deeper(x) * SCALE

def deeper(x):
    return x + TABLE["a"]

@Variable(title="V", summary="mean")
def v(run, x: "var#w"):
    """Docstring."""
    # comment
    return helper(x)

@Variable
def w(run):
    return 1

def returning(name, value):
    def function(run):
        return value
    function.__name__ = name
    globals()[name] = Variable()(function)

for name in "pq":
    returning(name, name * 2)

@Group
class G:
    factor: int = 1
    @Variable
    def a(self, run):
        return self.other() * self.factor
    def other(self):
        return 1

g = G(factor=3)
'''


def prints(text, folder="/nowhere"):
    path = f"{folder}/context.py"
    execution = Execution(path)
    execution.run(compile(text, path, "exec", dont_inherit=True))
    loaded = execution.collect()
    calculated = Fingerprints(ast.parse(text), path, loaded.namespace)
    return {name: calculated.of(variable) for name, variable in loaded.variables.items()}


def changed(*replacements):
    text = BASE
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    before, after = prints(BASE), prints(text)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("# comment", "# another\n    # two", set()),
        ('"""Docstring."""', '"""Other."""', set()),
        ('"""Doubles."""', "", set()),
        ("import math", "import math\nX = 5\n\n", set()),
        ('title="V"', 'title="W"', set()),
        ('summary="mean"', 'summary="max"', {"v"}),
        ("return helper(x)", "return helper(x) + 1", {"v"}),
        ('"var#w"', '"var#p"', {"v"}),
        ("SCALE = 2", "SCALE = 3", {"v"}),
        ('{"a": 1}', '{"a": 2}', {"v"}),
        ('x + TABLE["a"]', 'x - TABLE["a"]', {"v"}),
        ("return 1\n\ndef returning", "return 2\n\ndef returning", {"w"}),
        ("name * 2", "name * 3", {"p", "q"}),
        ("factor=3", "factor=4", {"g.a"}),
        ("        return 1\n\ng", "        return 2\n\ng", {"g.a"}),
        ("def deeper", "TABLE['a'] = 5\ndef deeper", {"v"}),
        # Resources decide where it runs, not what comes out.
        ('summary="mean")', 'summary="mean", cluster=True, cpus=8, mem="64G")', set()),
        ("@Variable\ndef w", "@Variable(cpus=SCALE)\ndef w", set()),
        ("    @Variable\n    def a", "    @Variable(cpus=8, time='2:00:00')\n    def a", set()),
        ("    @Variable\n    def a", "    @Variable(partition=TABLE)\n    def a", set()),
        ("    @Variable\n    def a", "    @Variable(data='raw', cpus=8)\n    def a", {"g.a"}),
        # Only those of variables.
        (
            "    @Variable\n    def a",
            "    @(lambda cpus: lambda variable: variable)(cpus=8)\n    @Variable\n    def a",
            {"g.a"},
        ),
    ],
)
def test_changes(old, new, expected):
    assert changed((old, new)) == expected


def test_resources_by_other_names_and_of_functions_that_are_called():
    text = """
import damnit_ctx as ctx
from damnit_ctx import Variable as V
CPUS = 8

@V(title="A", cpus=CPUS)
def a(run):
    return 1

@ctx.Variable(mem="64G", gpus=1, title="B")
def b(run):
    return a.func(run)
"""
    before = prints(text)
    assert prints(text.replace("CPUS = 8", "CPUS = 9").replace("64G", "32G").replace("cpus=CPUS", "cpus=1")) == before
    assert prints(text.replace("return 1", "return 2"))["b"] != before["b"]


def test_files_beside_the_context_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "fp_helper.py").write_text("import fp_deeper\nX = 1\n")
    (tmp_path / "fp_deeper.py").write_text("Y = 1\n")
    text = (
        "import fp_helper\nfrom damnit_ctx import Variable\n"
        "@Variable\ndef v(run): return fp_helper.X\n@Variable\ndef w(run): return 1\n"
    )
    before = prints(text, tmp_path)
    (tmp_path / "fp_deeper.py").write_text("Y = 2\n")
    after = prints(text, tmp_path)
    assert before["v"] != after["v"] and before["w"] == after["w"]


def test_the_same_in_another_process():
    code = (
        f"import sys; sys.path[:0] = [{str(PACKAGE)!r}, {str(PACKAGE / 'tests')!r}]\n"
        "import test_fingerprints as t; print(sorted(t.prints(t.BASE).items()))"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout for _ in "ab"
    }
    assert outputs == {f"{sorted(prints(BASE).items())}\n"}


def test_the_same_in_each_version_of_python():
    # Computed once, by Python 3.13.
    assert prints(BASE)["v"] == KNOWN


KNOWN = "7504eb20fe5d62bdea64277fe1c9b4e91cfb4ea1cf266f663d6276610ddfd1d6"
