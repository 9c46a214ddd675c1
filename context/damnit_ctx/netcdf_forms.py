"""Converts the numbers of a variable to netCDF by the CF conventions, and back.

The attributes in the file (``units``, ``dtype``, ``_FillValue``) are for other readers. In addition, we record how to
restore exactly the array that was returned, with its type.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

import numpy as np

from .channel import Message
from .tagged import NotHeld, given, held

_NOT_A_TIME = np.iinfo(np.int64).min
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# Python objects that are stored individually, in addition to the array.
_MOST_OBJECTS = 10_000


class Form(NamedTuple):
    """An array's form in the file."""

    array: np.ndarray
    """The stored array; text as objects or ``U``. With one more dimension than the original if ``characters``."""
    attrs: dict[str, Any]
    """Attributes that tell other readers the meaning of the numbers."""
    back: Message
    """Instructions for :func:`original`."""
    differs: Optional[str] = None
    """Why the original cannot be restored, if so."""
    characters: bool = False


def form_of(values: np.ndarray, what: str) -> Form:
    """The form of an array.

    Raises:
        TypeError: there is none. The message contains ``what``.
    """
    kind = values.dtype.kind
    plain = {"as": "numbers", "dtype": values.dtype.str}
    differs = None
    if values.dtype.metadata is not None:
        differs = f"the type of {what} has metadata"
    elif np.dtype(values.dtype.str) != values.dtype:
        differs = f"{what} is of type {values.dtype}"
    if kind == "f":
        # As xarray marks missing floats.
        return Form(values, {"_FillValue": values.dtype.type(np.nan)}, plain, differs)
    if kind in "iuc":
        return Form(values, {}, plain, differs)
    if kind == "b":
        return Form(values.view(np.int8), {"dtype": "bool"}, {"as": "bool"}, differs)
    if kind == "U":
        return Form(values, {}, {"as": "text", "dtype": values.dtype.str}, differs)
    if kind == "S":
        return _characters(values, differs)
    if kind in "mM":
        return _times(values, what)
    if kind == "T":
        has_default = type(values.dtype)() == values.dtype
        differs = None if has_default else f"{what} is of type {values.dtype}"
        return Form(values.astype(object), {}, {"as": "text", "dtype": "T"}, differs)
    if kind == "O":
        return _objects(values, what)
    raise TypeError(f"{what} of type {values.dtype} cannot be saved in netCDF form")


def _characters(values: np.ndarray, differs: Optional[str]) -> Form:
    width = max(1, values.dtype.itemsize)
    characters = np.ascontiguousarray(values.astype(f"S{width}")).view("S1").reshape((*values.shape, width))
    return Form(characters, {}, {"as": "bytes", "dtype": values.dtype.str}, differs, characters=True)


def _times(values: np.ndarray, what: str) -> Form:
    unit, count = np.datetime_data(values.dtype)
    dtype = values.dtype.str
    if (unit, count) != ("generic", 1) and (unit not in _UNITS or count != 1):
        if unit in ("ps", "fs", "as"):
            raise TypeError(f"{what} of type {values.dtype} cannot be saved in netCDF form")
        values = values.astype(f"{values.dtype.kind}8[{'s' if unit not in _UNITS else unit}]")
        unit = np.datetime_data(values.dtype)[0]
    if unit == "generic":
        raise TypeError(f"{what} of type {values.dtype} has no unit and cannot be saved in netCDF form")
    counts = values.astype(values.dtype.newbyteorder("=")).view(np.int64)
    missing = counts == _NOT_A_TIME
    attrs: dict[str, Any] = {}
    if missing.any():
        attrs["_FillValue"] = np.int64(_NOT_A_TIME)
    if values.dtype.kind == "m":
        attrs.update(units=_UNITS[unit], dtype=f"timedelta64[{unit}]")
    else:
        unit, counts = _coarsest(unit, counts, missing)
        attrs.update(units=f"{_UNITS[unit]} since 1970-01-01", calendar="proleptic_gregorian")
    return Form(counts, attrs, {"as": "time", "dtype": dtype, "unit": unit})


