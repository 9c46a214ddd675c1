"""Files of a fixed name that a function writes or reads."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from typing import Any, Optional

from .state_knowledge import names

_WRITING = names(
    "save savez savez_compressed savetxt savefig imsave imwrite write_text write_bytes touch unlink remove",
    "rename replace copy copyfile copy2 move savemat tofile write_image write_html dump symlink_to hardlink_to",
)
_ANY_ARGUMENT = frozenset({"dump", "copy", "copyfile", "copy2", "move", "rename", "replace", "imwrite", "imsave"})
# Opened to be written if the mode says so: name → position of the mode, and the mode if none is given.
_OPENING = {"open": (1, "r"), "File": (1, "r"), "ZipFile": (1, "r"), "Dataset": (1, "r"), "memmap": (2, "r+")}
_ALWAYS_WRITTEN = frozenset({"connect", "shelve"})
_PATH_WORDS = frozenset({"file", "path", "fname", "filename", "path_or_buf", "fid", "fp", "name", "buf"})

# What a use of a file comes to.
WRITES = "writes"
APPENDS = "appends"
READS = "reads"


def file_uses(call: ast.Call, constant: Callable[[ast.expr], Optional[str]]) -> Iterator[tuple[str, str]]:
    """The files of a fixed name in one call, and what is done with them.

    Args:
        call: the call.
        constant: the text of an expression that is the same each time, else None.
    """
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
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
    how = READS
    if name in _OPENING:
        position, mode = _OPENING[name]
        given: Any = next((word.value for word in call.keywords if word.arg == "mode"), None)
        position -= on_path
        if given is None and len(call.args) > position:
            given = call.args[position]
        if given is not None:
            mode = given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else "r+"
        if any(letter in mode for letter in "wx"):
            how = WRITES
        elif any(letter in mode for letter in "a+"):
            how = APPENDS
    elif name in _ALWAYS_WRITTEN:
        how = APPENDS
    elif name in _WRITING or name.startswith("to_"):
        how = WRITES
    several = name in _ANY_ARGUMENT
    for path in paths if several else paths[:1]:
        yield os.path.normpath(path), how


def looks_like_a_path(text: str) -> bool:
    """Leaves out words, formats and names of sources."""
    if not text or len(text) > 1000 or "\n" in text or "://" in text:
        return False
    return "." in os.path.basename(text) or text.startswith(("/", "./", "../", "~"))
