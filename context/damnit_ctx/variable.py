"""A variable: a function of the context file and how its value is to be treated."""

from __future__ import annotations
import __future__

import ast
import inspect
import sys
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from .cell import Cell

if TYPE_CHECKING:
    from .slurm_job import SlurmJob

# Set on code compiled with `from __future__ import annotations`.
_ANNOTATIONS_AS_SOURCE = __future__.annotations.compiler_flag

# Every Variable that was put on a function, in order, while a context file is executed (context_file.py). It tells
# of variables that a later one of the same name hides.
_declared: list[Variable] = []


class RunData(Enum):
    """Which data of a run: as recorded, calibrated, or both."""

    RAW = "raw"
    PROC = "proc"
    ALL = "all"


class Variable:
    """Makes a function of the context file a variable, computed for each run. Used as a decorator.

    Args:
        title: heading of the column; the function's name if left out.
        description: a sentence on the variable; the docstring if left out.
        summary: name of the NumPy function that makes one number of an array: ``"mean"``, ``"nanmax"`` ...
        data: ``"raw"`` (run when raw data arrived) or ``"proc"`` (run when calibrated data arrived). If left out, it
            is ``"proc"`` when a dependency is, else ``"raw"``.
        cluster: run in a Slurm job. Those that ask for no resources share one.
        tags: a string or several, for finding variables.
        transient: hand the value to dependents and do not store it; then it may be any object.
        units: physical units of the value.
        cpus: CPUs of the Slurm job. This and what follows is for variables that run in one, and gives them a job of
            their own (shared only with variables of equal resources that they depend on, or the other way round).
        mem: memory of each node as for sbatch: ``"64G"``, ``"500M"``; a number is MiB.
        gpus: GPUs of the job.
        time: limit on the job's time as for sbatch: ``"2:00:00"``, ``"1-12"``; a number is minutes.
        nodes: number of nodes.
        constraint: features that the nodes must have.
        partition: the partition, if not the one that is set for the database.
        reservation: the reservation, if not the one that is set for the database.
        account: the account that is charged, if not the one that is set for the database.
        qos: the quality of service, if not the one that is set for the database.
        job: a :class:`SlurmJob`: the command that is the variable's work, in a Slurm job of its own. The function is
            called when it has ended, with the outcome in an argument annotated ``"job#outcome"``.
    """

    func: Callable[..., Any]
    name: str
    # File and line in which it was put on its function.
    declared_at: tuple[str, int] = ("", 0)

    def __init__(
        self,
        title: Union[str, Callable[..., Any], None] = None,
        description: Optional[str] = None,
        summary: Optional[str] = None,
        data: Optional[str] = None,
        cluster: bool = False,
        tags: Union[str, Iterable[str], None] = None,
        transient: bool = False,
        units: Optional[str] = None,
        *,
        cpus: Optional[int] = None,
        mem: Union[str, int, None] = None,
        gpus: Optional[int] = None,
        time: Union[str, int, None] = None,
        nodes: Optional[int] = None,
        constraint: Optional[str] = None,
        partition: Optional[str] = None,
        reservation: Optional[str] = None,
        account: Optional[str] = None,
        qos: Optional[str] = None,
        job: Optional[SlurmJob] = None,
    ) -> None:
        self.title: Any = None
        self.description = description
        self.summary = summary
        self.cluster = cluster
        # Anything iterable is kept as it is; whether it holds strings is checked with all else.
        self.tags: Any = (tags,) if isinstance(tags, str) else tags
        self.transient = transient
        self.units = units
        # As given, those that were: resources.py knows what they mean.
        self.resources: dict[str, Any] = {
            argument: value
            for argument, value in (
                ("cpus", cpus),
                ("mem", mem),
                ("gpus", gpus),
                ("time", time),
                ("nodes", nodes),
                ("constraint", constraint),
                ("partition", partition),
                ("reservation", reservation),
                ("account", account),
                ("qos", qos),
            )
            if value is not None
        }
        self.job: Any = job
        self._data = data
        self._resolved_annotations: Optional[dict[str, str]] = None
        if callable(title):
            self(title)
        else:
            self.title = title

    def __call__(self, func: Callable[..., Any]) -> Variable:
        """Takes the function (this is what the decorator does)."""
        self.func = func
        self.name = identifier(getattr(func, "__name__", type(func).__name__))
        self.declared_at = _caller()
        if self.title is None:
            self.title = self.name
        if self.description is None:
            self.description = inspect.getdoc(func)
        _declared.append(self)
        return self

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if hasattr(type(instance), "__damnit_group__"):
            return GroupVariable(instance, self)
        return self

    def __repr__(self) -> str:
        return f"<Variable {getattr(self, 'name', 'without a function')}>"

    @property
    def data(self) -> RunData:
        """Which data it needs, as declared (raw, if nothing was said)."""
        return RunData.RAW if self._data is None else RunData(self._data)

    def annotations(self) -> dict[str, str]:
        """The annotations of the arguments that are strings: argument → ``"var#name"`` and the like."""
        if self._resolved_annotations is not None:
            return self._resolved_annotations
        return string_annotations(self.func)

    def arg_dependencies(self, prefix: str = "var#") -> dict[str, str]:
        """Arguments that ask for something of one kind: argument → name without the prefix."""
        return {
            argument: annotation[len(prefix) :]
            for argument, annotation in self.annotations().items()
            if annotation.startswith(prefix)
        }

    def evaluate(self, run: Any, kwargs: dict[str, Any]) -> Any:
        """Calls the function. The result is a :class:`Cell`, or a :class:`Passed` for a transient variable."""
        result = self.func(run, **kwargs)
        if self.transient:
            return Passed(result.data if isinstance(result, Cell) else result)
        cell = result if isinstance(result, Cell) else Cell(result)
        if cell.summary is None:
            cell.summary = self.summary
        if cell.units is None:
            cell.units = self.units
        return cell


