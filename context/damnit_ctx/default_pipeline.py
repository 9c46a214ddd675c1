"""The default pipeline of the context file that is being executed, if the file uses one."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional


class Default:
    """The pipeline that the file has requested, or set itself (``explicit``); ``None`` if neither."""

    def __init__(self) -> None:
        self.pipeline: Optional[Any] = None
        self.explicit = False


_default: contextvars.ContextVar[Optional[Default]] = contextvars.ContextVar("damnit_ctx_default", default=None)


@contextmanager
def of_a_file() -> Iterator[Default]:
    """Provides a separate default for the execution of a context file."""
    state = Default()
    token = _default.set(state)
    try:
        yield state
    finally:
        _default.reset(token)


def current() -> Default:
    """The default of the file that is being executed; outside of files, that of this thread."""
    state = _default.get()
    if state is None:
        state = Default()
        _default.set(state)
    return state
