"""Are two values the same for whoever gets them? Stricter than ``==`` and ``identical``: types count all the way down."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_same(one: Any, two: Any, where: str = "it") -> None:
    """Fails with the first difference."""
    assert type(one) is type(two), f"{where}: {type(two)} for {type(one)}"
    name = f"{type(one).__module__.partition('.')[0]}.{type(one).__name__}"
    compare = _COMPARED.get(name)
    if compare is not None:
        compare(one, two, where)
    elif name.startswith("pandas.") and hasattr(one, "names"):
        _index(one, two, where)
    elif name.startswith("pandas.") and hasattr(one, "dtype"):
        _extension(one, two, where)
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), f"{where}: {two!r} for {one!r}"
        for at, (left, right) in enumerate(zip(one, two)):
            assert_same(left, right, f"{where}[{at}]")
    elif isinstance(one, dict):
        assert_same(list(one), list(two), f"the keys of {where}")
        for key in one:
            assert_same(one[key], two[key], f"{where}[{key!r}]")
    elif isinstance(one, np.generic):
        assert_same(np.asarray(one), np.asarray(two), where)
    elif isinstance(one, complex):
        assert_same([one.real, one.imag], [two.real, two.imag], where)
    elif isinstance(one, float):
        assert np.float64(one).tobytes() == np.float64(two).tobytes() or (one != one and two != two), where
    else:
        assert one is two or one == two, f"{where}: {two!r} for {one!r}"


def _array(one: np.ndarray, two: np.ndarray, where: str) -> None:
    assert (one.dtype, one.dtype.str, one.shape) == (two.dtype, two.dtype.str, two.shape), where
    assert one.dtype.type is two.dtype.type and repr(one.dtype) == repr(two.dtype), where
    if one.dtype.kind in "OT":
        assert_same(one.ravel().tolist(), two.ravel().tolist(), where)
    elif one.dtype.char in "gG":  # six bytes of each mean nothing
        np.testing.assert_array_equal(one, two, where)
        assert (np.signbit(one.real) == np.signbit(two.real)).all(), where
    else:
        assert one.tobytes() == two.tobytes(), f"{where}: {two} for {one}"


def _dask(one: Any, two: Any, where: str) -> None:
    assert one.chunks == two.chunks, where
    _array(one.compute(), two.compute(), where)


def _variable(one: Any, two: Any, where: str) -> None:
    assert_same(one.dims, two.dims, f"the dimensions of {where}")
    assert_same(one.data, two.data, f"the numbers of {where}")
    assert_same(dict(one.attrs), dict(two.attrs), f"the attributes of {where}")
    assert_same(dict(one.encoding), dict(two.encoding), f"the encoding of {where}")


def _dataarray(one: Any, two: Any, where: str) -> None:
    assert_same(one.name, two.name, f"the name of {where}")
    _variable(one.variable, two.variable, where)
    _labels(one, two, where)


def _dataset(one: Any, two: Any, where: str) -> None:
    assert_same(dict(one.attrs), dict(two.attrs), f"the attributes of {where}")
    assert_same(dict(one.encoding), dict(two.encoding), f"the encoding of {where}")
    assert_same(list(one.variables), list(two.variables), f"the variables of {where}")
    assert_same(list(one.data_vars), list(two.data_vars), f"the arrays of {where}")
    assert list(one.sizes.items()) == list(two.sizes.items()), f"the dimensions of {where}"
    for name in one.data_vars:
        _variable(one[name].variable if isinstance(name, str) else one.variables[name], two.variables[name], repr(name))
    _labels(one, two, where)


def _labels(one: Any, two: Any, where: str) -> None:
    assert_same(list(one.coords), list(two.coords), f"the coordinates of {where}")
    for name in one.coords:
        _variable(one.coords[name].variable, two.coords[name].variable, f"coordinate {name!r}")
    assert list(one.xindexes) == list(two.xindexes), f"the indexes of {where}"
    for name, index in one.xindexes.items():
        other = two.xindexes[name]
        assert type(index) is type(other), where
        if hasattr(index, "index"):
            assert_same(index.index, other.index, f"the index of {name!r}")
        else:
            assert index.equals(other), where


def _index(one: Any, two: Any, where: str) -> None:
    assert_same(list(one.names), list(two.names), f"the names of {where}")
    assert one.dtype == two.dtype, where
    assert getattr(one, "freq", None) == getattr(two, "freq", None), f"the frequency of {where}"
    if type(one).__name__ == "RangeIndex":
        assert (one.start, one.stop, one.step) == (two.start, two.stop, two.step), where
    elif hasattr(one, "levels"):
        for left, right in zip(one.levels, two.levels):
            _index(left, right, where)
        assert_same([codes.tolist() for codes in one.codes], [codes.tolist() for codes in two.codes], where)
    else:
        _extension(one.array, two.array, where)


def _extension(one: Any, two: Any, where: str) -> None:
    assert one.dtype == two.dtype, f"{where}: {two.dtype} for {one.dtype}"
    if hasattr(one.dtype, "categories"):
        _index(one.dtype.categories, two.dtype.categories, f"the categories of {where}")
    assert_same(list(one), list(two), where)


def _series(one: Any, two: Any, where: str) -> None:
    assert_same(one.name, two.name, f"the name of {where}")
    assert_same(dict(one.attrs), dict(two.attrs), f"the attributes of {where}")
    assert one.flags.allows_duplicate_labels == two.flags.allows_duplicate_labels
    assert_same(one.index, two.index, f"the index of {where}")
    assert_same(one.array, two.array, where)


def _frame(one: Any, two: Any, where: str) -> None:
    assert_same(dict(one.attrs), dict(two.attrs), f"the attributes of {where}")
    assert one.flags.allows_duplicate_labels == two.flags.allows_duplicate_labels
    assert_same(one.columns, two.columns, f"the columns of {where}")
    assert_same(one.index, two.index, f"the index of {where}")
    for at in range(one.shape[1]):
        assert_same(one.iloc[:, at].array, two.iloc[:, at].array, f"column {at} of {where}")


_COMPARED = {
    "numpy.ndarray": _array,
    "dask.Array": _dask,
    "xarray.DataArray": _dataarray,
    "xarray.Dataset": _dataset,
    "pandas.Series": _series,
    "pandas.DataFrame": _frame,
}
