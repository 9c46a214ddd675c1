"""Converts xarray's objects to netCDF, as xarray itself would write them, and records how to restore them.

Arrays that need no conversion are not copied.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Optional

import numpy as np

from .arrays import Arrays, plain
from .channel import Message
from .netcdf_attributes import Attributes, encoded
from .netcdf_forms import form_of
from .returned import Returned
from .tagged import NotHeld, held

# The names that DataArray.to_netcdf uses for objects without a name; xarray's readers know them.
NAMELESS_VARIABLE = "__xarray_dataarray_variable__"
NAME_ATTRIBUTE = "__xarray_dataarray_name__"
_LONGEST_NAME = 1000


def dataarray(array: Any, arrays: Arrays, returned: Returned, lazy: Any = None) -> Message:
    """A DataArray: a dataset of one variable.

    Args:
        array: with computed numbers.
        arrays: the message's.
        returned: records how to restore the array.
        lazy: the array as it was returned, if different.

    Raises:
        TypeError: netCDF has no form for it.
    """
    from xarray import DataArray

    _check_type(array, DataArray, returned)
    coords = {name: coord.variable for name, coord in array.coords.items()}
    names = _Names()
    attrs: list[tuple[str, Message]] = []
    if array.name is None or array.name in array.coords or array.name in array.dims:
        own = names.reserve(NAMELESS_VARIABLE)
        if array.name is not None:
            message = encoded(str(array.name))
            assert message is not None
            attrs.append((NAME_ATTRIBUTE, message))
        names.choose([*coords, *array.dims], _marked(coords, array.dims))
    else:
        names.choose([*coords, *array.dims, array.name], _marked(coords, array.dims))
        own = names.of(array.name)
    group = _Group(names, coords, array.dims, returned, arrays)
    hidden = _indexes(array, group)
    for name, variable in coords.items():
        if name not in hidden:
            before = None if lazy is None else lazy.coords[name].variable
            group.add(name, names.of(name), variable, before, is_coordinate=True)
    group.add(array.name, own, array.variable, None if lazy is None else lazy.variable, is_coordinate=False)
    group.describe("dataarray")
    return {"kind": "netcdf", "dims": group.dims(), "variables": group.layout, "attrs": attrs}


def dataset(data: Any, arrays: Arrays, returned: Returned, lazy: Any = None) -> Message:
    """A Dataset. Arguments as those of :func:`dataarray`.

    Raises:
        TypeError: netCDF has no form for something in it.
    """
    from xarray import Dataset

    _check_type(data, Dataset, returned)
    names = _Names()
    names.choose([*data.variables, *data.sizes], ())
    coords = {name: data.variables[name] for name in data.variables if name in data.coords}
    group = _Group(names, coords, data.sizes, returned, arrays)
    hidden = _indexes(data, group)
    for name, variable in data.variables.items():
        if name not in hidden:
            before = None if lazy is None else lazy.variables[name]
            group.add(name, names.of(name), variable, before, is_coordinate=name in coords)
    added = {"coordinates": " ".join(sorted(group.unplaced()))} if group.unplaced() else {}
    attributes = Attributes(data.attrs, "the dataset", added, variables=False)
    returned.differ(attributes.lost)
    returned.notes += attributes.notes
    group.describe("dataset", attrs=attributes.returned, encoding=_encoding(data, "the dataset", returned))
    return {"kind": "netcdf", "dims": group.dims(), "variables": group.layout, "attrs": attributes.in_file}


def _check_type(data: Any, wanted: type, returned: Returned) -> None:
    if type(data) is not wanted:
        returned.differ(f"it is a {type(data).__name__}, a {wanted.__name__} of a custom type")


def _marked(coords: Mapping[Hashable, Any], dims: Iterable[Hashable]) -> list[Hashable]:
    """Coordinates that the file marks as such, in a list of names with spaces between them."""
    return [name for name in coords if name not in dims]


class _Names:
    """Names in the file: unique, and valid in HDF5 and netCDF."""

    def __init__(self) -> None:
        self._names: dict[Hashable, str] = {}
        self._taken: set[str] = set()

    def reserve(self, word: str) -> str:
        """This name, or a similar one, for something without a name."""
        while word in self._taken:
            word += "_"
        self._taken.add(word)
        return word

    def choose(self, names: Iterable[Hashable], marked: Iterable[Hashable]) -> None:
        """Assigns each name its name in the file; valid names are kept.

        Args:
            names: the user's.
            marked: those that must not contain white space.
        """
        wanted = {name: self._word(name, name in marked) for name in names}
        for kept in (True, False):
            for name, word in wanted.items():
                if (word == name) == kept and name not in self._names:
                    self._names[name] = self.reserve(word)

    def _word(self, name: Hashable, marked: bool) -> str:
        word = str(name).encode("utf-8", "replace").decode()
        word = word.replace("/", "_").replace("\0", "_")  # "/" separates groups in HDF5
        while len(word.encode()) > _LONGEST_NAME - 50:
            word = word[:-1]
        if marked:
            word = "".join("_" if character.isspace() else character for character in word)
        return "_" if word in ("", ".", "..") else word

    def of(self, name: Hashable) -> str:
        return self._names[name]


class _Group:
    """A netCDF group that is being built."""

    def __init__(
        self,
        names: _Names,
        coords: Mapping[Hashable, Any],
        dims: Iterable[Hashable],
        returned: Returned,
        arrays: Arrays,
    ) -> None:
        self._names = names
        self._arrays = arrays
        self._sizes: dict[str, int] = {}
        # Coordinates in addition to those of the dimensions, and which of them an array has named.
        self._marked = {
            names.of(name): set(variable.dims)
            for name, variable in coords.items()
            if name not in dims and not any(character.isspace() for character in names.of(name))
        }
        self._placed: set[str] = set()
        self._widths: dict[int, str] = {}
        self._described: list[Message] = []
        self.indexes: list[Message] = []
        self.returned = returned
        self.layout: list[Message] = []

    def dims(self) -> list[Message]:
        return [{"name": name, "size": size} for name, size in self._sizes.items()]

    def unplaced(self) -> list[str]:
        """Coordinates in addition to the dimensions that no array names."""
        return [name for name in self._marked if name not in self._placed]

    def describe(self, kind: str, **more: Any) -> None:
        self.returned.describe(is_a=kind, variables=self._described, indexes=self.indexes, **more)

    def add(self, name: Hashable, word: str, variable: Any, before: Optional[Any], is_coordinate: bool) -> None:
        """Adds an array.

        Args:
            name: the user's.
            word: its name in the file.
            variable: with computed numbers.
            before: as it was returned, if it had to be computed.
            is_coordinate: whether it is a coordinate, not data.
        """
        what = "the array" if name is None else f"{'coordinate' if is_coordinate else 'array'} {name!r}"
        values, chunks = self._values(variable, before, what)
        form = form_of(values, what)
        self.returned.differ(form.differs)
        dims = [self._names.of(dim) for dim in variable.dims]
        self._sizes.update(zip(dims, form.array.shape))
        if form.characters:
            dims.append(self._width_dim(form.array.shape[-1]))
        added = dict(form.attrs)
        if not is_coordinate:
            own = self._coordinates_of(variable.dims)
            if own:
                added["coordinates"] = " ".join(sorted(own))
        attributes = Attributes(variable.attrs, what, added)
        self.returned.differ(attributes.lost)
        self.returned.notes += attributes.notes
        self.layout.append(
            {
                "name": word,
                "dims": dims,
                "compress": not is_coordinate,
                "attrs": attributes.in_file,
                "array": plain(form.array, self._arrays),
            }
        )
        self._described.append(
            {
                "in": word,
                "name": self.held(name, f"the name of {what}"),
                "dims": [self.held(dim, f"a dimension's name of {what}") for dim in variable.dims],
                "shape": list(values.shape),
                "coordinate": is_coordinate,
                "form": form.back,
                "attrs": attributes.returned,
                "encoding": _encoding(variable if before is None else before, what, self.returned),
                **({} if chunks is None else {"chunks": chunks}),
            }
        )

    def _width_dim(self, width: int) -> str:
        """The dimension of the characters of texts of fixed width."""
        if width not in self._widths:
            self._widths[width] = self._names.reserve(f"string{width}")
            self._sizes[self._widths[width]] = width
        return self._widths[width]

    def _coordinates_of(self, dims: tuple[Hashable, ...]) -> list[str]:
        own = [word for word, needed in self._marked.items() if needed <= set(dims)]
        self._placed.update(own)
        return own

    def held(self, name: Hashable, what: str) -> Any:
        """A name in JSON."""
        try:
            return held(name)
        except NotHeld as reason:
            self.returned.differ(f"{what} cannot be preserved: {reason}")
            return None

    def _values(self, variable: Any, before: Optional[Any], what: str) -> tuple[np.ndarray, Optional[list[list[int]]]]:
        """A variable's numbers, and the blocks of a lazy array."""
        data = variable.data
        values = np.asarray(data)
        if before is None:
            if type(data) is not np.ndarray:
                self.returned.differ(f"{what} is a {type(data).__name__}, not an array of NumPy's")
            return values, None
        block = before.data
        if type(block) is np.ndarray:
            return values, None
        chunks = getattr(block, "chunks", None)
        is_plain = type(getattr(block, "_meta", None)) is np.ndarray and type(data) is np.ndarray
        if type(block).__module__ != "dask.array.core" or chunks is None or not is_plain:
            self.returned.differ(f"{what} is a {type(block).__name__}, not an array of NumPy's")
            return values, None
        if tuple(map(sum, chunks)) != values.shape or block.dtype != values.dtype:
            self.returned.differ(f"{what} was announced with a different shape or type")
            return values, None
        return values, [[int(length) for length in lengths] for lengths in chunks]


