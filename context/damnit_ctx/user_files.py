"""The files whose functions are analysed: the context file, and files next to or below it."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable
from typing import Any, Optional

from .functions import SourceTree


class UserFiles:
    """The user's source files.

    Args:
        source: the context file.
    """

    def __init__(self, source: SourceTree) -> None:
        folder = os.path.dirname(source.path)
        self.context = source.path
        self._folders = tuple({folder + os.sep, os.path.dirname(os.path.realpath(source.path)) + os.sep})
        self._sources: dict[str, Optional[SourceTree]] = {source.path: source}
        self._rebound: dict[str, set[str]] = {}

    def _beside_trees(self) -> Iterable[SourceTree]:
        paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        for path in (self.context, *paths):
            if isinstance(path, str) and (path == self.context or self.is_beside(path)):
                source = self.source(path)
                if source is not None:
                    yield source

    def is_beside(self, path: str) -> bool:
        """Whether it is a user's file, next to or below the context file."""
        if path == self.context:
            return True
        return path.startswith(self._folders) and path.endswith(".py") and "site-packages" not in path

    def source(self, path: str) -> Optional[SourceTree]:
        """The syntax tree of a user's file."""
        if path not in self._sources:
            tree = None
            if self.is_beside(path):
                try:
                    with open(path, "rb") as file:
                        tree = SourceTree(ast.parse(file.read()), path)
                except (OSError, SyntaxError, ValueError, RecursionError):
                    tree = None
            self._sources[path] = tree
        return self._sources[path]

    def source_of_class(self, cls: type) -> bool:
        """Whether it is a user's class."""
        module = sys.modules.get(cls.__module__)
        file = getattr(module, "__file__", None)
        return isinstance(file, str) and self.is_beside(file)

    def rebound(self, path: str) -> set[str]:
        """Names that a function of the file declares global."""
        if path not in self._rebound:
            source = self.source(path)
            self._rebound[path] = set()
            if source is not None:
                for node in ast.walk(source.tree):
                    if isinstance(node, ast.Global):
                        self._rebound[path].update(node.names)
                    elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
                        # globals()["name"] = …
                        key = node.slice if isinstance(node.value, ast.Call) else None
                        if isinstance(key, ast.Constant) and isinstance(key.value, str):
                            self._rebound[path].add(key.value)
        return self._rebound[path]

    def is_ours(self, func: Any) -> bool:
        code = getattr(func, "__code__", None)
        if code is None:
            return False
        source = self.source(code.co_filename)
        return source is not None and bool(source.nodes(code))
