"""Restores xarray's objects from a netCDF group written by this package."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import sources
from .channel import Message
from .netcdf_forms import original
from .plain_values import as_numpy_has_it
from .returned import NotAsReturned
from .tagged import given

# Prefix of a variable that has a dimension's name but is not its coordinate.
_NOT_A_COORDINATE = "_nc4_non_coord_"


def read(group: Any, said: Message) -> Any:
    """The DataArray or Dataset.

    Args:
        group: the h5py group.
        said: what was recorded when it was stored.

    Raises:
        NotAsReturned: the file does not match what was recorded.
    """
    import xarray

    variables: dict[Any, Any] = {}
    coords: list[Any] = []
    array = None
    for each in said["variables"]:
        name = given(each["name"])
        dims = tuple(given(dim) for dim in each["dims"])
        variable = xarray.Variable(dims, _values(group, each), given(each["attrs"]), given(each["encoding"]))
        if each["coordinate"]:
            coords.append(name)
        elif said["is_a"] == "dataarray":
            array = (name, variable)
            continue
        variables[name] = variable
    indexes = {given(each["name"]): each for each in said["indexes"]}
    for name, index in indexes.items():
        _prepare(name, index, variables, xarray)
    # Coordinates of multi-level indexes come after the others and before the data.
    labels = {name: variables[name] for name in coords}
    several = [_with_levels(dim, index, labels, xarray) for dim, index in indexes.items() if "levels" in index]
    if array is not None:
        name, variable = array
        made = xarray.DataArray(variable.data, labels, variable.dims, name, variable.attrs)
        made.name = name  # of a lazy array, xarray would take that of the graph for None
        made.encoding = variable.encoding
        for each in several:
            made = made.assign_coords(each)
    elif several:
        made = xarray.Dataset(coords=labels)
        for each in several:
            made = made.assign_coords(each)
        made = made.assign({name: variables[name] for name in variables if name not in coords})
    else:
        # The order is that of the names.
        made = xarray.Dataset(variables).set_coords(coords)
    if array is None:
        made.attrs = given(said["attrs"])
        made.encoding = given(said["encoding"])
    for name, index in indexes.items():
        if "set" in index:
            made = made.set_xindex(name)
        elif "drop" in index:
            made = made.drop_indexes(name)
    return made


def _values(group: Any, each: Message) -> Any:
    import h5py

    word = each["in"]
    if _NOT_A_COORDINATE + word in group:
        word = _NOT_A_COORDINATE + word
    stored = group[word]
    sources.check(stored)
    is_text = h5py.check_string_dtype(stored.dtype) is not None and stored.dtype.kind == "O"
    values = np.asarray(stored.asstr()[()] if is_text else stored[...], dtype=object if is_text else None)
    values = as_numpy_has_it(values)
    shape, form = tuple(each["shape"]), each["form"]
    values = original(values, shape, form)
    wanted = {"O": "|O", "T": values.dtype.str}.get(form.get("dtype"), form.get("dtype", values.dtype.str))
    if values.shape != shape or values.dtype.str != wanted:
        raise NotAsReturned(f"the file gives {values.dtype}{values.shape} for {each['in']!r}")
    if "chunks" in each:
        import dask.array

        return dask.array.from_array(values, chunks=tuple(map(tuple, each["chunks"])), name=False)
    return values


def _prepare(name: Any, index: Message, variables: dict[Any, Any], xarray: Any) -> None:
    """Restores the pandas index of a coordinate."""
    import pandas

    if "range" in index:
        found: Any = pandas.RangeIndex(*index["range"], name=name)
    elif "freq" in index:
        values = variables[name].values
        kind = pandas.DatetimeIndex if values.dtype.kind == "M" else pandas.TimedeltaIndex
        found = kind(values, freq=index["freq"], name=name)
    else:
        return
    old = variables[name]
    variables[name] = xarray.IndexVariable(old.dims, found, old.attrs, old.encoding)


def _with_levels(dim: Any, index: Message, labels: dict[Any, Any], xarray: Any) -> Any:
    """The coordinates of a multi-level index, which are removed from the others."""
    import pandas
    from xarray.core.indexes import PandasMultiIndex

    levels = {name: labels.pop(name) for name in map(given, index["levels"])}
    tuples = pandas.MultiIndex.from_arrays([level.values for level in levels.values()], names=list(levels))
    dtypes = {name: level.dtype for name, level in levels.items()}
    made = PandasMultiIndex(tuples, dim, level_coords_dtype=dtypes)
    found = made.create_variables()
    for name, level in levels.items():
        found[name].attrs, found[name].encoding = level.attrs, level.encoding
    return xarray.Coordinates(found, indexes=dict.fromkeys(found, made))
