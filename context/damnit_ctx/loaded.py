"""Checks the type of an object without importing the library that defines the type."""

from __future__ import annotations

import sys
from typing import Any


def is_a(obj: object, module: str, class_name: str) -> bool:
    """``isinstance(obj, module.class_name)``; false if the module is not imported."""
    loaded = sys.modules.get(module)
    if loaded is None:
        return False
    cls: Any = getattr(loaded, class_name, None)
    return isinstance(cls, type) and isinstance(obj, cls)


def is_dataarray(obj: object) -> bool:
    """An ``xarray.DataArray``?"""
    return is_a(obj, "xarray", "DataArray")


def is_dataset(obj: object) -> bool:
    """An ``xarray.Dataset``?"""
    return is_a(obj, "xarray", "Dataset")


def is_series(obj: object) -> bool:
    """A ``pandas.Series``?"""
    return is_a(obj, "pandas", "Series")


def is_dataframe(obj: object) -> bool:
    """A ``pandas.DataFrame``?"""
    return is_a(obj, "pandas", "DataFrame")


def is_matplotlib_figure(obj: object) -> bool:
    """A ``matplotlib.figure.Figure``?"""
    return is_a(obj, "matplotlib.figure", "Figure")


def is_axes(obj: object) -> bool:
    """A ``matplotlib.axes.Axes``?"""
    return is_a(obj, "matplotlib.axes", "Axes")


def is_plotly_figure(obj: object) -> bool:
    """A ``plotly.graph_objs.Figure``?"""
    # Neither name exists before plotly has loaded its figure class.
    return is_a(obj, "plotly.graph_objs", "Figure") or is_a(obj, "plotly.graph_objs._figure", "Figure")
