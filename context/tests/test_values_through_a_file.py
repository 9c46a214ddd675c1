"""A dependent in another process sees what was returned, or the value is computed again: never something else."""

from __future__ import annotations

import datetime
import enum
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sameness import assert_same
from through_a_file import Files

from damnit_ctx import Cell
from damnit_ctx.returned import NotAsReturned

try:
    import dask.array as da
except ImportError:
    da = None
try:
    import pyarrow
except ImportError:
    pyarrow = None

# Always the same examples in CI; elsewhere others each time, and more if asked for.
settings.register_profile(
    "amore",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    max_examples=int(os.environ.get("AMORE_EXAMPLES", "60")),
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("amore")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    made = Files()
    yield made
    made.close()


def check(files: Files, value: Any) -> bool:
    """Sends a value or cell. Did it come back? If so, it is the same."""
    try:
        found = files.send(value)
    except NotAsReturned:
        return False
    assert_same(Cell(value).data, found)
    return True


# --- What must come back ---

DAY = np.datetime64("2026-03-12T08:00:00", "ns")
TIMES = DAY + np.arange(3) * np.timedelta64(10**9, "ns")


def array(values: Any = (1.0, 2.0, 3.0), dims: str = "x", **options: Any) -> xr.DataArray:
    return xr.DataArray(np.array(values), dims=dims, **options)


def stacked() -> xr.DataArray:
    square = xr.DataArray(np.eye(2), dims=("a", "b"), coords={"a": [1, 2], "b": ["u", "v"]}, name="s")
    return square.stack(both=("a", "b"))


COME_BACK = {
    "slashes in the name": lambda: array(name="SA2/XGM:output.data"),
    "no name": lambda: array(),
    "name of a coordinate": lambda: array(name="x", coords={"x": [3, 4, 5]}),
    "name of a dimension": lambda: array(name="x"),
    "empty name": lambda: array(name=""),
    "number as name": lambda: array(name=5),
    "tuple as name": lambda: array(name=("a", 1)),
    "two names alike in the file": lambda: xr.Dataset({"a/b": 1, "a_b": 2, "a": 3}),
    "name like the file's own": lambda: xr.Dataset({"s": ("x", [b"abc"]), "t": ("string3", [1, 2]), "string3_": 1}),
    "seconds": lambda: array(attrs={"units": "seconds"}),
    "days since": lambda: array(attrs={"units": "days since 2000-01-01"}),
    "not even a date": lambda: array(attrs={"units": "counts since start"}),
    "calendar": lambda: array(attrs={"units": "seconds", "calendar": "noleap"}),
    "duration": lambda: array(np.array([1, "NaT"], "m8[ns]")),
    "durations in a coordinate": lambda: array([1, 2], coords={"x": np.array([1, 2], "m8[ns]")}),
    "times": lambda: array(TIMES, attrs={"units": "odd", "calendar": "odd", "bounds": "x"}),
    "no time": lambda: array(np.array([DAY, "NaT"], "M8[ns]")),
    "fractions of a second": lambda: array(TIMES + np.timedelta64(1, "ns")),
    "early": lambda: array(np.array(["1700-01-01"], "M8[ns]")),
    "scale": lambda: array(np.array([1, 2], "i2"), attrs={"scale_factor": 2.0, "add_offset": 10.0}),
    "missing": lambda: array(np.array([1, 2], "i2"), attrs={"missing_value": np.int16(2), "_FillValue": np.int16(1)}),
    "unsigned": lambda: array(np.array([1, -2], "i1"), attrs={"_Unsigned": "true"}),
    "dtype": lambda: array(np.array([1, 0], "i1"), attrs={"dtype": "bool"}),
    "coordinates": lambda: array(attrs={"coordinates": "y z"}, coords={"y": ("x", [1, 2, 3])}),
    "valid range": lambda: array(attrs={"valid_range": [1, 2], "valid_max": 2.0}),
    "reserved": lambda: array(attrs={"NAME": "n", "CLASS": 1, "_Netcdf4Dimid": 7, "_damnit_objtype": "image"}),
    "reserved of a dataset": lambda: xr.Dataset({"a": 1}, attrs={"_damnit_returned": "x", "coordinates": "a"}),
    "space": lambda: array(coords={"Height [mm]": ("x", [1, 2, 3])}, name="p"),
    "tab": lambda: array(coords={"a\tb": ("x", [1, 2, 3]), "a_b": 5}, name="p"),
    "space in a dataset": lambda: xr.Dataset({"v": ("x", [1])}, coords={"a b": ("x", [2]), "c d/e": 3}),
    "dimension with a space": lambda: array(dims="my dim", coords={"my dim": [1, 2, 3]}),
    "order": lambda: xr.DataArray(np.eye(2), dims=("y", "x"), coords={"x": [2, 1], "b": 1, "y": [1, 2], "a": 2}),
    "order of a dataset": lambda: xr.Dataset({"z": ("b", [1]), "a": ("c", [1])}, coords={"q": 1, "b": [5], "c": [1]}),
    "truth": lambda: array([True, False]),
    "text": lambda: array(["a", "ü", ""]),
    "objects": lambda: array(np.array(["a", None, float("nan")], dtype=object)),
    "text as objects": lambda: array(np.array(["a", "bb"], dtype=object)),
    "bytes": lambda: array([b"a", b"bc", b""]),
    "no dimension": lambda: xr.DataArray(2.5, coords={"where": "here", "when": DAY, "what": b"ab"}),
    "big endian": lambda: array(np.array([1, 2], ">f4")),
    "no elements": lambda: array(np.zeros(0, "u2"), coords={"x": np.zeros(0, "f4")}),
    "complex": lambda: array(np.array([1j, 2], "c8")),
    "index without freq": lambda: array(coords={"x": TIMES}),
    "index with freq": lambda: array(coords={"x": pd.date_range("2026-01-01", periods=3, freq="D")}),
    "range": lambda: array(coords={"x": pd.RangeIndex(1, 7, 2)}),
    "no index": lambda: array(coords={"x": [1, 2, 3]}).drop_indexes("x"),
    "index beside": lambda: array(coords={"lon": ("x", [1, 2, 3])}).set_xindex("lon"),
    "two levels": stacked,
    "two levels of a dataset": lambda: stacked().to_dataset().assign(other=1),
    "empty dataset": lambda: xr.Dataset(),
    "coordinates only": lambda: xr.Dataset(coords={"x": [1, 2, 3], "y": 5}),
    "encoding": lambda: encoded({"scale_factor": 0.1, "dtype": np.dtype("i2"), "_FillValue": -1, "chunksizes": (2,)}),
    "lists": lambda: array(
        attrs={"one": [1], "none": [], "tuple": (1,), "numpy": np.array([1]), "zero": np.array(1), "text": ["a"]}
    ),
    "numbers": lambda: array(
        attrs={"i": 1, "f": 1.0, "n": np.float32(1), "b": True, "nb": np.bool_(True), "c": 1j, "nan": float("nan")}
    ),
    "hard to hold": lambda: array(
        attrs={
            "two": np.eye(2),
            "none": None,
            "dict": {"a": {"b": [1, (2, None)]}},
            "bytes": b"\xfe\xff",
            "text": "a\0b",
            "mixed": [1, "a"],
            "day": datetime.date(2026, 1, 1),
            "now": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
            "numpy": DAY,
            "pandas": pd.Timestamp("2026-01-01"),
            "set": {1, 2},
            "path": Path("/a"),
            "large": np.arange(20_000.0),
            "long": 10**30,
            "texts": ["a"] * 10_000,
            "np": np.str_("n"),
            "half": np.float16(1),
            "complex": np.complex64(1j),
            5: 6,
            "a/b": 7,
            "": 8,
        }
    ),
    "text alone": lambda: "text",
    "text of NumPy": lambda: np.str_("text"),
    "records": lambda: np.zeros(2, [("a", "i4"), ("b", ">f8", (2,))]),
    "records with attributes": lambda: np.zeros(2, [("a", "i4"), ("b", "f8")]).view(np.recarray),
    "integer": lambda: 5,
    "list of one": lambda: [5],
    "bytes alone": lambda: b"ab",
    "truth alone": lambda: True,
    "masked": lambda: np.ma.masked_array([1.0, 2.0], [False, True]),
}
TABLES = {
    "series named like a number": lambda: pd.Series([1.0, 2.0], name="0"),
    "series named None": lambda: pd.Series([1.0], name="None"),
    "series named by a number": lambda: pd.Series([1.0], name=0),
    "series without a name": lambda: pd.Series([1.0, 2.0]),
    "series named by a tuple": lambda: pd.Series([1.0], name=("a", 1)),
    "index with a name": lambda: pd.Series([1.0], index=pd.Index([5], name="trainId")),
    "times with freq": lambda: pd.Series([1, 2], index=pd.date_range("2026-01-01", periods=2, freq="D")),
    "time zone": lambda: pd.DataFrame({"t": pd.to_datetime(["2026-01-01"]).tz_localize("Europe/Berlin")}),
    "categories": lambda: pd.DataFrame({"c": pd.Categorical(["b"], ["c", "b", "a"], ordered=True)}),
    "nullable": lambda: pd.DataFrame({"n": pd.array([1, None], dtype="Int64")}),
    "texts": lambda: pd.DataFrame({"s": ["a", None]}),
    "attributes": lambda: with_attrs(pd.DataFrame({"a": [1]}), x=(1, 2), y=b"q", z=np.float32(1)),
    "levels": lambda: pd.DataFrame({("a", "b"): [1], ("a", "c"): [2]}),
    "index of two levels": lambda: pd.DataFrame(
        {"v": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["i", None])
    ),
    "no rows": lambda: pd.DataFrame({"a": np.zeros(0, "f4")}),
    "large": lambda: pd.DataFrame({"a": np.arange(1e6), "b": np.arange(1e6, dtype="f4")}),
}
AGAIN = {
    "unknown attribute": lambda: array(attrs={"a": Colour.RED, "b": 1}),
    "attribute of a subclass": lambda: array(attrs={"a": Text("x")}),
    "text of a custom type": lambda: Text("x"),
    "array of a custom type": lambda: Own(np.zeros(2)),
    "aligned records": lambda: np.zeros(2, np.dtype([("a", "u1"), ("b", "f8")], align=True)),
    "type with metadata": lambda: np.zeros(2, np.dtype("f8", metadata={"a": 1})),
    "categories as a coordinate": lambda: array(coords={"x": pd.CategoricalIndex(["a", "b", "c"])}),
    "too large an attribute": lambda: array(attrs={"a": np.zeros(1 << 20)}),
}


class Colour(enum.Enum):
    RED = 1


class Text(str):
    pass


class Own(xr.DataArray):
    __slots__ = ()


def encoded(encoding: dict[str, Any]) -> xr.DataArray:
    made = array(coords={"x": [1.0, 2.0, 3.0], "y": 5})
    made.encoding = dict(encoding)
    made.coords["x"].encoding = dict(encoding)
    made.coords["y"].encoding = {"dtype": "i1"}
    return made


def with_attrs(table: Any, **attrs: Any) -> Any:
    table.attrs.update(attrs)
    return table


@pytest.mark.parametrize("name", COME_BACK)
def test_comes_back(files, name):
    assert check(files, COME_BACK[name]())


@pytest.mark.skipif(pyarrow is None, reason="no pyarrow")
@pytest.mark.parametrize("name", TABLES)
def test_tables_come_back(files, name):
    assert check(files, TABLES[name]())


@pytest.mark.parametrize("name", AGAIN)
def test_computed_again(files, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not check(files, AGAIN[name]())


@pytest.mark.skipif(da is None, reason="no dask")
def test_lazy_arrays_come_back_lazy_and_are_computed_once(files):
    blocks = []

    def block(block_id=None):
        blocks.append(block_id)
        return np.ones((10, 10))

    numbers = da.map_blocks(block, chunks=((10, 10), (10,)), dtype="f8", meta=np.empty((0, 0)))
    lazy = xr.DataArray(numbers, dims=("y", "x"), coords={"t": ("y", da.arange(20, chunks=5))})
    found = files.send(Cell(lazy, summary="mean", preview=lazy.sum("x"), summary_value=lazy.max()))
    assert sorted(blocks) == [(0, 0), (1, 0)]
    assert lazy.chunks is not None
    assert_same(lazy, found)
    assert check(files, lazy.to_dataset(name="a").assign(b=("y", np.arange(20))))
    blocks.clear()
    files.send(Cell(numbers, summary_value=numbers.max(), preview=lazy.sum("x")))
    assert sorted(blocks) == [(0, 0), (1, 0)]


# --- Anything ---

TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=6)
WORDS = st.one_of(
    st.sampled_from(
        ["x", "y", "a/b", "a_b", "A/B:c.d", "Height [mm]", "a\tb", " ", ".", "..", "string1", "string3", "/", "_", "é"]
        + ["__xarray_dataarray_variable__", "data", "time", "_nc4_non_coord_x", "coordinates"]
    ),
    TEXT,
)
NAMES = st.one_of(WORDS, st.integers(-1, 3), st.tuples(WORDS, st.integers(0, 1)), st.none(), st.booleans())
KEYS = st.one_of(
    st.sampled_from(
        ["units", "_FillValue", "missing_value", "scale_factor", "add_offset", "dtype", "coordinates", "calendar"]
        + ["_Unsigned", "_Encoding", "NAME", "CLASS", "valid_range", "bounds", "grid_mapping", "_damnit_objtype"]
        + ["user_dtype", "long_name", "a/b", "_Netcdf4Dimid", "DIMENSION_LIST"]
    ),
    NAMES,
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.complex_numbers(),
    TEXT,
    st.sampled_from(["seconds", "days", "s", "days since 2000-01-01", "since", "true", "bool", "x y"]),
    st.binary(max_size=4),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.sampled_from(Colour),
    hnp.array_shapes(min_dims=0, max_dims=2, max_side=3).flatmap(lambda shape: arrays(shape)),
    st.sampled_from([np.float32(1.5), np.int16(2), np.bool_(True), np.str_("n"), np.bytes_(b"n\0"), np.longdouble(1)]),
    st.sampled_from([pd.NaT, pd.NA, pd.Timestamp("2026"), pd.Timestamp("2026", tz="UTC"), pd.Timedelta(1, "s")]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(WORDS, inner, max_size=3),
    ),
    max_leaves=6,
)
ATTRS = st.dictionaries(KEYS, VALUES, max_size=4)
UNITS = ("s", "ms", "us", "ns")


def dtypes() -> st.SearchStrategy[np.dtype]:
    names = ["?", "i1", "u1", "i2", "u2", "i4", "u8", "i8", ">i2", ">u4", "f2", "f4", "f8", ">f8", "c8", "c16", "g"]
    names += ["S1", "S3", "U1", "U4", "M8[s]", "M8[ns]", "m8[ns]", "M8[ms]", "m8[s]"]
    return st.sampled_from(names).map(np.dtype)


def elements(dtype: np.dtype) -> st.SearchStrategy[Any]:
    if dtype.kind == "U":
        return st.text(st.characters(blacklist_categories=("Cs",), min_codepoint=1), max_size=dtype.itemsize // 4)
    if dtype.kind in "mM":
        # What every unit can hold; xarray turns all into nanoseconds in old versions.
        kind = "M8" if dtype.kind == "M" else "m8"
        unit = np.datetime_data(dtype)[0]
        limit = 2**62 // {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
        return st.one_of(
            st.integers(-limit, limit).map(lambda count: np.array(count, f"{kind}[{unit}]")[()]),
            st.just(np.array("NaT", f"{kind}[{unit}]")[()]),
        )
    return hnp.from_dtype(dtype)


def arrays(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    typed = dtypes().flatmap(lambda dtype: hnp.arrays(dtype, shape, elements=elements(dtype)))
    plain_text = st.text(st.characters(blacklist_categories=("Cs",), min_codepoint=1), max_size=3)
    items = st.one_of(plain_text, plain_text, st.none(), st.just(float("nan")))
    objects = hnp.arrays(np.dtype(object), shape, elements=items, fill=st.nothing())
    return st.one_of(typed, typed, typed, objects)


@st.composite
def labelled(draw: Any, whole: bool) -> Any:
    """A DataArray, or a Dataset."""
    dims = draw(st.lists(NAMES.filter(lambda name: name is not None), max_size=3, unique=True))
    sizes = {dim: draw(st.integers(0, 3)) for dim in dims}

    def variable(own: list[Any]) -> Any:
        data = draw(arrays(tuple(sizes[dim] for dim in own)))
        if da is not None and data.dtype.kind in "iufc" and data.ndim and data.size and draw(st.booleans()):
            data = da.from_array(data, chunks=draw(st.integers(1, 2)))
        return xr.Variable(tuple(own), data, draw(ATTRS), draw(st.sampled_from([None, {"dtype": "f4"}, {"a": {1}}])))

    coords = {}
    for dim in dims:
        if draw(st.booleans()):
            coords[dim] = variable([dim])
    for name in draw(st.lists(NAMES.filter(lambda name: name not in sizes), max_size=3, unique=True)):
        coords[name] = variable([dim for dim in dims if draw(st.booleans())])
    if not whole:
        return xr.DataArray(variable(dims), coords=coords, name=draw(NAMES))
    own = {
        name: variable([dim for dim in dims if draw(st.booleans())])
        for name in draw(st.lists(NAMES.filter(lambda name: name not in sizes), max_size=3, unique=True))
        if name not in coords
    }
    return xr.Dataset(own, coords, draw(ATTRS))


@given(st.data())
def test_any_dataarray(files, data):
    _any(files, data, False)


@given(st.data())
def test_any_dataset(files, data):
    _any(files, data, True)


def _any(files: Files, data: Any, whole: bool) -> None:
    try:
        value = data.draw(labelled(whole))
    except (ValueError, TypeError, KeyError, OverflowError):
        assume(False)  # xarray does not make it
    try:
        check(files, value)
    except (ValueError, TypeError, UnicodeError) as error:
        # The only things that cost a value: text that HDF5 cannot hold as an array's content.
        assert "NUL" in str(error) or "surrogates" in str(error), error


@pytest.mark.skipif(pyarrow is None, reason="no pyarrow")
@given(st.data())
def test_any_table(files, data):
    rows = data.draw(st.integers(0, 3))
    names = data.draw(st.lists(st.one_of(WORDS, st.integers(0, 2), st.tuples(WORDS, WORDS)), max_size=3, unique=True))
    columns = {name: _column(data, rows) for name in names}
    index = data.draw(
        st.sampled_from(
            [
                None,
                pd.RangeIndex(5, 5 + rows),
                pd.Index(np.arange(rows) * 0.5, name=("a", 1)),
                pd.date_range("2026-01-01", periods=rows, freq="h", name="t"),
                pd.date_range("2026-01-01", periods=rows, freq="h", tz="Europe/Berlin"),
                pd.CategoricalIndex(["a"] * rows),
                pd.MultiIndex.from_arrays([range(rows), ["b"] * rows], names=["i", None]),
                pd.Index(["c"] * rows, name=0),
            ]
        )
    )
    frame = pd.DataFrame(columns, index=None)
    if index is not None and len(frame) == rows:
        frame.index = index
    value: Any = frame
    if len(columns) and data.draw(st.booleans()):
        value = frame.iloc[:, 0].rename(data.draw(NAMES))
    value.attrs = data.draw(ATTRS)
    try:
        check(files, value)
    except Exception as error:
        # What parquet cannot hold at all (two columns of one name, mixed types) is an error in DAMNIT, too.
        assert type(error).__module__.split(".")[0] in ("pyarrow", "builtins"), error
        assert not isinstance(error, AssertionError), error


def _column(data: Any, rows: int) -> Any:
    kinds = [
        st.sampled_from(["i4", "f8", "f4", "u1", "?", "M8[ns]", "m8[ns]", "U2", "S2", "c8", "f2"]).flatmap(
            lambda name: hnp.arrays(np.dtype(name), rows, elements=elements(np.dtype(name)))
        ),
        st.lists(st.one_of(TEXT, st.none()), min_size=rows, max_size=rows),
        st.lists(VALUES, min_size=rows, max_size=rows),
        st.just(pd.Categorical(["b"] * rows, ["c", "b"])),
        st.just(pd.array([None] * rows, dtype="Int32")),
        st.just(pd.to_datetime(["2026-01-01"] * rows).tz_localize("UTC")),
    ]
    column = data.draw(st.one_of(kinds))
    return pd.Series(column, dtype=object) if isinstance(column, list) else column


@given(value=VALUES)
def test_any_plain_value(files, value):
    try:
        Cell(value)
    except Exception:
        assume(False)
    assume(value is not None)
    try:
        check(files, value)
    except (ValueError, TypeError) as error:
        assert "NUL" in str(error) or "surrogates" in str(error), error
