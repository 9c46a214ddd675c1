"""The earlier of two versions of a context file: what changes is said in `context_after.py`."""

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
returning("number", lambda: 1)
returning("integer_to_float", lambda: 1)
returning("number_to_text", lambda: 1)
returning("text_to_number", lambda: "text")
returning("scalar_to_line", lambda: 1)
returning("line_to_scalar", lambda: line)
returning("line_longer", lambda: line)
returning("line_dtype", lambda: line)
returning("line_to_image", lambda: line)
returning("image_to_line", lambda: image)
returning("line_to_labelled", lambda: line)
returning("labelled_to_line", lambda: labelled)
returning("labelled_renamed", lambda: labelled)
returning("labelled_dims", lambda: labelled)
returning("labelled_coordinates", lambda: labelled)
returning("labelled_to_dataset", lambda: labelled)
returning("dataset_to_labelled", lambda: xr.Dataset({"first": labelled, "b": 1}))
returning("dataset_variables", lambda: xr.Dataset({"a": ("x", line), "b": ("x", line)}))
returning("dataset_to_number", lambda: xr.Dataset({"a": ("x", line)}))
returning("figure_to_number", figure)
returning("number_to_figure", lambda: 1)
returning("figure_to_labelled", figure)
returning("large", lambda: np.arange(600_000.0))
returning("large_to_small", lambda: np.arange(600_000.0))
returning("small_to_large", lambda: line)
returning("large_labelled", lambda: xr.DataArray(np.arange(600_000.0).reshape(600, 1000), dims=("t", "p")))
returning("large_to_none", lambda: np.arange(600_000.0))
returning("large_removed", lambda: np.arange(600_000.0))

returning("value_to_none", lambda: 1)
returning("labelled_to_none", lambda: labelled)
returning("value_to_error", lambda: line)
returning("labelled_to_error", lambda: labelled)
returning("value_to_skip", lambda: line)
returning("none_to_value", lambda: None)
returning("error_to_value", fail)
returning("error_to_none", fail)
returning("error_to_skip", fail)
returning("skip_to_value", skip)
returning("refused_later", lambda: 1)
returning("value_to_transient", lambda: 1)
returning("transient_to_value", lambda: 1, transient=True)
returning("removed", lambda: 1)
returning("removed_labelled", lambda: labelled)
returning("removed_error", fail)
returning("removed_figure", figure)

returning("plain_to_cell", lambda: 1)
returning("cell_to_plain", lambda: Cell(1, bold=True, background="#ff0000", units="mm", preview=line))
returning("cell_to_none", lambda: Cell(1, preview=labelled))
returning("summary_only_to_value", lambda: Cell(None, summary_value=1))
returning("value_to_summary_only", lambda: labelled)
returning("preview_dropped", lambda: Cell(1, preview=labelled))
returning("preview_added", lambda: Cell(1))
returning("preview_type", lambda: Cell(1, preview=labelled))
returning("summary_method", lambda: line, summary="mean")
returning("summary_dropped", lambda: line, summary="mean")
returning("summary_added", lambda: line)
returning("units_changed", lambda: 1, units="mm")
returning("units_dropped", lambda: 1, units="mm")
returning("title_changed", lambda: 1, title="Old title")
returning("title_taken", lambda: 1, title="New title")
returning("tags_changed", lambda: 1, tags=("a", "b"))
returning("description_changed", lambda: 1, description="Old words")


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
group_removed = Pair()
