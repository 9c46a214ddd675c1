"""A dependent in the process after a death gets the same value as one in the same process."""

from __future__ import annotations

import sys

from returned_values import HEAD, JUDGES, OK, ONCE

from conftest import Database


def test_after_a_death_everything_is_as_it_was_returned(database: Database) -> None:
    database.amore("db-config", "context_python", sys.executable)  # it has dask and pyarrow
    database.context(HEAD + JUDGES)
    database.amore("reprocess", "1", code=None)
    rows = database.rows(1)
    assert (rows["before"], rows["after"], rows["dies"][0]) == (OK, OK, "ProcessKilled")
    # One attribute of `odd` cannot be kept. There are two lazy arrays of two blocks each.
    assert database.executions() == {**ONCE, "odd": 2, "block": 4}
    log = database.amore("log", "1").stdout
    reason = "attribute 'colour' of the array cannot be preserved: type Colour"
    assert f"odd will be computed again if another process needs it: {reason}" in log
    assert f"odd is computed again: {reason}" in log
    assert "gain: attribute 'scale_factor' of the array is called 'user_scale_factor' in the file" in log
    assert "settings: attribute 'b' of the array (bytes) is left out of the file" in log
    assert reason in database.amore("explain", "1", "odd").stdout
    assert "computed again" not in database.amore("explain", "1", "gain").stdout


def test_an_attribute_never_costs_the_value(database: Database) -> None:
    database.context(
        """
import xarray as xr
@Variable(title="Image")
def image(run):
    return xr.DataArray([1.0, 2.0], dims="x", name="image", attrs={"key": b"\\xfe\\xff", "self": run, "n": object()})
@Variable(title="Plain", summary="sum")
def plain(run):
    return xr.DataArray([1.0, 2.0], dims="x", attrs={"settings": {"gain": 2}, "f": len})
"""
    )
    database.amore("reprocess", "1")
    assert database.rows(1)["plain"] == 3
    log = database.amore("log", "1").stdout
    assert "image: attribute 'key' of array 'image' (bytes) is left out" in log
    assert "plain: attribute 'f' of the array (builtin_function_or_method) is left out" in log
    assert "__xarray" not in log
