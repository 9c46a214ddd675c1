"""Values of variables that dependents modify in place: in a process, all dependents get the same object."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from fnmatch import filter as matching
from typing import Any, Optional

from . import state_knowledge as known
from .functions import FUNCTIONS, SourceTree, code_of
from .state_pieces import RUN, Refs, holding
from .variable import Variable

VALUE_OF = "the value of "
# Methods that return new objects in NumPy, pandas and xarray, although they modify lists and sets.
_NEW_IF_USED = known.names("add subtract partition insert append")
_NO_CHANGE = known.names("sample normal close uniform")
# Attributes that are numbers, texts and the like.
PLAIN_ATTRIBUTES = known.names("shape ndim size dtype nbytes itemsize name dims sizes strides empty start stop step")
# Besides views of arrays: methods whose result shares memory with its source, or may.
_SHARING = known.VIEWS | known.names("to_numpy isel sel head tail get_group rename transpose squeeze loc iloc")
_GIVING_TEXT = known.names("str repr format chr")


def is_followed(ref: Any) -> bool:
    """Whether it is (part of) a variable's value or the run."""
    while ref[0] == "attribute":
        ref = ref[1]
    if ref[0] == "new":
        return all(is_followed(inner) for inner in ref[1])
    return bool(ref == RUN) or is_value(ref)


def is_value(ref: Any) -> bool:
    """Whether it is (part of) a variable's value."""
    while ref[0] == "attribute":
        ref = ref[1]
    return bool(ref[0] == "part" and ref[1].startswith(VALUE_OF))


def without_followed(refs: Refs) -> Refs:
    """The values of a name that remain when it is bound again."""
    return Refs(ref for ref in refs if not is_followed(ref))


def method_changes(name: str, node: ast.Call, unused: bool) -> bool:
    """Whether a method of a value modifies it."""
    if any(word.arg == "inplace" and not _is_false(word.value) for word in node.keywords):
        return True
    if name in _NO_CHANGE or (name in _NEW_IF_USED and not unused):
        return False
    return known.changes_anything(name)


def method_shares(name: str, node: ast.Call) -> bool:
    """Whether a method of a value returns a part of it."""
    shallow = any(word.arg == "deep" and _is_false(word.value) for word in node.keywords)
    return name in _SHARING or (name == "copy" and shallow)


def function_changes(func: Any, args: list[Refs], node: ast.Call) -> Refs:
    """The arguments that a function of NumPy or SciPy modifies."""
    inputs = getattr(func, "nin", None)
    if type(func).__name__ == "ufunc" and isinstance(inputs, int):
        return Refs().union(*args[inputs:])
    first = args[0] if args else Refs()
    for word in node.keywords:
        if word.arg == "copy" and _is_false(word.value) and getattr(func, "__name__", "") == "nan_to_num":
            return first
        if word.arg is not None and word.arg.startswith("overwrite") and not _is_false(word.value):
            return first
    return first if getattr(func, "__name__", "") == "next" else Refs()


def copies(index: ast.AST) -> bool:
    """Whether indexing an array with it returns a new array: a mask, a list of positions."""
    if isinstance(index, ast.Tuple):
        return any(copies(part) for part in index.elts)
    if isinstance(index, ast.UnaryOp):
        return isinstance(index.op, ast.Invert)
    if isinstance(index, ast.BinOp):
        return isinstance(index.op, (ast.BitAnd, ast.BitOr))
    return isinstance(index, (ast.Compare, ast.List))


def given_to(
    variable: Variable, variables: Mapping[str, Variable], immutable: Mapping[str, bool]
) -> tuple[list[Refs], dict[str, Refs], list[str]]:
    """The arguments of a variable's function, and the variables whose values it gets."""
    words: dict[str, Refs] = {}
    names: list[str] = []
    for argument, wanted in variable.arg_dependencies().items():
        is_pattern = any(letter in wanted for letter in "*?[")
        found = matching(variables, wanted) if is_pattern else [wanted]
        found = [name for name in found if name in variables and name != variable.name and not immutable[name]]
        parts = Refs(("part", VALUE_OF + name) for name in found)
        if found:
            words[argument] = holding(parts) if is_pattern else parts
            names += found
    first: list[Refs] = []
    try:
        parameter = next(iter(inspect.signature(variable.func).parameters.values()), None)
    except (TypeError, ValueError):
        parameter = None
    if parameter is not None and parameter.name not in words and parameter.kind is not parameter.KEYWORD_ONLY:
        first = [Refs({RUN})]
    return first, words, names


def gives_immutable(func: Any, source: Optional[SourceTree]) -> bool:
    """Whether a function returns only text. Numbers are arrays for dependents, and can be modified in place."""
    code = code_of(func)
    definitions = [] if code is None or source is None else source.nodes(code)
    if not definitions or code_of(func) is not getattr(getattr(func, "__func__", func), "__code__", None):
        return False
    return all(_returns_immutable(definition) for definition in definitions)


def _returns_immutable(definition: Any) -> bool:
    if isinstance(definition, ast.Lambda):
        return _is_immutable(definition.body)
    pending = list(definition.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            continue
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return False
        if isinstance(node, ast.Return) and node.value is not None and not _is_immutable(node.value):
            return False
        pending.extend(ast.iter_child_nodes(node))
    return True


def _is_immutable(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return node.value is None or isinstance(node.value, str)
    if isinstance(node, ast.IfExp):
        return _is_immutable(node.body) and _is_immutable(node.orelse)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _GIVING_TEXT
    return isinstance(node, ast.JoinedStr)


def _is_false(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
