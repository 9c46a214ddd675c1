"""Functions of the context file on other computers: cloudpickle (dask, clusterfutures, joblib) pickles them by value.

By default it pickles functions of imported modules by reference, which workers elsewhere cannot resolve. The context
file's module is therefore registered with it as soon as it is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Optional

_COPIES = ("cloudpickle", "joblib.externals.cloudpickle")


class _Watcher:
    """An import hook that detects cloudpickle. It finds what Python's own finder finds."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        """Called by the import machinery."""
        if name not in _COPIES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_tell(module: ModuleType) -> None:
                execute(module)
                _tell(module, self.module)

            spec.loader.exec_module = execute_and_tell  # type: ignore[method-assign]
        return spec


def watch(module: ModuleType) -> None:
    """Makes all copies of cloudpickle, loaded now or later, pickle functions of this module by value."""
    for name in _COPIES:
        if name in sys.modules:
            _tell(sys.modules[name], module)
    for finder in sys.meta_path:
        if isinstance(finder, _Watcher):
            finder.module = module
            return
    finder = _Watcher(module)
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type, unused-ignore]


def unwatch() -> None:
    """Unregisters the module at the end of the process."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Watcher)]


def _tell(cloudpickle: Any, module: ModuleType) -> None:
    register = getattr(cloudpickle, "register_pickle_by_value", None)  # since cloudpickle 2.0
    if register is not None:
        register(module)
