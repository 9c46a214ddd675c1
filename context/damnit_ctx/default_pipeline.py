"""The default pipeline of the context file that is being executed: what it is, if the file asks for one at all."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional


class Default:
    """The pipeline that the file has asked for, or set by itself (``explicit``); ``None``: neither."""

    def __init__(self) -> None:
        self.pipeline: Optional[Any] = None
        self.explicit = False


_default: contextvars.ContextVar[Optional[Default]] = contextvars.ContextVar("damnit_ctx_default", default=None)


@contextmanager
def of_a_file() -> Iterator[Default]:
    """A default of its own for the execution of a context file."""
    state = Default()
    token = _default.set(state)
    try:
        yield state
    finally:
        _default.reset(token)


def current() -> Default:
    """The default of the file that is being executed; outside of files, of this thread."""
    state = _default.get()
    if state is None:
        state = Default()
        _default.set(state)
    return state
