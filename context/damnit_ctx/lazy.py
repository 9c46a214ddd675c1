"""Lazy (dask) values: computed once for everything that is stored of a cell."""

from __future__ import annotations

import sys
from typing import Any


def is_lazy(value: Any) -> bool:
    """Whether the value, or an array in it, is not computed yet."""
    if "dask" not in sys.modules or isinstance(value, type):
        return False
    graph = getattr(value, "__dask_graph__", None)
    return callable(graph) and graph() is not None


def computed(*values: Any) -> tuple[Any, ...]:
    """The computed values. Common parts are computed once."""
    if not any(is_lazy(value) for value in values):
        return values
    import dask

    return tuple(dask.compute(*values, traverse=False))
