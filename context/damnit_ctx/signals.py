"""What a function does to the signals of its process ends with it: those after it share the process."""

from __future__ import annotations

import contextlib
import faulthandler
import signal

# What the module signal makes of it is an enumeration member, which takes longer than all else here.
from _signal import getsignal as _handler
from collections.abc import Iterator
from typing import Callable

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_WATCHED = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
# Answered by faulthandler, which Python's own list of handlers does not know of.
_LAST_WORDS = (signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGUSR2)


@contextlib.contextmanager
def put_back(last_words: Callable[[], None]) -> Iterator[None]:
    """Stops timers that are left running, and puts back handlers that are left changed.

    Args:
        last_words: has the process leave its last words again, if a handler took the place of that.
    """
    before = [(number, _handler(number)) for number in _WATCHED]
    try:
        yield
    finally:
        # First, so that none goes off where nobody handles it any more.
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
