"""``amore submit``: results of a command line or a script. The command writes them as JSON to the standard input.

Every name has an object with ``value`` (JSON) or ``file`` (an absolute path of a ``.npy`` file), and what
:class:`damnit_ctx.Cell` accepts: ``summary``, ``summary_value``, ``bold``, ``background``, ``units``; or with
``error``: an object with ``class`` and ``message``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from .cell import Cell
from .channel import Message
from .errors import Failure, Skip
from .submission import SubmitError, submit

_SHOWN = ("summary", "summary_value", "bold", "background", "units")


class _Failed(Exception):
    """An error with the class that somebody else has given it."""

    def __init__(self, cls: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(cls, message)


def _cell(name: str, given: Mapping[str, Any]) -> Cell:
    unknown = sorted(set(given) - {"value", "file", *_SHOWN})
    if unknown:
        raise ValueError(f"{name}: unknown keys {', '.join(unknown)}")
    # Pickled objects would be code.
    value = np.load(given["file"], allow_pickle=False) if "file" in given else given.get("value")
    if isinstance(value, dict):
        raise TypeError(f"{name}: a value is a number, text, true, false, or a list of numbers, not an object")
    shown = {key: given[key] for key in _SHOWN if given.get(key) is not None}
    return Cell(value, **shown)


def _error(given: Mapping[str, Any]) -> BaseException:
    if given["class"] == "Skip":
        return Skip(given["message"])
    return _Failed(given["class"], given["message"])


def main() -> int:
    """Reads the results, and submits them. Returns the exit code."""
    asked: Message = json.load(sys.stdin)
    try:
        results = asked["results"]
        cells = {name: _cell(name, given) for name, given in results.items() if "error" not in given}
        errors = {name: _error(given["error"]) for name, given in results.items() if "error" in given}
        submit(
            asked["proposal"],
            asked["run"],
            cells,
            provenance=asked["provenance"],
            errors=errors,
            damnit_dir=asked["directory"],
        )
    except (SubmitError, TypeError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
