"""Resolves names and attributes in a function to pieces of state, or parts of them."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import types
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Optional

from . import state_knowledge as known
from .group import is_group
from .state_pieces import NOTHING, RUN, Refs, Use, Uses, attribute_of, settings_of
from .state_values import PLAIN_ATTRIBUTES, is_value
from .variable import GroupVariable, Variable

if TYPE_CHECKING:
    from .state_calls import FollowedCalls


class Names:
    """The names of one analysed function, and its recorded uses of state."""

    def __init__(self, state: FollowedCalls, namespace: dict[str, Any], path: str, uses: Uses) -> None:
        self._state = state
        self._namespace = namespace
        self._path = path
        self._file = None if path == state.context else path
        self._uses = uses
        self._values: dict[str, Refs] = {}
        self._texts: dict[str, Optional[str]] = {}
        self._globals: set[str] = set()
        self._cells: dict[str, str] = {}
        self._returned: Refs = NOTHING

    def method(
        self, owner: Refs, name: str, node: Optional[ast.Call], args: list[Refs], words: dict[str, Refs]
    ) -> Refs:
        """Analyses a call of a method of an object that is not of the user's classes."""
        raise NotImplementedError

    def foreign(self, func: Any, node: Optional[ast.Call], args: list[Refs], words: dict[str, Refs]) -> Refs:
        """Analyses a call of a function that is not the user's."""
        raise NotImplementedError

    def _names_of(self, ref: Any) -> Refs:
        """The dictionary of an owner's names."""
        raise NotImplementedError

    def note(self, piece: Optional[str], node: Optional[ast.AST], **how: bool) -> None:
        """A use of a piece of state."""
        if piece is not None:
            use = self._uses.get(piece)
            if use is None:
                use = self._uses[piece] = Use()
            use.add(getattr(node, "lineno", None), self._file, **how)

    def join(self, uses: Uses) -> None:
        """The caller also uses everything that a called function uses."""
        if uses is self._uses:
            return
        for piece, use in list(uses.items()):
            mine = self._uses.setdefault(piece, Use())
            mine.add(use.line, use.file, use.changes, use.reads, use.together, use.overwrites, use.adds)

    def _read(self, refs: Refs, node: ast.AST) -> None:
        for ref in refs:
            value = self._state.object_of(ref)
            uses_up = value is not None and (known.is_iterator(value))
            self.note(self._state.label_of(ref), node, reads=True, changes=uses_up)

    def change(self, refs: Iterable[Any], node: Optional[ast.AST], reads: bool = False) -> None:
        """All of these are changed."""
        for ref in refs:
            self.note(self._state.label_of(ref), node, changes=True, reads=reads)

    def _store_attribute(self, base: Refs, name: str, node: ast.AST) -> None:
        for ref in base:
            owner = self._state.object_of(ref)
            if ref == RUN:
                self.note(self._state.label_run(name, sets=True), node, changes=True)
            elif owner is None:
                self.change([ref], node)
            elif isinstance(owner, types.ModuleType) and not self._is_user_module(owner):
                self.note(settings_of(owner.__name__), node, changes=True)
            elif isinstance(owner, types.ModuleType):
                self.note(self._state.label_binding(vars(owner), name), node, changes=True)
            elif self._has_attributes(owner):
                setter = inspect.getattr_static(type(owner), name, None)
                if isinstance(setter, property) and setter.fset is not None:
                    self._state.call(setter.fset, self, None, [Refs({ref}), NOTHING], {})
                else:
                    self.note(self._state.label_attribute(self._holder(owner, name), name), node, changes=True)
            else:
                self.change([ref], node)

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
        if hasattr(builtins, name):
            return Refs({self._state.known_object(getattr(builtins, name))})
        # Missing after the file was executed: a function may set it.
        label = self._state.label_binding(self._namespace, name)
        self.note(label, node, reads=True)
        return Refs({("part", label)})

    def _of_module(self, namespace: dict[str, Any], name: str, node: ast.AST, use: bool, path: str) -> Refs:
        """A top-level name of a user's module."""
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

    def _attribute_of(self, ref: Any, name: str, node: ast.AST, use: bool) -> Refs:
        state = self._state
        if ref[0] == "instance":
            return self._attribute_of_new(ref, name, node, use)
        if name == "__dict__":
            names = self._names_of(ref)
            if names:
                return names
        if ref == RUN:
            label = state.label_run(name)
            self.note(label, node, reads=True)
            return Refs({("part", label)})
        if is_value(ref) and name in PLAIN_ATTRIBUTES:
            return NOTHING
        owner = state.object_of(ref)
        if isinstance(owner, types.ModuleType):
            if name not in vars(owner):
                if not self._is_user_module(owner):
                    return NOTHING
                label = state.label_binding(vars(owner), name)
                self.note(label, node, reads=True)
                return Refs({("part", label)})
            if self._is_user_module(owner):
                return self._of_module(vars(owner), name, node, use, owner.__file__ or "")
            value = vars(owner)[name]
            self._touch_package(owner, node)
            if not known.is_plain(value) and not callable(value):
                state.label_object(value, settings_of(owner.__name__))
            found = Refs({state.known_object(value)})
            if use:
                self._read(found, node)
            return found
        if owner is not None and self._has_attributes(owner):
            static = inspect.getattr_static(owner, name, None)
            if isinstance(static, property):
                return state.call(static.fget, self, None, [Refs({ref})], {}) if static.fget else NOTHING
            if isinstance(static, functools.cached_property):
                self.note(state.label_attribute(owner, name), node, together=True)
                return state.call(static.func, self, None, [Refs({ref})], {})
            if isinstance(static, (types.FunctionType, classmethod, staticmethod)):
                return Refs({("method", ref, name)})
            if isinstance(static, (types.MethodDescriptorType, types.WrapperDescriptorType)):
                return Refs({attribute_of(ref, name)})
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
            return NOTHING if value is None else Refs({state.known_object(value)})
        if use:
            self._read(Refs({ref}), node)
        if owner is not None and known.is_array(owner) and name in known.VIEWS and not use:
            return Refs({ref, attribute_of(ref, name)})
        return Refs({attribute_of(ref, name)})

    def _attribute_of_new(self, ref: Any, name: str, node: ast.AST, use: bool) -> Refs:
        """An attribute of an object created by the function: a method, or something shared by its class."""
        state = self._state
        cls = state.objects[ref[1]]
        static = inspect.getattr_static(cls, name, None)
        if isinstance(static, property):
            return state.call(static.fget, self, None, [Refs({ref})], {}) if static.fget else NOTHING
        if isinstance(static, (types.FunctionType, classmethod, staticmethod)):
            return Refs({("method", ref, name)})
        if static is None or known.is_plain(static):
            return NOTHING
        label = state.label_attribute(self._holder_of_class(cls, name), name)
        state.label_object(static, label)
        if use:
            self.note(label, node, reads=True)
        return Refs({state.known_object(static)})

    def _has_attributes(self, owner: Any) -> bool:
        """Whether each attribute is a separate piece of state: functions, classes, the user's objects."""
        if isinstance(owner, types.FunctionType):
            return self._state.is_ours(owner)
        if isinstance(owner, type):
            return self._state.source_of_class(owner)
        if isinstance(owner, (Variable, GroupVariable)):
            return False
        return is_group(owner) or (self._state.source_of_class(type(owner)) and not isinstance(owner, types.ModuleType))

    def _holder(self, owner: Any, name: str) -> Any:
        """The owner of an attribute: the object or its class."""
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
        """Using a package reads its settings."""
        name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        if not isinstance(name, str) or (isinstance(value, types.ModuleType) and self._is_user_module(value)):
            return
        package = name.partition(".")[0]
        if package in ("matplotlib", "pandas", "xarray", "numpy", "seaborn", "scipy"):
            self.note(settings_of(name), node, reads=True)

    def _elements(self, refs: Refs) -> Refs:
        """The elements of a container."""
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
        """Analyses the method that a user's class defines for an operator; returns whether there is one."""
        if owner is None or isinstance(owner, type):
            return False
        method = inspect.getattr_static(type(owner), name, None)
        if not isinstance(method, types.FunctionType) or not self._state.is_ours(method):
            return False
        self._state.call(method, self, None, [Refs({ref}), *args], {})
        return True
