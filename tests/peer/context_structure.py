"""Groups and pipelines: names, titles, tags and what depends on what."""

import numpy as np
from damnit_ctx import Cell, Group, Pipeline, Skip, Variable


@Variable(title="Offset")
def offset(run):
    """Outside of any group."""
    return 10


@Group(tags="base")
class Detector:
    """A group with fields, a link to a variable outside, and links within."""

    gain: float
    label: str = "none"

    @Variable(title="Raw", units="adu")
    def raw(self, run):
        """Uses a field."""
        return np.arange(5) * self.gain

    @Variable(title="Corrected", summary="mean", tags="result")
    def corrected(self, run, values: "self#raw", start: "var#offset"):
        """Depends on a sibling and on a variable outside."""
        return values - start

    @Variable
    def named(self, run):
        """Without a title."""
        return self.label


@Group
class Tilted(Detector):
    """Inherits variables and tags, and replaces one."""

    angle: float = 5.0

    @Variable(title="Corrected", summary="max")
    def corrected(self, run, values: "self#raw"):
        """Takes the place of the parent's."""
        return values * np.cos(np.radians(self.angle))


@Group(tags=("outer", "all"))
class Station:
    """A group of groups."""

    front: Detector
    back: Detector = None

    @Variable(title="Sum")
    def total(self, run, front: "self#front.corrected"):
        """Depends on a variable of a nested group."""
        return float(front.sum())

    @Variable(title="Difference")
    def difference(self, run, front: "self#front.corrected", back: "self#back.corrected" = None):
        """The second group may be missing."""
        return -1.0 if back is None else float((front - back).sum())

    @Variable(title="After missing")
    def after_missing(self, run, back: "self#back.corrected"):
        """Cannot run without the second group."""
        return float(back.sum())


@Group
class Linked:
    """Is given a variable of another group as a field."""

    source: object

    @Variable(title="Doubled")
    def doubled(self, run, value: "self#source"):
        """Depends on whatever variable was given."""
        return value * 2

    @Variable(title="Broken")
    def broken(self, run):
        """Fails."""
        raise ValueError("in a group")

    @Variable(title="After broken")
    def after_broken(self, run, value: "self#broken"):
        """Depends on one that fails."""
        return value

    @Variable(title="Skipped")
    def skipped(self, run):
        """Skips."""
        raise Skip("not now")

    @Variable(title="Hidden", transient=True)
    def hidden(self, run):
        """Not stored."""
        return {"three": 3}

    @Variable(title="Shown")
    def shown(self, run, value: "self#hidden"):
        """Uses what is not stored."""
        return Cell(value["three"], bold=True)


plain = Detector(gain=2.0)
renamed = Detector(gain=3.0, name="other", title="Other detector", label="renamed")
separated = Detector(gain=4.0, sep=" > ", tags=("mine",))
tilted = Tilted(gain=1.5)
full = Station(front=Detector(gain=1.0), back=Tilted(gain=2.0, angle=60.0))
half = Station(front=renamed, title="Half a station")
linked = Linked(source=plain.corrected)


@Variable(title="All raw")
def all_raw(run, values: "var#*.raw"):
    """A pattern over groups."""
    return ", ".join(f"{name}={value.sum():g}" for name, value in sorted(values.items()))


@Variable(title="From a group")
def from_group(run, value: "var#other.corrected"):
    """Depends on a variable of a group, by its name."""
    return float(value[0])


@Variable(title="Inner pipeline")
def inner(run, number: "meta#run_number", proposal: "meta#proposal"):
    """Executes a pipeline of its own."""

    @Variable()
    def three(run, factor: "param#factor"):
        return 3 * factor

    @Variable()
    def four(run, value: "var#three"):
        return value + 1

    pipeline = Pipeline(proposal, number, data=run, param_values={"factor": 5})
    pipeline.add(three, four)
    return float(pipeline.execute().cells["four"].data)


@Variable(title="Parameter")
def parameter(run, value: "param#unknown"):
    """A parameter that nobody gives: the variable is left out."""
    return value


@Variable(title="Parameter with default")
def parameter_with_default(run, value: "param#unknown" = 4):
    """A parameter with a default."""
    return value
