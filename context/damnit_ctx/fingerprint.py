"""Fingerprints of variables: identify the code in the context file that computes a value.

The fingerprint of a variable covers its function, everything at the top level of the file that the function reads,
directly or through other functions, the files beside the context file that are imported on the way, and what of the
decorator changes the value. It does not cover comments, layout, docstrings, titles, tags or Slurm's resources. It is
made of the syntax tree without positions, so that it is the same in each process and Python version.
"""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from typing import Any, Optional, Union

from . import _core
from .functions import FUNCTIONS as _FUNCTIONS
from .functions import SourceTree, code_of
from .group import is_group
from .resources import ARGUMENTS
from .slurm_job import SlurmJob
from .variable import GroupVariable, Variable

_DOCUMENTED = (*_FUNCTIONS, ast.ClassDef, ast.Module)
# Fields without influence on the meaning, or that not every Python version has.
_IGNORED = {"type_comment", "type_ignores", "kind", "ctx", "type_params"}


class Fingerprints:
    """The fingerprints of the variables of one context file.

    Args:
        tree: the file's syntax tree.
        path: the file.
        folders: directories of imported helpers (default: the file's directory).
        namespace: the file's globals after its execution, for names that the tree does not bind.
    """

    def __init__(self, tree: ast.Module, path: str, namespace: dict[str, Any], folders: Sequence[str] = ()) -> None:
        self._folders = list(folders) or [os.path.dirname(path)]
        self._namespace = namespace
        self._binders: dict[str, list[ast.stmt]] = {}
        self._stars: list[ast.stmt] = []
        for statement in tree.body:
            names = set(_bound(statement))
            if "*" in names:
                self._stars.append(statement)
            for name in names:
                self._binders.setdefault(name, []).append(statement)
        self.source = SourceTree(tree, path)
        # Keyword arguments that control where a variable runs, by id; they also occur in classes and next to lambdas.
        self._unread: set[int] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and self._is_variable(node.func):
                self._unread.update(id(word) for word in node.keywords if word.arg in ARGUMENTS)
        self._statements: dict[int, tuple[str, set[str]]] = {}
        self._files: dict[str, str] = {}

    def _is_variable(self, node: ast.expr) -> bool:
        """Whether it is a name of the class `Variable`."""
        if isinstance(node, ast.Name):
            return self._namespace.get(node.id) is Variable
        return isinstance(node, ast.Attribute) and node.attr == "Variable"

    def line(self, func: Any) -> Optional[int]:
        """The line of a function's ``def`` in the context file."""
        code = code_of(func)
        if code is None:
            return None
        for node in self.source.nodes(code):
            return getattr(node, "lineno", None)
        return int(code.co_firstlineno)

    def of(self, variable: Variable) -> str:
        """The fingerprint of a variable, hexadecimal."""
        parts = [part.encode("utf-8", "backslashreplace") + b"\0" for part in self._material(variable)]
        return _core.sha256(b"".join(parts))

    def _material(self, variable: Variable) -> Iterator[str]:
        yield f"{variable.name} {variable.summary!r} {variable.units!r} {variable.transient!r} {variable._data!r}"
        yield repr(sorted(variable.annotations().items()))
        if isinstance(variable.job, SlurmJob):
            yield f"job {variable.job.words()!r} {variable.job.check!r}"
        owner = getattr(variable.func, "__self__", None)
        if owner is not None and is_group(owner):
            yield from self._group(owner)
        names: set[str] = set()
        yield from self._function(variable.func, names, set())
        yield from self._globals(names)

    def _group(self, group: Any) -> Iterator[str]:
        """A group's class (methods that call one another included) and the instance's values."""
        for cls in type(group).__mro__:
            yield cls.__qualname__
            if cls.__qualname__ in self._binders:
                yield from self._globals({cls.__qualname__})
        for name, value in sorted(vars(group).items()):
            if name not in ("title", "tags", "sep"):
                yield f"{name}={_value(value)}"

    def _function(self, func: Any, names: set[str], seen: set[int]) -> Iterator[str]:
        """The digest input of a function alone; the names that it reads are added to ``names``."""
        code = code_of(func)
        if code is None or id(code) in seen:
            yield _value(func)
            return
        seen.add(id(code))
        nodes = self.source.nodes(code)
        if not nodes:
            yield f"{getattr(func, '__module__', '')}.{getattr(func, '__qualname__', '')}"
            names.update(code.co_names)
            if os.path.dirname(code.co_filename) in self._folders:
                yield self._file(code.co_filename)
        for node in nodes:
            bare = _without_decorators(node)
            yield _dump(bare, self._unread)
            names.update(_read(bare, self._unread))
        plain = inspect.unwrap(getattr(func, "__func__", func))
        for cell in plain.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            if inspect.isfunction(content):
                yield from self._function(content, names, seen)
            else:
                yield _value(content)
        for default in (*(plain.__defaults__ or ()), *(plain.__kwdefaults__ or {}).values()):
            yield _value(default)

    def _globals(self, names: Iterable[str]) -> Iterator[str]:
        """The digest input of everything at the top level that these names refer to, in the order of the names."""
        wanted: dict[int, tuple[str, str]] = {}
        pending = list(names)
        seen = set(pending)
        while pending:
            name = pending.pop()
            binders = self._binders.get(name)
            if binders is None:
                value = self._namespace.get(name)
                if value is not None:
                    wanted[id(value)] = (name, _value(value))
                continue
            for statement in binders:
                if id(statement) not in wanted:
                    dump, reads = self._statement(statement)
                    wanted[id(statement)] = (name, dump)
                    new = reads - seen
                    seen |= new
                    pending.extend(new)
        for statement in self._stars:
            wanted[id(statement)] = ("*", self._statement(statement)[0])
        yield from sorted(dump for _, dump in wanted.values())

    def _statement(self, statement: ast.stmt) -> tuple[str, set[str]]:
        known = self._statements.get(id(statement))
        if known is None:
            dump = _dump(statement, self._unread)
            for module in _imports(statement):
                dump += self._helper(module)
            known = self._statements[id(statement)] = (dump, set(_read(statement, self._unread)))
        return known

    def _helper(self, module: str) -> str:
        """The digests of a module next to the context file, and of the modules next to it that it imports."""
        digests = []
        pending = [module]
        seen = set()
        while pending:
            name = pending.pop()
            for path in self._files_of(name):
                if path in seen:
                    continue
                seen.add(path)
                digests.append(self._file(path))
                try:
                    with open(path, "rb") as file:
                        tree = ast.parse(file.read())
                except (OSError, SyntaxError, ValueError):
                    continue
                package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
                for node in ast.walk(tree):
                    if isinstance(node, (ast.Import, ast.ImportFrom)):
                        pending.extend(_imports(node, package))
        return "".join(sorted(digests))

    def _files_of(self, module: str) -> list[str]:
        """The files of a module, in the first directory that has it."""
        for folder in self._folders:
            base = os.path.join(folder, *module.split("."))
            found = [path for path in (base + ".py", os.path.join(base, "__init__.py")) if os.path.isfile(path)]
            if found:
                return found
        return []

    def _file(self, path: str) -> str:
        if path not in self._files:
            try:
                with open(path, "rb") as file:
                    self._files[path] = _core.sha256(file.read())
            except OSError:
                self._files[path] = "unreadable"
        return self._files[path]


