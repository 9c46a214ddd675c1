"""Effects of one function on state: its statements and expressions."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from typing import Any, Optional

from . import state_knowledge as known
from .functions import FUNCTIONS
from .state_arguments import Arguments
from .state_names import Names
from .state_pieces import EMPTY_CELL, NOTHING, Refs, content_of, holding
from .state_values import copies, is_followed, is_value, without_followed

_LAMBDA = "<lambda>"
_CASES = tuple(getattr(ast, name) for name in ("match_case",) if hasattr(ast, name))  # from Python 3.10


class Frame(Arguments):
    """One analysed function, with the possible values of its names."""

    # --- Binding ------------------------------------------------------------------------------------------------------

    def bind_cells(self, func: Any) -> None:
        """The names of a function that belong to the enclosing function."""
        for name, cell in zip(func.__code__.co_freevars, func.__closure__ or ()):
            content = content_of(cell)
            state = self._state
            key = (id(cell), name)
            if key not in state.bindings:
                state.objects[id(cell)] = cell
                outer = func.__qualname__.partition(".<locals>")[0]
                state.bindings[key] = state.unique(f"{name} in {outer}")
            label = state.bindings[key]
            self._cells[name] = label
            refs = {("part", label)}
            if content is not None and content is not EMPTY_CELL:
                if not known.is_plain(content):
                    state.label_object(content, label)
                refs.add(state.known_object(content))
            self._values[name] = Refs(refs)

    def bind(self, definition: Any, args: list[Refs], words: dict[str, Refs], func: Any = None) -> None:
        """Binds the arguments."""
        spec = definition.args
        names = [argument.arg for argument in (*spec.posonlyargs, *spec.args)]
        for name in [*names, *(argument.arg for argument in spec.kwonlyargs)]:
            self._values[name] = words.get(name, NOTHING)
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
        """Analyses a function's body."""
        if isinstance(definition, ast.Lambda):
            return self._value(definition.body)
        self._declare(definition.body)
        given = dict(self._values)
        self._block(definition.body)
        if any(not all(is_followed(ref) for ref in refs) for refs in self._values.values()):
            # In a loop, names may be used before the line that binds them.
            for name, refs in self._values.items():
                followed = Refs(ref for ref in given.get(name, NOTHING) if is_followed(ref))
                self._values[name] = without_followed(refs) | followed
            self._block(definition.body)
        return self._returned

    def _declare(self, body: list[ast.stmt]) -> None:
        """Finds the function's local names."""
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
                self._values.setdefault(name, NOTHING)
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
                self._store(target, NOTHING, None)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            elements = self._elements(self._value(node.iter))
            before = dict(self._values)
            self._store(node.target, elements, None)
            self._repeat(node.body, before)
            self._block(node.orelse)
        elif isinstance(node, ast.While):
            self._value(node.test)
            self._repeat(node.body, dict(self._values))
            self._value(node.test)
            self._block(node.orelse)
        elif isinstance(node, ast.If):
            self._value(node.test)
            before = dict(self._values)
            self._block(node.body)
            after, self._values = self._values, before
            self._block(node.orelse)
            self._join(after)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                refs = self._value(item.context_expr, False, context=True)
                if item.optional_vars is not None:
                    self._store(item.optional_vars, refs, None)
            self._block(node.body)
        elif isinstance(node, ast.Return):
            if node.value is not None:
                # The caller may read what is returned.
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
            # `try`, `match`: any of its parts may be executed.
            for _, part in ast.iter_fields(node):
                before = dict(self._values)
                for child in part if isinstance(part, list) else [part]:
                    if isinstance(child, ast.expr):
                        self._value(child)
                    elif isinstance(child, ast.AST):
                        self._statement(child)
                    if isinstance(child, (ast.ExceptHandler, *_CASES)):
                        self._join(before)
                self._join(before)

    def _join(self, others: dict[str, Refs]) -> None:
        """Names may keep their values or get these."""
        for name, refs in others.items():
            self._values[name] = self._values.get(name, NOTHING) | refs

    def _repeat(self, body: list[ast.stmt], before: dict[str, Refs]) -> None:
        """The body of a loop. At its start, names may already have the values that they get in it."""
        start = dict(self._values)
        self._block(body)
        self._join(start)
        if any(refs - start.get(name, NOTHING) for name, refs in self._values.items()):
            again = dict(self._values)
            self._block(body)
            self._join(again)
        self._join(before)

    def _local_function(self, name: str, node: Any) -> Refs:
        """A nested function. It is assumed to be called."""
        state = self._state
        state.local_functions[id(node)] = (node, self)
        refs = Refs({("local", id(node))})
        if name != _LAMBDA:
            self._values[name] = self._values.get(name, NOTHING) | refs
        self._call_local(node, self, [], {})
        return refs

    def _call_local(self, node: Any, home: Names, args: list[Refs], words: dict[str, Refs]) -> Refs:
        if getattr(node, "_followed", 0) > 3:
            return NOTHING
        node._followed = getattr(node, "_followed", 0) + 1
        try:
            inner = Frame(self._state, home._namespace, home._path, self._uses)
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
                # Values that are tracked only by their name are dropped when the name is bound again.
                self._values[target.id] = without_followed(self._values.get(target.id, NOTHING)) | refs
        elif isinstance(target, (ast.Tuple, ast.List)):
            for inner in target.elts:
                self._store(inner, self._elements(refs) | refs, None)
        elif isinstance(target, ast.Starred):
            self._store(target.value, refs, None)
        elif isinstance(target, ast.Subscript):
            self._value(target.slice)
            base = self._value(target.value, False)
            for ref in base:
                owner_of_names = self._table_of_names(ref)
                if owner_of_names is not None:
                    self._set_name(owner_of_names, self._constant(target.slice), target)
                    continue
                owner = self._state.object_of(ref)
                if not self._dunder(owner, ref, "__setitem__", [NOTHING, refs]):
                    self.change([ref], target)
        elif isinstance(target, ast.Attribute):
            self._store_attribute(self._value(target.value, False), target.attr, target)

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
                refs = self._values.get(target.id, NOTHING)
            objects = [ref for ref in refs if ref[0] == "object"]
            self.change((ref for ref in objects if not known.is_plain(self._state.object_of(ref))), target, True)
            self.change((ref for ref in refs if is_value(ref)), target, True)
            return
        if isinstance(target, (ast.Subscript, ast.Attribute)):
            reading = type(target)(**{**dict(ast.iter_fields(target)), "ctx": ast.Load()})
            refs = self._value(ast.copy_location(reading, target))
            self.change((ref for ref in refs if is_value(ref)), target, True)
            self._store(target, NOTHING, None)

    # --- Expressions --------------------------------------------------------------------------------------------------

    def _value(self, node: ast.AST, use: bool = True, context: bool = False) -> Refs:
        """Possible values of an expression. ``use``: its content is read, not only passed on."""
        if isinstance(node, ast.Name):
            refs = self._name(node, use)
        elif isinstance(node, ast.Attribute):
            refs = self._attribute(node, use)
        elif isinstance(node, ast.Subscript):
            loaded = self._loaded_module(node)
            if loaded is not None:
                return loaded
            self._value(node.slice)
            base = self._value(node.value, False)
            refs = self._elements(base)
            if copies(node.slice):
                refs = Refs(ref for ref in refs if not is_value(ref))
            for ref in base:
                owner_of_names = self._table_of_names(ref)
                if owner_of_names is not None:
                    refs |= self._get_name(owner_of_names, self._constant(node.slice), node)
                    continue
                owner = self._state.object_of(ref)
                if not self._dunder(owner, ref, "__getitem__", [NOTHING]):
                    self._read(Refs({ref}), node)
            if use:
                self._read(refs, node)
        elif isinstance(node, ast.Call):
            refs = self._call(node, context=context)
        elif isinstance(node, ast.Lambda):
            refs = self._local_function(_LAMBDA, node)
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            before = dict(self._values)
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
            refs = holding(refs)
            self._join(before)
        elif isinstance(node, ast.NamedExpr):
            refs = self._value(node.value, use)
            self._store(node.target, refs, node.value)
        elif isinstance(node, ast.IfExp):
            self._value(node.test)
            refs = self._value(node.body, use) | self._value(node.orelse, use)
        elif isinstance(node, ast.BoolOp):
            refs = Refs().union(*(self._value(value) for value in node.values))
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            self._value(node.left)
            for other in node.comparators:
                for ref in self._value(other):
                    owner_of_names = self._table_of_names(ref)
                    if owner_of_names is not None:
                        self._get_name(owner_of_names, self._constant(node.left), node)
            refs = NOTHING
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            refs = holding(Refs().union(*(self._value(element) for element in node.elts)))
        elif isinstance(node, ast.Starred):
            refs = self._elements(self._value(node.value))
        elif isinstance(node, (ast.Await, ast.YieldFrom, ast.Yield)):
            refs = self._value(node.value, use) if node.value is not None else NOTHING
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self._value(child)
            refs = NOTHING
        return refs

    def _attribute(self, node: ast.Attribute, use: bool) -> Refs:
        base = self._value(node.value, False)
        refs: Refs = NOTHING
        for ref in base:
            refs |= self._attribute_of(ref, node.attr, node, use)
        return refs
