"""The variables of a context file as plain Python, without Amore: what each returns or raises.

Replaces `damnit_ctx` while the file is executed, so that a test knows the expected value of a variable that was computed,
transferred, stored and read back.
"""

import sys
import types
from dataclasses import dataclass, field
from pathlib import Path


class Skip(Exception):
    """The exception that a context file raises."""


class Cell:
    """A value and its metadata."""

    def __init__(
        self, data, summary=None, summary_value=None, bold=None, background=None, *, preview=None, units=None
    ):
        self.data, self.summary, self.summary_value, self.preview = data, summary, summary_value, preview
        self.bold, self.background, self.units = bold, background, units


@dataclass
class Variable:
    """A function and the options it was declared with."""

    title: object = None
    summary: "str | None" = None
    units: "str | None" = None
    tags: object = None
    transient: bool = False
    data: "str | None" = None
    cluster: bool = False
    description: "str | None" = None
    function: object = field(default=None, init=False)

    def __post_init__(self):
        if callable(self.title):
            self.function, self.title = self.title, None

    def __call__(self, function):
        self.function = function
        return self

    @property
    def needs_arguments(self) -> bool:
        """Whether the function has arguments other than the run."""
        return self.function.__code__.co_argcount > 1

    def outcome(self):
        """Its return value as a `Cell`, or the exception."""
        try:
            value = self.function(None)
        except Exception as exc:
            return exc
        cell = value if isinstance(value, Cell) else Cell(value)
        cell.summary = cell.summary or self.summary
        cell.units = cell.units or self.units
        return cell


def group(cls=None, **options):
    """Groups are checked with explicit expectations: the class is returned unchanged."""
    if cls is None:
        return group
    cls.__init__ = lambda self, **values: None
    return cls


def declared(path: Path) -> dict[str, Variable]:
    """The file's own variables by name, without those of groups."""
    module = types.ModuleType("damnit_ctx")
    module.Cell, module.Skip, module.Variable, module.Group = Cell, Skip, Variable, group
    before = sys.modules.get("damnit_ctx")
    sys.modules["damnit_ctx"] = module
    try:
        names = {"__name__": "context", "__file__": str(path)}
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    finally:
        if before is None:
            del sys.modules["damnit_ctx"]
        else:
            sys.modules["damnit_ctx"] = before
    return {name: value for name, value in names.items() if isinstance(value, Variable)}
