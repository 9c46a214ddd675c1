"""Every type of value that a variable may return, one variable for each.

The same file is executed by Amore and by DAMNIT and, function by function, by the tests themselves. Only
Python 3.9 and what extra_data brings is needed; figures and tables are there where their library is. Names
tell what is returned; `refused_` ones cannot be stored, which is their own error and nobody else's.
"""

from importlib.util import find_spec

import numpy as np
import xarray as xr
from damnit_ctx import Cell, Group, Skip, Variable


def returning(name, make, **options):
    """Declare variable `name`, which returns what `make()` gives."""

    def function(run):
        return make()

    function.__name__ = name
    options.setdefault("title", name.replace("_", " ").capitalize())
    globals()[name] = Variable(**options)(function)


def ramp(shape, dtype):
    """An array with different values all over, that fit into any type."""
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 100
    if np.dtype(dtype).kind == "b":
        return values % 3 == 0
    if np.dtype(dtype).kind == "c":
        return (values * (1 - 0.5j)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        return (values / 8).astype(dtype)
    return values.astype(dtype)


def hill(rows, columns):
    """A smooth image with one bright spot."""
    y, x = np.mgrid[:rows, :columns]
    return 1000 * np.exp(-((y - rows / 3) ** 2 + (x - columns / 2) ** 2) / (rows * 4))


INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
NUMBERS = INTEGERS + FLOATS + COMPLEX + ("bool",)

# --- Scalars ---

for dtype in NUMBERS:
    returning(f"scalar_{dtype}", lambda dtype=dtype: np.ones(1, dtype)[0] * np.dtype(dtype).type(1))
    returning(f"zero_d_{dtype}", lambda dtype=dtype: np.array(1, dtype))

returning("scalar_int", lambda: 42)
returning("scalar_negative", lambda: -(2**62))
returning("scalar_float", lambda: 0.1)
returning("scalar_tiny", lambda: 5e-324)
returning("scalar_nan", lambda: float("nan"))
returning("scalar_infinity", lambda: float("inf"))
returning("scalar_true", lambda: True)
returning("scalar_false", lambda: False)
returning("scalar_complex", lambda: 1.5 - 2j)
returning("scalar_big_endian", lambda: np.array(1.5, ">f8"))

# --- Text ---

returning("text", lambda: "lysozyme")
returning("text_empty", lambda: "")
returning("text_unicode", lambda: "Größe 10 µm, 試料 🧪")
returning("text_lines", lambda: "first\nsecond\ttab 'quoted' \"twice\" \\ back")
returning("text_long", lambda: "abcdefghij" * 5000)

# --- Lists ---

returning("list_int", lambda: [3, 1, 2])
returning("list_float", lambda: [0.5, 1.5])
returning("list_mixed", lambda: [1, 2.5, True])
returning("list_bool", lambda: [True, False, True])
returning("list_complex", lambda: [1j, 2.0])
returning("list_nested", lambda: [[1, 2, 3], [4, 5, 6]])
returning("list_empty", lambda: [])
returning("list_one", lambda: [7])
returning("tuple_int", lambda: (1, 2, 3))
returning("range_", lambda: range(5))

# --- Arrays ---

for dtype in NUMBERS:
    returning(f"line_{dtype}", lambda dtype=dtype: ramp((30,), dtype))
for dtype in ("uint8", "uint16", "int32", "uint64", "float16", "float32", "float64", "complex128", "bool"):
    returning(f"image_{dtype}", lambda dtype=dtype: ramp((12, 20), dtype))
for dtype in ("uint16", "float32", "complex64", "bool"):
    returning(f"cube_{dtype}", lambda dtype=dtype: ramp((4, 6, 5), dtype))
returning("four_dimensions", lambda: ramp((2, 3, 4, 5), "float32"))
returning("rgb", lambda: ramp((10, 12, 3), "uint8"))
returning("rgba", lambda: ramp((10, 12, 4), "uint8"))

# --- Long doubles and records (DAMNIT stores these only where the table's cell is no such number) ---

for kind in (np.longdouble, np.dtype(np.longdouble).newbyteorder(">")):
    order = "" if kind is np.longdouble else "_big_endian"
    returning(f"line_long_double{order}", lambda kind=kind: (ramp((30,), np.longdouble) / 3).astype(kind))
returning("image_long_double", lambda: ramp((12, 20), np.longdouble) / 3)
returning("cube_long_double", lambda: ramp((4, 6, 5), np.longdouble) / 3)
returning("cell_long_double", lambda: Cell(np.longdouble(1) / 3, summary_value=0.33))
returning("cell_long_complex", lambda: Cell(np.clongdouble(1 + 2j) / 3, summary_value="long"))

RECORD = np.dtype([("a", "<i4"), ("b", ">f8")])
NESTED = np.dtype(
    [
        ("wide", np.longdouble),
        ("half", "f2"),
        ("text", "S3"),
        ("yes", "?"),
        ("array", "<i2", (2, 3)),
        ("inner", [("x", "u1"), ("y", "c8"), ("größe", "<u8", 2)]),
    ]
)
PADDED = np.dtype([("a", "u1"), ("b", "<f8"), ("c", "<u2")], align=True)
SHUFFLED = np.dtype({"names": ["b", "a"], "formats": ["<f4", "<i4"], "offsets": [8, 0], "itemsize": 20})


def filled(shape, dtype):
    """A structured array with different values all over."""
    array = np.zeros(shape, dtype)
    for name in array.dtype.names:
        field = array[name]
        if field.dtype.names:
            field[...] = filled(field.shape, field.dtype)
        elif field.dtype.kind == "S":
            field[...] = b"ab"
        else:
            field[...] = ramp(field.shape, field.dtype)
    return array


for name, dtype in (("", RECORD), ("_nested", NESTED), ("_padded", PADDED), ("_shuffled", SHUFFLED)):
    returning(f"records{name}", lambda dtype=dtype: filled((5,), dtype))
returning("records_image", lambda: filled((3, 4), RECORD))
returning("records_cube", lambda: filled((2, 3, 4), NESTED))
returning("records_none", lambda: filled((0,), RECORD))
returning("records_strided", lambda: filled((12, 20), RECORD)[2:9, 3:17:2])
returning("records_recarray", lambda: filled((5,), RECORD).view(np.recarray))
returning("records_counted", lambda: Cell(filled((5,), RECORD), summary="size"))
returning("record_one", lambda: Cell(filled((1,), NESTED)[0], summary_value=2))

for shape in ((0,), (0, 3), (3, 0), (2, 0, 3)):
    returning("empty_" + "x".join(map(str, shape)), lambda shape=shape: np.zeros(shape, "float32"))
returning("one_element", lambda: np.array([5.5]))
returning("one_pixel", lambda: np.array([[5.5]]))
returning("one_row", lambda: ramp((1, 40), "float32"))
returning("one_column", lambda: ramp((40, 1), "float32"))
returning("two_rows", lambda: ramp((2, 40), "float64"))

returning("transposed", lambda: ramp((12, 20), "float32").T)
returning("fortran", lambda: np.asfortranarray(ramp((12, 20), "int32")))
returning("strided", lambda: ramp((40,), "int16")[::3])
returning("reversed_", lambda: ramp((40,), "float64")[::-1])
returning("cut_out", lambda: ramp((12, 20), "uint16")[2:9, 3:17:2])
returning("broadcast", lambda: np.broadcast_to(ramp((20,), "float32"), (12, 20)))
returning("big_endian_line", lambda: ramp((30,), ">f4"))
returning("big_endian_image", lambda: ramp((12, 20), ">u2"))
returning("masked", lambda: np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False]))

