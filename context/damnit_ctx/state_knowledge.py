"""Knowledge about libraries: which objects have state, and which calls change it."""

from __future__ import annotations

import ast
import datetime
import decimal
import enum
import fractions
import logging
import os
import pathlib
import random
import re
import sys
import types
from collections.abc import Iterator
from typing import Any, Optional


def names(*lines: str) -> frozenset[str]:
    """The words of these lines."""
    return frozenset(name for line in lines for name in line.split())


# Methods that change lists, dictionaries, sets, deques, arrays and frames.
_CHANGING = names(
    "append appendleft extend extendleft insert remove pop popleft popitem clear sort reverse rotate update",
    "setdefault move_to_end subtract add discard difference_update intersection_update",
    "symmetric_difference_update fill itemset put resize partition setfield setflags byteswap frombytes",
    "fromlist __setitem__ __delitem__ __iadd__ __ior__ __setattr__",
)
# Methods that change objects of unknown types: random generators, handles, queues, counters.
_CHANGING_ANYTHING = _CHANGING | names(
    "random integers normal choice choices shuffle permutation permuted uniform standard_normal poisson",
    "exponential binomial rand randn randint random_sample random_integers randrange sample gauss seed bytes",
    "spawn read readline readlines write writelines seek truncate execute executemany executescript commit",
    "fetchone fetchmany fetchall put_nowait get_nowait send recv close open connect start stop reset step",
    "increment next set_state fit partial_fit create_dataset create_group require_group require_dataset",
    "load_state_dict set register push __next__ __enter__ __exit__",
)
# Those of them after which the previous state is irrelevant to the caller.
PUTTING = frozenset({"append", "appendleft", "extend", "extendleft", "insert", "add", "update", "clear", "put", "fill"})
# Functions that return the elements of their arguments.
PASSING = names(
    "iter zip enumerate reversed sorted list tuple filter next min max",
)
# Arrays that share memory with their source.
VIEWS = names(
    "asarray asanyarray ravel reshape transpose squeeze atleast_1d atleast_2d atleast_3d view swapaxes T flat",
    "real imag",
)
# Functions that change their first argument.
_CHANGING_FIRST = names(
    "copyto put place putmask put_along_axis fill_diagonal shuffle heappush heappop heapify heapreplace",
    "heappushpop insort insort_left insort_right setitem delitem iadd isub imul itruediv ifloordiv imod ipow iand",
    "ior ixor iconcat imatmul ilshift irshift seed_everything",
)
# Functions that change settings of a whole package.
_SETTING = names(
    "rc rcdefaults rc_file set_option reset_option set_options set_theme set_style set_context set_palette use",
)
_PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    range,
    slice,
    re.Pattern,
    pathlib.PurePath,
    logging.Logger,
    enum.Enum,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    fractions.Fraction,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.CodeType,
    type,
    property,
)
# Packages whose objects have methods without side effects.
_STATELESS = names(
    "extra_geom extra_data pint threading _thread logging concurrent asyncio typing damnit_ctx",
)
# Functions that draw into the current figure, unless the function has created one itself.
_MAKING_FIGURES = frozenset({"figure", "subplots", "subplot_mosaic"})
_NOT_DRAWING = names(
    "close get_cmap colormaps get_backend switch_backend ioff ion style imread imsave rc rcdefaults rc_context",
    "get_fignums fignum_exists isinteractive xkcd savefig show pause setp getp",
)
NUMPYS_RANDOM = "NumPy's random numbers"
PYTHONS_RANDOM = "Python's random numbers"
CURRENT_FIGURE = "the current figure of pyplot"


def is_plain(value: Any) -> bool:
    """Whether it has no state that another variable could see."""
    if isinstance(value, _PLAIN) or is_of_the_process(value):
        return True
    kind = type(value)
    return kind.__module__ == "numpy" and kind.__name__ != "ndarray" and not hasattr(value, "__setitem__")


def is_of_the_process(value: Any) -> bool:
    """Whether it is restored after each variable (process_state.py), or a stream that is only written to."""
    streams = (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)
    return any(value is other for other in (os.environ, os.environb, *streams) if other is not None)


def is_iterator(value: Any) -> bool:
    """Whether reading consumes it."""
    return isinstance(value, Iterator)


def is_container(value: Any) -> bool:
    """Whether its methods are known by name."""
    if isinstance(value, (list, dict, set, frozenset, tuple, bytearray)):
        return True
    package = type(value).__module__.partition(".")[0]
    return package in ("collections", "array", "pandas", "xarray") or is_array(value)


def is_array(value: Any) -> bool:
    """Whether it is a NumPy array."""
    return type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "__array_interface__")


def is_random(value: Any) -> bool:
    """Whether it is a random number generator."""
    return isinstance(value, random.Random) or type(value).__module__.startswith("numpy.random")


def method_changes(value: Any, name: str, call: ast.Call) -> bool:
    """Whether calling this method changes the object."""
    if any(
        word.arg == "inplace" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
        for word in call.keywords
    ):
        return True
    if is_container(value):
        return name in _CHANGING
    package = type(value).__module__.partition(".")[0]
    if package == "h5py":
        return getattr(value, "mode", "r") != "r" and name in _CHANGING_ANYTHING
    return package not in _STATELESS


def changes_anything(name: str) -> bool:
    """Whether a method of that name changes its object, whatever its type."""
    return name in _CHANGING_ANYTHING


def changes_first(name: str) -> bool:
    """Whether a function of that name changes its first argument."""
    return name in _CHANGING_FIRST


def package_that_is_set(function: Any) -> Optional[str]:
    """The package whose settings it changes."""
    if getattr(function, "__name__", None) not in _SETTING:
        return None
    package = (getattr(function, "__module__", None) or "").partition(".")[0]
    return {"seaborn": "matplotlib"}.get(package, package) or None


def is_pyplot(function: Any) -> bool:
    """Whether it is one of pyplot's functions."""
    return getattr(function, "__module__", None) == "matplotlib.pyplot"


def makes_figure(function: Any) -> Optional[bool]:
    """Whether a pyplot function creates a figure or works on the current one. ``None``: neither."""
    name = getattr(function, "__name__", "")
    if name in _NOT_DRAWING:
        return None
    return name in _MAKING_FIGURES


def global_generators() -> dict[int, str]:
    """The generators behind `random.random()` and `numpy.random.normal()`: id → name."""
    found = {id(random._inst): PYTHONS_RANDOM}  # type: ignore[attr-defined]
    mtrand = sys.modules.get("numpy.random.mtrand")
    if mtrand is not None:
        found[id(mtrand._rand)] = NUMPYS_RANDOM
    return found


def seeded(trees: list[ast.Module]) -> set[str]:
    """The global generators that these files seed: only these are reproducible."""
    found = set()
    for tree in trees:
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "seed"):
                continue
            chain = dotted(node.func.value)
            if chain == "random":
                # `from numpy import random` looks like Python's own: they are distinguished when they are called.
                found |= {PYTHONS_RANDOM, NUMPYS_RANDOM}
            elif chain.endswith(".random"):
                found.add(NUMPYS_RANDOM)
    return found


def dotted(node: ast.AST) -> str:
    """``a.b.c`` as text; empty for anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])
