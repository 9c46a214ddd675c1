"""The module names of DAMNIT 0.4 for context files: ``damnit.context`` and its supporting modules.

Context files of running experiments use them. The modules in this directory replace those of the package ``damnit``,
whose variables and exceptions Amore does not know. The rest of that package is unchanged; if it is not installed,
``damnit`` is an empty package.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Optional

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_STAND_INS = {
    "damnit.context": "context.py",
    "damnit.ctxsupport.ctxrunner": "context.py",
    "damnit.ctxsupport.damnit_ctx": "context.py",
    "damnit.ctxsupport.damnit_exceptions": "exceptions.py",
    "damnit.ctxsupport.damnit_writing": "context.py",
    "ctxrunner": "context.py",
    "damnit_exceptions": "exceptions.py",
    "damnit_writing": "context.py",
}
_PACKAGES = ("damnit", "damnit.ctxsupport")


class _StandIns:
    """An import hook that precedes all others."""

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        """Called by the import machinery."""
        file = _STAND_INS.get(name)
        if file is None:
            return None
        return importlib.util.spec_from_file_location(name, os.path.join(_FOLDER, file))


class _EmptyPackages:
    """An import hook that is used if no other has found the package."""

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        """Called by the import machinery."""
        return ModuleSpec(name, None, is_package=True) if name in _PACKAGES else None


def install() -> None:
    """Makes the names importable."""
    if not any(isinstance(finder, _StandIns) for finder in sys.meta_path):
        sys.meta_path.insert(0, _StandIns())  # type: ignore[arg-type, unused-ignore]
        sys.meta_path.append(_EmptyPackages())  # type: ignore[arg-type, unused-ignore]


def hint(error: BaseException) -> Optional[str]:
    """A hint for a failed import of one of these names."""
    if isinstance(error, AttributeError):
        words = str(error)
        module = next((name for name in (*_STAND_INS, "damnit_ctx", "damnit") if f"module {name!r} has" in words), "")
    else:
        module = str(getattr(error, "name", None))
    if module in _STAND_INS or module == "damnit_ctx":
        offered = importlib.import_module(module).__all__
        return f"neither DAMNIT 0.4 nor Amore provides that name; {module} has {', '.join(sorted(offered))}"
    if module.partition(".")[0] == "damnit" and importlib.util.find_spec("damnit.api") is None:
        return "only damnit.context is available without the package damnit: install damnit in this Python for the rest"
    return None