returning("line_with_nan", lambda: np.array([1.0, np.nan, 3.0, 4.0]))
returning("line_with_infinity", lambda: np.array([1.0, np.inf, 3.0, -np.inf]))
returning("line_all_nan", lambda: np.full(5, np.nan))
returning("line_constant", lambda: np.full(50, 3))
returning("line_long", lambda: np.sin(np.arange(5000) / 300) + np.arange(5000) % 7 / 10)
returning("line_121", lambda: np.cos(np.arange(121.0)))
returning("image_with_nan", lambda: np.where(hill(30, 40) > 500, np.nan, hill(30, 40)))
returning("image_all_nan", lambda: np.full((6, 7), np.nan))
returning("image_constant", lambda: np.full((6, 7), 2.0))
returning("image_smooth", lambda: hill(60, 90))
returning("image_large", lambda: hill(700, 500).astype("float32"))
returning("image_wide", lambda: hill(40, 1000))
returning("image_negative", lambda: -hill(50, 50))

# --- Labelled arrays ---

DAY = np.datetime64("2026-03-12T08:00:00", "ns")


def labelled(shape=(20,), dtype="float32", dims=("trainId", "x", "y", "z"), **options):
    """A DataArray over the first of these dimensions."""
    return xr.DataArray(ramp(shape, dtype), dims=dims[: len(shape)], **options)


