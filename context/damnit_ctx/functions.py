"""Finds the source of a function in a file's syntax tree."""

from __future__ import annotations

import ast
import inspect
from typing import Any, Optional

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class SourceTree:
    """The functions of one file, found by the first line of their code.

    Args:
        tree: the file's syntax tree.
        path: the file name in the compiled code.
    """

    def __init__(self, tree: ast.Module, path: str) -> None:
        self.tree = tree
        self.path = path
        self._functions: dict[int, list[ast.AST]] = {}
        for node in ast.walk(tree):
            if isinstance(node, (*FUNCTIONS, ast.Lambda)):
                for line in _first_lines(node):
                    self._functions.setdefault(line, []).append(node)

    def nodes(self, code: Any) -> list[ast.AST]:
        """The definitions that may belong to this code; several if there are lambdas on one line."""
        if code.co_filename != self.path:
            return []
        found = self._functions.get(code.co_firstlineno, [])
        return [node for node in found if getattr(node, "name", "<lambda>") == code.co_name]


def code_of(func: Any) -> Optional[Any]:
    """The code of a function or method; of the innermost one if it is wrapped."""
    plain = inspect.unwrap(getattr(func, "__func__", func))
    return getattr(plain, "__code__", None)


def _first_lines(node: ast.AST) -> set[int]:
    """The possible first lines of the function's code: the first decorator, or ``def``."""
    lines = {node.lineno}  # type: ignore[attr-defined]
    decorators = getattr(node, "decorator_list", [])
    if decorators:
        lines.add(min(decorator.lineno for decorator in decorators))
    return lines