class Passed:
    """The value of a transient variable: any object, as it is."""

    __slots__ = ("data",)

    def __init__(self, data: Any) -> None:
        self.data = data


class GroupVariable:
    """A variable as seen through an instance of its group.

    The name is put together when it is asked for, because a group may get its own name after it was linked. Being
    no `Variable`, it is not taken for a declaration when it stands in the context file.
    """

    def __init__(self, group: Any, variable: Variable) -> None:
        self._group = group
        self._variable = variable

    @property
    def name(self) -> str:
        """``group.variable``."""
        return str(identifier(f"{self._group.name}.{self._variable.name}"))

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._variable, attribute)


def string_annotations(func: Any) -> dict[str, str]:
    """Argument → annotation, for annotations that were written as strings.

    With ``from __future__ import annotations`` every annotation arrives as the text of its source; those that were
    strings in the source are found again by their quotes, others are types and say nothing here.
    """
    plain = inspect.unwrap(getattr(func, "__func__", func))
    annotations = getattr(func, "__annotations__", {})
    code = getattr(plain, "__code__", None)
    as_source = code is not None and bool(code.co_flags & _ANNOTATIONS_AS_SOURCE)
    found: dict[str, str] = {}
    for argument, annotation in annotations.items():
        if argument == "return" or not isinstance(annotation, str):
            continue
        if as_source:
            try:
                annotation = ast.literal_eval(annotation)
            except (ValueError, SyntaxError):
                continue
            if not isinstance(annotation, str):
                continue
        if annotation.startswith(("var#", "self#")):
            annotation = identifier(annotation)
        found[argument] = annotation
    return found


def identifier(name: Any) -> Any:
    """A name in the form that Python gives to names in source text (NFKC): ``µ`` of the keyboard is ``μ``."""
    if not isinstance(name, str) or name.isascii():
        return name
    import unicodedata

    return unicodedata.normalize("NFKC", name)


def _caller() -> tuple[str, int]:
    """Where the code stands that called this module."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def normalized_tags(tags: Any) -> tuple[Any, ...]:
    """Tags as a tuple."""
    if tags is None:
        return ()
    return (tags,) if isinstance(tags, str) else tuple(tags)