returning("labelled_long_double", lambda: labelled((20,), np.longdouble) / 3)
returning("dataset_long_double", lambda: xr.Dataset({"v": labelled((4, 6), np.longdouble) / 3, "w": labelled((4,))}))


for dtype in INTEGERS + FLOATS + ("bool",):
    returning(f"labelled_{dtype}", lambda dtype=dtype: labelled(dtype=dtype, name="signal"))
returning("labelled_nameless", lambda: labelled())
returning("labelled_slash", lambda: labelled(name="SA2/XGM:output.data"))
returning("labelled_as_coordinate", lambda: labelled(name="trainId", coords={"trainId": np.arange(20)}))
returning("labelled_as_dimension", lambda: labelled(name="trainId"))
returning("labelled_train_ids", lambda: labelled(coords={"trainId": np.arange(20, dtype="u8") + 2**40}))
returning("labelled_backwards", lambda: labelled(coords={"trainId": np.arange(20)[::-1] * 0.5}))
returning("labelled_shuffled", lambda: labelled(coords={"trainId": np.arange(20) * 7 % 20}))
returning(
    "labelled_times", lambda: labelled(coords={"trainId": DAY + np.arange(20) * np.timedelta64(10**8, "ns")})
)
returning("labelled_texts", lambda: labelled((3,), coords={"trainId": ["a", "bb", "ü"]}))
returning(
    "labelled_many_coordinates",
    lambda: labelled(
        (20, 5),
        coords={
            "trainId": np.arange(20),
            "x": np.linspace(0, 1, 5),
            "delay": ("trainId", np.linspace(-1, 1, 20)),
            "grid": (("trainId", "x"), ramp((20, 5), "float64")),
            "energy": 9.3,
            "sample": "water",
        },
    ),
)
returning(
    "labelled_attributes",
    lambda: labelled(
        name="signal",
        attrs={
            "text": "ünits",
            "empty": "",
            "integer": 3,
            "number": 2.5,
            "numbers": np.array([1.0, 2.0]),
            "list": [1, 2, 3],
            "numpy": np.float32(1.5),
        },
    ),
)
returning("labelled_units", lambda: labelled(attrs={"units": "mJ"}), summary="mean")
returning(
    "labelled_coordinate_attributes",
    lambda: labelled().assign_coords(
        trainId=("trainId", np.arange(20), {"long_name": "train", "units": "1"})
    ),
)
returning("labelled_image", lambda: xr.DataArray(hill(30, 50), dims=("y", "x"), name="image"))
returning(
    "labelled_image_coordinates",
    lambda: xr.DataArray(
        hill(30, 50), dims=("y", "x"), coords={"y": np.arange(30) * 0.5, "x": np.arange(50) - 25.0}
    ),
)
returning("labelled_image_integers", lambda: xr.DataArray(ramp((12, 20), "uint16"), dims=("y", "x")))
returning("labelled_cube", lambda: labelled((4, 5, 6)))
returning("labelled_four", lambda: labelled((2, 3, 4, 5)))
returning("labelled_large", lambda: xr.DataArray(hill(400, 300).astype("f4"), dims=("trainId", "pulse")))
returning("labelled_nan", lambda: xr.DataArray([1.0, np.nan, 3.0], dims="x"))
returning("labelled_zero_d", lambda: xr.DataArray(2.5, coords={"where": "here"}))
returning("labelled_empty", lambda: labelled((0,)))
returning("labelled_empty_2d", lambda: labelled((3, 0)))
returning("labelled_strings", lambda: xr.DataArray(["x", "yy", ""], dims="n"))
returning("labelled_datetimes", lambda: xr.DataArray(DAY + np.arange(4) * np.timedelta64(1, "s"), dims="n"))
returning("labelled_transposed", lambda: labelled((6, 7)).T)
returning("labelled_dims_by_default", lambda: xr.DataArray(ramp((5, 6), "int32")))
returning("labelled_big_endian", lambda: labelled(dtype=">f4"))
returning("labelled_summary", lambda: labelled((10, 10)), summary="nanmax")