def _coarsest(unit: str, counts: np.ndarray, missing: np.ndarray) -> tuple[str, np.ndarray]:
    """The same times in the largest unit without fractions."""
    for larger, per_second in _PER_SECOND.items():
        if larger == unit:
            break
        ratio = _PER_SECOND[unit] // per_second
        if ((counts % ratio == 0) | missing).all():
            return larger, np.where(missing, counts, counts // ratio)
    return unit, counts


def _objects(values: np.ndarray, what: str) -> Form:
    items = values.ravel().tolist()
    if all(type(item) is str for item in items):
        return Form(values, {}, {"as": "text", "dtype": "O"})
    back: Message = {"as": "nothing"}
    differs: Optional[str] = None
    if len(items) > _MOST_OBJECTS:
        differs = f"{what} holds Python objects"
    else:
        try:
            back = {"as": "objects", "values": held(items)}
        except NotHeld as reason:
            differs = f"{what} holds Python objects that cannot be preserved: {reason}"
    array, attrs, characters = _in_file(values, items, what)
    return Form(array, attrs, back, differs, characters)


def _in_file(values: np.ndarray, items: list[Any], what: str) -> tuple[np.ndarray, dict[str, Any], bool]:
    """Objects as other readers see them: text, bytes or numbers, with missing values."""
    present = [item for item in items if not (item is None or (isinstance(item, float) and item != item))]
    if present and all(isinstance(item, str) for item in present):
        texts = np.array([str(item) if isinstance(item, str) else "" for item in items], dtype=object)
        return texts.reshape(values.shape), {}, False
    if present and all(isinstance(item, bytes) for item in present):
        content = np.array([item if isinstance(item, bytes) else b"" for item in items], dtype="S")
        return _characters(content.reshape(values.shape), None).array, {}, True
    if all(isinstance(item, (int, float, np.number)) for item in present):
        numbers = np.array([np.nan if item is None else item for item in items])
        if numbers.dtype.kind in "iufb":
            form = form_of(numbers.reshape(values.shape), what)
            return form.array, form.attrs, False
    return _by_xarray(values, what)


def _by_xarray(values: np.ndarray, what: str) -> tuple[np.ndarray, dict[str, Any], bool]:
    """xarray's encoding of other objects (dates of other calendars)."""
    from xarray import Variable, conventions

    dims = [f"dim_{axis}" for axis in range(values.ndim)]
    encoded = conventions.encode_cf_variable(Variable(dims, values))
    array = np.asarray(encoded.data)
    if array.dtype.kind not in "iuf" or array.shape != values.shape:
        raise TypeError(f"{what} holds Python objects, which cannot be saved")
    return array, dict(encoded.attrs), False


def original(stored: np.ndarray, shape: tuple[int, ...], back: Message) -> np.ndarray:
    """Restores the array that was passed to :func:`form_of`.

    Args:
        stored: the file's; text as objects.
        shape: of the original.
        back: from the :class:`Form`.
    """
    how = back["as"]
    if how == "numbers":
        return stored
    if how == "bool":
        return stored.view(np.bool_)
    if how == "text":
        if back["dtype"] == "T":
            return stored.astype(np.dtypes.StringDType())  # type: ignore[attr-defined, unused-ignore]
        return stored.astype(back["dtype"])
    if how == "bytes":
        return np.ndarray(shape, back["dtype"], stored.tobytes()).copy()
    if how == "time":
        dtype = np.dtype(back["dtype"])
        return stored.view(f"{dtype.kind}8[{back['unit']}]").astype(dtype)
    if how == "objects":
        items = given(back["values"])
        array = np.empty(len(items), dtype=object)
        for index, item in enumerate(items):
            array[index] = item
        return array.reshape(shape)
    raise ValueError(f"an unknown form {how!r}")
