"""Compares what a database directory contains about a run, read with h5py, xarray and sqlite3, with what was returned.

Each check yields sentences about what is wrong. No sentence means that all is well.
"""

import io
import json
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr

from commands import run
from declared import Cell

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class StoredRun:
    """The results of one run."""

    file: Path
    rows: dict[str, dict]

    @classmethod
    def read(cls, directory: Path, proposal: int, run: int) -> "StoredRun":
        """Rows of the table, and the path of the run file."""
        connection = sqlite3.connect(f"file:{directory / 'runs.sqlite'}?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        query = "SELECT * FROM run_variables WHERE proposal = ? AND run = ?"
        rows = {row["name"]: dict(row) for row in connection.execute(query, (proposal, run))}
        connection.close()
        return cls(directory / "extracted_data" / f"p{proposal}_r{run}.h5", rows)

    def problems(self, name: str, outcome) -> Iterator[str]:
        """The differences between the results and what the function returned or raised."""
        with h5py.File(self.file) as f:
            for problem in self.problems_in(f, name, outcome):
                yield f"{name}: {problem}"

    def problems_in(self, f: h5py.File, name: str, outcome) -> Iterator[str]:
        """The same, with an open run file."""
        row = self.rows.get(name)
        if isinstance(outcome, Exception):
            yield from error_problems(f, name, row, type(outcome).__name__, str(outcome))
        elif outcome.data is None and outcome.summary_value is None and outcome.preview is None:
            if row is not None or places(f, name):
                yield f"returned None, and yet there is {row or places(f, name)}"
        elif row is None:
            yield "has no row"
        else:
            yield from data_problems(self.file, f, name, outcome.data)
            yield from row_problems(row, outcome)
            yield from preview_problems(f, name, outcome.preview)


def places(f: h5py.File, name: str) -> list[str]:
    """The places in a run file that contain something about a variable (except for its provenance)."""
    return [
        place for place in (name, f".reduced/{name}", f".preview/{name}", f".errors/{name}") if place in f
    ]


def error_problems(
    f: h5py.File, name: str, row: "dict | None", error_class: str, words: "str | None"
) -> Iterator[str]:
    """Checks that an error is in table and file, and that nothing else is stored. `words` None: the program's own message."""
    if row is None:
        yield f"has no row, but should tell of {error_class}"
        return
    attributes = json.loads(row["attributes"] or "{}")
    if row["value"] is not None or attributes.get("error_cls") != error_class:
        yield f"has {row['value']!r}, {attributes}, but should tell of {error_class}"
    if words is not None and attributes.get("error") != words:
        yield f"says {attributes.get('error')!r}, not {words!r}"
    if places(f, name) != [f".errors/{name}"]:
        yield f"failed and has {places(f, name)}"


def data_problems(path: Path, f: h5py.File, name: str, value) -> Iterator[str]:
    """Checks the value itself, in the run file."""
    if value is None:
        if name in f:
            yield "has data, but only a summary or a preview was given"
        return
    if name not in f:
        yield "is not in the run file"
        return
    kind = f[name].attrs.get("_damnit_objtype")
    if kind != kind_of(value):
        yield f"is marked as {kind}, not {kind_of(value)}"
    elif kind in ("dataarray", "dataset"):
        yield from netcdf_problems(path, name, value)
    else:
        yield from plain_problems(f[name]["data"], kind, value)


def kind_of(value) -> "str | None":
    """The kind of a value, as recorded in the file."""
    kinds = {"DataArray": "dataarray", "Dataset": "dataset", "Series": "series", "DataFrame": "dataframe"}
    module = type(value).__module__.partition(".")[0]
    if module == "matplotlib":
        return "image"
    if module == "plotly":
        return "PlotlyFigure"
    return kinds.get(type(value).__name__)


def plain_problems(dataset: h5py.Dataset, kind: "str | None", value) -> Iterator[str]:
    """Checks a value that is one dataset."""
    if kind == "image":
        if dataset.dtype != np.uint8 or dataset.ndim != 3 or dataset.shape[2] != 4 or not np.ptp(dataset[:]):
            yield f"is no picture: {dataset}"
    elif kind == "PlotlyFigure":
        if json.loads(dataset[()].tobytes())["data"] != json.loads(value.to_json())["data"]:
            yield "is another plotly figure"
    elif kind in ("series", "dataframe"):
        table = pd.read_parquet(io.BytesIO(dataset[()].tobytes()))
        wanted = value.to_frame() if kind == "series" else value
        if not table.astype(object).equals(wanted.astype(object)):
            yield f"is another table: {table}"
    elif isinstance(value, str):
        found = dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()]
        if found != value:
            yield f"is {found!r}, not {value!r}"
    else:
        wanted, found = np.asarray(value), np.asarray(dataset[()])
        if found.dtype.newbyteorder("=") != wanted.dtype.newbyteorder("=") or found.shape != wanted.shape:
            yield f"is {found.dtype}{found.shape}, not {wanted.dtype}{wanted.shape}"
        elif not np.array_equal(found, wanted, equal_nan=wanted.dtype.kind in "fc"):
            yield f"is {found}, not {wanted}"