def _encoding(owner: Any, what: str, returned: Returned) -> Any:
    """xarray's encoding hints, which are part of the returned value."""
    try:
        return held(dict(owner.encoding))
    except NotHeld as reason:
        returned.differ(f"the encoding of {what} cannot be preserved: {reason}")
        return None


def _indexes(data: Any, group: _Group) -> set[Hashable]:
    """Records the coordinates' indexes where xarray would create others.

    Returns:
        coordinates that are not stored, because their index restores them.
    """
    from xarray import IndexVariable

    try:
        from xarray.core.indexes import PandasIndex, PandasMultiIndex
    except ImportError:
        group.returned.differ("this version of xarray does not provide information about indexes")
        return set()
    hidden: set[Hashable] = set()
    seen: list[Any] = []
    for name, index in data.xindexes.items():
        variable = data.coords[name].variable
        if type(index) is PandasMultiIndex:
            if not any(index is each for each in seen):
                seen.append(index)
                hidden.add(index.dim)
                _levels(data, index, group)
            continue
        if type(index) is not PandasIndex or variable.ndim != 1:
            group.returned.differ(f"coordinate {name!r} has an index of a custom type, a {type(index).__name__}")
            continue
        (dim,) = variable.dims
        ours = index.index
        usual = IndexVariable(dim, np.asarray(variable.data)[:1]).to_index()
        said: Message = {}
        if type(ours).__name__ == "RangeIndex":
            said["range"] = [ours.start, ours.stop, ours.step]
        elif type(ours) is not type(usual) or ours.dtype != usual.dtype:
            group.returned.differ(f"coordinate {name!r} has an index of a custom type, a {type(ours).__name__}")
        elif getattr(ours, "freqstr", None) is not None:
            said["freq"] = ours.freqstr
        if name != dim:
            said["set"] = True
        if said:
            group.indexes.append({"name": group.held(name, "a coordinate's name"), **said})
    if seen:
        levels = [name for index in seen for name in (index.dim, *index.index.names)]
        others = [name for name in data.coords if name not in levels]
        arrays = list(getattr(data, "data_vars", ()))
        if list(getattr(data, "variables", data.coords)) != [*others, *levels, *arrays]:
            group.returned.differ("a multi-level index is mixed with other coordinates")
    for name in data.coords:
        if name in data.dims and name not in data.xindexes:
            group.indexes.append({"name": group.held(name, "a coordinate's name"), "drop": True})
    return hidden


def _levels(data: Any, index: Any, group: _Group) -> None:
    """A multi-level index: each level is a coordinate in the file, from which the tuples are restored."""
    import pandas

    ours = index.index
    again = pandas.MultiIndex.from_arrays(
        [ours.get_level_values(level) for level in range(ours.nlevels)], names=ours.names
    )
    same = len(ours.levels) == len(again.levels) and all(
        one.equals(other) and one.dtype == other.dtype for one, other in zip(ours.levels, again.levels)
    )
    if not same:
        group.returned.differ(f"the index of {index.dim!r} has levels of its own")
    if data.coords[index.dim].attrs or data.coords[index.dim].encoding:
        group.returned.differ(f"the index of {index.dim!r} has attributes")
    held_name = group.held(index.dim, "a coordinate's name")
    group.indexes.append({"name": held_name, "levels": [group.held(name, "a level's name") for name in ours.names]})
