"""Analysis of called functions."""

from __future__ import annotations

import ast
import functools
import inspect
import types
from typing import Any, Optional

from .functions import SourceTree
from .state_frame import Frame
from .state_names import Names
from .state_pieces import NOTHING, Pieces, Refs, Uses, content_of

# Maximum number of argument combinations of a function that are distinguished; beyond that they are merged.
_WAYS = 32
# Maximum depth of nested calls, for which `RECURSION` frames suffice.
_DEPTH = 150
RECURSION = 6000


class FollowedCalls(Pieces):
    """Analyses calls of known objects. A function is analysed once for each combination of arguments."""

    def __init__(self, source: SourceTree, namespace: dict[str, Any]) -> None:
        super().__init__(source, namespace)
        self._done: dict[Any, tuple[Uses, Refs]] = {}
        # By function: the number of argument combinations, and all its arguments.
        self._ways: dict[int, int] = {}
        self._given: dict[int, tuple[list[Refs], dict[str, Refs]]] = {}
        self._depth = 0
        # Nested functions, with their enclosing frame.
        self.local_functions: dict[int, tuple[Any, Names]] = {}

    def call(self, func: Any, frame: Names, node: Optional[ast.Call], args: list[Refs], words: dict[str, Refs]) -> Refs:
        """Analyses a call of a known object."""
        if isinstance(func, functools.partial):
            fixed = [Refs({self.known_object(value)}) for value in func.args]
            more = {name: Refs({self.known_object(value)}) for name, value in func.keywords.items()}
            return self.call(func.func, frame, node, fixed + args, {**more, **words})
        if isinstance(func, types.MethodType):
            owner = Refs({self.known_object(func.__self__)})
            if self.is_ours(func.__func__):
                return self.call(func.__func__, frame, node, [owner, *args], words)
            return frame.method(owner, func.__name__, node, args, words)
        if hasattr(func, "cache_info") and hasattr(func, "__wrapped__"):
            label = self.bindings.get((id(func), "cache"))
            if label is None:
                self.objects[id(func)] = func
                label = self.bindings[(id(func), "cache")] = self.unique(f"cache of {func.__qualname__}")
            frame.note(label, node, together=True)
            return self.call(func.__wrapped__, frame, node, args, words)
        if isinstance(func, types.FunctionType):
            if self.is_ours(func):
                return self._call_function(func, frame, args, words)
            wrapped = getattr(func, "__wrapped__", None)
            if wrapped is not None:
                self.call(wrapped, frame, node, args, words)
            # A decorator of a library: its arguments are in its closure.
            for cell in func.__closure__ or ():
                content = content_of(cell)
                if isinstance(content, types.FunctionType) and content is not wrapped and self.is_ours(content):
                    self.call(content, frame, node, args, words)
        elif isinstance(func, type):
            if self.source_of_class(func):
                return self._construct(func, frame, node, args, words)
        elif isinstance(func, types.BuiltinMethodType) and not isinstance(func.__self__, (types.ModuleType, type)):
            if func.__self__ is not None:
                return frame.method(Refs({self.known_object(func.__self__)}), func.__name__, node, args, words)
        elif not callable(getattr(func, "__wrapped__", None)):
            method = inspect.getattr_static(type(func), "__call__", None)
            if isinstance(method, types.FunctionType) and self.is_ours(method):
                return self.call(method, frame, node, [Refs({self.known_object(func)}), *args], words)
        else:
            return self.call(func.__wrapped__, frame, node, args, words)
        return frame.foreign(func, node, args, words)

    def _construct(
        self, cls: type, frame: Names, node: Optional[ast.Call], args: list[Refs], words: dict[str, Refs]
    ) -> Refs:
        self.objects[id(cls)] = cls
        made = Refs({("instance", id(cls))})
        for name in ("__new__", "__init__", "__post_init__"):
            method = inspect.getattr_static(cls, name, None)
            method = getattr(method, "__func__", method)
            if isinstance(method, types.FunctionType) and self.is_ours(method):
                self.call(method, frame, node, [made, *args], words)
        return made

    def _call_function(self, func: Any, caller: Names, args: list[Refs], words: dict[str, Refs]) -> Refs:
        code = func.__code__
        source = self.source(code.co_filename)
        assert source is not None
        key = _key(func, args, words)
        if key not in self._done:
            args, words = self._widened(func, args, words)
            key = _key(func, args, words)
        if key not in self._done:
            if self._depth >= _DEPTH:
                # Treated like an unknown function.
                for refs in (*args, *words.values()):
                    caller.change(refs, None, True)
                return NOTHING
            self._depth += 1
            self.objects[id(func)] = func
            uses: Uses = Uses()
            # A recursive call adds nothing.
            self._done[key] = (uses, NOTHING)
            returned: Refs = NOTHING
            for definition in source.nodes(code):
                frame = Frame(self, func.__globals__, code.co_filename, uses)
                frame.bind_cells(func)
                frame.bind(definition, args, words, func)
                returned |= frame.run(definition)
            self._done[key] = (uses, returned)
            self._depth -= 1
        uses, returned = self._done[key]
        caller.join(uses)
        return returned

    def _widened(self, func: Any, args: list[Refs], words: dict[str, Refs]) -> tuple[list[Refs], dict[str, Refs]]:
        self._ways[id(func)] = ways = self._ways.get(id(func), 0) + 1
        before, words_before = self._given.get(id(func), ([], {}))
        count = max(len(before), len(args))
        filled, more = [[*refs, *[NOTHING] * (count - len(refs))] for refs in (before, args)]
        all_args = [first | second for first, second in zip(filled, more)]
        all_words = {
            name: words_before.get(name, NOTHING) | words.get(name, NOTHING) for name in {**words_before, **words}
        }
        self._given[id(func)] = (all_args, all_words)
        return (all_args, all_words) if ways > _WAYS else (args, words)


def _key(func: Any, args: list[Refs], words: dict[str, Refs]) -> Any:
    return (id(func), tuple(args), tuple(sorted(words.items(), key=lambda item: item[0])))