def _without_decorators(node: ast.AST) -> ast.AST:
    if not isinstance(node, _FUNCTIONS):
        return node
    bare = copy(node)
    bare.decorator_list = []
    return bare


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a top-level statement binds; ``*`` for a star import."""
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            inner: Any = node
            while isinstance(inner, (ast.Subscript, ast.Attribute)):
                inner = inner.value
            if isinstance(inner, ast.Name):  # table["key"] = ... changes what table is
                yield inner.id


def _read(node: ast.AST, unread: Collection[int] = ()) -> Iterator[str]:
    """Names that are read below a node, but not below those nodes. Includes local names, which is harmless."""
    pending = [node]
    while pending:
        inner = pending.pop()
        if id(inner) in unread:
            continue
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
            yield inner.id
        pending.extend(ast.iter_child_nodes(inner))


def _imports(node: Union[ast.stmt, ast.AST], package: str = "") -> Iterator[str]:
    """Dotted names of modules that a statement imports or may import."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            for alias in inner.names:
                parts = alias.name.split(".")
                yield from (".".join(parts[: end + 1]) for end in range(len(parts)))
        elif isinstance(inner, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - (inner.level - 1)] if inner.level else []
            base = ".".join([*filter(None, above), *filter(None, [inner.module])])
            yield base
            for alias in inner.names:
                yield f"{base}.{alias.name}" if base else alias.name


def _dump(node: Any, unread: Collection[int] = ()) -> str:
    """A syntax tree as text, without positions, docstrings, empty fields and those nodes."""
    if isinstance(node, ast.AST):
        if (
            isinstance(node, ast.Call)
            and node.keywords
            and not node.args
            and all(id(word) in unread for word in node.keywords)
        ):
            return _dump(node.func, unread)  # @Variable(cpus=8) is @Variable
        fields = []
        for name, value in ast.iter_fields(node):
            if name in _IGNORED or value is None or value == []:
                continue
            if name == "body" and isinstance(node, _DOCUMENTED):
                value = value[1:] if _is_docstring(value[0]) else value
            elif name == "keywords":
                value = [word for word in value if id(word) not in unread]
                if not value:
                    continue
            fields.append(f"{name}={_dump(value, unread)}")
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(_dump(inner, unread) for inner in node)}]"
    return repr(node)


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _value(value: Any) -> str:
    """A value as text that is the same in each process: literals as they are, other values by type and name."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}[{','.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"dict[{','.join(f'{_value(key)}:{_value(inner)}' for key, inner in value.items())}]"
    if isinstance(value, (set, frozenset)):
        return f"set[{','.join(sorted(map(_value, value)))}]"
    if isinstance(value, (Variable, GroupVariable)):
        return f"variable {value.name}"
    if is_group(value):
        return f"group {value.name}"
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    return f"{type(value).__qualname__} {name or ''}"
