"""The exceptions of context files, and the messages about failed dependencies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: What is stored as the class of a skip, by DAMNIT too.
SKIP = "Skip"


class Skip(Exception):
    """Raise it in a variable's function to skip a run. The message is shown with the run."""


class GroupError(Exception):
    """A group that is declared or used incorrectly."""


class ContextFileErrors(RuntimeError):
    """All problems of a set of variables, one message each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class Failure:
    """How a variable ended without a value: it failed, with class and message of its exception, or it was skipped.

    Only the text is kept, not the exception, which may have been raised in another process.
    """

    __slots__ = ("class_name", "message", "skipped")

    def __init__(self, class_name: str, message: str, skipped: bool = False) -> None:
        self.class_name = class_name
        self.message = message
        self.skipped = skipped

    @classmethod
    def skip(cls, message: str) -> Failure:
        """The variable chose not to run, or what it depends on did."""
        return cls(SKIP, message, skipped=True)

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """The failure for an exception."""
        known = getattr(error, "failure", None)
        if isinstance(known, cls):
            return known
        return cls(class_name(error), text_of(error), isinstance(error, Skip))

    @classmethod
    def received(cls, how: Mapping[str, Any]) -> Failure:
        """From a message of the worker; an older one knows a skip by the name of its class."""
        name = how["class"]
        return cls(name, how["message"], how.get("skipped", name == SKIP))

    @property
    def is_harmless(self) -> bool:
        """Whether the variable skipped the run, or the run lacks its source."""
        return self.skipped or self.class_name == "SourceNameError"


def class_name(error: BaseException) -> str:
    """The name under which an exception is reported and stored.

    Some names mean something to those who read what is stored: to DAMNIT, ``Skip`` is a skip. A skip goes by that name
    whatever its class is called, and a class of the user's that only has such a name is told with its module.
    """
    if isinstance(error, Skip):
        return SKIP
    cls = type(error)
    meant = {"DependencyError": "damnit_ctx.errors", "SourceNameError": "extra_data", "StorageError": "", SKIP: ""}
    home = meant.get(cls.__name__)
    if home is None or (home and f"{cls.__module__}.".startswith(home + ".")):
        return cls.__name__
    module = "context" if cls.__module__ == "damnit_ctx.executed" else cls.__module__
    return f"{module}.{cls.__name__}"


def text_of(error: BaseException) -> str:
    """``str(error)``, even if that raises."""
    try:
        return str(error)
    except Exception as second:
        return f"<no message: str() of this exception raised {type(second).__name__}>"


def clean(text: str) -> str:
    """Text that can be stored; other characters (lone surrogates, NUL) are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


_TREE_HEAD = "Not run because dependencies are missing:"


class DependencyError(RuntimeError):
    """A variable could not run because others failed. The message shows them as a tree."""

    def __init__(self, failures: Iterable[tuple[str, Failure]]) -> None:
        super().__init__(_tree(list(failures)))


def _tree(failures: list[tuple[str, Failure]]) -> str:
    """The failures as a tree. The causes of a dependency's failure are in its own message, one level less deep."""
    lines = [_TREE_HEAD]
    for position, (name, failure) in enumerate(failures, start=1):
        last = position == len(failures)
        branch, stem = ("└ ", "   ") if last else ("├ ", "│  ")
        inner = failure.message.splitlines()
        if failure.class_name == "DependencyError":
            lines.append(f"{branch}({name}) not run")
            inner = inner[1:]
        elif inner:
            lines.append(f"{branch}({name}) failed: {failure.class_name}: {inner[0]}")
            inner = inner[1:]
        else:
            lines.append(f"{branch}({name}) failed: {failure.class_name}")
        lines.extend(stem + line for line in inner)
    return "\n".join(lines)


def missing_dependencies(names: list[str], failures: dict[str, Failure]) -> Failure:
    """Why a variable cannot run whose dependencies ``names`` have no value.

    It is a skip if nothing went wrong: all causes are skips or sources that the run lacks, or the dependencies
    returned ``None``.
    """
    failed = [(name, failures[name]) for name in names if name in failures]
    if not failed:
        return Failure.skip("Dependencies returned no data:" + "".join(f"\n- {name!r}" for name in names))
    words = str(DependencyError(failed))
    if all(failure.is_harmless for _, failure in failed):
        return Failure.skip(words)
    return Failure("DependencyError", words)
