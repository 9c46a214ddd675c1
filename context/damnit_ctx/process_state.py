"""What a variable changes of its process ends with it, so that no value depends on who shared the process.

Taken once, when the context file has been executed; put back after each variable. Module state (globals, caches, what
was imported, random generators) is not touched: functions may share that on purpose.
"""

from __future__ import annotations

import gc
import importlib.util
import io
import locale
import logging
import os
import resource
import signal
import socket
import sys
import time
import warnings
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from . import _core, job_variables
from .report import log

_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
_HANDLED = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class ProcessState:
    """The state of this process as it is now.

    Args:
        log_descriptor: where standard output and error lead to.
        directory: the database directory, where a working directory that is gone is not to be had again.
    """

    def __init__(self, log_descriptor: int, directory: str) -> None:
        self._log = log_descriptor
        self._directory = directory
        self._cwd = os.getcwd()
        self._umask = _umask()
        self._environ = os.environ
        self._environment: dict[bytes, bytes] = _core.environment()
        self._locale = locale.setlocale(locale.LC_ALL)
        self._limits = [(limit, resource.getrlimit(limit)) for limit in _LIMITS]
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._interpreter = _interpreter()
        self._warnings = (warnings.filters, list(warnings.filters), warnings.showwarning, warnings.formatwarning)
        root = logging.root
        self._logging = (root.level, list(root.handlers), root.manager.disable)
        self._numpy = (np.geterr(), np.geterrcall(), np.get_printoptions())
        self._libraries = {name: library.read() for name, library in _LIBRARIES.items() if _is_loaded(name)}

    def put_back(self) -> None:
        """Makes the process what it was."""
        for part in (
            self._put_back_streams,
            self._put_back_directory,
            self._put_back_environment,
            self._put_back_limits,
            self._put_back_warnings,
            self._put_back_logging,
            self._put_back_numpy,
            self._put_back_interpreter,
            self._put_back_libraries,
        ):
            try:
                part()
            except Exception as error:
                log(f"process state that the variable changed could not be restored: {type(error).__name__}: {error}")

    def _put_back_streams(self) -> None:
        mine = os.fstat(self._log)
        for descriptor in (1, 2):
            try:
                led = os.fstat(descriptor)
            except OSError:
                led = None
            if led is None or (led.st_dev, led.st_ino) != (mine.st_dev, mine.st_ino):
                os.dup2(self._log, descriptor)
        if (sys.stdin, sys.stdout, sys.stderr) != self._streams:
            sys.stdin, sys.stdout, sys.stderr = self._streams
        if any(stream.closed for stream in self._streams[1:]):
            _, out, error = self._streams
            out = _opened(1) if out.closed else out
            error = _opened(2) if error.closed else error
            self._streams = (self._streams[0], out, error)
            sys.stdout, sys.stderr = out, error

    def _put_back_directory(self) -> None:
        # Asking costs as much as setting.
        os.umask(self._umask)
        try:
            if os.getcwd() == self._cwd:
                return
        except FileNotFoundError:
            pass
        try:
            os.chdir(self._cwd)
        except OSError as error:
            log(f"the working directory {self._cwd} no longer exists ({error.strerror}): it is now {self._directory}")
            os.chdir(self._directory)
            self._cwd = self._directory

    def _put_back_environment(self) -> None:
        os.environ = self._environ  # type: ignore[assignment]  # noqa: B003 (the object, not its content)
        now: dict[bytes, bytes] = _core.environment()
        if now != self._environment:
            for name in now.keys() - self._environment.keys():
                os.environb.pop(name, None)
                os.unsetenv(name)
            for name, value in self._environment.items():
                if now.get(name) != value:
                    os.environb[name] = value
            if now.get(b"TZ") != self._environment.get(b"TZ"):
                time.tzset()
        job_variables.put_back()
        if locale.setlocale(locale.LC_ALL) != self._locale:
            locale.setlocale(locale.LC_ALL, self._locale)

    def _put_back_limits(self) -> None:
        for limit, before in self._limits:
            soft, hard = resource.getrlimit(limit)
            if soft != before[0]:
                # A hard limit that was lowered stays so.
                resource.setrlimit(limit, (min_limit(before[0], hard), hard))
        if signal.pthread_sigmask(signal.SIG_BLOCK, ()) != self._mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _put_back_warnings(self) -> None:
        filters, content, show, form = self._warnings
        if warnings.showwarning is not show:
            logging.captureWarnings(False)
            warnings.showwarning = show
        warnings.formatwarning = form
        if warnings.filters is not filters or warnings.filters != content:
            warnings.filters = filters
            warnings.resetwarnings()
            warnings.filters.extend(content)  # type: ignore[attr-defined]

    def _put_back_logging(self) -> None:
        root = logging.root
        level, handlers, disabled = self._logging
        if root.level != level:
            root.setLevel(level)
        if root.handlers != handlers:
            root.handlers[:] = handlers
        if root.manager.disable != disabled:
            logging.disable(disabled)

    def _put_back_numpy(self) -> None:
        errors, call, printing = self._numpy
        if np.geterr() != errors:
            np.seterr(**errors)
        if np.geterrcall() is not call:
            np.seterrcall(call)
        if np.get_printoptions() != printing:
            np.set_printoptions(**printing)

    def _put_back_interpreter(self) -> None:
        if _interpreter() == self._interpreter:
            return
        recursion, collecting, trace, profile, timeout, digits, hooks = self._interpreter
        sys.setrecursionlimit(recursion)
        (gc.enable if collecting else gc.disable)()
        sys.settrace(trace)
        sys.setprofile(profile)
        socket.setdefaulttimeout(timeout)
        if digits is not None:
            sys.set_int_max_str_digits(digits)  # type: ignore[attr-defined, unused-ignore]
        sys.excepthook, sys.displayhook = hooks

    def _put_back_libraries(self) -> None:
        for name, library in _LIBRARIES.items():
            if not _is_loaded(name):
                continue
            if name not in self._libraries:
                self._libraries[name] = library.at_first()
            if library.read() != self._libraries[name]:
                library.write(self._libraries[name])
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None and pyplot.get_fignums():
            # Else the next one's plt.plot() would draw into it. The figure itself stays what it is.
            pyplot.close("all")


