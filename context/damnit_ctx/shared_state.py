"""State that the functions of a context file share: what each of them changes, and what it reads of what others change.

A function is followed through everything that it calls in the context file and in the files beside it. What is
followed are objects that were there when the file had been executed: names of modules, lists and dictionaries,
objects of the user's classes, random generators, caches, files of a fixed name. Where it cannot be told whether
something is changed, it is taken to be.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import os
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from . import state_knowledge as known
from .functions import FUNCTIONS, SourceTree
from .group import is_group
from .scratch_files import APPENDS, READS, WRITES, file_uses
from .variable import GroupVariable, Variable

# A value, as far as it is followed: the things that it may be, or be a part of.
Refs = frozenset
_NOTHING: Refs = frozenset()
_LAMBDA = "<lambda>"


class Use:
    """How a function uses one piece of state; where it changes it, or else reads it."""

    __slots__ = ("changes", "file", "line", "line_of_change", "overwrites", "reads", "together")

    def __init__(self) -> None:
        self.changes = self.reads = self.together = self.line_of_change = self.overwrites = False
        self.line: Optional[int] = None
        self.file: Optional[str] = None

    def add(
        self,
        line: Optional[int],
        file: Optional[str],
        changes: bool = False,
        reads: bool = False,
        together: bool = False,
        overwrites: bool = False,
    ) -> None:
        """One more place where it is used."""
        if self.line is None or (changes and not self.line_of_change):
            self.line, self.file, self.line_of_change = line, file, changes
        self.changes |= changes
        self.reads |= reads
        self.together |= together
        self.overwrites |= overwrites


Uses = dict  # name of a piece of state → Use


class SharedState:
    """What the variables of one executed context file share.

    Args:
        source: the context file.
        namespace: its globals after its execution.
    """

    def __init__(self, source: SourceTree, namespace: dict[str, Any]) -> None:
        self._folder = os.path.dirname(source.path)
        self._context = source.path
        self._folders = tuple({self._folder + os.sep, os.path.dirname(os.path.realpath(source.path)) + os.sep})
        self._namespace = namespace
        self._sources: dict[str, Optional[SourceTree]] = {source.path: source}
        self._objects: dict[int, Any] = {}
        self._labels: dict[int, str] = {}
        self._bindings: dict[tuple[int, str], str] = {}
        self._taken: set[str] = set()
        self._prefixes: dict[int, str] = {id(namespace): ""}
        self._rebound: dict[str, set[str]] = {}
        self._classes: list[type] = []
        self._done: dict[Any, tuple[Uses, Refs]] = {}
        self._local_functions: dict[int, tuple[Any, _Frame]] = {}
        self._register()

    def of(self, variables: Mapping[str, Variable]) -> dict[str, Uses]:
        """For each variable the pieces of state that it shares with others."""
        found = {name: self._of_one(variable) for name, variable in variables.items()}
        changed: set[str] = set()
        read: set[str] = set()
        users: dict[str, int] = {}
        for uses in found.values():
            for piece, use in uses.items():
                users[piece] = users.get(piece, 0) + 1
                # A cache is filled by whoever reads it.
                if use.changes or (use.together and not piece.startswith("file ")):
                    changed.add(piece)
                if use.reads or use.together:
                    read.add(piece)
        shared = {piece for piece in changed & read if users[piece] > 1}
        return {
            name: {piece: use for piece, use in sorted(uses.items()) if piece in shared} for name, uses in found.items()
        }

    def _of_one(self, variable: Variable) -> Uses:
        func = getattr(variable, "func", None)
        uses: Uses = Uses()
        if func is None:
            return uses
        frame = _Frame(self, self._namespace, self._context, uses)
        self.call(func, frame, None, [], {})
        made, drawn = uses.pop("figure made", None), uses.pop("figure drawn", None)
        if made or drawn:
            # A function that makes its own figure leaves it as the current one, but needs nobody's.
            use = uses.setdefault(known.CURRENT_FIGURE, Use())
            first = made or drawn
            use.add(first.line, first.file, changes=True, reads=not made)
        for piece, use in uses.items():
            if use.overwrites and piece.startswith(("file ", known.NUMPYS_RANDOM, known.PYTHONS_RANDOM)):
                use.reads = False
        return uses

    # --- What is there ------------------------------------------------------------------------------------------------

    def _register(self) -> None:
        """Gives everything at the top level of the context file, and of the files beside it, its name."""
        modules = [(self._namespace, "")]
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if isinstance(module, types.ModuleType) and isinstance(file, str) and self.is_beside(file):
                modules.append((vars(module), f"{name}."))
        for namespace, prefix in modules:
            self._prefixes.setdefault(id(namespace), prefix)
            for name, value in list(namespace.items()):
                if name.startswith("__"):
                    continue
                if isinstance(value, type):
                    if self.source_of_class(value):
                        self._classes.append(value)
                elif not known.is_plain(value) and not isinstance(value, (Variable, GroupVariable)):
                    self.label_object(value, self.label_binding(namespace, name))
        self._seeded = known.seeded([source.tree for source in self._beside_trees()])
        for number, label in known.global_generators().items():
            if label in self._seeded:
                self._labels[number] = label

    def _beside_trees(self) -> Iterable[SourceTree]:
        paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        for path in (self._context, *paths):
            if isinstance(path, str) and (path == self._context or self.is_beside(path)):
                source = self.source(path)
                if source is not None:
                    yield source

    def is_beside(self, path: str) -> bool:
        """Is it a file of the user's, beside or below the context file?"""
        if path == self._context:
            return True
        return path.startswith(self._folders) and path.endswith(".py") and "site-packages" not in path

    def source(self, path: str) -> Optional[SourceTree]:
        """The syntax tree of a file of the user's."""
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
        """Is it a class of the user's?"""
        module = sys.modules.get(cls.__module__)
        file = getattr(module, "__file__", None)
        return isinstance(file, str) and self.is_beside(file)

    def rebound(self, path: str) -> set[str]:
        """Names that some function of the file declares global."""
        if path not in self._rebound:
            source = self.source(path)
            self._rebound[path] = set()
            if source is not None:
                for node in ast.walk(source.tree):
                    if isinstance(node, ast.Global):
                        self._rebound[path].update(node.names)
        return self._rebound[path]

    def classes_with(self, method: str) -> list[Any]:
        """Methods of that name in the user's classes."""
        found = []
        for cls in self._classes:
            func = vars(cls).get(method)
            func = getattr(func, "__func__", func)
            if isinstance(func, types.FunctionType):
                found.append(func)
        return found

    # --- Names of pieces ----------------------------------------------------------------------------------------------

    def _unique(self, label: str) -> str:
        number, name = 1, label
        while name in self._taken:
            number += 1
            name = f"{label} ({number})"
        self._taken.add(name)
        return name

    def label_binding(self, namespace: Any, name: str) -> str:
        """The piece of state that a name of a module is."""
        key = (id(namespace), name)
        if key not in self._bindings:
            self._objects[id(namespace)] = namespace
            self._bindings[key] = self._unique(f"{self._prefixes.get(id(namespace), '')}{name}")
        return self._bindings[key]

    def label_attribute(self, owner: Any, name: str) -> str:
        """The piece of state that an attribute of a known object is."""
        key = (id(owner), f".{name}")
        if key not in self._bindings:
            self._objects[id(owner)] = owner
            label = self._labels.get(id(owner))
            if label is None and is_group(owner):
                label = str(owner.name)
            if label is None:
                label = getattr(owner, "__qualname__", None) or type(owner).__qualname__
            self._bindings[key] = self._unique(f"{label}.{name}")
        return self._bindings[key]

    def label_object(self, value: Any, label: str) -> None:
        """Names an object, unless it has a name."""
        if id(value) not in self._labels:
            self._labels[id(value)] = label
        self._objects[id(value)] = value

    def label_of(self, ref: Any) -> Optional[str]:
        """The piece of state that something is part of."""
        while ref[0] == "attribute":
            ref = ref[1]
        if ref[0] == "object":
            return self._labels.get(ref[1])
        return ref[1] if ref[0] == "part" else None

    def known_object(self, value: Any) -> Any:
        """A reference to an object."""
        self._objects[id(value)] = value
        return ("object", id(value))

    def object_of(self, ref: Any) -> Any:
        """The object of a reference; None if it is not known."""
        return self._objects.get(ref[1]) if ref[0] == "object" else None

    # --- Calls --------------------------------------------------------------------------------------------------------

    def call(
        self, func: Any, frame: _Frame, node: Optional[ast.Call], args: list[Refs], words: dict[str, Refs]
    ) -> Refs:
        """Follows a call of a known object."""
        if isinstance(func, functools.partial):
            fixed = [Refs({self.known_object(value)}) for value in func.args]
            more = {name: Refs({self.known_object(value)}) for name, value in func.keywords.items()}
            return self.call(func.func, frame, node, fixed + args, {**more, **words})
        if isinstance(func, types.MethodType):
            owner = Refs({self.known_object(func.__self__)})
            if self._is_ours(func.__func__):
                return self.call(func.__func__, frame, node, [owner, *args], words)
            return frame.method(owner, func.__name__, node, args, words)
        if hasattr(func, "cache_info") and hasattr(func, "__wrapped__"):
            label = self._bindings.get((id(func), "cache"))
            if label is None:
                self._objects[id(func)] = func
                label = self._bindings[(id(func), "cache")] = self._unique(f"cache of {func.__qualname__}")
            frame.note(label, node, together=True)
            return self.call(func.__wrapped__, frame, node, args, words)
        if isinstance(func, types.FunctionType):
            if self._is_ours(func):
                return self._call_function(func, frame, args, words)
            wrapped = getattr(func, "__wrapped__", None)
            if wrapped is not None:
                self.call(wrapped, frame, node, args, words)
            # A decorator of a library: what it was given stands in its cells.
            for cell in func.__closure__ or ():
                content = _content(cell)
                if isinstance(content, types.FunctionType) and content is not wrapped and self._is_ours(content):
                    self.call(content, frame, node, args, words)
        elif isinstance(func, type):
            if self.source_of_class(func):
                return self._construct(func, frame, node, args, words)
        elif isinstance(func, types.BuiltinMethodType) and not isinstance(func.__self__, (types.ModuleType, type)):
            if func.__self__ is not None:
                return frame.method(Refs({self.known_object(func.__self__)}), func.__name__, node, args, words)
        elif not callable(getattr(func, "__wrapped__", None)):
            method = inspect.getattr_static(type(func), "__call__", None)
            if isinstance(method, types.FunctionType) and self._is_ours(method):
                return self.call(method, frame, node, [Refs({self.known_object(func)}), *args], words)
        else:
            return self.call(func.__wrapped__, frame, node, args, words)
        return frame.foreign(func, node, args, words)

    def _construct(
        self, cls: type, frame: _Frame, node: Optional[ast.Call], args: list[Refs], words: dict[str, Refs]
    ) -> Refs:
        self._objects[id(cls)] = cls
        made = Refs({("instance", id(cls))})
        for name in ("__new__", "__init__", "__post_init__"):
            method = inspect.getattr_static(cls, name, None)
            method = getattr(method, "__func__", method)
            if isinstance(method, types.FunctionType) and self._is_ours(method):
                self.call(method, frame, node, [made, *args], words)
        return made

    def _is_ours(self, func: Any) -> bool:
        code = getattr(func, "__code__", None)
        if code is None:
            return False
        source = self.source(code.co_filename)
        return source is not None and bool(source.nodes(code))

    def _call_function(self, func: Any, caller: _Frame, args: list[Refs], words: dict[str, Refs]) -> Refs:
        code = func.__code__
        source = self.source(code.co_filename)
        assert source is not None
        key = (id(func), tuple(args), tuple(sorted(words.items(), key=lambda item: item[0])))
        if key not in self._done:
            self._objects[id(func)] = func
            uses: Uses = Uses()
            # A function that calls itself adds nothing by that.
            self._done[key] = (uses, _NOTHING)
            returned: Refs = _NOTHING
            for definition in source.nodes(code):
                frame = _Frame(self, func.__globals__, code.co_filename, uses)
                frame.bind_cells(func)
                frame.bind(definition, args, words, func)
                returned |= frame.run(definition)
            self._done[key] = (uses, returned)
        uses, returned = self._done[key]
        caller.join(uses)
        return returned


