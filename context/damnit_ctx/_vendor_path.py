"""Pyflakes, shipped with this package (context/vendor.sh); the user's own version is never used."""

from __future__ import annotations

import os
import sys
from typing import Any


def pyflakes_checker() -> Any:
    """The class ``pyflakes.checker.Checker``.

    Raises:
        ImportError: the package was installed without it.
    """
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_vendor")
    if not os.path.isdir(os.path.join(folder, "pyflakes")):
        raise ImportError(f"pyflakes is missing in {folder}: run context/vendor.sh, or make build")
    sys.path.insert(0, folder)
    try:
        from pyflakes import checker  # type: ignore[import-not-found, unused-ignore]
    finally:
        sys.path.remove(folder)
    return checker.Checker
