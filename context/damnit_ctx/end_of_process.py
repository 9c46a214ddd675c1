"""A child ends like a Python program: threads are waited for, exit handlers run, files are closed.

It still leaves by ``os._exit``. Finalizing the whole interpreter would take as long as some variables, and would run
handlers that libraries have registered in the host.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import fcntl
import gc
import io
import itertools
import logging
import os
import stat
import sys
import threading
import weakref
from collections.abc import Iterable
from typing import Any, Callable

from . import report
from .by_value import unwatch
from .preload import is_installed

# The worker waits a little longer (worker/src/conversation.rs) and reports what was not finished.
PATIENCE_S = 10

# Modules loaded after this one belong to the child. Traversing the others would copy their pages.
_last_of_the_host = ""


def leave_to_the_host() -> None:
    """Called right after the fork: handlers registered by now belong to the host, which continues to run.

    (For example, a library may remove a temporary directory at exit that other children still use.) Handlers that
    libraries need at the end of *this* process are registered again.
    """
    global _last_of_the_host
    _last_of_the_host = next(reversed(sys.modules))
    atexit._clear()
    atexit.register(logging.shutdown)
    for finalizer in list(getattr(weakref.finalize, "_registry", ())):
        finalizer.atexit = False
    if getattr(weakref.finalize, "_registered_with_atexit", False):
        atexit.register(weakref.finalize._exitfunc)  # type: ignore[attr-defined]
    processes = sys.modules.get("multiprocessing.util")
    if processes is not None:
        atexit.register(processes._exit_function)


def end(log: int, folders: Iterable[str]) -> None:
    """Does what Python does at the end of a program, and returns. After ``PATIENCE_S`` the process is terminated; the
    log says where it was.

    Args:
        log: descriptor of the run's log.
        folders: directories of the context file's own modules.
    """
    report.flush()
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True, file=log)
    _try("threads", threading._shutdown)  # type: ignore[attr-defined]
    _try("handlers at exit", atexit._run_exitfuncs)
    if _has_open(log) or _has_finalizers(folders):
        _try("objects", lambda: _let_go(log, folders))
    report.flush()


def _try(what: str, do: Callable[[], Any]) -> None:
    try:
        do()
    except BaseException:
        report.log_problem(f"when the process ended ({what})")


def _let_go(log: int, folders: Iterable[str]) -> None:
    """Frees the objects of the file and its modules, which closes files."""
    # Before objects are freed: the collector may free a buffer before its file, and lose its content.
    _write_out()
    unwatch()
    modules = [weakref.ref(sys.modules.pop(name)) for name in _modules(folders)]
    # Objects are finalized while everything that their finalizers use still exists.
    gc.collect()
    for reference in modules:
        module = reference()
        namespace = {} if module is None else vars(module)
        for name in [name for name in namespace if name != "__builtins__"]:
            namespace[name] = None
    gc.collect()
    if _has_open(log):
        _close_hdf5()
        _write_out()


def _write_out() -> None:
    """Flushes file buffers, and closes files that write a trailer (gzip and the like)."""
    files = [thing for thing in gc.get_objects() if isinstance(thing, io.IOBase)]
    # Text layers before the layers below them.
    for file in sorted(files, key=lambda file: not isinstance(file, io.TextIOBase)):
        with contextlib.suppress(Exception):
            if file.closed or not file.writable():
                continue
            file.flush()
            below = getattr(file, "buffer", file)
            if type(below).__module__ not in ("_io", "io"):
                file.close()


def _close_hdf5() -> None:
    """Closes files that are still referenced: h5py leaves this to the end of the process."""
    h5py = sys.modules.get("h5py")
    if h5py is None:
        return
    for file in h5py.h5f.get_obj_ids(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE):
        if file.get_intent() != h5py.h5f.ACC_RDONLY:
            h5py.File(file).close()


def _modules(folders: Iterable[str]) -> dict[str, Any]:
    """The context file's module and modules from its directories."""
    inside = tuple(os.path.join(folder, "") for folder in folders)
    found = {}
    for name in itertools.takewhile(lambda name: name != _last_of_the_host, list(reversed(sys.modules))):
        module = sys.modules[name]
        file = str(getattr(module, "__file__", None) or "")
        # An environment may be in the directory too.
        if file.startswith(inside) and not is_installed(file):
            found[name] = module
    return found


def _has_finalizers(folders: Iterable[str]) -> bool:
    """Whether they contain a class whose objects have finalizers."""
    return any(
        isinstance(value, type) and hasattr(value, "__del__") and value.__module__ == name
        for name, module in _modules(folders).items()
        for value in list(vars(module).values())
    )


def _has_open(log: int) -> bool:
    """Whether a file or pipe is open for writing, besides the log."""
    mine = os.fstat(log)
    for name in os.listdir("/proc/self/fd"):
        try:
            if fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                continue
            of = os.fstat(int(name))
        except OSError:  # the folder that is being listed
            continue
        file = stat.S_ISREG(of.st_mode) and of.st_nlink > 0 and (of.st_dev, of.st_ino) != (mine.st_dev, mine.st_ino)
        if file or stat.S_ISFIFO(of.st_mode):
            return True
    return False
