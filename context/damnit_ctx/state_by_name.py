"""State accessed by name (``globals()["X"]``, ``vars(…)``, ``setattr``), and attributes of the run."""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Iterable
from typing import Any, Optional

from . import state_knowledge as known
from .state_names import Names
from .state_pieces import NOTHING, RUN, Refs

_LOOKING_UP = frozenset({"get", "setdefault", "pop", "__getitem__", "__contains__"})
_SETTING = frozenset({"setdefault", "pop", "__setitem__", "__delitem__"})


class ByName(Names):
    """Names in a user's module, or of the run; an unknown name stands for all of them."""

    def _value(self, node: ast.AST, use: bool = True, context: bool = False) -> Refs:
        raise NotImplementedError

    def _constant(self, node: Any) -> Optional[str]:
        raise NotImplementedError

    def _table_of_names(self, ref: Any) -> Any:
        """The key of the owner whose names a dictionary contains; None for other dictionaries."""
        if ref[0] == "names":
            return ref[1]
        return ref[1] if ref[0] == "object" and self._state.is_namespace(self._state.object_of(ref)) else None

    def _names_of(self, ref: Any) -> Refs:
        """``vars(owner)``, ``owner.__dict__``"""
        if ref == RUN:
            return Refs({("names", "run")})
        owner = self._state.object_of(ref)
        if isinstance(owner, types.ModuleType) and self._is_user_module(owner):
            return self._names_in(vars(owner))
        return NOTHING

    def _names_in(self, namespace: dict[str, Any]) -> Refs:
        self._state.objects[id(namespace)] = namespace
        return Refs({("names", id(namespace))})

    def _named_label(self, owner: Any, name: Optional[str], sets: bool = False) -> str:
        state = self._state
        if name is None:
            return state.label_every(owner)
        if owner == "run":
            return state.label_run(name, sets)
        return state.label_binding(state.objects[owner], name)

    def _set_name(self, owner: Any, name: Optional[str], node: Optional[ast.AST]) -> None:
        self.note(self._named_label(owner, name, True), node, changes=True)

    def _get_name(self, owner: Any, name: Optional[str], node: ast.AST) -> Refs:
        if name is not None and owner != "run" and name in self._state.objects[owner]:
            namespace = self._state.objects[owner]
            return self._of_module(namespace, name, node, True, namespace.get("__file__") or "")
        label = self._named_label(owner, name)
        self.note(label, node, reads=True)
        return Refs({("part", label)})

    def _method_of_names(self, owner: Any, method: str, node: ast.Call) -> Refs:
        """A method of such a dictionary."""
        if method == "update":
            for name in _names_given(node):
                self._set_name(owner, name, node)
            return NOTHING
        name = self._constant(node.args[0]) if node.args and method in _LOOKING_UP | _SETTING else None
        if method in _SETTING or known.changes_anything(method):
            self._set_name(owner, name, node)
        return NOTHING if method in ("__setitem__", "__delitem__") else self._get_name(owner, name, node)

    def _set_attribute_by_name(self, ref: Any, name: Optional[str], node: ast.AST) -> None:
        """``setattr(owner, name, …)``"""
        if name is not None:
            self._store_attribute(Refs({ref}), name, node)
            return
        for _, owner in self._names_of(ref):
            self._set_name(owner, None, node)
        self.change([ref], node)

    def _get_attribute_by_name(self, ref: Any, name: Optional[str], node: ast.AST) -> Refs:
        """``getattr(owner, name)``, ``hasattr(owner, name)``"""
        if name is not None:
            return self._attribute_of(ref, name, node, True)
        found = NOTHING
        for _, owner in self._names_of(ref):
            found |= self._get_name(owner, None, node)
        return found

    def _loaded_module(self, node: ast.AST) -> Optional[Refs]:
        """``sys.modules[…]`` with a known name."""
        if not (isinstance(node, ast.Subscript) and known.dotted(node.value) == "sys.modules"):
            return None
        name: Any = self._constant(node.slice)
        if isinstance(node.slice, ast.Name) and node.slice.id == "__name__":
            name = self._namespace.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        return None if module is None else Refs({self._state.known_object(module)})


def _names_given(node: ast.Call) -> Iterable[Optional[str]]:
    """The keys that a call of ``update`` sets; None for unknown ones."""
    for word in node.keywords:
        yield word.arg
    for argument in node.args:
        for key in argument.keys if isinstance(argument, ast.Dict) else [None]:
            yield key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None
