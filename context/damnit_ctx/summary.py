"""The table's summary of a value: a number, a line of text, a thumbnail or a trendline."""

from __future__ import annotations

import io
import warnings
from typing import Any, Optional, Union

import numpy as np

from . import _core
from .cell import Cell
from .loaded import (
    is_dataarray,
    is_dataframe,
    is_dataset,
    is_matplotlib_figure,
    is_plotly_figure,
    is_series,
)
from .report import log_problem

_THUMBNAIL_PIXELS = 300
# Functions that give the same result with and without skipping NaN if there is none.
_SAME_WITHOUT_NAN = ("mean", "sum", "min", "max", "std", "var", "median")
_LARGE_BYTES = 32 << 20
_BLOCK_BYTES = 4 << 20
Summary = Union[np.ndarray, str, None]


def of_cell(name: str, cell: Cell) -> Summary:
    """The given summary, else that of the NumPy function, else a default for the type of the value.

    Problems are reported in the log and do not affect the value.
    """
    if cell.summary_value is not None:
        return cell.summary_value  # type: ignore[no-any-return]
    if cell.summary is not None and cell.data is not None:
        try:
            return _reduce(cell.summary, cell.data)
        except Exception:
            log_problem(f"np.{cell.summary} of {name} failed; the table shows the default summary")
    shown = cell.data if cell.preview is None else cell.preview
    if shown is None:
        return None
    if is_series(shown):
        shown = shown.to_numpy()
    if isinstance(shown, str):
        return shown
    if is_dataset(shown):
        return f"Dataset ({shown.nbytes / 1e6:.2f}MB)"
    if is_dataframe(shown):
        return f"DataFrame ({shown.memory_usage(index=True, deep=True).sum() / 1e6:.2f}MB)"
    if is_matplotlib_figure(shown):
        return _drawn(name, "<thumbnail error>", lambda: _matplotlib_png(shown))
    if is_plotly_figure(shown):
        return _drawn(name, "Figure (plotly)", lambda: _plotly_png(shown))
    if shown.ndim == 0:
        return _zero_dimensional(shown)
    if shown.ndim == 1:
        return _drawn(name, "<trendline error>", lambda: trendline(shown))
    if shown.ndim == 2:
        return _drawn(name, "<thumbnail error>", lambda: thumbnail(shown))
    return f"{cell.data.dtype}: {tuple(cell.data.shape)}"


def _reduce(function: str, data: Any) -> np.ndarray:
    reduced = _reduce_in_place(function, data)
    if reduced is None:
        reduced = np.asarray(getattr(np, function)(data))
    if reduced.dtype.kind not in "biufcS":
        raise TypeError(f"np.{function} gave {reduced.dtype}, which is not a number")
    return reduced