returning(
    "dataset",
    lambda: xr.Dataset(
        {"a": ("x", np.arange(4.0)), "b": (("x", "y"), ramp((4, 3), "int32"))}, coords={"x": [1, 2, 3, 5]}
    ),
)
returning("dataset_empty", lambda: xr.Dataset())
returning("dataset_attributes", lambda: xr.Dataset({"a": ("x", [1, 2])}, attrs={"note": "höllo", "n": 3}))
returning("dataset_slash", lambda: xr.Dataset({"a/b": ("x", [1.0, 2.0]), "c": 1}))
returning(
    "dataset_types",
    lambda: xr.Dataset(
        {
            "flag": ("x", [True, False]),
            "name": ("x", ["p", "qq"]),
            "time": ("x", DAY + np.arange(2)),
            "one": 5,
        }
    ),
)
returning("dataset_coordinates_only", lambda: xr.Dataset(coords={"x": [1, 2, 3]}))

# --- Cells ---

returning("cell_number", lambda: Cell(5.0))
returning("cell_none", lambda: Cell(None))
returning("cell_summary_only", lambda: Cell(None, summary_value=3.5))
returning("cell_summary", lambda: Cell(ramp((30,), "float32"), summary="mean"))
returning("cell_summary_over_variable", lambda: Cell(ramp((30,), "float32"), summary="min"), summary="max")
returning("cell_summary_number", lambda: Cell(ramp((30,), "float32"), summary_value=7))
returning("cell_summary_float32", lambda: Cell(ramp((30,), "float32"), summary_value=np.float32(0.1)))
returning("cell_summary_text", lambda: Cell(ramp((30,), "float32"), summary_value="good ü"))
returning("cell_summary_bool", lambda: Cell(ramp((30,), "float32"), summary_value=True))
returning("cell_summary_complex", lambda: Cell(ramp((30,), "float32"), summary_value=1 + 2j))
returning("cell_bold", lambda: Cell(1, bold=True))
returning("cell_not_bold", lambda: Cell(1, bold=False))
returning("cell_background", lambda: Cell(1, background="#ffCC00"))
returning("cell_background_list", lambda: Cell(1, background=[1, 128, 255]))
returning("cell_background_tuple", lambda: Cell("text", background=(0, 0, 0), bold=True))
returning("cell_units", lambda: Cell(1.5, units="mm"))
returning("cell_units_over_variable", lambda: Cell(1.5, units="mm"), units="km")
returning("cell_units_over_attribute", lambda: Cell(labelled(attrs={"units": "mJ"}), units="J"))
returning("cell_preview_line", lambda: Cell(1.5, preview=ramp((30,), "float64")))
returning("cell_preview_bools", lambda: Cell(1.5, preview=ramp((30,), "bool")))
returning("cell_preview_image", lambda: Cell(ramp((3, 4, 5), "int16"), preview=hill(20, 30)))
returning("cell_preview_labelled", lambda: Cell("text", preview=labelled(coords={"trainId": np.arange(20)})))
returning("cell_preview_labelled_image", lambda: Cell(1, preview=xr.DataArray(hill(20, 30), dims=("y", "x"))))
returning("cell_preview_and_summary", lambda: Cell(ramp((30,), "int8"), summary="sum", preview=hill(9, 9)))
returning(
    "cell_labelled",
    lambda: Cell(labelled(name="s"), summary="std", bold=True, background="#010203", units="V"),
)
returning("cell_dataset", lambda: Cell(xr.Dataset({"a": ("x", [1.0])}), summary_value="one"))

for method in (
    "mean",
    "sum",
    "nanmean",
    "max",
    "min",
    "std",
    "median",
    "ptp",
    "argmax",
    "any",
    "prod",
    "var",
    "size",
):
    returning(f"summary_{method}", lambda: ramp((30,), "float32"), summary=method)
    returning(f"summary_{method}_int", lambda: ramp((30,), "int16"), summary=method)
returning("summary_of_image", lambda: ramp((12, 20), "uint16"), summary="mean")
returning("summary_of_nan", lambda: np.array([1.0, np.nan]), summary="mean")
returning("summary_of_scalar", lambda: 4, summary="mean")
returning("summary_of_text", lambda: "text", summary="mean")
returning("summary_array", lambda: np.array([3.0, 1.0, 2.0]), summary="sort")
returning("summary_of_complex", lambda: ramp((30,), "complex64"), summary="mean")
returning("summary_unknown", lambda: ramp((30,), "float32"), summary="no_such_function")
returning("summary_wanting_more", lambda: ramp((30,), "float32"), summary="percentile")