def _is_loaded(name: str) -> bool:
    module = sys.modules.get(name)
    # Not while it is being imported.
    return module is not None and not getattr(module.__spec__, "_initializing", False)


def _umask() -> int:
    before = os.umask(0o077)
    os.umask(before)
    return before


def min_limit(wanted: int, hard: int) -> int:
    """The soft limit that is wanted, as far as the hard one allows it."""
    if hard == resource.RLIM_INFINITY:
        return wanted
    return hard if wanted == resource.RLIM_INFINITY else min(wanted, hard)


def _opened(descriptor: int) -> io.TextIOWrapper:
    """A standard stream in place of one that was closed."""
    raw = open(descriptor, "wb", closefd=False)  # noqa: SIM115 (it stays open)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _interpreter() -> tuple[Any, ...]:
    digits: Optional[Callable[[], int]] = getattr(sys, "get_int_max_str_digits", None)
    return (
        sys.getrecursionlimit(),
        gc.isenabled(),
        sys.gettrace(),
        sys.getprofile(),
        socket.getdefaulttimeout(),
        None if digits is None else digits(),
        (sys.excepthook, sys.displayhook),
    )


_DECIMAL = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")


def _of_decimal(context: Any) -> dict[str, Any]:
    return {**{name: getattr(context, name) for name in _DECIMAL}, "traps": dict(context.traps)}


def _decimal() -> dict[str, Any]:
    return _of_decimal(sys.modules["decimal"].getcontext())


def _decimal_at_first() -> dict[str, Any]:
    return _of_decimal(sys.modules["decimal"].DefaultContext)


def _set_decimal(before: dict[str, Any]) -> None:
    context = sys.modules["decimal"].getcontext()
    for name in _DECIMAL:
        setattr(context, name, before[name])
    context.traps.update(before["traps"])


def _without_backend(parameters: Any) -> dict[str, Any]:
    # Asking for the backend would choose one.
    return {name: value for name, value in dict.items(parameters) if name != "backend"}


def _rc() -> dict[str, Any]:
    return _without_backend(sys.modules["matplotlib"].rcParams)


def _rc_at_first() -> dict[str, Any]:
    return _without_backend(sys.modules["matplotlib"].rcParamsOrig)


def _set_rc(before: dict[str, Any]) -> None:
    dict.update(sys.modules["matplotlib"].rcParams, before)


def _xarray() -> dict[str, Any]:
    return dict(sys.modules["xarray.core.options"].OPTIONS)


def _xarray_at_first() -> dict[str, Any]:
    # The module once more: nothing else remembers what was in it at first.
    spec = importlib.util.find_spec("xarray.core.options")
    assert spec is not None and spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    return dict(again.OPTIONS)


def _set_xarray(before: dict[str, Any]) -> None:
    now = _xarray()
    sys.modules["xarray"].set_options(**{name: value for name, value in before.items() if now.get(name) != value})


def _flat(options: dict[str, Any], head: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{head}{name}."))
        else:
            flat[head + name] = value
    return flat


def _pandas() -> dict[str, Any]:
    from pandas._config import config

    return _flat(config._global_config)


def _pandas_at_first() -> dict[str, Any]:
    from pandas._config import config

    return {name: option.defval for name, option in config._registered_options.items()}


def _set_pandas(before: dict[str, Any]) -> None:
    now = _pandas()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in before.items():
            if now.get(name, value) != value:
                sys.modules["pandas"].set_option(name, value)


class _Library(NamedTuple):
    """How a library's settings are read and written, and what they are before anybody has changed them."""

    read: Callable[[], dict[str, Any]]
    at_first: Callable[[], dict[str, Any]]
    write: Callable[[dict[str, Any]], None]


_LIBRARIES = {
    "decimal": _Library(_decimal, _decimal_at_first, _set_decimal),
    "matplotlib": _Library(_rc, _rc_at_first, _set_rc),
    "xarray": _Library(_xarray, _xarray_at_first, _set_xarray),
    "pandas": _Library(_pandas, _pandas_at_first, _set_pandas),
}
