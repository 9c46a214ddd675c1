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
from .functions import code_of
from .state_calls import RECURSION, FollowedCalls
from .state_frame import Frame
from .state_pieces import Use, Uses
from .state_values import VALUE_OF, given_to, gives_immutable
from .variable import Variable


class SharedState(FollowedCalls):
    """What the variables of one executed context file share."""

    def of(self, variables: Mapping[str, Variable]) -> dict[str, Uses]:
        """For each variable the pieces of state that it shares with others."""
        self._immutable = {name: self._gives_immutable(variable) for name, variable in variables.items()}
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(limit, RECURSION))
        try:
            found = {name: self._of_one(variable, variables) for name, variable in variables.items()}
        finally:
            sys.setrecursionlimit(limit)
        self._spread_every(found)
        unset = {label for name, label in self._of_run.items() if name not in self._set_on_run}
        changed: set[str] = set()
        read: set[str] = set()
        users: dict[str, int] = {}
        for uses in found.values():
            for piece in unset.intersection(uses):
                del uses[piece]
            for piece, use in uses.items():
                users[piece] = users.get(piece, 0) + 1
                # A cache is filled by whoever reads it.
                if use.changes or (use.together and not piece.startswith("file ")):
                    changed.add(piece)
                if use.reads or use.together:
                    read.add(piece)
        self.values_changed = _values_changed(found)
        shared = {piece for piece in changed & read if users[piece] > 1}
        return {
            name: {piece: use for piece, use in sorted(uses.items()) if piece in shared} for name, uses in found.items()
        }

    def _gives_immutable(self, variable: Variable) -> bool:
        code = code_of(getattr(variable, "func", None))
        return code is not None and gives_immutable(variable.func, self.source(code.co_filename))

    def _spread_every(self, found: Mapping[str, Uses]) -> None:
        """A name that is not known may be each that others use by name."""
        for owner, every in self._every.items():
            if owner == "run":
                collection = getattr(sys.modules.get("extra_data"), "DataCollection", None)
                labels = {name: label for name, label in self._of_run.items() if not hasattr(collection, name)}
            else:
                labels = {name: label for (place, name), label in self.bindings.items() if place == owner}
            if any(every in uses and uses[every].changes for uses in found.values()) and owner == "run":
                self._set_on_run.update(labels)
            used = {label: [uses[label] for uses in found.values() if label in uses] for label in labels.values()}
            for uses in found.values():
                use = uses.get(every)
                if use is None:
                    continue
                for label, others in used.items():
                    if (use.changes and any(other.reads for other in others)) or any(o.changes for o in others):
                        mine = uses.setdefault(label, Use())
                        mine.add(use.line, use.file, changes=use.changes, reads=use.reads)

    def _of_one(self, variable: Variable, variables: Mapping[str, Variable]) -> Uses:
        func = getattr(variable, "func", None)
        uses: Uses = Uses()
        if func is None:
            return uses
        frame = Frame(self, self._namespace, self.context, uses)
        first, words, names = given_to(variable, variables, self._immutable)
        self.call(func, frame, None, first, words)
        # A helper may have been followed with the values of many variables at once.
        for piece in [piece for piece in uses if piece.startswith(VALUE_OF) and piece[len(VALUE_OF) :] not in names]:
            del uses[piece]
        for name in names:
            # Whatever it does with it: the value is what those before it have made of it.
            use = uses.setdefault(VALUE_OF + name, Use())
            use.add(getattr(code_of(func), "co_firstlineno", None), None, reads=True)
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


def _values_changed(found: Mapping[str, Uses]) -> list[tuple[str, str, Use]]:
    """Who changes the value of which variable, and where."""
    return [
        (name, piece[len(VALUE_OF) :], use)
        for name, uses in found.items()
        for piece, use in uses.items()
        if piece.startswith(VALUE_OF) and use.changes
    ]