returning("units", lambda: 1.5, units="µJ")
returning("units_of_line", lambda: ramp((30,), "float32"), units="eV", tags=("b", "a"))

# --- Nothing, errors, skips ---

returning("none", lambda: None)


class BeamLost(Exception):
    """An exception of the context file's own."""


def raising(name, exception):
    """Declare a variable that raises."""

    def fail():
        raise exception

    returning(name, fail)


raising("error_value", ValueError("no such value: ü"))
raising("error_key", KeyError("missing"))
raising("error_own", BeamLost("at 12:00"))
raising("error_empty", RuntimeError())
raising("error_lines", ValueError("first\nsecond"))
raising("skip", Skip("not today"))
raising("skip_empty", Skip())


@Variable(title="Error: source")
def error_source(run):
    """A source that the run does not have."""
    return run["NO/SUCH/SOURCE", "value"].ndarray()


@Variable(title="Error: division")
def error_division(run):
    """An error of Python's own."""
    return 1 / 0


returning("refused_list_of_text", lambda: ["a", "b"])
returning("refused_object", lambda: object())
returning("refused_dict", lambda: {"a": 1})
returning("refused_set", lambda: {1, 2})
returning("refused_objects", lambda: np.array([1, "a", None], dtype=object))
returning("refused_records_text", lambda: np.zeros(2, [("a", "U3")]))
returning("refused_records_time", lambda: np.zeros(2, [("a", "i4"), ("b", [("c", "M8[ns]")])]))
returning("refused_datetime", lambda: np.datetime64("2026-03-12"))
returning("refused_function", lambda: ramp)
returning("refused_summary_value", lambda: Cell(1, summary_value=object()))
returning("refused_preview_text", lambda: Cell(1, preview="text"))
returning("refused_preview_cube", lambda: Cell(1, preview=np.zeros((2, 3, 4))))
returning("refused_units", lambda: Cell(1, units=5))
returning("refused_background_text", lambda: Cell(1, background="yellow"))
returning("refused_background_length", lambda: Cell(1, background=[1, 2]))
returning("refused_background_range", lambda: Cell(1, background=[1, 2, 300]))

# --- Dependencies: what a function is handed ---


def told(value):
    """Type, element type and shape of a value, as text."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {told(part)}" for name, part in sorted(value.items()))
    return " ".join(str(getattr(value, part, "")) for part in ("__class__", "dtype", "shape"))


def telling(name, of):
    """Declare a variable that says what it was handed as the value of another."""

    def function(run, value):
        return told(value)

    function.__name__ = name
    function.__annotations__ = {"value": f"var#{of}"}
    globals()[name] = Variable(title=f"Told: {of}")(function)


for other in (
    "scalar_int",
    "scalar_float32",
    "scalar_true",
    "scalar_complex",
    "text",
    "list_int",
    "line_uint16",
    "labelled_nameless",
    "dataset",
    "cell_number",
    "cell_summary",
    "cell_labelled",
    "masked",
    "transposed",
):
    telling(f"told_{other}", other)


@Variable(title="Told: glob")
def told_glob(run, values: "var#list_*"):
    """Several values by one pattern."""
    return told(values)


@Variable(title="Transient", transient=True)
def transient(run):
    """Any object, never stored."""
    return {"answer": 42, "function": len}


@Variable(title="Transient error", transient=True)
def transient_error(run):
    """Its error is not stored either."""
    raise ValueError("hidden")


@Variable(title="After transient")
def after_transient(run, value: "var#transient"):
    """Is handed the object as it is."""
    return value["function"]("four") + value["answer"]


@Variable(title="After transient error")
def after_transient_error(run, value: "var#transient_error"):
    """Says what it lacks."""
    return value


@Variable(title="After error")
def after_error(run, value: "var#error_value"):
    """Cannot run."""
    return value


@Variable(title="After two errors")
def after_two_errors(run, one: "var#error_value", two: "var#error_key"):
    """Cannot run for two reasons."""
    return one + two


@Variable(title="After after error")
def after_after_error(run, value: "var#after_error"):
    """Cannot run, further down."""
    return value


@Variable(title="After skip")
def after_skip(run, value: "var#skip"):
    """Is skipped with it."""
    return value


@Variable(title="After source error")
def after_source_error(run, value: "var#error_source"):
    """A missing source counts as a skip for what depends on it."""
    return value


@Variable(title="After skip and error")
def after_skip_and_error(run, one: "var#skip", two: "var#error_value"):
    """One of the two is an error."""
    return one + two


@Variable(title="After none")
def after_none(run, value: "var#none"):
    """There is nothing to work on."""
    return value


@Variable(title="After refused")
def after_refused(run, value: "var#refused_dict"):
    """A value that cannot be stored is an error for its dependents too."""
    return value


@Variable(title="Default after error")
def default_after_error(run, value: "var#error_value" = 7):
    """Goes on with its default."""
    return value


@Variable(title="Default after none")
def default_after_none(run, value: "var#none" = "nothing"):
    """Goes on with its default."""
    return value


@Variable(title="Default not needed")
def default_not_needed(run, value: "var#scalar_int" = 7):
    """Does not use its default."""
    return int(value)


@Variable
def without_parentheses(run):
    """The decorator alone: the title is the name."""
    return 3


@Variable(title="Numbers of the run", tags="single")
def meta(run, number: "meta#run_number", proposal: "meta#proposal", start: "var#scalar_int" = 0):
    """The run's own numbers."""
    return proposal * 10000 + number


