"""The later of two versions of a context file: each variable's name says how it changed.

The earlier one is `context_before.py`. What was removed is not here any more, what is added was not there.
"""

import numpy as np
import xarray as xr
from damnit_ctx import Cell, Group, Skip, Variable


def returning(name, make, **options):
    """Declare variable `name`, which returns what `make()` gives."""

    def function(run):
        return make()

    function.__name__ = name
    globals()[name] = Variable(**options)(function)


def skip():
    """Leave the variable out."""
    raise Skip("not in this version")


def fail():
    """Raise an error."""
    raise ValueError("broken in this version")


def figure():
    """A matplotlib figure."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(4, 3))
    drawn.add_subplot().plot([1, 2, 3])
    return drawn


line = np.arange(40.0)
image = np.hypot(*np.mgrid[:40, :60]).astype("f4")
labelled = xr.DataArray(line, dims="x", coords={"x": line * 2}, name="first")

returning("unchanged", lambda: 5)
returning("unchanged_labelled", lambda: labelled)
returning("number", lambda: 2)
returning("integer_to_float", lambda: 1.5)
returning("number_to_text", lambda: "now a text")
returning("text_to_number", lambda: 7)
returning("scalar_to_line", lambda: line)
returning("line_to_scalar", lambda: 3)
returning("line_longer", lambda: np.arange(90.0))
returning("line_dtype", lambda: line.astype("i2"))
returning("line_to_image", lambda: image)
returning("image_to_line", lambda: line)
returning("line_to_labelled", lambda: labelled)
returning("labelled_to_line", lambda: line)
returning("labelled_renamed", lambda: labelled.rename("second"))
returning("labelled_dims", lambda: labelled.rename(x="y"))
returning("labelled_coordinates", lambda: labelled.assign_coords(when=("x", line - 1)).drop_vars("x"))
returning("labelled_to_dataset", lambda: xr.Dataset({"first": labelled, "b": 1}))
returning("dataset_to_labelled", lambda: labelled)
returning("dataset_variables", lambda: xr.Dataset({"b": ("x", line[:5]), "c": 1}))
returning("dataset_to_number", lambda: 1)
returning("figure_to_number", lambda: 1)
returning("number_to_figure", figure)
returning("figure_to_labelled", lambda: labelled)
returning("large", lambda: np.arange(700_000.0) * 2)
returning("large_to_small", lambda: line)
returning("small_to_large", lambda: np.arange(600_000.0))
returning("large_labelled", lambda: xr.DataArray(np.arange(600_000.0).reshape(1000, 600), dims=("t", "q")))
returning("large_to_none", lambda: None)

returning("value_to_none", lambda: None)
returning("labelled_to_none", lambda: None)
returning("value_to_error", fail)
returning("labelled_to_error", fail)
returning("value_to_skip", skip)
returning("none_to_value", lambda: 1)
returning("error_to_value", lambda: labelled)
returning("error_to_none", lambda: None)
returning("error_to_skip", skip)
returning("skip_to_value", lambda: line)
returning("refused_later", lambda: object())
returning("value_to_transient", lambda: 1, transient=True)
returning("transient_to_value", lambda: 1)

returning("plain_to_cell", lambda: Cell(1, bold=True, background="#ff0000", units="mm", preview=line))
returning("cell_to_plain", lambda: 1)
returning("cell_to_none", lambda: Cell(None))
returning("summary_only_to_value", lambda: labelled)
returning("value_to_summary_only", lambda: Cell(None, summary_value=1))
returning("preview_dropped", lambda: Cell(1))
returning("preview_added", lambda: Cell(1, preview=labelled))
returning("preview_type", lambda: Cell(1, preview=image))
returning("summary_method", lambda: line, summary="max")
returning("summary_dropped", lambda: line)
returning("summary_added", lambda: line, summary="mean")
returning("units_changed", lambda: 1, units="m")
returning("units_dropped", lambda: 1)
returning("title_changed", lambda: 1, title="New title")
returning("tags_changed", lambda: 1, tags=("b", "c"))
returning("description_changed", lambda: 1, description="New words")

returning("added", lambda: 1)
returning("added_labelled", lambda: labelled)


@Variable(title="After error")
def after_error(run, value: "var#value_to_error"):
    """Loses its dependency."""
    return value.sum()


@Variable(title="After none")
def after_none(run, value: "var#value_to_none"):
    """Loses its dependency, too."""
    return value


@Group
class Pair:
    """Two variables."""

    @Variable(title="One")
    def one(self, run):
        """The first."""
        return 1

    @Variable(title="Two")
    def two(self, run):
        """The second."""
        return line


kept = Pair()
