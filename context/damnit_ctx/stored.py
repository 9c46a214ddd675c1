"""Values of earlier tasks, read back from run files and fragments as the functions returned them."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from .execute import NoValue
from .netcdf import NAME_ATTRIBUTE, NAMELESS_VARIABLE

_SCALE_WITHOUT_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"
_HIDDEN_ATTRS = {
    "CLASS",
    "NAME",
    "REFERENCE_LIST",
    "DIMENSION_LIST",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_damnit_objtype",
}


class NotAsReturned(Exception):
    """What is stored is not what the function returned (a figure became a picture)."""


def read(path: str, name: str) -> Any:
    """The value of a variable from an HDF5 file.

    Raises:
        NoValue: the file holds no data of it.
        NotAsReturned: only something made from the value is stored.
        OSError: the file cannot be read.
    """
    import h5py

    with h5py.File(path, "r") as file:
        if name not in file:
            raise NoValue(name)
        group = file[name]
        objtype = group.attrs.get("_damnit_objtype")
        if objtype == "dataarray":
            return _dataarray(_dataset(group))
        if objtype == "dataset":
            return _dataset(group)
        if objtype in ("series", "dataframe"):
            return _table(group["data"][()].tobytes(), objtype)
        if objtype is not None:
            raise NotAsReturned(objtype)
        stored = group["data"]
        _check_sources(stored)
        if h5py.check_string_dtype(stored.dtype) is not None and stored.dtype.kind == "O":
            return stored.asstr()[()]
        return np.asarray(stored[()])


def _check_sources(stored: Any) -> None:
    """HDF5 gives the fill value, and no error, for an array whose own file is missing or closed to us.

    Raises:
        OSError: it is.
    """
    import h5py

    for source in stored.virtual_sources() if stored.is_virtual else ():
        path = os.path.join(os.path.dirname(os.path.abspath(stored.file.filename)), source.file_name)
        try:
            with open(path, "rb"), h5py.File(path, "r") as file:
                file[source.dset_name]
        except (OSError, KeyError) as error:
            raise OSError(f"{stored.name} lies in the array file {path}, which cannot be read: {error}") from None


def _table(parquet: bytes, objtype: str) -> Any:
    try:
        import pandas
        import pyarrow  # noqa: F401
    except ImportError:
        raise NotAsReturned(objtype) from None
    frame = pandas.read_parquet(io.BytesIO(parquet), engine="pyarrow")
    if objtype == "dataframe":
        return frame
    series = frame.iloc[:, 0]
    return series.rename(None) if series.name in ("0", "None") else series


def _dataset(group: Any) -> Any:
    """A netCDF group as a Dataset."""
    import h5py
    import xarray

    variables = {}
    for name, stored in group.items():
        if not isinstance(stored, h5py.Dataset):
            continue
        if bytes(stored.attrs.get("NAME", b"")).startswith(_SCALE_WITHOUT_VARIABLE):
            continue
        _check_sources(stored)
        is_text = h5py.check_string_dtype(stored.dtype) is not None and stored.dtype.kind == "O"
        values = np.asarray(stored.asstr()[()] if is_text else stored[()])
        if is_text:
            values = values.astype("U")
        attrs = {key: _attribute(value) for key, value in stored.attrs.items() if key not in _HIDDEN_ATTRS}
        variables[name] = xarray.Variable(_dimensions(group, name, stored), values, attrs)
    attrs = {key: _attribute(value) for key, value in group.attrs.items() if key not in _HIDDEN_ATTRS}
    decoded = xarray.decode_cf(xarray.Dataset(variables, attrs=attrs), decode_timedelta=True)
    for variable in decoded.variables.values():
        variable.encoding = {}
    return decoded.load()


def _dimensions(group: Any, name: str, stored: Any) -> list[str]:
    references = stored.attrs.get("DIMENSION_LIST")
    if references is not None:
        return [str(group.file[axis[0]].name).rsplit("/", 1)[-1] for axis in references]
    return [name] if stored.ndim else []


def _attribute(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "O":
            value = [item.decode() if isinstance(item, bytes) else item for item in value.tolist()]
        return value[0] if len(value) == 1 else value
    return value


def _dataarray(dataset: Any) -> Any:
    (name,) = dataset.data_vars
    array = dataset[name]
    if name == NAMELESS_VARIABLE:
        array.name = dataset.attrs.get(NAME_ATTRIBUTE)
    return array
