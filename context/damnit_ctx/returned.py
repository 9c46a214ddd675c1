"""What stands beside a stored value, so that a dependent in another process gets back what was returned.

A JSON text in the attribute ``_damnit_returned`` of the value's group. It says how the stored form becomes the value
again (names, types, attributes, indexes), or that it does not: then the value is computed again. DAMNIT's reader leaves
out attributes that begin with ``_damnit_``.
"""

from __future__ import annotations

import json
from typing import Any, Optional

from .channel import Message

ATTRIBUTE = "_damnit_returned"
_VERSION = 1


class NotAsReturned(Exception):
    """What is stored does not give back what the function returned. The message is the reason."""


class Returned:
    """Collects what is said of one value while it is encoded.

    Attributes:
        differs: the first reason why the value cannot be given back.
        notes: lines for the run's log.
    """

    def __init__(self) -> None:
        self.differs: Optional[str] = None
        self.notes: list[str] = []
        self._description: Optional[Message] = None

    def differ(self, reason: Optional[str]) -> None:
        """The value cannot be given back; nothing if there is no reason."""
        self.differs = self.differs or reason

    def describe(self, **description: Any) -> None:
        """How the stored form becomes the value."""
        self._description = description

    def as_json(self) -> Optional[str]:
        """The text to be stored; None where the stored form says all."""
        if self.differs is not None:
            return json.dumps({"version": _VERSION, "differs": self.differs})
        if self._description is None:
            return None
        return json.dumps({"version": _VERSION, **self._description}, separators=(",", ":"), allow_nan=False)


def description(text: str) -> Message:
    """What :meth:`Returned.as_json` said.

    Raises:
        NotAsReturned: that the value does not come back; or another version said it.
    """
    said = json.loads(text)
    if said["version"] != _VERSION:
        raise NotAsReturned("it was stored by another version of Amore")
    if "differs" in said:
        raise NotAsReturned(said["differs"])
    assert isinstance(said, dict)
    return said
