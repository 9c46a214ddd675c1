"""Attributes as a netCDF file holds them, such that no reader of the file takes them for anything else.

xarray and DAMNIT decode what they read by CF's conventions: ``scale_factor`` multiplies, ``units="seconds"`` makes
durations, ``_FillValue`` makes NaN. Only we set attributes with these meanings, for what *we* have encoded; the user's
have another name in the file. A dependent gets all attributes as they were (see ``returned.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np

from .arrays import portable, text
from .channel import Message
from .tagged import NotHeld, held

# What a reader of a variable changes numbers, types or coordinates by.
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
# Names that HDF5, netCDF-C and DAMNIT keep for themselves.
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
# Units that xarray makes durations of, and the same unit in a word that it leaves alone.
_DURATIONS = {
    "days": "day",
    "hours": "hour",
    "minutes": "minute",
    "seconds": "second",
    "milliseconds": "millisecond",
    "microseconds": "microsecond",
    "nanoseconds": "nanosecond",
}
# HDF5 has 64 KiB for one attribute (of text, for the addresses of its strings).
_MOST_BYTES = 60_000
_MOST_TEXTS = 3_000
_MOST_CHARACTERS = 60_000


class Attributes:
    """The attributes of a variable, or of the dataset.

    Attributes:
        in_file: as the file has them.
        returned: as they were returned, for :func:`damnit_ctx.tagged.given`.
        lost: the first one that cannot be given back, and why.
        notes: for the log: what is otherwise in the file.
    """

    def __init__(self, attrs: Mapping[Any, Any], owner: str, taken: Mapping[str, Any], variables: bool = True) -> None:
        """
        Args:
            attrs: the user's.
            owner: whose they are, for people.
            taken: the attributes that encoding added, of those names that readers decode.
            variables: of a variable; otherwise of the dataset.
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
                    self.notes.append(f"{what} ({type(value).__name__}) is left out of the file: netCDF cannot store it")
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
    """A number, a text, or a list of one kind of them; None of anything else.

    Args:
        value: the attribute's.
        widened: floats that netCDF does not have as doubles. (A ``_FillValue`` has the type of its variable.)
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
        # Of [1, "a"] NumPy would make text.
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
    """Words for a value that netCDF has no form of; None where there are none that say anything."""
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
    """Will the words be a value's, not an object's address?"""
    try:
        held(value)
    except NotHeld:
        return False
    return True


def _all_text(array: np.ndarray) -> bool:
    return all(isinstance(item, str) for item in array.ravel().tolist())
