"""What is known of objects and functions of others: which of them hold state, and what changes it."""

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
# Methods that change something of a type that is not known: random generators, handles, queues, counters.
_CHANGING_ANYTHING = _CHANGING | names(
    "random integers normal choice choices shuffle permutation permuted uniform standard_normal poisson",
    "exponential binomial rand randn randint random_sample random_integers randrange sample gauss seed bytes",
    "spawn read readline readlines write writelines seek truncate execute executemany executescript commit",
    "fetchone fetchmany fetchall put_nowait get_nowait send recv close open connect start stop reset step",
    "increment next set_state fit partial_fit create_dataset create_group require_group require_dataset",
    "load_state_dict set register push __next__ __enter__ __exit__",
)
# Of those, they make what was there before meaningless to whoever calls them.
PUTTING = frozenset({"append", "appendleft", "extend", "extendleft", "insert", "add", "update", "clear", "put", "fill"})
# The elements of what they are given come out again.
PASSING = names(
    "iter zip enumerate reversed sorted list tuple filter next min max",
)
# Arrays that share their memory with what they were made of.
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
# Functions that set something for a whole package.
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
# Their objects have methods that leave nothing in them.
_STATELESS = names(
    "extra_geom extra_data pint threading _thread logging concurrent asyncio typing damnit_ctx",
)
# Figures are drawn into the current one, unless the function has made one of its own.
_MAKING_FIGURES = frozenset({"figure", "subplots", "subplot_mosaic"})
_NOT_DRAWING = names(
    "close get_cmap colormaps get_backend switch_backend ioff ion style imread imsave rc rcdefaults rc_context",
    "get_fignums fignum_exists isinteractive xkcd savefig show pause setp getp",
)
NUMPYS_RANDOM = "NumPy's random numbers"
PYTHONS_RANDOM = "Python's random numbers"
CURRENT_FIGURE = "the current figure of pyplot"


def is_plain(value: Any) -> bool:
    """Can nothing be changed in it that another variable would find?"""
    if isinstance(value, _PLAIN) or is_of_the_process(value):
        return True
    kind = type(value)
    return kind.__module__ == "numpy" and kind.__name__ != "ndarray" and not hasattr(value, "__setitem__")


def is_of_the_process(value: Any) -> bool:
    """Is it put back after each variable (process_state.py), or a stream that is only written to?"""
    streams = (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)
    return any(value is other for other in (os.environ, os.environb, *streams) if other is not None)


def is_iterator(value: Any) -> bool:
    """Does reading it use it up?"""
    return isinstance(value, Iterator)


def is_container(value: Any) -> bool:
    """Is it one whose methods are known by name?"""
    if isinstance(value, (list, dict, set, frozenset, tuple, bytearray)):
        return True
    package = type(value).__module__.partition(".")[0]
    return package in ("collections", "array", "pandas", "xarray") or is_array(value)


def is_array(value: Any) -> bool:
    """Is it a NumPy array?"""
    return type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "__array_interface__")


def is_random(value: Any) -> bool:
    """Is it a generator of random numbers?"""
    return isinstance(value, random.Random) or type(value).__module__.startswith("numpy.random")


def method_changes(value: Any, name: str, call: ast.Call) -> bool:
    """Does calling this method change the object?"""
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
    """Does a method of that name change what it is of, whatever that is?"""
    return name in _CHANGING_ANYTHING


def changes_first(name: str) -> bool:
    """Does a function of that name change its first argument?"""
    return name in _CHANGING_FIRST


def package_that_is_set(function: Any) -> Optional[str]:
    """The package of which it changes a setting."""
    if getattr(function, "__name__", None) not in _SETTING:
        return None
    package = (getattr(function, "__module__", None) or "").partition(".")[0]
    return {"seaborn": "matplotlib"}.get(package, package) or None


def is_pyplot(function: Any) -> bool:
    """Is it one of pyplot's functions?"""
    return getattr(function, "__module__", None) == "matplotlib.pyplot"


def makes_figure(function: Any) -> Optional[bool]:
    """Of a function of pyplot: does it make a figure, or work on the current one? ``None``: neither."""
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
    """The global generators that these files seed: only then their numbers are the same each time."""
    found = set()
    for tree in trees:
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "seed"):
                continue
            chain = dotted(node.func.value)
            if chain == "random":
                # `from numpy import random` is as good as Python's own: both are told apart when they are called.
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
