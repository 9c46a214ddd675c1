"""Lossless encoding of Python values in JSON: a list stays a list, a tuple a tuple, a NumPy number a NumPy number.

Text, ``None``, booleans, integers, finite floats and lists are written as such; everything else is an object with one
key, which names the type. Only the types listed here are supported, without their subclasses.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import pathlib
import sys
from typing import Any, Callable

import numpy as np

# Readers of all attributes of a group read this too.
MOST_BYTES = 1 << 20
_NUMPY_KINDS = "biufcmMSU"


class NotHeld(Exception):
    """The value, or a part of it, has an unsupported type. The message is a reason."""


def dumps(value: Any) -> str:
    """The value as JSON.

    Raises:
        NotHeld: its type is not supported, or it is too large.
    """
    try:
        text = json.dumps(held(value), separators=(",", ":"), allow_nan=False)
    except ValueError as error:  # an integer of thousands of digits
        raise NotHeld(str(error)) from None
    if len(text) > MOST_BYTES:
        raise NotHeld(f"it takes more than {MOST_BYTES >> 20} MiB")
    return text


def held(value: Any) -> Any:
    """The JSON form of the value.

    Raises:
        NotHeld: its type is not supported.
    """
    try:
        return _held(value)
    except RecursionError:
        raise NotHeld("it is nested too deeply") from None


def _held(value: Any) -> Any:
    cls = type(value)
    if value is None or cls in (str, bool, int):
        return value
    if cls is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if cls is list:
        return [_held(item) for item in value]
    write = _WRITERS.get(cls)
    if write is not None:
        return write(value)
    if isinstance(value, np.generic):
        return _scalar(value)
    if isinstance(value, np.dtype):
        return {"dtype": _dtype(value)}
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if value is getattr(pandas, "NaT", None):
            return {"pandas": "NaT"}
        if value is getattr(pandas, "NA", None):
            return {"pandas": "NA"}
        if cls is getattr(pandas, "Timestamp", None) and value.tz is None:
            return {"pandas.Timestamp": _held(value.to_datetime64())}
        if cls is getattr(pandas, "Timedelta", None):
            return {"pandas.Timedelta": _held(value.to_timedelta64())}
    raise NotHeld(f"type {cls.__name__}")


def _items(tag: str) -> Callable[[Any], Any]:
    return lambda value: {tag: [_held(item) for item in value]}


def _dict(value: dict[Any, Any]) -> Any:
    return {"dict": [[_held(key), _held(item)] for key, item in value.items()]}


def _base64(content: bytes) -> str:
    if len(content) > MOST_BYTES:
        raise NotHeld(f"it takes more than {MOST_BYTES >> 20} MiB")
    return base64.b64encode(content).decode("ascii")


def _datetime(value: datetime.datetime) -> Any:
    zone = value.tzinfo
    if value.fold or not (zone is None or zone is datetime.timezone.utc):
        raise NotHeld("type datetime with a time zone")
    return {"datetime": value.isoformat()}


def _time(value: datetime.time) -> Any:
    if value.fold or value.tzinfo is not None:
        raise NotHeld("type time with a time zone")
    return {"time": value.isoformat()}


def _dtype(dtype: np.dtype) -> str:
    """``dtype.str``, if it describes the type completely."""
    same = dtype.kind in _NUMPY_KINDS and dtype.itemsize > 0 and dtype.metadata is None
    if not same or np.dtype(dtype.str).char != dtype.char:
        raise NotHeld(f"NumPy's type {dtype}")
    return str(dtype.str)


def _scalar(value: np.generic) -> Any:
    if type(value) is np.str_:
        return {"np.str_": str(value)}
    if type(value) is np.bytes_:
        return {"np.bytes_": _base64(bytes(value))}
    name = _dtype(value.dtype)
    if type(value) is not value.dtype.type:
        raise NotHeld(f"type {type(value).__name__}")
    return {"scalar": [name, _base64(value.tobytes())]}


def _array(value: np.ndarray) -> Any:
    if value.dtype == object:
        if value.size > MOST_BYTES:
            raise NotHeld("it has too many elements")
        return {"objects": [list(value.shape), [_held(item) for item in value.ravel().tolist()]]}
    if value.nbytes > MOST_BYTES:
        raise NotHeld(f"it takes more than {MOST_BYTES >> 20} MiB")
    return {"array": [_dtype(value.dtype), list(value.shape), _base64(value.tobytes())]}


_WRITERS: dict[type, Callable[[Any], Any]] = {
    tuple: _items("tuple"),
    set: _items("set"),
    frozenset: _items("frozenset"),
    dict: _dict,
    bytes: lambda value: {"bytes": _base64(value)},
    bytearray: lambda value: {"bytearray": _base64(bytes(value))},
    complex: lambda value: {"complex": [value.real.hex(), value.imag.hex()]},
    range: lambda value: {"range": [value.start, value.stop, value.step]},
    datetime.datetime: _datetime,
    datetime.date: lambda value: {"date": value.isoformat()},
    datetime.time: _time,
    datetime.timedelta: lambda value: {"timedelta": [value.days, value.seconds, value.microseconds]},
    pathlib.PosixPath: lambda value: {"path": str(value)},
    np.ndarray: _array,
}


def loads(text: str) -> Any:
    """The value that :func:`dumps` was given."""
    return given(json.loads(text))


def given(form: Any) -> Any:
    """The value that :func:`held` was given."""
    if type(form) is list:
        return [given(item) for item in form]
    if type(form) is not dict:
        return form
    ((tag, content),) = form.items()
    return _READERS[tag](content)


def _read_scalar(content: Any) -> Any:
    dtype, encoded = content
    return np.frombuffer(base64.b64decode(encoded), dtype)[0]


def _read_array(content: Any) -> Any:
    dtype, shape, encoded = content
    return np.frombuffer(base64.b64decode(encoded), dtype).reshape(shape).copy()


def _read_objects(content: Any) -> Any:
    shape, items = content
    array = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        array[index] = given(item)
    return array.reshape(shape)


def _read_pandas(name: str) -> Any:
    import pandas

    return getattr(pandas, name)


def _read_timestamp(content: Any) -> Any:
    import pandas

    return pandas.Timestamp(given(content))


def _read_timedelta(content: Any) -> Any:
    import pandas

    return pandas.Timedelta(given(content))


_READERS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "tuple": lambda items: tuple(given(item) for item in items),
    "set": lambda items: {given(item) for item in items},
    "frozenset": lambda items: frozenset(given(item) for item in items),
    "dict": lambda pairs: {given(key): given(value) for key, value in pairs},
    "bytes": base64.b64decode,
    "bytearray": lambda encoded: bytearray(base64.b64decode(encoded)),
    "complex": lambda parts: complex(*map(float.fromhex, parts)),
    "range": lambda parts: range(*parts),
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda parts: datetime.timedelta(*parts),
    "path": pathlib.PosixPath,
    "np.str_": np.str_,
    "np.bytes_": lambda encoded: np.bytes_(base64.b64decode(encoded)),
    "scalar": _read_scalar,
    "array": _read_array,
    "objects": _read_objects,
    "dtype": np.dtype,
    "pandas": _read_pandas,
    "pandas.Timestamp": _read_timestamp,
    "pandas.Timedelta": _read_timedelta,
}
