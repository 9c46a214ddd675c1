"""Texts and arrays as parts of a message: conversion to what HDF5 can store, and names of types."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .channel import Message

Arrays = list[tuple[Message, np.ndarray]]
"""A message's arrays, each with the part of the message that describes it."""


def plain(value: Any, arrays: Arrays) -> Message:
    """Text, or an array (added to ``arrays``)."""
    if isinstance(value, str):
        return {"dtype": "str", "shape": [], "in": "text", "strings": [text(value)]}
    array = np.asarray(value)
    if array.dtype.kind in "UO":
        strings = [text(str(item)) for item in array.ravel().tolist()]
        return {"dtype": "str", "shape": list(array.shape), "in": "text", "strings": strings}
    array = portable(array)
    description = {"dtype": element(array.dtype), "shape": list(array.shape)}
    arrays.append((description, array))
    return description


def portable(array: np.ndarray) -> np.ndarray:
    """The array itself, or the same values in a type that HDF5 supports.

    Raises:
        TypeError: dates and other types without a form in HDF5.
    """
    if array.dtype.kind == "S" and array.dtype.itemsize == 0:
        return array.astype("S1")
    if array.dtype.kind not in "biufcS" and array.dtype.names is None:
        raise TypeError(f"an array of {array.dtype} cannot be saved")
    return array


def narrowed(array: np.ndarray) -> np.ndarray:
    """Numbers of at most 64 bits, as stored in the run table (C's long double loses precision)."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype("<f8")
    if array.dtype.kind == "c" and array.dtype.itemsize > 16:
        return array.astype("<c16")
    return array


def element(dtype: np.dtype) -> str:
    """The name of a type in a message: ``dtype.str``; for records a JSON object with the offset of each field."""
    if dtype.names is None:
        return str(dtype.str)
    fields = []
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]  # type: ignore[index]
        base, shape = field.subdtype or (field, ())
        fields.append({"name": text(name), "offset": offset, "dtype": element(base), "shape": list(shape)})
    return json.dumps({"size": dtype.itemsize, "fields": fields})


def text(value: str) -> str:
    """The text, if HDF5 can store it.

    Raises:
        ValueError: lone surrogates or a NUL character in it.
    """
    value.encode("utf-8")
    if "\0" in value:
        raise ValueError("text with a NUL character cannot be saved")
    return str(value)
