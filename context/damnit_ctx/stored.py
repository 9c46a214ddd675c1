"""Reads values of earlier tasks from run files and fragments, exactly as the functions returned them."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from . import plain_values, returned, sources
from .errors import SKIP, Failure
from .execute import NoValue
from .returned import NotAsReturned

__all__ = ["Failed", "NotAsReturned", "read"]


class Failed(NoValue):
    """A variable has no value because it failed or skipped the run, according to its file."""

    def __init__(self, name: str, how: Failure) -> None:
        super().__init__(name)
        self.how = how


def read(path: str, name: str) -> Any:
    """The value of a variable from an HDF5 file.

    Raises:
        Failed: the file holds its error.
        NoValue: the file holds no data of it.
        NotAsReturned: the stored value differs, or may differ, from what was returned.
        OSError: the file cannot be read.
    """
    import h5py

    with h5py.File(path, "r") as file:
        if name not in file:
            how = _failure(file, name)
            raise NoValue(name) if how is None else Failed(name, how)
        group = file[name]
        try:
            return _value(group)
        except (NotAsReturned, OSError, MemoryError):
            raise
        except Exception as error:
            # A library has another version than when it was stored.
            raise NotAsReturned(f"it cannot be read back: {type(error).__name__}: {error}") from error


def _failure(file: Any, name: str) -> Optional[Failure]:
    errors = file.get(".errors")
    if errors is None or name not in errors:
        return None
    cls = str(errors[name].attrs.get("type", "RuntimeError"))
    # In files a skip is known by this name alone, as DAMNIT writes them.
    return Failure(cls, str(errors[name].asstr()[()]), skipped=cls == SKIP)


def _value(group: Any) -> Any:
    objtype = group.attrs.get("_damnit_objtype")
    said = group.attrs.get(returned.ATTRIBUTE)
    if said is None:
        if objtype is not None:
            raise NotAsReturned(f"how this {objtype} was returned is not recorded in the file")
        return _plain(group["data"])
    description = returned.description(said)
    if objtype in ("dataarray", "dataset"):
        from . import netcdf_read

        return netcdf_read.read(group, description)
    if objtype in ("series", "dataframe"):
        from . import tables

        return tables.read(_plain(group["data"]).tobytes(), description)
    return plain_values.read(_plain(group["data"]), description["is_a"])


def _plain(stored: Any) -> Any:
    import h5py

    sources.check(stored)
    if h5py.check_string_dtype(stored.dtype) is not None and stored.dtype.kind == "O":
        return stored.asstr()[()]
    return plain_values.as_numpy_has_it(np.asarray(stored[...]))  # [()] would cut NUL off bytes
