"""State that the functions of a context file share: what each of them changes, and what it reads of what others change.

A function is followed through everything that it calls in the context file and in the files beside it. What is
followed are objects that were there when the file had been executed: names of modules, lists and dictionaries,
objects of the user's classes, random generators, caches, files of a fixed name. Where it cannot be told whether
something is changed, it is taken to be.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from . import state_knowledge as known
from .state_calls import RECURSION, FollowedCalls
from .state_frame import Frame
from .state_pieces import Use, Uses
from .variable import Variable


class SharedState(FollowedCalls):
    """What the variables of one executed context file share."""

    def of(self, variables: Mapping[str, Variable]) -> dict[str, Uses]:
        """For each variable the pieces of state that it shares with others."""
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(limit, RECURSION))
        try:
            found = {name: self._of_one(variable) for name, variable in variables.items()}
        finally:
            sys.setrecursionlimit(limit)
        changed: set[str] = set()
        read: set[str] = set()
        users: dict[str, int] = {}
        for uses in found.values():
            for piece, use in uses.items():
                users[piece] = users.get(piece, 0) + 1
                # A cache is filled by whoever reads it.
                if use.changes or (use.together and not piece.startswith("file ")):
                    changed.add(piece)
                if use.reads or use.together:
                    read.add(piece)
        shared = {piece for piece in changed & read if users[piece] > 1}
        return {
            name: {piece: use for piece, use in sorted(uses.items()) if piece in shared} for name, uses in found.items()
        }

    def _of_one(self, variable: Variable) -> Uses:
        func = getattr(variable, "func", None)
        uses: Uses = Uses()
        if func is None:
            return uses
        frame = Frame(self, self._namespace, self.context, uses)
        self.call(func, frame, None, [], {})
        made, drawn = uses.pop("figure made", None), uses.pop("figure drawn", None)
        if made or drawn:
            # A function that makes its own figure leaves it as the current one, but needs nobody's.
            use = uses.setdefault(known.CURRENT_FIGURE, Use())
            first = made or drawn
            use.add(first.line, first.file, changes=True, reads=not made)
        for piece, use in uses.items():
            is_file = piece.startswith("file ")
            if use.overwrites and (
                (is_file and not use.adds) or piece.startswith((known.NUMPYS_RANDOM, known.PYTHONS_RANDOM))
            ):
                use.reads = False
            use.adds &= is_file
        return uses
