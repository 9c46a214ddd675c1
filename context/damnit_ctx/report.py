"""What is said to the user of an exception: in the run's log, and as the traceback stored with an error."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import time
import traceback
from types import TracebackType
from typing import Optional

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def log(text: str) -> None:
    """A line in the run's log, behind everything printed so far. A function that closed or replaced the standard
    streams loses its own output by that, and nothing else."""
    flush()
    # A message that would draw over the beginning of its line, as a progress bar does, is not to bury what that says.
    text = text.replace("\r\n", "\n").replace("\r", "\\r")
    line = f"{time.strftime('%H:%M:%S')} {text}\n"
    if _line_is_open():
        line = "\n" + line
    try:
        if sys.stderr is None:
            raise ValueError("no standard error")
        sys.stderr.write(line)
        sys.stderr.flush()
    except (ValueError, AttributeError, TypeError, OSError):
        with contextlib.suppress(OSError):
            os.write(2, line.encode("utf-8", "backslashreplace"))


def _line_is_open() -> bool:
    """Was something printed last that did not end its line? Whoever printed it: Python, a library in C, a program that
    was started. Asked of the log itself, where that is a file."""
    try:
        log = os.open("/proc/self/fd/2", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        length = os.fstat(log).st_size
        return length > 0 and os.pread(log, 1, length - 1) != b"\n"
    except OSError:
        return False
    finally:
        os.close(log)


def flush() -> None:
    """Writes out what was printed, as far as there is somewhere to write it to."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def log_problem(text: str) -> None:
    """A line in the run's log, and the exception that is being handled."""
    error = sys.exc_info()[1]
    log(text if error is None else f"{text}:\n{user_traceback(error).rstrip()}")


def show_source(path: str, text: str) -> None:
    """Has tracebacks quote this text for lines of ``path``, whatever stands in the file by now."""
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)


def user_traceback(error: BaseException) -> str:
    """The traceback of an exception and of those before it, without the frames of this package."""
    described = traceback.TracebackException(type(error), error, error.__traceback__)
    pending: list[Optional[traceback.TracebackException]] = [described]
    seen = set()
    while pending:
        part = pending.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        mine = [frame for frame in part.stack if not is_ours(frame.filename)]
        part.stack = traceback.StackSummary.from_list(mine)
        pending += [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ())]
    # Classes of the file go by their own names.
    return "".join(described.format()).replace("damnit_ctx.executed.", "")


def is_ours(filename: str) -> bool:
    """Does the file belong to this package?"""
    return filename.startswith((_PACKAGE, "<frozen "))


def line_in(path: str, trace: Optional[TracebackType]) -> Optional[int]:
    """The innermost line of the file ``path`` that a traceback goes through."""
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
