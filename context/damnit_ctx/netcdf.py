"""xarray's objects in netCDF form.

The encoding (missing values, times, booleans, text, coordinates) is xarray's own: its conventions run against a store
that only notes what it is given. Arrays that need no conversion are not copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Arrays, plain, portable, text
from .channel import Message

# The names that DataArray.to_netcdf gives to what has no name of its own; xarray's readers know them.
NAMELESS_VARIABLE = "__xarray_dataarray_variable__"
NAME_ATTRIBUTE = "__xarray_dataarray_name__"


def dataarray(array: Any, arrays: Arrays) -> Message:
    """A DataArray: a dataset of one variable.

    Raises:
        Exception: what xarray says of an array that netCDF cannot hold.
    """
    if array.name is None:
        return dataset(array.to_dataset(name=NAMELESS_VARIABLE), arrays)
    if array.name in array.coords or array.name in array.dims:
        whole = array.to_dataset(name=NAMELESS_VARIABLE)
        whole.attrs[NAME_ATTRIBUTE] = array.name
        return dataset(whole, arrays)
    return dataset(array.to_dataset(), arrays)


def dataset(data: Any, arrays: Arrays) -> Message:
    """A Dataset.

    Raises:
        Exception: what xarray says of data that netCDF cannot hold.
    """
    from xarray import conventions

    # "/" separates groups in HDF5.
    slashed = {name: name.replace("/", "_") for name in (*data.variables, *data.sizes) if "/" in str(name)}
    if slashed:
        data = data.rename(slashed)
    variables, attrs = conventions.encode_dataset_coordinates(data)
    for name in data.data_vars:
        variables[name].encoding = {}
    store = _store_class()()
    encoded, attrs = store.encode(variables, attrs)
    dims: dict[str, int] = {}
    layout = []
    for name, variable in encoded.items():
        name = _name(name)
        dims.update({_name(dim): size for dim, size in variable.sizes.items()})
        layout.append(
            {
                "name": name,
                "dims": [_name(dim) for dim in variable.dims],
                "compress": name in data.data_vars,
                "attrs": _attributes(variable.attrs, f"variable {name!r}"),
                "array": _content(name, variable, arrays),
            }
        )
    return {
        "kind": "netcdf",
        "dims": [{"name": name, "size": size} for name, size in dims.items()],
        "variables": layout,
        "attrs": _attributes(attrs, "the dataset"),
    }


def _store_class() -> Any:
    """A netCDF-4 store of xarray's that writes nothing."""
    from xarray.backends.common import WritableCFDataStore
    from xarray.coding.strings import CharacterArrayCoder, EncodedStringCoder

    class Notes(WritableCFDataStore):  # type: ignore[misc, unused-ignore]
        def encode_variable(self, variable: Any, name: Any = None) -> Any:
            for coder in (EncodedStringCoder(allows_unicode=True), CharacterArrayCoder()):
                variable = coder.encode(variable, name=name)
            return variable

    return Notes


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name {name!r} of a variable or dimension is no text, so it cannot be saved")
    if not name or name == ".":
        raise ValueError(f"a variable or dimension cannot be saved under the name {name!r}")
    return text(name.replace("/", "_"))


def _content(name: str, variable: Any, arrays: Arrays) -> Message:
    values = np.asarray(variable.data)
    if values.dtype.kind == "b" or values.dtype.kind not in "iufcSUOT":
        raise TypeError(f"variable {name!r} of type {values.dtype} cannot be saved in netCDF form")
    if values.dtype.kind == "T":  # NumPy's variable-length strings
        values = values.astype(object)
    if values.dtype.kind == "O" and not all(isinstance(item, str) for item in values.ravel().tolist()):
        raise TypeError(f"variable {name!r} holds Python objects, which cannot be saved")
    return plain(values, arrays)


def _attributes(attrs: Any, owner: str) -> list[tuple[str, Message]]:
    encoded = []
    for name, value in attrs.items():
        try:
            encoded.append((text(str(name)), _attribute(value)))
        except (TypeError, ValueError) as error:
            raise type(error)(f"attribute {name!r} of {owner} cannot be saved: {error}") from None
    return encoded


def _attribute(value: Any) -> Message:
    if isinstance(value, str):
        return {"type": "text", "value": text(value)}
    if isinstance(value, bytes):
        return {"type": "text", "value": text(value.decode("utf-8"))}
    array = np.asarray(value)
    if array.dtype.kind == "U" or (array.dtype.kind == "O" and array.size and _all_text(array)):
        if array.ndim == 0:
            return {"type": "text", "value": text(str(array[()]))}
        return {"type": "texts", "value": [text(str(item)) for item in array.ravel().tolist()]}
    if array.dtype.kind not in "biufc":
        raise TypeError(f"its type {type(value).__name__} is neither number nor text nor a list of them")
    if array.dtype.kind == "b":
        array = array.astype(np.int8)  # netCDF has no booleans
    if array.ndim == 0 and np.isscalar(value):
        array = array.reshape(1)  # as netCDF libraries write a single number
    array = portable(array)
    return {
        "type": "numbers",
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "hex": array.tobytes().hex(),
    }


def _all_text(array: np.ndarray) -> bool:
    return all(isinstance(item, str) for item in array.ravel().tolist())
