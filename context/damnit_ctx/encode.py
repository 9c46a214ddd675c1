"""A cell as a ``value`` message (``FromChild::Value`` in crates/wire), with its arrays beside it."""

from __future__ import annotations

import io
import math
from typing import Any, Optional, Union

import numpy as np

from . import netcdf, summary
from .arrays import Arrays, narrowed, plain, text
from .cell import Cell
from .channel import Message
from .loaded import (
    is_dataarray,
    is_dataframe,
    is_dataset,
    is_matplotlib_figure,
    is_plotly_figure,
    is_series,
)


def encode(name: str, cell: Cell) -> tuple[Message, Arrays]:
    """The message for a variable's cell, without times, and its arrays in the message's order.

    Raises:
        Exception: whatever makes the value impossible to store; it is the error of this variable.
    """
    arrays: Arrays = []
    message: Message = {"ev": "value", "name": name}
    if cell.data is not None:
        message["data"] = stored(cell.data, arrays)
    if cell.preview is not None:
        message["preview"] = stored(cell.preview, arrays)
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


def beyond_json(number: Optional[float]) -> Union[float, str, None]:
    """NaN and infinity, which JSON does not have, as text."""
    return number if number is None or math.isfinite(number) else repr(float(number))


def stored(value: Any, arrays: Arrays) -> Message:
    """An object as it goes into HDF5."""
    if is_dataarray(value):
        return {"objtype": "dataarray", "layout": netcdf.dataarray(value, arrays)}
    if is_dataset(value):
        return {"objtype": "dataset", "layout": netcdf.dataset(value, arrays)}
    if is_series(value):
        return _file("series", parquet(value.to_frame(name=value.name)), arrays)
    if is_dataframe(value):
        return _file("dataframe", parquet(value), arrays)
    if is_plotly_figure(value):
        return _file("PlotlyFigure", value.to_json().encode("utf-8"), arrays)
    if is_matplotlib_figure(value):
        return {"objtype": "image", "layout": {"kind": "plain", "array": plain(figure_pixels(value), arrays)}}
    return {"layout": {"kind": "plain", "array": plain(value, arrays)}}


def _file(objtype: str, content: bytes, arrays: Arrays) -> Message:
    bytes_ = np.frombuffer(content, dtype=np.uint8)
    return {"objtype": objtype, "layout": {"kind": "plain", "array": plain(bytes_, arrays)}}


def parquet(frame: Any) -> bytes:
    """A table as the bytes of a parquet file.

    Raises:
        ImportError: the user's environment has no pyarrow.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ImportError(
            "tables (pandas Series and DataFrame) are saved as parquet, which needs pyarrow: "
            "pip install pyarrow, or return .to_numpy() or .to_xarray()"
        ) from None
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=None)
    return buffer.getvalue()


def figure_pixels(figure: Any) -> np.ndarray:
    """A matplotlib figure drawn: rows, columns, RGBA."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())
