"""Finds variables that do not get a column, and why: nothing else would tell their author."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Optional, Union

from .context_file import LoadedContext
from .errors import clean
from .group import is_group
from .problems import Problem, problem
from .variable import Variable

_Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


class Definitions:
    """Locations of the functions of a file, and the class or function that contains them."""

    def __init__(self, tree: ast.Module, path: str) -> None:
        self._path = path
        self._functions: list[tuple[_Function, Optional[ast.AST]]] = []
        pending: list[tuple[ast.AST, Optional[ast.AST]]] = [(tree, None)]
        while pending:
            node, inside = pending.pop()
            for child in ast.iter_child_nodes(node):
                if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    self._functions.append((child, inside))
                    pending.append((child, child))
                elif isinstance(child, (ast.ClassDef, ast.Lambda)):
                    pending.append((child, child))
                else:
                    pending.append((child, inside))

    def of(self, variable: Variable) -> tuple[Optional[_Function], Optional[ast.AST]]:
        """The function that a variable decorates, and what contains it.

        Found by the location of the decorator: the variable's function may be a wrapper.
        """
        file, line = variable.declared_at
        if file != self._path:
            return None, None
        found = [
            (function, inside)
            for function, inside in self._functions
            if function.decorator_list and function.decorator_list[0].lineno <= line <= function.lineno
        ]
        # Of nested functions, the inner one starts later.
        return max(found, key=lambda each: each[0].lineno, default=(None, None))

    def line(self, variable: Variable) -> Optional[int]:
        """The line of ``def``, or the line in which the variable was created from a function."""
        function, _ = self.of(variable)
        if function is not None:
            return function.lineno
        file, line = variable.declared_at
        return line if file == self._path else None

    def said(self, variable: Variable) -> str:
        """The name in the file."""
        function, inside = self.of(variable)
        if function is None:
            return str(variable.name)
        return f"{inside.name}.{function.name}" if isinstance(inside, ast.ClassDef) else function.name


def hidden(loser: Variable, winner: Variable, definitions: Definitions) -> Problem:
    """The problem of a variable that a later one with the same name replaces."""
    line, other = definitions.line(loser), definitions.line(winner)
    where = f" (line {other})" if other is not None else ""
    names = {definitions.said(loser), definitions.said(winner)}
    hint = None
    if names == {loser.name}:
        message = f"a later variable{where} has the name {loser.name!r} too: this one is never computed"
    else:
        message = (
            f"the variable {definitions.said(loser)!r} (title {loser.title!r}) has the name {loser.name!r}, and so has "
            f"{definitions.said(winner)!r}{where} (title {winner.title!r}): this one is never computed"
        )
        hint = "a decorator that wraps a function keeps its name with functools.wraps(function)"
    return problem(
        "duplicate-name", message, severity="warning", line=line, variables=[clean(str(loser.name))], hint=hint
    )


def problems(loaded: LoadedContext, definitions: Definitions, path: str) -> Iterator[Problem]:
    """A warning for each variable of the file that does not get a column."""
    if loaded.chosen:
        return  # the file's pipeline says which are wanted
    kept = {id(variable) for variable in loaded.variables.values()}
    kept |= {id(variable) for pair in loaded.hidden for variable in pair}
    owners = [getattr(variable.func, "__self__", None) for variable in loaded.variables.values()]
    groups = {cls for owner in owners if is_group(owner) for cls in type(owner).__mro__}
    kept |= {id(value) for cls in groups for value in vars(cls).values() if isinstance(value, Variable)}
    told: set[int] = set()
    for variable in loaded.declared:
        if id(variable) in kept or variable.declared_at[0] != path:
            continue
        function, inside = definitions.of(variable)
        if isinstance(inside, ast.ClassDef):
            cls = _class_of(variable, inside, loaded.namespace)
            if hasattr(cls, "__damnit_group__"):
                if id(inside) not in told:
                    told.add(id(inside))
                    yield _lost(
                        f"the group {inside.name} has no instance, so its variables get no columns",
                        inside.lineno,
                        f"{inside.name}.{getattr(function, 'name', variable.name)}",
                        f"assign an instance to a name: {inside.name.lower()} = {inside.name}(…)",
                    )
                continue
        yield _lost(*_reason(variable, function, inside, definitions, loaded.namespace))


def _lost(message: str, line: Optional[int], name: str, hint: Optional[str]) -> Problem:
    return problem("no-column", message, severity="warning", line=line, variables=[clean(name)], hint=hint)


def _class_of(variable: Variable, node: ast.ClassDef, namespace: dict[str, Any]) -> Any:
    found = namespace.get(node.name)
    if isinstance(found, type):
        return found
    # Created in a function: any class that has it.
    return next((cls for cls in _all_classes() if variable in vars(cls).values()), None)


def _all_classes() -> Iterator[type]:
    import gc

    return (each for each in gc.get_objects() if isinstance(each, type))


def _reason(
    variable: Variable,
    function: Optional[_Function],
    inside: Optional[ast.AST],
    definitions: Definitions,
    namespace: dict[str, Any],
) -> tuple[str, Optional[int], str, Optional[str]]:
    name, line = definitions.said(variable), definitions.line(variable)
    if isinstance(inside, ast.ClassDef):
        message = f"{name} is in a class that is not a group: it gets no column"
        return message, line, name, "put @Group before the class and create an instance, or move the function out of it"
    if function is not None and inside is None:
        if function.name.startswith("__"):
            message = f"{name} gets no column: names that start with two underscores are ignored"
            return message, line, name, "rename it"
        held = namespace.get(function.name)
        first = function.decorator_list[0]
        if held is not None and not isinstance(held, Variable) and first.lineno < _declared_line(variable, function):
            message = f"{name} gets no column: the decorator in line {first.lineno} makes a {type(held).__name__} of it"
            return message, line, name, "put @Variable first, above all other decorators"
        if held is not None and not isinstance(held, Variable):
            message = f"{name} gets no column: the name {function.name} stands for a {type(held).__name__} in the end"
            return message, line, name, "rename one of them"
    message = (
        f"the variable {name!r} (title {variable.title!r}) gets no column: no top-level name of the file refers to it"
    )
    return (
        message,
        line,
        name,
        "assign it to a top-level name; variables that are only in a list, a dictionary or a function are not found",
    )


def _declared_line(variable: Variable, function: _Function) -> int:
    """The line of the decorator ``@Variable``. (Up to Python 3.10, the call is attributed to the line of ``def``.)"""
    line = variable.declared_at[1]
    if line < function.lineno:
        return line
    names = [ast.dump(each) for each in function.decorator_list]
    at = next((at for at, text in enumerate(names) if "'Variable'" in text), len(names) - 1)
    return function.decorator_list[at].lineno
