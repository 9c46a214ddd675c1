"""What a function does to the signals of its process ends with it: those after it share the process."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Callable

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_WATCHED = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


@contextlib.contextmanager
def put_back(asked: Callable[[], None]) -> Iterator[None]:
    """Stops timers that are left running, and puts back handlers that are left changed.

    Args:
        asked: has the process answer SIGUSR2 again, if a handler took its place.
    """
    before = [(number, signal.getsignal(number)) for number in _WATCHED]
    try:
        yield
    finally:
        # First, so that none goes off where nobody handles it any more.
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        for number, handler in before:
            # None: it was not set by Python, and cannot be set by Python.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
                if number == signal.SIGUSR2:
                    asked()
