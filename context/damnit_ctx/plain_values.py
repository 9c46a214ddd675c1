"""Texts and arrays: what beside the dataset is needed to give them back."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import portable
from .returned import NotAsReturned, Returned


def describe(value: Any, returned: Returned) -> None:
    """Notes what a dataset does not say of a text or an array; of most there is nothing."""
    if isinstance(value, str):
        if type(value) is np.str_:
            returned.describe(is_a="np.str_")
        elif type(value) is not str:
            returned.differ(f"it is a {type(value).__name__}, a text of a custom type")
        return
    dtype = np.asarray(value).dtype
    if dtype.kind in "UO":
        return  # text of a preview or summary
    if dtype.names is not None:
        _describe_records(dtype, returned)
    elif portable(np.empty(0, dtype)).dtype != dtype or dtype.metadata is not None:
        returned.differ(f"its type {dtype} is different in the file")


def _describe_records(dtype: np.dtype, returned: Returned) -> None:
    if dtype.type is np.record:
        returned.describe(is_a="np.record")
    if dtype.type not in (np.void, np.record) or _has_more(dtype):
        returned.differ("its record type has alignment, titles or metadata, which the file cannot store")


def _has_more(dtype: np.dtype) -> bool:
    """Is there more to a type than names, types and places of fields?"""
    if dtype.subdtype is not None:
        return _has_more(dtype.subdtype[0])
    if dtype.metadata is not None:
        return True
    if dtype.names is None:
        return False
    if dtype.isalignedstruct:
        return True
    fields = dtype.fields or {}
    inner = [fields[name][0].base for name in dtype.names]
    return (
        len(fields) != len(dtype.names)
        or any(_has_more(field) for field in inner)
        or any(field.names is not None and field.type is not np.void for field in inner)
    )


def as_numpy_has_it(array: np.ndarray) -> np.ndarray:
    """The array with NumPy's own type: h5py's is equal and looks otherwise (``dtype('<f4')`` for ``float32``)."""
    return array if array.dtype.hasobject else array.view(_own(array.dtype))


def _own(dtype: np.dtype) -> np.dtype:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return np.dtype((_own(base), shape))
    if dtype.names is None or dtype.fields is None:
        return np.dtype(dtype.str)
    fields = [dtype.fields[name] for name in dtype.names]
    return np.dtype(
        {
            "names": list(dtype.names),
            "formats": [_own(field[0]) for field in fields],
            "offsets": [field[1] for field in fields],
            "itemsize": dtype.itemsize,
        }
    )


def read(stored: Any, is_a: str) -> Any:
    """What :func:`describe` had something to say of."""
    if is_a == "np.str_":
        return np.str_(stored)
    if is_a == "np.record":
        return stored.view(np.dtype((np.record, stored.dtype)))
    raise NotAsReturned("it was stored by another version of Amore")