@Variable(title="Proposal path")
def meta_path(run, path: "meta#proposal_path"):
    """Last part of the proposal's directory."""
    return path.name


@Group(tags=("grouped",))
class Pair:
    """Two variables, one of which needs the other."""

    factor: int = 2

    @Variable(title="One", units="mm", tags="extra")
    def one(self, run):
        """The first."""
        return self.factor * 1.5

    @Variable(title="Two", summary="max")
    def two(self, run, value: "self#one"):
        """The second."""
        return np.arange(3) * value

    @Variable(title="Broken")
    def broken(self, run):
        """An error in a group."""
        raise ValueError(f"factor {self.factor}")


pair = Pair()
titled = Pair(factor=3, title="Second pair", sep=" · ", tags="other")

# --- Libraries that need not be there ---

if find_spec("matplotlib"):

    def drawing(size=(4, 3), dpi=100):
        """A figure of some lines."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, dpi=dpi)
        figure.add_subplot().plot([1, 3, 2])
        return figure

    returning("figure", drawing)
    returning("figure_axes", lambda: drawing().axes[0])
    returning("figure_small", lambda: drawing((2, 1), 50))
    returning("figure_large", lambda: drawing((8, 10)))
    returning("figure_in_cell", lambda: Cell(drawing(), summary_value="drawn", bold=True))
    returning("figure_preview", lambda: Cell(1.5, preview=drawing()))
    returning("figure_preview_axes", lambda: Cell(ramp((30,), "float32"), preview=drawing().axes[0]))

if find_spec("plotly"):

    def plotly_drawing():
        """A plotly figure of a line."""
        import plotly.graph_objects as go

        return go.Figure(go.Scatter(x=[1, 2, 3], y=[1, 3, 2], name="ü"))

    # Without summary_value a thumbnail would be made, for which plotly starts a browser.
    returning("plotly_figure", lambda: Cell(plotly_drawing(), summary_value="drawn"))
    returning("plotly_preview", lambda: Cell(1.5, summary_value=1.5, preview=plotly_drawing()))

if find_spec("pandas"):
    import pandas as pd

    returning("refused_timestamp", lambda: pd.Timestamp("2026-03-12"))

    if find_spec("pyarrow"):  # pandas needs it to store tables
        returning("series", lambda: pd.Series([1.5, 2.5, 3.5], name="energy"))
        returning("series_integers", lambda: pd.Series(np.arange(40), name="n"), summary="mean")
        returning("series_indexed", lambda: pd.Series([1, 2], index=["a", "b"], name="n"))
        returning("frame", lambda: pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": ["x", "ü"]}))
        returning("frame_times", lambda: pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2026", periods=2)))
        returning("frame_empty", lambda: pd.DataFrame({"a": np.zeros(0)}))
        returning("frame_in_cell", lambda: Cell(pd.DataFrame({"a": [1, 2]}), summary_value=2, units="mm"))