def netcdf_problems(path: Path, name: str, value) -> Iterator[str]:
    """Checks a labelled array or dataset, as xarray reads it."""
    if isinstance(value, xr.DataArray):
        load = xr.load_dataarray
        wanted = value.rename(value.name.replace("/", "_") if value.name else value.name)
    else:
        load = xr.load_dataset
        wanted = value.rename({name: name.replace("/", "_") for name in value.data_vars})
    found = load(path, group=name, engine="h5netcdf")
    for name in ("_damnit_objtype", "_damnit_returned"):
        found.attrs.pop(name, None)
    try:
        xr.testing.assert_identical(comparable(found), comparable(wanted))
    except AssertionError as exc:
        yield str(exc)


NO_NETCDF = (np.dtype(np.float16), np.dtype(np.longdouble))


def netcdf_c_problems(path: Path, out: Path) -> Iterator[str]:
    """Compares every variable of the run file's netCDF groups, read with netCDF-C, with h5py.

    Half precision and long doubles are excluded: netCDF has neither, and its library crashes on them in any file.
    """
    arrays = {}
    with h5py.File(path) as f:

        def visit(name, item):
            if isinstance(item, h5py.Dataset) and is_netcdf(item) and item.dtype not in NO_NETCDF:
                arrays[f"/{name}"] = (item.asstr() if h5py.check_string_dtype(item.dtype) else item)[()]

        f.visititems(visit)
    run([sys.executable, Path(__file__).with_name("netcdf_c.py"), path, out, *arrays])
    found = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    with np.load(out.with_suffix(".npz"), allow_pickle=False) as contents:
        for way, wanted in arrays.items():
            if way not in found:
                yield f"netCDF-C does not see {way}"
                continue
            array = contents[found[way]]
            if array.shape != np.shape(wanted) or array.tolist() != np.asarray(wanted).tolist():
                if not np.array_equal(array, wanted, equal_nan=array.dtype.kind == "f"):
                    yield f"netCDF-C reads {way} as {array}, not {wanted}"


def is_netcdf(dataset: h5py.Dataset) -> bool:
    """Whether it is a netCDF variable (and not only a dimension)."""
    if dataset.parent.attrs.get("_damnit_objtype") not in ("dataarray", "dataset"):
        return False
    return not dataset.attrs.get("NAME", b"").startswith(b"This is a netCDF dimension but not")


def variables(value) -> list:
    """All arrays of an xarray object."""
    return (
        [value, *value.coords.values()] if isinstance(value, xr.DataArray) else list(value.variables.values())
    )


def comparable(value):
    """Converts attributes to lists and text to objects, because their types depend on the versions of the libraries."""
    value = value.copy()
    for part in [value, *variables(value)]:
        part.attrs = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in part.attrs.items()}
    if isinstance(value, xr.DataArray):
        return as_objects(value)
    return value.map(as_objects, keep_attrs=True)


def as_objects(array: xr.DataArray) -> xr.DataArray:
    """Text as an array of objects."""
    texts = {n: c.astype(object) for n, c in array.coords.items() if c.dtype.kind in "UT"}
    return (array.astype(object) if array.dtype.kind in "UT" else array).assign_coords(texts)


def row_problems(row: dict, outcome: Cell) -> Iterator[str]:
    """Checks what the table shows of a value."""
    attributes = json.loads(row["attributes"] or "{}")
    units = outcome.units
    if units is None and isinstance(outcome.data, xr.DataArray):
        units = outcome.data.attrs.get("units")
    background = outcome.background
    if isinstance(background, str):
        background = list(bytes.fromhex(background[1:]))
    wanted = {"units": units, "bold": outcome.bold, "background": background and list(background)}
    wanted = {key: value for key, value in wanted.items() if value is not None}
    if attributes != wanted:
        yield f"has attributes {attributes}, not {wanted}"
    found = row["value"]
    wanted = summary_of(outcome)
    if isinstance(wanted, Picture):
        allowed = wanted.optional and found == "<thumbnail error>"
        if not allowed and not (isinstance(found, bytes) and found.startswith(PNG)):
            yield f"shows {found!r:.60}, not a thumbnail"
    elif isinstance(wanted, Line):
        yield from trendline_problems(row, wanted)
    elif isinstance(wanted, str):
        if found != wanted:
            yield f"shows {found!r}, not {wanted!r}"
    else:
        yield from number_problems(row, np.asarray(wanted))


