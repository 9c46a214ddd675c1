"""A cell: a value together with how the table shows it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np

from . import lazy
from .loaded import (
    is_axes,
    is_dataarray,
    is_dataframe,
    is_dataset,
    is_matplotlib_figure,
    is_plotly_figure,
    is_series,
)

_COLOUR = re.compile("#[0-9A-Fa-f]{6}")


class Cell:
    """Return a cell instead of a plain value to control how the value is shown.

    Args:
        data: the value: a number, text, anything that NumPy converts to an array, DataArray, Dataset, Series,
            DataFrame, a matplotlib or plotly figure, or None.
        summary: name of the NumPy function that reduces the value to one number.
        summary_value: the number or text to show instead.
        bold: show it in bold.
        background: background colour: ``"#ffcc00"`` or three numbers from 0 to 255.
        preview: a one- or two-dimensional array or a figure, shown when the cell is opened.
        units: physical units; those of a DataArray are taken from its attributes.

    Raises:
        TypeError: the value, preview or colour is of a type that cannot be stored.
        ValueError: a colour outside the range.
    """

    def __init__(
        self,
        data: Any,
        summary: Optional[str] = None,
        summary_value: Any = None,
        bold: Optional[bool] = None,
        background: Union[str, Sequence[int], None] = None,
        *,
        preview: Any = None,
        units: Optional[str] = None,
    ) -> None:
        if units is None and is_dataarray(data):
            in_attrs = data.attrs.get("units")
            units = in_attrs if isinstance(in_attrs, str) else None
        if units is not None and not isinstance(units, str):
            raise TypeError(f"units must be a string, not {type(units).__name__}")
        if _becomes_array(data):
            data, preview, summary_value = lazy.computed(data, preview, summary_value)
        self.data = _storable(data)
        self.summary = summary
        # Lazy values are computed together with the data when the cell is stored.
        self.summary_value = summary_value if lazy.is_lazy(summary_value) else number_or_text(summary_value)
        self.bold = bold
        self.background = _colour(background)
        self.units = units
        self.preview = _previewable(preview)


def _storable(data: Any) -> Any:
    if is_axes(data):
        data = data.get_figure()
    if (
        data is None
        or isinstance(data, str)
        or is_dataarray(data)
        or is_dataset(data)
        or is_series(data)
        or is_dataframe(data)
        or is_matplotlib_figure(data)
        or is_plotly_figure(data)
    ):
        return data
    return _array(data, "a value")


def _becomes_array(data: Any) -> bool:
    """Whether it is a lazy value that dependents see in computed form."""
    return lazy.is_lazy(data) and not (is_dataarray(data) or is_dataset(data))


def number_or_text(value: Any) -> Any:
    """A ``summary_value`` as it is stored.

    Raises:
        TypeError: it is neither.
    """
    if value is None or isinstance(value, str):
        return value
    array = _array(value, "summary_value")
    if array.dtype.names is not None:
        raise TypeError("summary_value must be a number or text, not a record")
    return array


def _array(data: Any, what: str) -> np.ndarray:
    array = np.asarray(data)
    if not _has_form(array.dtype):
        is_text = array.dtype.kind == "U"
        hint = ": join lists of text into one string" if is_text else ""
        raise TypeError(
            f"{what} of type {type(data).__name__} cannot be saved: NumPy makes an array of {array.dtype} of it{hint}"
        )
    return array


def _has_form(dtype: np.dtype) -> bool:
    """Whether HDF5 can store it: numbers, bytes, and records of those."""
    if dtype.names is None:
        return dtype.kind in "biufcS"
    fields = [dtype.fields[name][0] for name in dtype.names]  # type: ignore[index]
    parts = [field.subdtype[0] if field.subdtype else field for field in fields]
    return bool(parts) and all(part.itemsize > 0 and _has_form(part) for part in parts)


def _previewable(preview: Any) -> Any:
    if is_axes(preview):
        return preview.get_figure()
    if preview is None or is_matplotlib_figure(preview) or is_plotly_figure(preview):
        return preview
    if not (isinstance(preview, np.ndarray) or is_dataarray(preview)):
        raise TypeError(f"preview must be an array or a figure, not {type(preview).__name__}")
    if preview.ndim not in (1, 2):
        raise TypeError(f"preview must have one or two dimensions; its shape is {preview.shape}")
    if preview.dtype.kind not in "biufc":
        raise TypeError(f"preview must hold numbers, not {preview.dtype}")
    return preview


def _colour(colour: Any) -> Optional[np.ndarray]:
    if colour is None:
        return None
    if isinstance(colour, str):
        if not _COLOUR.fullmatch(colour):
            raise ValueError(f"background {colour!r} is not a colour: write it like '#ffcc00'")
        return np.frombuffer(bytes.fromhex(colour[1:]), dtype=np.uint8)
    if not isinstance(colour, (Sequence, np.ndarray)):
        raise TypeError(f"background cannot be a {type(colour).__name__}: write '#ffcc00' or three numbers")
    if len(colour) != 3:
        raise TypeError(f"background must be three numbers (red, green, blue), not {len(colour)}")
    if not all(0 <= value <= 255 for value in colour):
        raise ValueError("the numbers of background must be from 0 to 255")
    return np.array(colour, dtype=np.uint8)
