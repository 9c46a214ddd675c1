"""Executes a context file's text and collects the variables that it declares."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import by_value, default_pipeline
from . import variable as variable_module
from .group import assign_names, expand, is_group
from .variable import Variable

# Functions of the file are pickled by this name, so it must be importable (executed.py).
MODULE_NAME = "damnit_ctx.executed"


class LoadedContext:
    """The declarations of a context file.

    Attributes:
        variables: name → variable, groups expanded.
        hidden: variables that a later one of the same name replaced.
        unfinished: names of ``Variable`` objects that were never applied to a function.
        namespace: the file's globals.
        declared: every variable that was applied to a function, in order.
        chosen: the file itself selects its variables by a pipeline.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.variables: dict[str, Variable] = {}
        self.hidden: list[tuple[Variable, Variable]] = []
        self.unfinished: list[str] = []
        self.declared: list[Variable] = []
        self.chosen = False


class Execution:
    """One execution of a context file: :meth:`run`, then :meth:`collect`; the latter also after a failed run, for
    the declarations before the failure."""

    def __init__(self, path: str) -> None:
        self.path = path
        module = types.ModuleType(MODULE_NAME)
        module.__file__ = path
        # It belongs to no package, in particular not to this one: `from . import name` must fail.
        module.__package__ = ""
        # Functions of the file can be pickled by reference, for example by multiprocessing in a variable.
        sys.modules[MODULE_NAME] = module
        by_value.watch(module)
        self.module = module
        self._declared: list[Variable] = []
        self._default = default_pipeline.Default()

    def run(self, code: types.CodeType) -> None:
        """Executes the file. Its exceptions are not caught."""
        with default_pipeline.of_a_file() as self._default, _declarations() as declared:
            try:
                exec(code, vars(self.module))
            finally:
                self._declared = list(declared)

    def collect(self) -> LoadedContext:
        """The variables.

        Raises:
            GroupError: invalid groups.
        """
        loaded = LoadedContext(vars(self.module))
        loaded.declared = self._declared
        loaded.chosen = self._default.explicit
        namespace = {name: value for name, value in loaded.namespace.items() if not name.startswith("__")}
        assign_names(namespace)
        groups = [value for value in namespace.values() if is_group(value)]
        variables: dict[str, Variable] = {}
        for name, value in namespace.items():
            if not isinstance(value, Variable):
                continue
            if not hasattr(value, "func"):
                loaded.unfinished.append(name)
                continue
            known = variables.get(value.name)
            if known is not None and known is not value:
                loaded.hidden.append((known, value))
            variables[value.name] = value
        self._find_hidden(variables, loaded)
        pipeline = self._default.pipeline
        if pipeline is not None:
            if not self._default.explicit:
                pipeline.add(*variables.values(), *groups)
            loaded.variables = dict(pipeline.declared)
        else:
            loaded.variables = {**variables, **expand(groups, variables)}
        return loaded

    def _find_hidden(self, variables: dict[str, Variable], loaded: LoadedContext) -> None:
        """Top-level functions whose name now belongs to a later one."""
        for declared in self._declared:
            winner = variables.get(declared.name)
            at_top = getattr(declared.func, "__qualname__", "") == declared.name
            mine = getattr(declared.func, "__module__", None) == MODULE_NAME
            if winner is not None and winner is not declared and at_top and mine:
                loaded.hidden.append((declared, winner))


@contextmanager
def _declarations() -> Iterator[list[Variable]]:
    """Collects the variables that are declared in the meantime."""
    before = variable_module._declared
    current: list[Variable] = []
    variable_module._declared = current
    try:
        yield current
    finally:
        variable_module._declared = before


@contextmanager
def importable_folder(path: str) -> Iterator[None]:
    """Puts the directory of the context file first on ``sys.path``."""
    folder = os.path.dirname(path)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def offer_to_other_processes(path: str, text: str) -> None:
    """Lets processes started by this one (multiprocessing's "spawn" and "forkserver") import the file as it is
    executed here; the file on disk may have changed since."""
    descriptor = os.memfd_create("context file")
    with os.fdopen(descriptor, "wb", closefd=False) as memory:
        memory.write(text.encode("utf-8"))
    os.environ["AMORE_CONTEXT_PATH"] = path
    os.environ["AMORE_CONTEXT_TEXT"] = f"/proc/{os.getpid()}/fd/{descriptor}"


def load(text: str, path: str) -> LoadedContext:
    """Executes the text as the file at ``path``. Raises if there are problems."""
    execution = Execution(path)
    execution.run(compile(text, path, "exec", dont_inherit=True))
    return execution.collect()
