"""Variables: functions of the context file, and how their values are treated."""

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

# Every Variable that was applied to a function, in order, while a context file is executed (context_file.py). Used to
# find variables that a later one of the same name hides.
_declared: list[Variable] = []


class RunData(Enum):
    """Which data of a run: raw, calibrated (proc), or both."""

    RAW = "raw"
    PROC = "proc"
    ALL = "all"


class Variable:
    """Decorator that turns a function of the context file into a variable, computed for each run.

    Args:
        title: column heading (default: the function's name).
        description: description of the variable (default: the docstring).
        summary: name of the NumPy function that reduces an array to one number: ``"mean"``, ``"nanmax"`` ...
        data: ``"raw"`` (run when raw data arrive) or ``"proc"`` (run when calibrated data arrive). The default is
            ``"proc"`` if a dependency is, else ``"raw"``.
        cluster: run in a Slurm job. Variables that request no resources share one.
        tags: a string or several strings, to filter variables.
        transient: pass the value to dependents without storing it; it may then be any object.
        units: physical units of the value.
        cpus: CPUs of the Slurm job. This and the following arguments apply to variables that run in a job, and give
            them a separate job (shared only with dependencies and dependents that request the same resources).
        mem: memory per node as for sbatch: ``"64G"``, ``"500M"``; a number is MiB.
        gpus: GPUs of the job.
        time: time limit of the job as for sbatch: ``"2:00:00"``, ``"1-12"``; a number is minutes.
        nodes: number of nodes.
        constraint: features that the nodes must have.
        partition: the partition (default: the database's setting).
        reservation: the reservation (default: the database's setting).
        account: the account to charge (default: the database's setting).
        qos: the quality of service (default: the database's setting).
        job: a :class:`SlurmJob`: a command to run in a separate Slurm job. The function is called when it has ended,
            with the outcome in an argument annotated ``"job#outcome"``.
    """

    func: Callable[..., Any]
    name: str
    # File and line in which it was applied to its function.
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
        # Any iterable is kept as it is; its elements are checked later.
        self.tags: Any = (tags,) if isinstance(tags, str) else tags
        self.transient = transient
        self.units = units
        # The given ones, unchanged: resources.py interprets them.
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
        """Decorates the function."""
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
        """Which data it needs, as declared (default: raw)."""
        return RunData.RAW if self._data is None else RunData(self._data)

    def annotations(self) -> dict[str, str]:
        """The annotations of the arguments that are strings: argument → ``"var#name"`` and the like."""
        if self._resolved_annotations is not None:
            return self._resolved_annotations
        return string_annotations(self.func)

    def arg_dependencies(self, prefix: str = "var#") -> dict[str, str]:
        """Arguments of one kind: argument → name without the prefix."""
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
    """A variable of an instance of its group.

    The name is computed on demand, because a group may get its name later. It is not a `Variable`, so that it is not
    taken for a declaration if it is in the context file.
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

    With ``from __future__ import annotations`` every annotation is the text of its source; those that were strings in
    the source are recognized by their quotes, others are types and are ignored here.
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
    """A name in Python's normal form for identifiers (NFKC): the keyboard's ``µ`` becomes ``μ``."""
    if not isinstance(name, str) or name.isascii():
        return name
    import unicodedata

    return unicodedata.normalize("NFKC", name)


def _caller() -> tuple[str, int]:
    """The location of the code that called this module."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def normalized_tags(tags: Any) -> tuple[Any, ...]:
    """Tags as a tuple."""
    if tags is None:
        return ()
    return (tags,) if isinstance(tags, str) else tuple(tags)
