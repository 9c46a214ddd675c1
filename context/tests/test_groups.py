"""Groups and pipelines."""

import textwrap

import pytest

from damnit_ctx import Group, GroupError, Pipeline, RunData, Variable, context_file

HEAD = "from damnit_ctx import Cell, Group, Pipeline, RunData, Skip, Variable\n"


def load(text):
    return context_file.load(HEAD + textwrap.dedent(text), "/nowhere/context.py").variables


MOTOR = """
@Group(tags="motor")
class Motor:
    device: str
    offset: float = 0

    @Variable(title="Position", tags="raw")
    def position(self, run):
        return 10 + self.offset

    @Variable(title="Half")
    def half(self, run, p: "self#position"):
        return p / 2
"""


def test_a_group(database):
    text = (
        MOTOR
        + "x = Motor(device='X')\ny = Motor(device='Y', offset=2, name='why', title='Y axis', sep=': ', tags=['t'])\n"
    )
    variables = load(text)
    assert set(variables) == {"x.position", "x.half", "why.position", "why.half"}
    assert variables["x.position"].title == "x/Position"
    assert variables["why.half"].title == "Y axis: Half"
    assert variables["x.position"].tags == ("motor", "raw") and variables["why.half"].tags == ("t",)
    assert variables["why.half"].annotations() == {"p": "var#why.position"}
    child = database(HEAD + text).run("x.position", "x.half", "why.position", "why.half")
    assert [float(child.values[name].data) for name in ("x.half", "why.half")] == [5, 6]


def test_nesting_linking_and_inheritance():
    variables = load(
        MOTOR
        + """
@Group
class Stage:
    x: Motor = None
    y: Motor = None
    source: Variable = None

    @Variable(title="Sum")
    def total(self, run, x: "self#x.position", y: "self#y.position"): return x + y
    @Variable
    def linked(self, run, s: "self#source"=1): return s
    @Variable
    def every(self, run, s: "self#*"): return s

@Group
class FastStage(Stage):
    @Variable(title="Speed")
    def speed(self, run): return 1

@Group
class Fine(Motor):
    pass

shared = Fine(device="S")
stage = FastStage(x=Motor(device="X"), y=shared, source=shared.half)
alone = Stage()
"""
    )
    assert variables["stage.total"].annotations() == {"x": "var#stage.x.position", "y": "var#shared.position"}
    assert variables["stage.linked"].annotations() == {"s": "var#shared.half"}
    assert variables["stage.every"].annotations() == {"s": "var#stage.*"}
    assert "stage.speed" in variables
    assert variables["stage.x.position"].title == "stage/x/Position"
    assert variables["shared.half"].tags == ("motor",)
    placeholder = variables["alone.total"].annotations()["x"]
    assert placeholder == "var#alone.__missing__.x.position"
    assert variables[placeholder[4:]].transient
    assert variables["alone.linked"].annotations()["s"] in {f"var#{name}" for name in variables}


@pytest.mark.parametrize(
    "text, word",
    [
        ("a = b = Motor(device='X')", "several names"),
        ("a = Motor(device='X', name='n')\nb = Motor(device='Y', name='n')", "'n'"),
        ("a = Motor(device='X', name='')", "non-empty"),
        ("@Group\nclass Bad:\n    sep: str = ','", "sep"),
        ("@Group\nclass Bad:\n    tags = 5", "tags"),
        (
            "@Group\nclass G:\n    x: int = 5\n    @Variable\n    def v(self, run, a: 'self#x'): return 1\ng = G()",
            "int",
        ),
        ("@Group\nclass G:\n    @Variable\n    def v(self, run, a: 'self#y'): return 1\ng = G()", "'y'"),
    ],
)
def test_groups_that_cannot_be(text, word):
    with pytest.raises(GroupError, match=word):
        load(MOTOR + text)


def test_arguments_of_groups():
    @Group
    class G:
        needed: int
        other: int = 2

        def __post_init__(self):
            self.sum = self.needed + self.other

    assert G(needed=1).sum == 3
    with pytest.raises(TypeError, match="needed"):
        G()
    with pytest.raises(TypeError, match="wrong"):
        G(needed=1, wrong=2)
    assert "needed=1" in repr(G(needed=1))