@dataclass(frozen=True)
class Picture:
    """The table shows a thumbnail.

    If there is no colour scale (complex numbers, booleans, no pixels), it may show a description instead.
    """

    optional: bool = False


@dataclass(frozen=True)
class Line:
    """The table shows a small plot of this many points, after reduction."""

    points: int


def summary_of(outcome: Cell):
    """What the table should show, according to the manual."""
    if outcome.summary_value is not None:
        return outcome.summary_value
    if outcome.data is not None and outcome.summary is not None:
        try:
            return np.asarray(getattr(np, outcome.summary)(outcome.data))
        except Exception:
            pass  # then the rules for values without a summary apply, as in DAMNIT
    value = outcome.data if outcome.preview is None else outcome.preview
    if isinstance(value, str):
        return value
    if isinstance(value, xr.Dataset):
        return f"Dataset ({value.nbytes / 1e6:.2f}MB)"
    if isinstance(value, pd.DataFrame):
        return f"DataFrame ({value.memory_usage(index=True, deep=True).sum() / 1e6:.2f}MB)"
    if kind_of(value) in ("image", "PlotlyFigure"):
        return Picture()
    array = value if isinstance(value, xr.DataArray) else np.asarray(value)
    if array.dtype.names:  # cannot be drawn; a single one is shown as text
        drawn = {0: str(array[()]), 1: "<trendline error>", 2: "<thumbnail error>"}
        return drawn.get(array.ndim, f"{array.dtype}: {array.shape}")
    if array.ndim == 0:
        return array.values if isinstance(array, xr.DataArray) else array
    if array.ndim == 1:
        return "<trendline error>" if array.dtype.kind in "UTO" else Line(int(np.isfinite(array).sum()))
    if array.ndim == 2:
        return Picture(optional=array.dtype.kind in "cb" or not array.size)
    data = outcome.data if isinstance(outcome.data, xr.DataArray) else np.asarray(outcome.data)
    return f"{data.dtype}: {data.shape}"


def trendline_problems(row: dict, wanted: Line) -> Iterator[str]:
    """Checks that a small plot has both ends of the line, and at most as many points as the line or a few hundred."""
    if row["summary_type"] != "trendline" or not isinstance(row["value"], bytes):
        yield f"shows {row['value']!r}, not a trendline"
        return
    points = np.load(io.BytesIO(row["value"]), allow_pickle=False)
    if points.ndim != 2 or points.shape[0] != 2 or points.dtype != np.float64:
        yield f"has a trendline of {points.dtype}{points.shape}"
    elif points.shape[1] > max(min(wanted.points, 400), 1) or (wanted.points and not points.shape[1]):
        yield f"has a trendline of {points.shape[1]} points for {wanted.points}"


def number_problems(row: dict, wanted: np.ndarray) -> Iterator[str]:
    """Checks a number, or a small array, in the table."""
    found, kind = row["value"], row["summary_type"]
    if wanted.ndim:
        found = np.load(io.BytesIO(found), allow_pickle=False) if isinstance(found, bytes) else found
        if not np.array_equal(found, wanted):
            yield f"shows {found!r}, not {wanted!r}"
    elif wanted.dtype.kind == "c":
        if kind != "complex" or not np.isclose(np.frombuffer(found, "<c16")[0], wanted):
            yield f"shows {found!r}, not {wanted!r}"
    elif wanted.dtype.kind == "f" and np.isnan(wanted):
        if found is not None:
            yield f"shows {found!r}, not an empty cell for NaN"
    elif not isinstance(found, int | float) or not np.isclose(found, float(wanted), rtol=1e-5, atol=0):
        yield f"shows {found!r}, not {wanted!r}"
    elif isinstance(found, int) != (wanted.dtype.kind in "iub"):
        yield f"is stored as {type(found).__name__} in the table, but is {wanted.dtype}"


def preview_problems(f: h5py.File, name: str, preview) -> Iterator[str]:
    """Checks that a preview is stored if there is one."""
    if (f".preview/{name}" in f) != (preview is not None):
        yield f"{'has a' if preview is None else 'lacks its'} preview"
    elif isinstance(preview, np.ndarray) and not np.array_equal(f[f".preview/{name}"][()], preview):
        yield "has another preview"
