"""Effects of one call on its object, its arguments and files."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import os
import types
from typing import Any, Optional

from . import state_knowledge as known
from .scratch_files import APPENDS, READS, TAKES, UPDATES, WRITES, file_uses
from .state_by_name import ByName
from .state_names import Names
from .state_pieces import NOTHING, Refs, holding, settings_of
from .state_values import function_changes, is_value, method_changes, method_shares


class Arguments(ByName):
    """Calls in one analysed function."""

    def _value(self, node: ast.AST, use: bool = True, context: bool = False) -> Refs:
        raise NotImplementedError

    def _call_local(self, node: Any, home: Names, args: list[Refs], words: dict[str, Refs]) -> Refs:
        raise NotImplementedError

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
        found: Refs = NOTHING
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
            definition, home = state.local_functions[ref[1]]
            return self._call_local(definition, home, args, words)
        if kind == "method":
            owner = state.objects.get(ref[1][1]) if ref[1][0] == "instance" else state.object_of(ref[1])
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
        return NOTHING

    def method(
        self, owner: Refs, name: str, node: Optional[ast.Call], args: list[Refs], words: dict[str, Refs]
    ) -> Refs:
        """Analyses a call of a method of an object that is not of the user's classes."""
        state = self._state
        call = node if node is not None else ast.Call(ast.Name(name, ast.Load()), [], [])
        found: Refs = NOTHING
        self._hand_over(args, words, node)
        if "out" in words:
            self.change(words["out"], node)
        for ref in owner:
            value = state.object_of(ref)
            label = state.label_of(ref)
            owner_of_names = self._table_of_names(ref)
            if owner_of_names is not None:
                found |= self._method_of_names(owner_of_names, name, call)
                continue
            if ref[0] == "attribute":
                value = None
            if value is None:
                defined = state.classes_with(name)
                if defined and ref[0] == "part":
                    for func in defined:
                        found |= state.call(func, self, node, [Refs({ref}), *args], words)
                    self.note(label, node, reads=True)
                    continue
                if is_value(ref):
                    changes = method_changes(name, call, getattr(self, "_unused", False))
                    if method_shares(name, call):
                        found |= Refs({ref})
                else:
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
                    self.change(args[0], node, True)
                continue
            if value is not None and known.is_random(value) and name == "shuffle" and args:
                self.change(args[0], node, True)
            reads = not (changes and name in known.PUTTING and getattr(self, "_unused", False))
            self.note(label, node, changes=changes, reads=reads)
            if name in ("get", "setdefault", "pop", "popitem", "popleft", "__getitem__"):
                found |= self._elements(Refs({ref}))
            elif value is not None and known.is_array(value) and name in known.VIEWS:
                found |= Refs({ref})
            elif name in ("copy", "items", "values", "keys"):
                found |= holding(self._elements(Refs({ref})))
        return found

    def foreign(self, func: Any, node: Optional[ast.Call], args: list[Refs], words: dict[str, Refs]) -> Refs:
        """Analyses a call of a function that is not the user's."""
        state = self._state
        name = getattr(func, "__name__", "")
        if isinstance(getattr(func, "__objclass__", None), type) and args:
            return self.method(args[0], name, node, args[1:], words)
        package = (getattr(func, "__module__", None) or "").partition(".")[0]
        if node is not None:
            set_package = known.package_that_is_set(func)
            if set_package and not getattr(self, "_context_call", False):
                self.note(settings_of(set_package), node, changes=True)
            if known.is_pyplot(func):
                makes = known.makes_figure(func)
                if makes is not None:
                    self.note("figure made" if makes else "figure drawn", node)
        if func is setattr or func is delattr:
            attribute = node.args[1] if node is not None and len(node.args) > 1 else None
            if node is not None and args:
                for ref in args[0]:
                    self._set_attribute_by_name(ref, self._constant(attribute), node)
        elif func is globals:
            return self._names_in(self._namespace)
        elif func is vars and args:
            return Refs().union(*(self._names_of(ref) for ref in args[0]))
        elif (func is getattr or func is hasattr) and node is not None and len(node.args) > 1 and args:
            attribute = node.args[1]
            name_of = self._constant(attribute)
            return Refs().union(*(self._get_attribute_by_name(ref, name_of, node) for ref in args[0]))
        elif package == "functools" and name in ("reduce", "partial"):
            pass
        if name == "seed" and (getattr(func, "__module__", None) or "").startswith("numpy.random"):
            self.note(known.NUMPYS_RANDOM, node, changes=True, overwrites=True)
        if known.changes_first(name) and args:
            self.change(args[0], node, True)
        if "out" in words:
            self.change(words["out"], node)
        if node is not None:
            self.change((ref for ref in function_changes(func, args, node) if is_value(ref)), node, True)
        for refs in args:
            self.change(
                (ref for ref in refs if ref[0] == "object" and known.is_random(state.object_of(ref))), node, True
            )
        self._hand_over(args, words, node)
        if name in known.PASSING and (package == "builtins" or func in (getattr(builtins, name, None),)):
            inside = Refs().union(*(self._elements(refs) for refs in args))
            return inside if name in ("next", "min", "max") else holding(inside)
        if name == "DataArray" and args:  # shares the array's memory
            return Refs(ref for ref in args[0] if is_value(ref))
        if package == "numpy" and name in known.VIEWS and args:
            return args[0]
        return NOTHING

    def _hand_over(self, args: list[Refs], words: dict[str, Refs], node: Optional[ast.AST]) -> None:
        """Arguments of an unknown function: their content is read, and functions among them are called."""
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

    def _files(self, node: ast.Call) -> None:
        for path, how in file_uses(node, self._constant):
            label = f"file {path}"
            if how == READS:
                self.note(label, node, reads=True, together=True)
            elif how == WRITES:
                self.note(label, node, changes=True, together=True, overwrites=True)
            elif how == TAKES:
                self.note(label, node, changes=True, reads=True, together=True)
            elif how in (APPENDS, UPDATES):
                # The file persists: executing this again would add the data twice.
                self.note(label, node, changes=True, reads=how == UPDATES, together=True, adds=True)

    def _constant(self, node: Any) -> Optional[str]:
        """The text of an expression that is the same for every run, otherwise None."""
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
