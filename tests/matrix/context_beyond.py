"""Values and outcomes of functions that make DAMNIT lose the whole run. Here each loses at most its own variable."""

import ctypes
import os
import signal
import sys

import numpy as np
import xarray as xr
from damnit_ctx import Cell, Variable


def returning(name, make):
    """Declare variable `name`, which returns what `make()` gives."""

    def function(run):
        return make()

    function.__name__ = name
    globals()[name] = Variable()(function)


def deeper(level=0):
    """Recurse for ever."""
    return deeper(level + 1) + 1


def interrupt():
    """As if by Ctrl-C."""
    raise KeyboardInterrupt


def many_indices():
    """An index of two levels, which netCDF does not know."""
    array = xr.DataArray(np.zeros((2, 2)), dims=("a", "b"), coords={"a": [1, 2], "b": [3, 4]})
    return array.stack(both=("a", "b"))


returning("first", lambda: 1)
returning("text_numpy", lambda: np.str_("from numpy"))
returning("text_nul", lambda: "a\0b")
returning("text_surrogate", lambda: "a\udc80b")
returning("integer_large", lambda: 2**70)
returning("unsigned_large", lambda: np.uint64(2**64 - 1))
returning("long_double", lambda: np.longdouble(1) / 3)
returning("long_double_zero_d", lambda: np.array(np.longdouble(1) / 3))
returning("long_double_mean", lambda: Cell(np.arange(30, dtype=np.longdouble) / 7, summary="mean"))
returning("long_complex", lambda: np.clongdouble(1 + 2j) / 3)
returning("long_complex_line", lambda: np.arange(30, dtype=np.clongdouble) * (1 + 2j) / 3)
returning("long_complex_cube", lambda: np.arange(24, dtype=np.clongdouble).reshape(2, 3, 4) * 1j / 3)
returning("record", lambda: np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])[0])
returning("bytes_", lambda: b"abc")
returning("labelled_complex", lambda: xr.DataArray(np.array([1j, 2]), dims="x"))
returning("labelled_two_levels", many_indices)
returning("labelled_objects", lambda: xr.DataArray(np.array([object()], dtype=object), dims="x"))
returning("labelled_odd_attribute", lambda: xr.DataArray([1.0], dims="x", attrs={"a": {"b": 1}}))
returning("dataset_odd_attribute", lambda: xr.Dataset({"v": ("x", [1.0])}, attrs={"a": object()}))
returning("cell_none_with_preview", lambda: Cell(None, preview=np.arange(3)))
returning("middle", lambda: 2)
returning("system_exit", lambda: sys.exit(3))
returning("keyboard_interrupt", interrupt)
returning("hard_exit", lambda: os._exit(3))
returning("abort", os.abort)
returning("killed", lambda: os.kill(os.getpid(), signal.SIGKILL))
returning("segfault", lambda: ctypes.string_at(0))
returning("endless_recursion", deeper)
returning("last", lambda: 3)


@Variable()
def after_abort(run, value: "var#abort" = 5):
    """Goes on with its default."""
    return value