def pipeline(**options):
    @Variable(title="Alpha")
    def a(run):
        return run

    @Variable(title="Beta", cluster=True)
    def b(
        run,
        a: "var#a",
    ):
        return a * 2

    @Variable(title="Gamma", data="proc")
    def c(
        run,
        b: "var#b",
        p: "param#p" = 1,
    ):
        return b + p

    return Pipeline(1234, 1, **options).add(b, [a], {"c": c}), (a, b, c)


def test_a_pipeline_executes():
    made, _ = pipeline(data=5, param_values={"p": 10})
    results = made.execute()
    assert {name: cell.data for name, cell in results.cells.items() if name != "start_time"} == {
        "a": 5,
        "b": 10,
        "c": 20,
    }
    assert made.results is results and not results.errors
    assert made.execute(data=1, param_values={"p": 0}).cells["c"].data == 2
    with pytest.raises(ValueError, match="proposal"):
        Pipeline().execute()


def test_pipelines_are_selected_from_and_joined():
    made, (a, _, _) = pipeline(data=5)
    assert set(made.select(match=["BETA"]).vars) == {"a", "b"}
    assert set(made.select(variables=["a"]).vars) == {"a"}
    assert set(made.select(run_data="raw").vars) == {"a", "b"}
    assert set(made.select(cluster=False).vars) == {"a"}
    assert made.context.vars["c"].cluster and made.context.ordered_vars() == ("a", "b", "c")
    assert made.select(run_data=RunData.PROC).context.all_dependencies(made.vars["c"]) == {"a", "b"}

    def a(run):
        return 7

    other = Pipeline().add(Variable(title="Other")(a))
    with pytest.raises(ValueError, match="'a'"):
        made.union(other)
    assert made.union(other, on_conflict="right").with_context(data=1).execute().cells["b"].data == 14
    assert made.union(other, on_conflict="left").execute().cells["b"].data == 10
    with pytest.raises(GroupError):
        made.copy().add(other.vars["a"])
    with pytest.raises(TypeError):
        made.add("a")


def test_errors_of_pipelines():
    def broken(run):
        raise ValueError("no")

    def after(
        run,
        x: "var#broken",
    ):
        return 1

    results = Pipeline(1, 1, data=1).add(Variable(broken), Variable(after)).execute()
    assert set(results.errors) == {"broken", "after"} and "no" in str(results.errors["after"])
    with pytest.raises(KeyError, match="nowhere"):
        Pipeline(1, 1, data=1).add(Variable(lambda run: 1)).add(Variable(_lonely)).execute()


def _lonely(
    run,
    x: "var#nowhere",
):
    return 1


def test_default_pipelines(database):
    text = (
        HEAD
        + "@Variable\ndef a(run): return 1\n@Variable\ndef b(run): return 2\n"
        + "@Variable\ndef sub(run):\n"
        + "    p = Pipeline(1, 2, data=5).add(Variable(lambda run: run * 2))\n"
        + "    return p.execute().cells['<lambda>'].data if False else from_text()\n"
        + "def from_text():\n"
        + "    p = Pipeline.from_str('from damnit_ctx import Variable\\n@Variable\\ndef x(run): return run * 2\\n')\n"
        + "    return p.with_context(proposal=1, run_number=2, data=21).execute().cells['x'].data\n"
    )
    assert set(load(text[len(HEAD) :] + "Pipeline.default()\n")) == {"a", "b", "sub"}
    assert set(load(text[len(HEAD) :] + "Pipeline.set_default(Pipeline().add(a))\n")) == {"a"}
    assert database(text).run("sub").values["sub"].data == 42


def test_from_context_file(tmp_path):
    (tmp_path / "c.py").write_text(HEAD + "@Variable(title='A')\ndef a(run): return 1\n")
    made = Pipeline.from_context_file(tmp_path / "c.py", name="n")
    assert made.name == "n" and made.vars_to_dict()["a"]["title"] == "A"