def _reduce_in_place(function: str, data: Any) -> Optional[np.ndarray]:
    """The result of ``np.<function>`` for a large float array, without the copies by which NumPy and xarray skip NaN.
    (For a DataArray, all of NumPy's functions skip NaN.) None if this is not possible.
    """
    bare = function[3:] if function.startswith("nan") else function
    skips_nan = bare != function or is_dataarray(data)
    values = data.variable._data if is_dataarray(data) else data
    if bare not in _SAME_WITHOUT_NAN or not skips_nan or not isinstance(values, np.ndarray):
        return None
    if values.dtype.kind != "f" or values.nbytes < _LARGE_BYTES:
        return None
    if not np.isnan(values.min()):
        return np.asarray(getattr(np, bare)(values))
    if bare in ("min", "max"):
        return np.asarray((np.fmin if bare == "min" else np.fmax).reduce(values, axis=None))
    if bare not in ("mean", "sum") or values.ndim == 0:
        return None
    total, count = 0.0, 0
    rows = max(1, len(values) * _BLOCK_BYTES // values.nbytes)
    for start in range(0, len(values), rows):
        block = values[start : start + rows]
        total += float(np.nansum(block, dtype=np.float64))
        count += block.size - int(np.count_nonzero(np.isnan(block)))
    if bare == "mean":
        total = total / count if count else np.nan
    return np.asarray(values.dtype.type(total))


def _zero_dimensional(value: Any) -> Summary:
    array = np.asarray(value)
    return array if array.dtype.kind in "biufcS" else str(array[()])


def _drawn(name: str, otherwise: str, draw: Any) -> Summary:
    try:
        drawn: np.ndarray = draw()
    except Exception:
        log_problem(f"no thumbnail of {name}")
        return otherwise
    return drawn


def _matplotlib_png(figure: Any) -> np.ndarray:
    pixels = figure.get_size_inches() * figure.dpi
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=figure.dpi * min(1, _THUMBNAIL_PIXELS / max(pixels)), format="png")
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def _plotly_png(figure: Any) -> np.ndarray:
    from PIL import Image

    # Plotly's own scaling makes text illegible, so a large image is rendered and then scaled down.
    image = Image.open(io.BytesIO(figure.to_image(format="png")))
    ratio = _THUMBNAIL_PIXELS / max(image.size)
    small = image.resize((int(image.width * ratio), int(image.height * ratio)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def thumbnail(image: Any) -> np.ndarray:
    """PNG of a two-dimensional array, 300 by 300 pixels; a DataArray's coordinates increase upwards and rightwards."""
    labelled = is_dataarray(image)
    flips = (False, False)
    if labelled:
        y, x = (image[dim].values for dim in image.dims)
        flips = (not _runs_backwards(y), _runs_backwards(x))
    array = _native(np.asarray(image.values if labelled else image))
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    address = array.__array_interface__["data"][0]
    png = _core.thumbnail(address, array.shape, array.strides, array.dtype.str, *flips, labelled)
    return np.frombuffer(png, dtype=np.uint8)


def _runs_backwards(values: np.ndarray) -> bool:
    """Whether the axis of this coordinate is decreasing (by the outer edges of its first and last pixel)."""
    if values.dtype.kind in "US" or len(values) < 2:
        return False
    half_step = 0.5 * (values[1] - values[0])
    return bool(values[0] - half_step > values[-1] + half_step)


def trendline(line: Any) -> np.ndarray:
    """About 150 points of a one-dimensional array: x and y, float64, shape (2, N). x is the DataArray's coordinate,
    if it has one, or the position."""
    x: Any = None
    if is_dataarray(line):
        dim = line.dims[0]
        x = line.coords[dim].values if dim in line.coords else None
        line = line.values
    y = _native(np.asarray(line))
    if x is None or x.shape != y.shape or x.dtype.kind not in "iufM":
        x = np.arange(y.size)
    elif x.dtype.kind == "M":
        x = x.astype("datetime64[ns]").astype("int64") / 1e9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # complex numbers lose their imaginary part here
        x = np.ascontiguousarray(x, dtype=np.float64)
        y = np.ascontiguousarray(y, dtype=np.float64)
    if x.size > 1 and not bool(np.all(np.diff(x) >= 0)):
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    points, count = _core.trendline(x.__array_interface__["data"][0], y.__array_interface__["data"][0], x.size)
    return np.frombuffer(points, dtype="<f8").reshape(2, count)


def _native(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def max_diff(data: Any) -> Optional[float]:
    """Largest minus smallest number of an array with more than one number, otherwise None."""
    if is_series(data):
        data = data.to_numpy()
    elif is_dataarray(data):
        data = data.values
    if not isinstance(data, np.ndarray) or data.size < 2 or data.dtype.kind not in "iufc":
        return None
    with np.errstate(all="ignore"):
        if data.dtype.kind in "iu":
            return float(int(data.max()) - int(data.min()))
        if data.dtype.kind == "f":
            # fmax and fmin skip NaN without a copy, and without a warning if all are NaN.
            return float(np.float64(np.fmax.reduce(data, axis=None)) - np.float64(np.fmin.reduce(data, axis=None)))
        difference = np.subtract(np.fmax.reduce(data, axis=None), np.fmin.reduce(data, axis=None))
        return float(np.abs(np.complex128(difference)))
