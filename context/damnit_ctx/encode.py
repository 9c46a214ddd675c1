"""Encodes a cell as a ``value`` message (``FromChild::Value`` in crates/wire) and its arrays."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Optional, Union

import numpy as np

from . import lazy, netcdf, summary, tables
from .arrays import Arrays, narrowed, plain, text
from .cell import Cell, number_or_text
from .channel import Message
from .loaded import (
    is_dataarray,
    is_dataframe,
    is_dataset,
    is_matplotlib_figure,
    is_plotly_figure,
    is_series,
)
from .plain_values import describe
from .report import log
from .returned import Returned


def encode(name: str, cell: Cell, tell: Callable[[str], None] = log) -> tuple[Message, Arrays]:
    """The message for a variable's cell, without times, and its arrays in the message's order.

    If the stored form differs from what was returned, ``tell`` is called with a line for the log.

    Raises:
        Exception: the value cannot be stored; this becomes the variable's error.
    """
    arrays: Arrays = []
    message: Message = {"ev": "value", "name": name}
    before = cell.data
    cell = _computed(cell)
    if cell.data is not None:
        returned = Returned()
        message["data"] = stored(cell.data, arrays, returned, None if before is cell.data else before)
        message["data"]["returned"] = returned.as_json()
        message["data"]["differs"] = returned.differs
        for note in returned.notes:
            tell(f"{name}: {note}")
        if returned.differs is not None and not is_figure(cell.data):
            tell(f"{name} will be computed again if another process needs it: {returned.differs}")
    if cell.preview is not None:
        message["preview"] = stored(cell.preview, arrays, Returned(), None)
    shown = summary.of_cell(name, cell)
    if shown is not None:
        message["summary"] = plain(shown if isinstance(shown, str) else narrowed(np.asarray(shown)), arrays)
        message["max_diff"] = beyond_json(summary.max_diff(cell.data))
        message["summary_method"] = None if cell.summary is None else text(cell.summary)
        if isinstance(shown, np.ndarray) and shown.ndim == 2 and shown.shape[0] == 2:
            message["summary_type"] = "trendline"
        message["bold"] = None if cell.bold is None else bool(cell.bold)
        message["background"] = None if cell.background is None else [int(part) for part in cell.background]
        message["units"] = None if cell.units is None else text(cell.units)
    return message, arrays


def _computed(cell: Cell) -> Cell:
    """The cell with all lazy parts computed at once. Dependents still see lazy values."""
    data, preview, summary_value = lazy.computed(cell.data, cell.preview, cell.summary_value)
    if data is cell.data and preview is cell.preview and summary_value is cell.summary_value:
        return cell
    cell = copy.copy(cell)
    cell.data, cell.preview = data, preview
    cell.summary_value = None if summary_value is None else number_or_text(summary_value)
    return cell


def beyond_json(number: Optional[float]) -> Union[float, str, None]:
    """Converts NaN and infinity, which JSON does not have, to text."""
    return number if number is None or math.isfinite(number) else repr(float(number))


def stored(value: Any, arrays: Arrays, returned: Returned, before: Any) -> Message:
    """An object as stored in HDF5.

    Args:
        value: the object, with computed numbers.
        arrays: the message's.
        returned: records how the object can be restored, or that it cannot.
        before: the object as it was returned, if parts of it had to be computed.
    """
    if is_dataarray(value):
        return {"objtype": "dataarray", "layout": netcdf.dataarray(value, arrays, returned, before)}
    if is_dataset(value):
        return {"objtype": "dataset", "layout": netcdf.dataset(value, arrays, returned, before)}
    if is_series(value):
        return _file("series", tables.parquet(value, returned), arrays)
    if is_dataframe(value):
        return _file("dataframe", tables.parquet(value, returned), arrays)
    if is_plotly_figure(value):
        returned.differ("a figure is stored as its description")
        return _file("PlotlyFigure", value.to_json().encode("utf-8"), arrays)
    if is_matplotlib_figure(value):
        returned.differ("a figure is stored as an image")
        return {"objtype": "image", "layout": {"kind": "plain", "array": plain(figure_pixels(value), arrays)}}
    describe(value, returned)
    return {"layout": {"kind": "plain", "array": plain(value, arrays)}}


def is_figure(value: Any) -> bool:
    """Whether it is a figure of matplotlib or plotly; obviously, these cannot be restored."""
    return is_matplotlib_figure(value) or is_plotly_figure(value)


def _file(objtype: str, content: bytes, arrays: Arrays) -> Message:
    bytes_ = np.frombuffer(content, dtype=np.uint8)
    return {"objtype": objtype, "layout": {"kind": "plain", "array": plain(bytes_, arrays)}}


def figure_pixels(figure: Any) -> np.ndarray:
    """A rendered matplotlib figure: rows, columns, RGBA."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())
