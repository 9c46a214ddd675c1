"""Sends values the way that they take to a dependent in another process: encoded, written by the real writer, read back."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from damnit_ctx import Cell, encode, stored

_FALLBACK = Path(__file__).resolve().parents[2] / "target" / "release"
PROGRAM = Path(os.environ.get("AMORE_BIN_DIR", _FALLBACK)) / "examples" / "write_fragment"


class Files:
    """A directory for fragments, and the program that writes them (``make examples``)."""

    def __init__(self) -> None:
        if not PROGRAM.exists():
            pytest.fail(f"{PROGRAM} is missing: make examples")
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name)
        self._process = subprocess.Popen([str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        self._folder.cleanup()

    def write(self, value: Any) -> Path:
        """A fragment with the value of ``v``."""
        command = {"do": "write", "dir": str(self.path), "entries": [{"as": "value", "name": "v", **entry_of(value)}]}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer.get("refused") == {}, answer
        return Path(answer["path"])

    def send(self, value: Any) -> Any:
        """The value as a dependent sees it that is executed in another process."""
        path = self.write(value)
        try:
            return stored.read(str(path), "v")
        finally:
            path.unlink()


def entry_of(value: Any) -> dict[str, Any]:
    """The message of a value, or of a cell, in the words of the program."""
    message, arrays = encode.encode("v", value if isinstance(value, Cell) else Cell(value))
    for description, array in arrays:
        description["hex"] = np.ascontiguousarray(array).tobytes().hex()
    data = message["data"]
    layout = data["layout"]
    entry = {"objtype": data.get("objtype"), "returned": data.get("returned")}
    if layout["kind"] == "plain":
        entry["array"] = _array(layout["array"])
    else:
        entry["dims"] = layout["dims"]
        entry["attrs"] = _attrs(layout["attrs"])
        entry["variables"] = [
            {**variable, "attrs": _attrs(variable["attrs"]), "array": _array(variable["array"])}
            for variable in layout["variables"]
        ]
    return {"data": entry}


def _array(array: dict[str, Any]) -> dict[str, Any]:
    return {**array, "texts": array["strings"]} if "strings" in array else array


def _attrs(pairs: list[Any]) -> dict[str, Any]:
    found = {}
    for name, attr in pairs:
        assert name not in found
        found[name] = attr if attr["type"] == "numbers" else attr["value"]
    return found
