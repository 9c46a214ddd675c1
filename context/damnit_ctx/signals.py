"""What a function does to the signals of its process ends with it: those after it share the process."""

from __future__ import annotations

import contextlib
import faulthandler
import signal

# The module signal converts it to an enumeration member, which takes longer than everything else here.
from _signal import getsignal as _handler
from collections.abc import Iterator
from typing import Callable

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_WATCHED = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
# Handled by faulthandler, which is not in Python's own list of handlers.
_LAST_WORDS = (signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGUSR2)


@contextlib.contextmanager
def put_back(last_words: Callable[[], None]) -> Iterator[None]:
    """Stops timers that were left running, and restores changed handlers.

    Args:
        last_words: enables the crash traceback again, if a handler replaced it.
    """
    before = [(number, _handler(number)) for number in _WATCHED]
    try:
        yield
    finally:
        # First, so that none fires when it is no longer handled.
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        faulthandler.cancel_dump_traceback_later()
        lost = not faulthandler.is_enabled()
        for number, handler in before:
            # None: it was not set by Python, and cannot be set by Python.
            if handler is not None and _handler(number) is not handler:
                signal.signal(number, handler)
                lost = lost or number in _LAST_WORDS
        if lost:
            last_words()
