"""Converts attributes to netCDF such that no reader of the file misinterprets them.

xarray and DAMNIT decode data by the CF conventions: ``scale_factor`` multiplies, ``units="seconds"`` makes
durations, ``_FillValue`` makes NaN. Attributes with these meanings are only written for our own encoding; the user's
attributes get another name in the file. Dependents get all attributes unchanged (see ``returned.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np

from .arrays import portable, text
from .channel import Message
from .tagged import NotHeld, held

# Attributes by which readers change numbers, types or coordinates.
_DECODED = {
    "_FillValue",
    "missing_value",
    "scale_factor",
    "add_offset",
    "_Unsigned",
    "_Encoding",
    "dtype",
    "coordinates",
}
# Names reserved by HDF5, netCDF-C and DAMNIT.
_RESERVED = {
    "CLASS",
    "NAME",
    "REFERENCE_LIST",
    "DIMENSION_LIST",
    "DIMENSION_LABELS",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_nc3_strict",
    "_NCProperties",
    "_IsNetcdf4",
    "_SuperblockVersion",
}
_DAMNIT = "_damnit_"
# Units that xarray converts to durations, and an equivalent word that it ignores.
_DURATIONS = {
    "days": "day",
    "hours": "hour",
    "minutes": "minute",
    "seconds": "second",
    "milliseconds": "millisecond",
    "microseconds": "microsecond",
    "nanoseconds": "nanosecond",
}
# HDF5's limit for one attribute is 64 KiB (for text, of the pointers to its strings).
_MOST_BYTES = 60_000
_MOST_TEXTS = 3_000
_MOST_CHARACTERS = 60_000


class Attributes:
    """The attributes of a variable, or of the dataset.

    Attributes:
        in_file: as stored in the file.
        returned: as they were returned, for :func:`damnit_ctx.tagged.given`.
        lost: the first one that cannot be restored, and why.
        notes: for the log: what is different in the file.
    """

    def __init__(self, attrs: Mapping[Any, Any], owner: str, taken: Mapping[str, Any], variables: bool = True) -> None:
        """
        Args:
            attrs: the user's.
            owner: their owner, for messages.
            taken: attributes with reserved names that the encoding added.
            variables: whether they belong to a variable, not to the dataset.
        """
        self.in_file: list[tuple[str, Message]] = []
        self.lost: Optional[str] = None
        self.notes: list[str] = []
        pairs: list[Any] = []
        self._names = {*taken}
        self._is_encoded = bool(taken.keys() & {"units", "calendar"})
        for name, value in taken.items():
            message = encoded(value, widened=False)
            assert message is not None
            self.in_file.append((name, message))
        for name, value in attrs.items():
            what = f"attribute {name!r} of {owner}"
            try:
                pairs.append([held(name), held(value)])
            except NotHeld as reason:
                self.lost = self.lost or f"{what} cannot be preserved: {reason}"
            self._write(name, value, what, variables)
        self.returned = {"dict": pairs}

    def _write(self, name: Any, value: Any, what: str, variables: bool) -> None:
        note = None
        word = str(name).replace("/", "_").replace("\0", "_").encode("utf-8", "replace").decode() or "_"
        if variables and word == "units" and isinstance(value, str) and not self._is_encoded:
            singular = _DURATIONS.get(value)
            if singular is not None:
                note = f"{what} is {singular!r} in the file: readers would convert the numbers to durations"
                value = singular
            elif "since" in value:
                word, note = _renamed(word, what, "readers would convert the numbers to dates")
        elif variables and (word in _DECODED or (self._is_encoded and word in ("units", "calendar", "bounds"))):
            word, note = _renamed(word, what, "readers would change the values according to it")
        elif not variables and word == "coordinates":
            word, note = _renamed(word, what, "readers would interpret it as a list of names")
        if word in _RESERVED or word.startswith(_DAMNIT):
            word, note = _renamed(word, what, "the file format reserves this name")
        while word in self._names:
            word += "_"
        try:
            message = encoded(value)
            if message is None:
                message = as_text(value)
                if message is None:
                    kind = type(value).__name__
                    self.notes.append(f"{what} ({kind}) is left out of the file: netCDF cannot store it")
                    return
                note = f"{what} ({type(value).__name__}) is text in the file: netCDF cannot store it"
        except (TypeError, ValueError, OverflowError) as error:
            self.notes.append(f"{what} ({type(value).__name__}) is left out of the file: {error}")
            return
        if note is not None:
            self.notes.append(note)
        self._names.add(word)
        self.in_file.append((word, message))


def _renamed(word: str, what: str, why: str) -> tuple[str, str]:
    other = f"user_{word.lstrip('_')}"
    return other, f"{what} is called {other!r} in the file: {why}"


def encoded(value: Any, widened: bool = True) -> Optional[Message]:
    """A number, a text, or a list of either; None for anything else.

    Args:
        value: the attribute's.
        widened: convert floats that netCDF does not support to doubles (a ``_FillValue`` has its variable's type).
    """
    if isinstance(value, str):
        return {"type": "text", "value": text(str(value))} if len(value) <= 1 << 20 else None
    if isinstance(value, bytes):
        try:
            return {"type": "text", "value": text(value.decode("utf-8"))}
        except ValueError:
            return None
    if isinstance(value, (dict, set, frozenset)) or value is None:
        return None
    try:
        array = np.asarray(value)
    except Exception:  # lists of different lengths, objects that refuse
        return None
    if array.ndim > 1:
        return None
    if array.dtype.kind == "U" or (array.dtype.kind == "O" and array.size and _all_text(array)):
        # NumPy would convert [1, "a"] to text.
        if isinstance(value, (list, tuple)) and not all(isinstance(item, str) for item in value):
            return None
        if array.ndim == 0:
            return {"type": "text", "value": text(str(array[()]))}
        if array.size > _MOST_TEXTS:
            return None
        return {"type": "texts", "value": [text(str(item)) for item in array.ravel().tolist()]}
    if array.dtype.kind not in "biufc" or array.nbytes > _MOST_BYTES:
        return None
    if array.dtype.kind == "b":
        array = array.astype(np.int8)  # netCDF has no booleans
    if widened and array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        array = array.astype(np.float64)  # nor others than these
    if array.ndim == 0 and np.isscalar(value):
        array = array.reshape(1)  # as netCDF libraries write a single number
    array = portable(array)
    return {
        "type": "numbers",
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "hex": array.tobytes().hex(),
    }


def as_text(value: Any) -> Optional[Message]:
    """A text for a value that netCDF cannot represent; None if there is no meaningful one."""
    if value is None or isinstance(value, bytes):
        return None
    if isinstance(value, (np.ndarray, np.generic)):
        if value.size > 1000:
            return None
        value = value.tolist() if value.dtype.kind in "biufU" else value.astype(str).tolist()
    if isinstance(value, (dict, list, tuple)):
        try:
            words = json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            words = repr(value) if _is_readable(value) else ""
    else:
        words = str(value) if _is_readable(value) else ""
    if not words or len(words) > _MOST_CHARACTERS:
        return None
    return {"type": "text", "value": text(words)}


def _is_readable(value: Any) -> bool:
    """Whether the text shows a value, not an object's address."""
    try:
        held(value)
    except NotHeld:
        return False
    return True


def _all_text(array: np.ndarray) -> bool:
    return all(isinstance(item, str) for item in array.ravel().tolist())
