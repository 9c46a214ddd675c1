"""Files of a fixed name that a function writes or reads."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from typing import Any, Optional

from .state_knowledge import dotted, names

_WRITING = names(
    "save savez savez_compressed savetxt savefig imsave imwrite write_text write_bytes touch unlink remove",
    "savemat tofile write_image write_html dump",
)
_WRITING_ALL = frozenset({"dump", "imwrite", "imsave"})
# From one file to another.
_COPYING = frozenset({"copy", "copyfile", "copy2"})
_MOVING = frozenset({"move", "rename", "replace"})
# Opened to be written if the mode says so: name → position of the mode, and the mode if none is given.
_OPENING = {
    "open": (1, "r"),
    "File": (1, "r"),
    "ZipFile": (1, "r"),
    "Dataset": (1, "r"),
    "memmap": (2, "r+"),
    "open_memmap": (1, "r+"),
    "HDFStore": (1, "a"),
    "ExcelWriter": (99, "w"),
    "to_hdf": (99, "a"),
}
# Of databases: name of the module → mode if none is given. Their "w" updates what is there.
_DATABASES = {"shelve": "c", "dbm": "r"}
# The file stays what it is if there is one.
_ONCE = frozenset({"touch", "symlink_to", "hardlink_to"})
_PATH_WORDS = frozenset({"file", "path", "fname", "filename", "path_or_buf", "fid", "fp", "name", "buf"})

# Only words: nothing is done with the file.
_NAMING = names(
    "Path PurePath PosixPath PurePosixPath str fspath join joinpath abspath realpath normpath expanduser dirname",
    "basename with_suffix with_name resolve absolute print format",
)

# What a use of a file comes to: it is written afresh, something is added to it, it is read and changed, it is taken
# away, it is read.
WRITES = "writes"
APPENDS = "appends"
UPDATES = "updates"
TAKES = "takes"
READS = "reads"


def file_uses(call: ast.Call, constant: Callable[[ast.expr], Optional[str]]) -> Iterator[tuple[str, str]]:
    """The files of a fixed name in one call, and what is done with them.

    Args:
        call: the call.
        constant: the text of an expression that is the same each time, else None.
    """
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in _NAMING:
        return
    paths = []
    if isinstance(call.func, ast.Attribute):
        receiver = constant(call.func.value)
        if receiver is not None:
            paths.append(receiver)
    on_path = bool(paths)
    for argument in call.args:
        text = constant(argument)
        if text is not None:
            paths.append(text)
    for word in call.keywords:
        if word.arg in _PATH_WORDS:
            text = constant(word.value)
            if text is not None:
                paths.append(text)
    paths = [path for path in paths if looks_like_a_path(path)]
    if not paths:
        return
    if name in _COPYING or name in _MOVING:
        source, *targets = map(os.path.normpath, paths)
        yield source, TAKES if name in _MOVING else READS
        yield from ((target, WRITES) for target in targets)
        return
    how = _how(call, name, on_path)
    for path in paths if name in _WRITING_ALL else paths[:1]:
        yield os.path.normpath(path), how


def _how(call: ast.Call, name: str, on_path: bool) -> str:
    """What a call that is given a path does with the file."""
    given: Any = next((word.value for word in call.keywords if word.arg in ("mode", "flag")), None)
    module = dotted(call.func).rpartition(".")[0].rpartition(".")[2]
    if name == "open" and module in _DATABASES:
        mode = _mode(call.args[1] if given is None and len(call.args) > 1 else given, _DATABASES[module])
        return {"r": READS, "n": WRITES}.get(mode, UPDATES)
    if name in _OPENING:
        position, default = _OPENING[name]
        position -= on_path
        if given is None and len(call.args) > position:
            given = call.args[position]
        return _of_mode(_mode(given, default), name)
    if name == "connect":
        return UPDATES
    if name in _ONCE:
        return APPENDS
    if name.startswith("to_"):
        return _of_mode(_mode(given, "w"), name)
    return WRITES if name in _WRITING else READS


def _mode(given: Any, default: str) -> str:
    """The mode that a call gives; one that is not constant may be any."""
    if given is None:
        return default
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else "r+"


def _of_mode(mode: str, name: str) -> str:
    if "x" in mode or mode == "w-":
        return APPENDS
    if "w" in mode:
        return WRITES
    if "+" in mode or ("a" in mode and name in ("File", "Dataset", "HDFStore", "to_hdf", "to_netcdf", "to_zarr")):
        return UPDATES
    return APPENDS if "a" in mode else READS


def looks_like_a_path(text: str) -> bool:
    """Leaves out words, formats and names of sources."""
    if not text or len(text) > 1000 or "\n" in text or "://" in text:
        return False
    return "." in os.path.basename(text) or text.startswith(("/", "./", "../", "~"))
