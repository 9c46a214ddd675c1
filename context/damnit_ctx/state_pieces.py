"""Pieces of state that exist after a context file was executed, and their names."""

from __future__ import annotations

import sys
import types
from typing import Any, Optional

from . import state_knowledge as known
from .functions import SourceTree
from .group import is_group
from .user_files import UserFiles
from .variable import GroupVariable, Variable

# A tracked value: the objects that it may be, or be a part of.
Refs = frozenset
NOTHING: Refs = frozenset()
# The first argument of each variable's function: one object in a process.
RUN = ("run", "")


class Use:
    """How a function uses one piece of state, with the location of a change or else of a read.

    For files: ``overwrites`` if it is created anew, ``adds`` if its new content depends on the old.
    """

    __slots__ = ("adds", "changes", "file", "line", "line_of_change", "overwrites", "reads", "together")

    def __init__(self) -> None:
        self.changes = self.reads = self.together = self.line_of_change = self.overwrites = self.adds = False
        self.line: Optional[int] = None
        self.file: Optional[str] = None

    def add(
        self,
        line: Optional[int],
        file: Optional[str],
        changes: bool = False,
        reads: bool = False,
        together: bool = False,
        overwrites: bool = False,
        adds: bool = False,
    ) -> None:
        """Adds another use."""
        # Reading and then writing is an update.
        self.adds |= adds or (overwrites and self.reads and not self.overwrites)
        if self.line is None or (changes and not self.line_of_change):
            self.line, self.file, self.line_of_change = line, file, changes
        self.changes |= changes
        self.reads |= reads
        self.together |= together
        self.overwrites |= overwrites


Uses = dict  # name of a piece of state → Use


class Pieces(UserFiles):
    """The objects of one executed context file and their names.

    Args:
        source: the context file.
        namespace: its globals after its execution.
    """

    def __init__(self, source: SourceTree, namespace: dict[str, Any]) -> None:
        super().__init__(source)
        self._namespace = namespace
        self.objects: dict[int, Any] = {}
        self._labels: dict[int, str] = {}
        self.bindings: dict[tuple[int, str], str] = {}
        self._taken: set[str] = set()
        self._prefixes: dict[int, str] = {id(namespace): ""}
        self._classes: list[type] = []
        # Unknown names, by owner, and attributes of the run: name → piece of state.
        self._every: dict[Any, str] = {}
        self._of_run: dict[str, str] = {}
        self._set_on_run: set[str] = set()
        self._register()

    def _register(self) -> None:
        """Names everything at the top level of the context file and of the files next to it."""
        modules = [(self._namespace, "")]
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if isinstance(module, types.ModuleType) and isinstance(file, str) and self.is_beside(file):
                modules.append((vars(module), f"{name}."))
        for namespace, prefix in modules:
            self._prefixes.setdefault(id(namespace), prefix)
            for name, value in list(namespace.items()):
                if name.startswith("__"):
                    continue
                if isinstance(value, type):
                    if self.source_of_class(value):
                        self._classes.append(value)
                elif not known.is_plain(value) and not isinstance(value, (Variable, GroupVariable)):
                    self.label_object(value, self.label_binding(namespace, name))
        self._seeded = known.seeded([source.tree for source in self._beside_trees()])
        for number, label in known.global_generators().items():
            if label in self._seeded:
                self._labels[number] = label

    def classes_with(self, method: str) -> list[Any]:
        """Methods of that name in the user's classes."""
        found = []
        for cls in self._classes:
            func = vars(cls).get(method)
            func = getattr(func, "__func__", func)
            if isinstance(func, types.FunctionType):
                found.append(func)
        return found

    def unique(self, label: str) -> str:
        number, name = 1, label
        while name in self._taken:
            number += 1
            name = f"{label} ({number})"
        self._taken.add(name)
        return name

    def label_binding(self, namespace: Any, name: str) -> str:
        """The piece of state for a name of a module."""
        key = (id(namespace), name)
        if key not in self.bindings:
            self.objects[id(namespace)] = namespace
            self.bindings[key] = self.unique(f"{self._prefixes.get(id(namespace), '')}{name}")
        return self.bindings[key]

    def label_attribute(self, owner: Any, name: str) -> str:
        """The piece of state for an attribute of a known object."""
        key = (id(owner), f".{name}")
        if key not in self.bindings:
            self.objects[id(owner)] = owner
            label = self._labels.get(id(owner))
            if label is None and is_group(owner):
                label = str(owner.name)
            if label is None:
                label = getattr(owner, "__qualname__", None) or type(owner).__qualname__
            self.bindings[key] = self.unique(f"{label}.{name}")
        return self.bindings[key]

    def is_namespace(self, value: Any) -> bool:
        """Whether it is the dictionary of a user's module."""
        return type(value) is dict and id(value) in self._prefixes

    def label_every(self, owner: Any) -> str:
        """The piece of state that stands for all names of a module or of the run."""
        if owner not in self._every:
            prefix = "run." if owner == "run" else self._prefixes.get(owner, "")
            self._every[owner] = self.unique(f"any name of {prefix.rstrip('.') or 'the file'}")
        return self._every[owner]

    def label_run(self, name: str, sets: bool = False) -> str:
        """The piece of state for an attribute of the run. Only attributes that a function sets count."""
        if sets:
            self._set_on_run.add(name)
        if name not in self._of_run:
            self._of_run[name] = self.unique(f"run.{name}")
        return self._of_run[name]

    def label_object(self, value: Any, label: str) -> None:
        """Names an object that has no name yet."""
        if id(value) not in self._labels:
            self._labels[id(value)] = label
        self.objects[id(value)] = value

    def label_of(self, ref: Any) -> Optional[str]:
        """The piece of state that it is part of."""
        while ref[0] == "attribute":
            ref = ref[1]
        if ref[0] == "object":
            return self._labels.get(ref[1])
        return ref[1] if ref[0] == "part" else None

    def known_object(self, value: Any) -> Any:
        """A reference to an object."""
        self.objects[id(value)] = value
        return ("object", id(value))

    def object_of(self, ref: Any) -> Any:
        """The object of a reference; None if it is not known."""
        return self.objects.get(ref[1]) if ref[0] == "object" else None


def holding(refs: Refs) -> Refs:
    """A new container with these in it. Of containers in containers two are told apart, so that a function that calls
    itself with what it was given in a new one comes to an end."""
    return Refs({("new", Refs(_flattened(ref) for ref in refs))}) if refs else NOTHING


def _flattened(ref: Any) -> Any:
    if ref[0] != "new" or all(inner[0] != "new" for inner in ref[1]):
        return ref
    return ("new", Refs().union(*(inner[1] if inner[0] == "new" else Refs({inner}) for inner in ref[1])))


def attribute_of(ref: Any, name: str) -> Any:
    """An attribute of something, which is a part of it; of a long chain the first and the last are told apart."""
    if ref[0] == "attribute" and ref[1][0] == "attribute":
        while ref[0] == "attribute":
            ref = ref[1]
    return ("attribute", ref, name)


def settings_of(module: str) -> str:
    """The piece that all settings of a package are."""
    return f"settings of {module.partition('.')[0]}"


EMPTY_CELL = object()


def content_of(cell: Any) -> Any:
    """The content of a closure cell."""
    try:
        return cell.cell_contents
    except ValueError:
        return EMPTY_CELL