class _Frame:
    """One function that is followed, with what its names may be."""

    def __init__(self, state: SharedState, namespace: dict[str, Any], path: str, uses: Uses) -> None:
        self._state = state
        self._namespace = namespace
        self._path = path
        self._file = None if path == state._context else path
        self._uses = uses
        self._values: dict[str, Refs] = {}
        self._texts: dict[str, Optional[str]] = {}
        self._globals: set[str] = set()
        self._cells: dict[str, str] = {}
        self._returned: Refs = _NOTHING

    # --- Noting -------------------------------------------------------------------------------------------------------

    def note(self, piece: Optional[str], node: Optional[ast.AST], **how: bool) -> None:
        """A use of a piece of state."""
        if piece is not None:
            use = self._uses.get(piece)
            if use is None:
                use = self._uses[piece] = Use()
            use.add(getattr(node, "lineno", None), self._file, **how)

    def join(self, uses: Uses) -> None:
        """What a function uses that is called, its caller uses too."""
        if uses is self._uses:
            return
        for piece, use in list(uses.items()):
            mine = self._uses.setdefault(piece, Use())
            mine.add(use.line, use.file, use.changes, use.reads, use.together, use.overwrites)

    def _read(self, refs: Refs, node: ast.AST) -> None:
        for ref in refs:
            value = self._state.object_of(ref)
            uses_up = value is not None and (known.is_iterator(value))
            self.note(self._state.label_of(ref), node, reads=True, changes=uses_up)

    def _change(self, refs: Iterable[Any], node: Optional[ast.AST], reads: bool = False) -> None:
        for ref in refs:
            self.note(self._state.label_of(ref), node, changes=True, reads=reads)

    # --- Binding ------------------------------------------------------------------------------------------------------

    def bind_cells(self, func: Any) -> None:
        """The names of a function that are those of the function around it."""
        for name, cell in zip(func.__code__.co_freevars, func.__closure__ or ()):
            content = _content(cell)
            state = self._state
            key = (id(cell), name)
            if key not in state._bindings:
                state._objects[id(cell)] = cell
                outer = func.__qualname__.partition(".<locals>")[0]
                state._bindings[key] = state._unique(f"{name} in {outer}")
            label = state._bindings[key]
            self._cells[name] = label
            refs = {("part", label)}
            if content is not None and content is not _EMPTY_CELL:
                if not known.is_plain(content):
                    state.label_object(content, label)
                refs.add(state.known_object(content))
            self._values[name] = Refs(refs)

    def bind(self, definition: Any, args: list[Refs], words: dict[str, Refs], func: Any = None) -> None:
        """Gives the arguments their values."""
        spec = definition.args
        names = [argument.arg for argument in (*spec.posonlyargs, *spec.args)]
        for name in [*names, *(argument.arg for argument in spec.kwonlyargs)]:
            self._values[name] = words.get(name, _NOTHING)
        for name, refs in zip(names, args):
            self._values[name] = self._values[name] | refs
        for extra in (spec.vararg, spec.kwarg):
            if extra is not None:
                self._values[extra.arg] = Refs().union(*args[len(names) :], *words.values())
        if func is None:
            return
        given = dict(zip(reversed(names), reversed(func.__defaults__ or ())))
        for name, value in {**given, **(func.__kwdefaults__ or {})}.items():
            if not known.is_plain(value) and not isinstance(value, tuple):
                self._state.label_object(value, f"{func.__qualname__}({name}=…)")
                self._values[name] = self._values[name] | {self._state.known_object(value)}

    def run(self, definition: Any) -> Refs:
        """Follows a function's body."""
        if isinstance(definition, ast.Lambda):
            return self._value(definition.body)
        self._declare(definition.body)
        self._block(definition.body)
        if any(self._values.values()):
            # Names may be used above where they get what is followed: in a loop.
            self._block(definition.body)
        return self._returned

    def _declare(self, body: list[ast.stmt]) -> None:
        """Finds the names that are the function's own."""
        pending: list[ast.AST] = list(body)
        stored: dict[str, int] = {}
        texts: dict[str, ast.expr] = {}
        while pending:
            node = pending.pop()
            if isinstance(node, ast.Global):
                self._globals.update(node.names)
            elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                stored[node.name] = 2
                continue
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    stored[alias.asname or alias.name.partition(".")[0]] = 2
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                stored[node.id] = stored.get(node.id, 0) + 1
            elif isinstance(node, ast.ExceptHandler) and node.name:
                stored[node.name] = 2
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                texts[node.targets[0].id] = node.value
            if not isinstance(node, ast.Lambda):
                pending.extend(ast.iter_child_nodes(node))
        for name in stored:
            if name not in self._globals and name not in self._cells:
                self._values.setdefault(name, _NOTHING)
        for name, value in texts.items():
            if stored.get(name) == 1 and name in self._values and not self._values[name]:
                self._texts[name] = self._constant(value)

    # --- Statements ---------------------------------------------------------------------------------------------------

    def _block(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            refs = self._value(node.value, False)
            for target in node.targets:
                self._store(target, refs, node.value)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self._store(node.target, self._value(node.value, False), node.value)
        elif isinstance(node, ast.AugAssign):
            self._value(node.value)
            self._add_to(node.target)
        elif isinstance(node, ast.Delete):
            for target in node.targets:
                self._store(target, _NOTHING, None)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            self._store(node.target, self._elements(self._value(node.iter)), None)
            self._block([*node.body, *node.orelse])
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                refs = self._value(item.context_expr, False, context=True)
                if item.optional_vars is not None:
                    self._store(item.optional_vars, refs, None)
            self._block(node.body)
        elif isinstance(node, ast.Return):
            if node.value is not None:
                # What is returned may be read by whoever called.
                self._returned |= self._value(node.value)
        elif isinstance(node, ast.Expr):
            if isinstance(node.value, ast.Call):
                self._call(node.value, unused=True)
            else:
                self._value(node.value)
        elif isinstance(node, FUNCTIONS):
            self._local_function(node.name, node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            self._import(node)
        elif isinstance(node, (ast.Global, ast.Nonlocal, ast.Pass)):
            pass
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self._value(child)
                else:
                    self._statement(child)

    def _local_function(self, name: str, node: Any) -> Refs:
        """A function inside of the function. It is taken to be called somehow."""
        state = self._state
        state._local_functions[id(node)] = (node, self)
        refs = Refs({("local", id(node))})
        if name != _LAMBDA:
            self._values[name] = self._values.get(name, _NOTHING) | refs
        self._call_local(node, self, [], {})
        return refs

    def _call_local(self, node: Any, home: _Frame, args: list[Refs], words: dict[str, Refs]) -> Refs:
        if getattr(node, "_followed", 0) > 3:
            return _NOTHING
        node._followed = getattr(node, "_followed", 0) + 1
        try:
            inner = _Frame(self._state, home._namespace, home._path, self._uses)
            inner._values = dict(home._values)
            inner._globals, inner._cells, inner._texts = set(home._globals), dict(home._cells), dict(home._texts)
            inner.bind(node, args, words)
            return inner.run(node)
        finally:
            node._followed -= 1

    def _import(self, node: Any) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            if isinstance(node, ast.Import):
                module = sys.modules.get(alias.name if alias.asname else name)
                value = module
            else:
                module = sys.modules.get(node.module or "")
                value = getattr(module, alias.name, None) if module is not None else None
            if value is not None:
                self._values[name] = Refs({self._state.known_object(value)})

    def _store(self, target: ast.expr, refs: Refs, value: Optional[ast.expr]) -> None:
        if isinstance(target, ast.Name):
            if target.id in self._globals:
                self.note(self._state.label_binding(self._namespace, target.id), target, changes=True)
            elif target.id in self._cells:
                self.note(self._cells[target.id], target, changes=True)
            else:
                self._values[target.id] = self._values.get(target.id, _NOTHING) | refs
        elif isinstance(target, (ast.Tuple, ast.List)):
            for inner in target.elts:
                self._store(inner, self._elements(refs) | refs, None)
        elif isinstance(target, ast.Starred):
            self._store(target.value, refs, None)
        elif isinstance(target, ast.Subscript):
            self._value(target.slice)
            base = self._value(target.value, False)
            if _is_call_of(target.value, "globals") and isinstance(target.slice, ast.Constant):
                self.note(self._state.label_binding(self._namespace, str(target.slice.value)), target, changes=True)
                return
            for ref in base:
                owner = self._state.object_of(ref)
                if not self._dunder(owner, ref, "__setitem__", [_NOTHING, refs]):
                    self._change([ref], target)
        elif isinstance(target, ast.Attribute):
            self._store_attribute(self._value(target.value, False), target.attr, target)

    def _store_attribute(self, base: Refs, name: str, node: ast.AST) -> None:
        for ref in base:
            owner = self._state.object_of(ref)
            if owner is None:
                self._change([ref], node)
            elif isinstance(owner, types.ModuleType) and not self._is_user_module(owner):
                self.note(_settings(owner.__name__), node, changes=True)
            elif isinstance(owner, types.ModuleType):
                self.note(self._state.label_binding(vars(owner), name), node, changes=True)
            elif self._has_attributes(owner):
                setter = inspect.getattr_static(type(owner), name, None)
                if isinstance(setter, property) and setter.fset is not None:
                    self._state.call(setter.fset, self, None, [Refs({ref}), _NOTHING], {})
                else:
                    self.note(self._state.label_attribute(self._holder(owner, name), name), node, changes=True)
            else:
                self._change([ref], node)

    def _add_to(self, target: ast.expr) -> None:
        """``target += …``"""
        if isinstance(target, ast.Name):
            if target.id in self._globals:
                label = self._state.label_binding(self._namespace, target.id)
                self.note(label, target, changes=True, reads=True)
                refs = self._value(ast.copy_location(ast.Name(target.id, ast.Load()), target), False)
            else:
                if target.id in self._cells:
                    self.note(self._cells[target.id], target, changes=True, reads=True)
                refs = self._values.get(target.id, _NOTHING)
            objects = [ref for ref in refs if ref[0] == "object"]
            self._change((ref for ref in objects if not known.is_plain(self._state.object_of(ref))), target, True)
            return
        if isinstance(target, (ast.Subscript, ast.Attribute)):
            reading = type(target)(**{**dict(ast.iter_fields(target)), "ctx": ast.Load()})
            self._value(ast.copy_location(reading, target))
            self._store(target, _NOTHING, None)

    # --- Expressions --------------------------------------------------------------------------------------------------

    def _value(self, node: ast.AST, use: bool = True, context: bool = False) -> Refs:
        """What an expression may be. ``use``: its content is looked at, and not only handed on."""
        if isinstance(node, ast.Name):
            refs = self._name(node, use)
        elif isinstance(node, ast.Attribute):
            refs = self._attribute(node, use)
        elif isinstance(node, ast.Subscript):
            self._value(node.slice)
            base = self._value(node.value, False)
            refs = self._elements(base)
            for ref in base:
                owner = self._state.object_of(ref)
                if not self._dunder(owner, ref, "__getitem__", [_NOTHING]):
                    self._read(Refs({ref}), node)
            if use:
                self._read(refs, node)
        elif isinstance(node, ast.Call):
            refs = self._call(node, context=context)
        elif isinstance(node, ast.Lambda):
            refs = self._local_function(_LAMBDA, node)
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            for part in node.generators:
                self._store(part.target, self._elements(self._value(part.iter)), None)
                for test in part.ifs:
                    self._value(test)
            if isinstance(node, ast.DictComp):
                self._value(node.key)
                refs = self._value(node.value, False)
            else:
                refs = self._value(node.elt, False)
            self._read(refs, node)
        elif isinstance(node, ast.NamedExpr):
            refs = self._value(node.value, use)
            self._store(node.target, refs, node.value)
        elif isinstance(node, ast.IfExp):
            self._value(node.test)
            refs = self._value(node.body, use) | self._value(node.orelse, use)
        elif isinstance(node, ast.BoolOp):
            refs = Refs().union(*(self._value(value) for value in node.values))
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            refs = _holding(Refs().union(*(self._value(element) for element in node.elts)))
        elif isinstance(node, ast.Starred):
            refs = self._elements(self._value(node.value))
        elif isinstance(node, (ast.Await, ast.YieldFrom, ast.Yield)):
            refs = self._value(node.value, use) if node.value is not None else _NOTHING
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self._value(child)
            refs = _NOTHING
        return refs

    def _name(self, node: ast.Name, use: bool) -> Refs:
        name = node.id
        if name in self._values and name not in self._globals:
            refs = self._values[name]
            if name in self._cells:
                if use:
                    self.note(self._cells[name], node, reads=True)
            elif use:
                self._read(refs, node)
            return refs
        if name in self._namespace:
            return self._of_module(self._namespace, name, node, use, self._path)
        if name in self._globals:
            label = self._state.label_binding(self._namespace, name)
            if use:
                self.note(label, node, reads=True)
            return Refs({("part", label)})
        value = getattr(builtins, name, None)
        return _NOTHING if value is None else Refs({self._state.known_object(value)})

    def _of_module(self, namespace: dict[str, Any], name: str, node: ast.AST, use: bool, path: str) -> Refs:
        """A name at the top level of a module of the user's."""
        value = namespace[name]
        state = self._state
        refs = {state.known_object(value)}
        rebound = name in state.rebound(path)
        if rebound or not isinstance(value, (types.ModuleType, types.FunctionType, type, Variable)):
            label = state.label_binding(namespace, name)
            if not known.is_plain(value):
                state.label_object(value, label)
            if rebound:
                refs.add(("part", label))
            if use or known.is_plain(value):
                self.note(label, node, reads=True)
        if use:
            self._read(Refs(refs), node)
        self._touch_package(value, node)
        return Refs(refs)

    def _attribute(self, node: ast.Attribute, use: bool) -> Refs:
        base = self._value(node.value, False)
        refs: Refs = _NOTHING
        for ref in base:
            refs |= self._attribute_of(ref, node.attr, node, use)
        return refs

    def _attribute_of(self, ref: Any, name: str, node: ast.AST, use: bool) -> Refs:
        state = self._state
        if ref[0] == "instance":
            return self._attribute_of_new(ref, name, node, use)
        owner = state.object_of(ref)
        if isinstance(owner, types.ModuleType):
            if name not in vars(owner):
                return _NOTHING
            if self._is_user_module(owner):
                return self._of_module(vars(owner), name, node, use, owner.__file__ or "")
            value = vars(owner)[name]
            self._touch_package(owner, node)
            if not known.is_plain(value) and not callable(value):
                state.label_object(value, _settings(owner.__name__))
            found = Refs({state.known_object(value)})
            if use:
                self._read(found, node)
            return found
        if owner is not None and self._has_attributes(owner):
            static = inspect.getattr_static(owner, name, None)
            if isinstance(static, property):
                return state.call(static.fget, self, None, [Refs({ref})], {}) if static.fget else _NOTHING
            if isinstance(static, functools.cached_property):
                self.note(state.label_attribute(owner, name), node, together=True)
                return state.call(static.func, self, None, [Refs({ref})], {})
            if isinstance(static, (types.FunctionType, classmethod, staticmethod)):
                return Refs({("method", ref, name)})
            if isinstance(static, (types.MethodDescriptorType, types.WrapperDescriptorType)):
                return Refs({("attribute", ref, name)})
            label = state.label_attribute(self._holder(owner, name), name)
            if use or static is None or known.is_plain(static):
                self.note(label, node, reads=True)
            parts = {("part", label)}
            if static is not None:
                if not known.is_plain(static):
                    state.label_object(static, label)
                parts.add(state.known_object(static))
            if use:
                self._read(Refs(parts), node)
            return Refs(parts)
        if isinstance(owner, (Variable, GroupVariable, type)):
            value = getattr(owner, name, None)
            return _NOTHING if value is None else Refs({state.known_object(value)})
        if use:
            self._read(Refs({ref}), node)
        if owner is not None and known.is_array(owner) and name in known.VIEWS and not use:
            return Refs({ref, ("attribute", ref, name)})
        return Refs({("attribute", ref, name)})

    def _attribute_of_new(self, ref: Any, name: str, node: ast.AST, use: bool) -> Refs:
        """Of an object that the function has made: its methods, and what it has in common with others of its class."""
        state = self._state
        cls = state._objects[ref[1]]
        static = inspect.getattr_static(cls, name, None)
        if isinstance(static, property):
            return state.call(static.fget, self, None, [Refs({ref})], {}) if static.fget else _NOTHING
        if isinstance(static, (types.FunctionType, classmethod, staticmethod)):
            return Refs({("method", ref, name)})
        if static is None or known.is_plain(static):
            return _NOTHING
        label = state.label_attribute(self._holder_of_class(cls, name), name)
        state.label_object(static, label)
        if use:
            self.note(label, node, reads=True)
        return Refs({state.known_object(static)})

    def _has_attributes(self, owner: Any) -> bool:
        """Is it of a kind of which each attribute is a piece by itself: functions, classes, the user's objects?"""
        if isinstance(owner, types.FunctionType):
            return self._state._is_ours(owner)
        if isinstance(owner, type):
            return self._state.source_of_class(owner)
        if isinstance(owner, (Variable, GroupVariable)):
            return False
        return is_group(owner) or (self._state.source_of_class(type(owner)) and not isinstance(owner, types.ModuleType))

    def _holder(self, owner: Any, name: str) -> Any:
        """Whose attribute it is: the object's, or its class's."""
        if isinstance(owner, type) or name in getattr(owner, "__dict__", ()):
            return owner
        return self._holder_of_class(type(owner), name, owner)

    def _holder_of_class(self, cls: type, name: str, otherwise: Any = None) -> Any:
        for each in cls.__mro__:
            if name in vars(each) and not known.is_plain(vars(each)[name]):
                return each
        return cls if otherwise is None else otherwise

    def _is_user_module(self, module: types.ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        return isinstance(file, str) and self._state.is_beside(file)

    def _touch_package(self, value: Any, node: ast.AST) -> None:
        """Whoever uses a package reads its settings."""
        name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        if not isinstance(name, str) or (isinstance(value, types.ModuleType) and self._is_user_module(value)):
            return
        package = name.partition(".")[0]
        if package in ("matplotlib", "pandas", "xarray", "numpy", "seaborn", "scipy"):
            self.note(_settings(name), node, reads=True)

    def _elements(self, refs: Refs) -> Refs:
        """What stands in a container."""
        found = set()
        state = self._state
        for ref in refs:
            value = state.object_of(ref)
            if ref[0] == "new":
                found |= ref[1]
            if value is None:
                if ref[0] == "attribute":
                    label = state.label_of(ref)
                    ref = ("part", label) if label is not None else ref
                if ref[0] in ("part", "attribute"):
                    found.add(ref)
                continue
            if known.is_array(value):
                found.add(ref)
                continue
            if known.is_plain(value) or isinstance(value, str):
                continue
            label = state.label_of(ref)
            if label is not None:
                found.add(("part", label))
            if isinstance(value, (dict, list, tuple, set)):
                inside = list(value.values() if isinstance(value, dict) else value)[:200]
                for element in inside:
                    if known.is_plain(element):
                        if isinstance(element, (types.FunctionType, type, types.MethodType, types.BuiltinFunctionType)):
                            found.add(state.known_object(element))
                        continue
                    if label is not None:
                        state.label_object(element, label)
                    found.add(state.known_object(element))
        return Refs(found)

    def _dunder(self, owner: Any, ref: Any, name: str, args: list[Refs]) -> bool:
        """Calls what a class of the user's defines for an operator; is there anything?"""
        if owner is None or isinstance(owner, type):
            return False
        method = inspect.getattr_static(type(owner), name, None)
        if not isinstance(method, types.FunctionType) or not self._state._is_ours(method):
            return False
        self._state.call(method, self, None, [Refs({ref}), *args], {})
        return True

    # --- Calls --------------------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call, unused: bool = False, context: bool = False) -> Refs:
        self._files(node)
        func = self._value(node.func, False)
        args: list[Refs] = []
        for argument in node.args:
            refs = self._value(argument, False)
            args.append(self._elements(refs) if isinstance(argument, ast.Starred) else refs)
        words: dict[str, Refs] = {}
        for word in node.keywords:
            refs = self._value(word.value, False)
            if word.arg is None:
                args.append(self._elements(refs))
            else:
                words[word.arg] = refs
        found: Refs = _NOTHING
        self._unused, before = unused, getattr(self, "_unused", False)
        self._context_call = context
        for ref in func:
            found |= self._call_ref(ref, node, args, words)
        self._unused = before
        if not func:
            self._hand_over(args, words, node)
        return found

    def _call_ref(self, ref: Any, node: ast.Call, args: list[Refs], words: dict[str, Refs]) -> Refs:
        state = self._state
        kind = ref[0]
        if kind == "object":
            return state.call(state.object_of(ref), self, node, args, words)
        if kind == "local":
            definition, home = state._local_functions[ref[1]]
            return self._call_local(definition, home, args, words)
        if kind == "method":
            owner = state._objects.get(ref[1][1]) if ref[1][0] == "instance" else state.object_of(ref[1])
            static = inspect.getattr_static(owner, ref[2], None)
            func = getattr(static, "__func__", static)
            unbound = isinstance(owner, type) and func is static and ref[1][0] == "object"
            first = [] if unbound or isinstance(static, staticmethod) else [Refs({ref[1]})]
            if isinstance(static, classmethod):
                first = [Refs({state.known_object(owner if isinstance(owner, type) else type(owner))})]
            return state.call(func, self, node, [*first, *args], words)
        if kind == "attribute":
            return self.method(Refs({ref[1]}), ref[2], node, args, words)
        self.note(state.label_of(ref), node, reads=True)
        self._hand_over(args, words, node)
        return _NOTHING

    def method(
        self, owner: Refs, name: str, node: Optional[ast.Call], args: list[Refs], words: dict[str, Refs]
    ) -> Refs:
        """Follows a call of a method of something that is not of the user's classes."""
        state = self._state
        call = node if node is not None else ast.Call(ast.Name(name, ast.Load()), [], [])
        found: Refs = _NOTHING
        self._hand_over(args, words, node)
        for ref in owner:
            value = state.object_of(ref)
            label = state.label_of(ref)
            if ref[0] == "attribute":
                value = None
            if value is None:
                defined = state.classes_with(name)
                if defined and ref[0] == "part":
                    for func in defined:
                        found |= state.call(func, self, node, [Refs({ref}), *args], words)
                    self.note(label, node, reads=True)
                    continue
                changes = known.changes_anything(name) or any(word.arg == "inplace" for word in call.keywords)
            elif known.is_plain(value):
                continue
            elif known.is_iterator(value):
                changes = True
            else:
                changes = known.method_changes(value, name, call)
            if label in (known.NUMPYS_RANDOM, known.PYTHONS_RANDOM):
                seeds = name in ("seed", "setstate", "set_state")
                self.note(label, node, changes=True, reads=not seeds, overwrites=seeds)
                if name == "shuffle" and args:
                    self._change(args[0], node, True)
                continue
            if value is not None and known.is_random(value) and name == "shuffle" and args:
                self._change(args[0], node, True)
            reads = not (changes and name in known.PUTTING and getattr(self, "_unused", False))
            self.note(label, node, changes=changes, reads=reads)
            if name in ("get", "setdefault", "pop", "popitem", "popleft", "__getitem__"):
                found |= self._elements(Refs({ref}))
            elif value is not None and known.is_array(value) and name in known.VIEWS:
                found |= Refs({ref})
            elif name in ("copy", "items", "values", "keys"):
                found |= _holding(self._elements(Refs({ref})))
        return found

    def foreign(self, func: Any, node: Optional[ast.Call], args: list[Refs], words: dict[str, Refs]) -> Refs:
        """A call of a function whose source is not the user's."""
        state = self._state
        name = getattr(func, "__name__", "")
        if isinstance(getattr(func, "__objclass__", None), type) and args:
            return self.method(args[0], name, node, args[1:], words)
        package = (getattr(func, "__module__", None) or "").partition(".")[0]
        if node is not None:
            set_package = known.package_that_is_set(func)
            if set_package and not getattr(self, "_context_call", False):
                self.note(_settings(set_package), node, changes=True)
            if known.is_pyplot(func):
                makes = known.makes_figure(func)
                if makes is not None:
                    self.note("figure made" if makes else "figure drawn", node)
        if func is setattr or func is delattr:
            attribute = node.args[1] if node is not None and len(node.args) > 1 else None
            if isinstance(attribute, ast.Constant) and args:
                self._store_attribute(args[0], str(attribute.value), node or attribute)
            elif args:
                self._change(args[0], node)
        elif func is getattr and node is not None and len(node.args) > 1 and args:
            attribute = node.args[1]
            if isinstance(attribute, ast.Constant):
                return Refs().union(*(self._attribute_of(ref, str(attribute.value), node, True) for ref in args[0]))
        elif package == "functools" and name in ("reduce", "partial"):
            pass
        if name == "seed" and (getattr(func, "__module__", None) or "").startswith("numpy.random"):
            self.note(known.NUMPYS_RANDOM, node, changes=True, overwrites=True)
        if known.changes_first(name) and args:
            self._change(args[0], node, True)
        if "out" in words:
            self._change(words["out"], node)
        for refs in args:
            self._change(
                (ref for ref in refs if ref[0] == "object" and known.is_random(state.object_of(ref))), node, True
            )
        self._hand_over(args, words, node)
        if name in known.PASSING and (package == "builtins" or func in (getattr(builtins, name, None),)):
            inside = Refs().union(*(self._elements(refs) for refs in args))
            return inside if name in ("next", "min", "max") else _holding(inside)
        if package == "numpy" and name in known.VIEWS and args:
            return args[0]
        return _NOTHING

    def _hand_over(self, args: list[Refs], words: dict[str, Refs], node: Optional[ast.AST]) -> None:
        """Arguments of something that cannot be followed: their content is read, functions among them are called."""
        for refs in (*args, *words.values()):
            for ref in refs:
                value = self._state.object_of(ref)
                if ref[0] == "local":
                    continue  # taken to be called where it is defined
                if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)) and node is not None:
                    self._state.call(value, self, None, [], {})
                elif ref[0] == "method":
                    self._call_ref(ref, ast.copy_location(ast.Call(node, [], []), node), [], {})  # type: ignore[arg-type]
                elif node is not None:
                    self._read(Refs({ref}), node)

    # --- Files --------------------------------------------------------------------------------------------------------

    def _files(self, node: ast.Call) -> None:
        for path, how in file_uses(node, self._constant):
            label = f"file {path}"
            if how == READS:
                self.note(label, node, reads=True, together=True)
            elif how == WRITES:
                self.note(label, node, changes=True, together=True, overwrites=True)
            elif how == APPENDS:
                # It stands on the disk: nothing is executed again for it.
                self.note(label, node, changes=True, together=True, overwrites=True)

    def _constant(self, node: Any) -> Optional[str]:
        """The text of an expression that is the same for every run, None of any other."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            if node.id in self._values or node.id in self._globals:
                return self._texts.get(node.id)
            return _as_text(self._namespace.get(node.id))
        if isinstance(node, ast.Attribute):
            chain = known.dotted(node).split(".")
            value = None if chain[0] in self._values else self._namespace.get(chain[0])
            for name in chain[1:]:
                if not isinstance(value, (types.ModuleType, os.PathLike)):
                    return None
                value = getattr(value, name, None)
            return _as_text(value)
        if isinstance(node, ast.FormattedValue):
            return self._constant(node.value) if node.format_spec is None else None
        if isinstance(node, ast.JoinedStr):
            return _joined([self._constant(part) for part in node.values], "")
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Add)):
            between = "/" if isinstance(node.op, ast.Div) else ""
            return _joined([self._constant(node.left), self._constant(node.right)], between)
        if isinstance(node, ast.Call) and not node.keywords and node.args:
            name = known.dotted(node.func).rpartition(".")[2]
            if name in ("Path", "str", "fspath", "join"):
                return _joined([self._constant(part) for part in node.args], "/")
        return None


def _joined(parts: list[Optional[str]], between: str) -> Optional[str]:
    known_parts = [part for part in parts if part is not None]
    return between.join(known_parts) if len(known_parts) == len(parts) else None


def _as_text(value: Any) -> Optional[str]:
    if isinstance(value, str):
        return value
    return os.fspath(value) if isinstance(value, os.PathLike) and isinstance(os.fspath(value), str) else None


_EMPTY_CELL = object()


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY_CELL


def _holding(refs: Refs) -> Refs:
    """A new container with these in it."""
    return Refs({("new", refs)}) if refs else _NOTHING


def _is_call_of(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _settings(module: str) -> str:
    return f"settings of {module.partition('.')[0]}"
