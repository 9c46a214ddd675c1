"""Calls variables: arguments from annotations, failures of dependencies, values for dependents."""

from __future__ import annotations

import inspect
import json
import os
import re
import time
from collections.abc import Mapping
from fnmatch import filter as matching
from typing import TYPE_CHECKING, Any, Callable, Optional

from . import run_files
from .cell import Cell
from .errors import DependencyError, Failure, Skip, missing_dependencies
from .report import log, log_problem
from .variable import Variable

if TYPE_CHECKING:
    from .job_outcome import JobOutcome
    from .variables import Variables

_GLOB = re.compile(r"[*?\[]")
_EMPTY = inspect.Parameter.empty
_NO_JOB = "it runs a command in a Slurm job, which only amore can start"
_NO_JOB_FOR_MOCK = "it runs a command in a Slurm job, which needs real data: this is a mock run (--mock)"


class RunFacts:
    """Values of ``meta#``, ``param#``, ``mymdc#`` and ``job#`` arguments."""

    def __init__(
        self,
        run: Any,
        proposal: int,
        run_number: int,
        parameters: Mapping[str, Any],
        directory: Optional[str] = None,
        outcomes: Optional[Mapping[str, JobOutcome]] = None,
        mock: bool = False,
        catalogue: Optional[Mapping[str, Mapping[str, str]]] = None,
    ) -> None:
        self.run = run
        self.proposal = proposal
        self.run_number = run_number
        self.parameters = parameters
        self.outcomes = outcomes or {}
        self.mock = mock
        self.catalogue = catalogue or {}
        self.directory = os.getcwd() if directory is None else directory

    def meta(self, word: str) -> Any:
        """The value of ``meta#word``.

        Raises:
            KeyError: there is no such word.
        """
        if word == "run_number":
            return self.run_number
        if word == "proposal":
            return self.proposal
        if word in ("proposal_path", "proposal_dir"):
            return run_files.proposal_folder(self.run, self.directory)
        raise KeyError(word)

    def mymdc(self, field: str) -> Any:
        """The value of ``mymdc#field``, or the :class:`Failure` that explains why there is none.

        Each call returns a new object: what a function does to its argument is not seen by others.
        """
        answer = self.catalogue.get(field)
        if answer is None:
            return Failure(
                "RuntimeError",
                "values of MyMdC are only known when amore processes a run; give the argument a default value",
            )
        if answer["is"] == "value":
            return json.loads(answer["json"])
        return Failure(answer["class"], answer["message"])


class NoValue(Exception):
    """A variable has no value: not computed, failed, or ``None``."""


class Values:
    """Values of variables that have ended, for their dependents.

    Args:
        start_time: value of ``start_time``, which wildcards match too.
        given: variable → function that fetches its value (raises :class:`NoValue`), called when it is needed.
    """

    def __init__(self, start_time: float, given: Optional[Mapping[str, Callable[[], Any]]] = None) -> None:
        self._values: dict[str, Any] = {"start_time": start_time}
        self._given = dict(given or {})
        self.failures: dict[str, Failure] = {}

    def put(self, name: str, value: Any) -> None:
        """Records a value; ``None`` means no value."""
        self._given.pop(name, None)
        if value is not None:
            self._values[name] = value

    def offer(self, name: str, fetch: Callable[[], Any]) -> None:
        """Records how to fetch a value if it is needed."""
        self._given[name] = fetch

    def knows(self, name: str) -> bool:
        """Whether its value or failure is known or can be fetched."""
        return name in self._values or name in self._given or name in self.failures

    def get(self, name: str) -> Any:
        """The value.

        Raises:
            NoValue: there is none.
        """
        fetch = self._given.get(name)
        if fetch is not None:
            # Kept if it raises anything else: the next dependent may succeed, or get the same error.
            try:
                self.put(name, fetch())
            except NoValue:
                self._given.pop(name, None)
                raise
        if name not in self._values:
            raise NoValue(name)
        return self._values[name]

    def matching(self, pattern: str) -> dict[str, Any]:
        """All values whose names match the pattern."""
        found = {}
        for name in matching([*self._values, *self._given], pattern):
            try:
                found[name] = self.get(name)
            except NoValue:
                continue
        return found


def arguments(variable: Variable, facts: RunFacts, values: Values, names: Mapping[str, Variable]) -> Any:
    """The keyword arguments for a variable's function, or the :class:`Failure` that prevents its execution."""
    kwargs: dict[str, Any] = {}
    missing: list[str] = []
    annotations = variable.annotations()
    outcome = facts.outcomes.get(variable.name)
    if not annotations and variable.job is None:
        return kwargs
    parameters = inspect.signature(variable.func).parameters
    for position, (argument, parameter) in enumerate(parameters.items()):
        annotation = annotations.get(argument)
        if annotation is None or position == 0:
            continue
        kind, _, what = annotation.partition("#")
        optional = parameter.default is not _EMPTY
        if kind == "var":
            try:
                kwargs[argument] = _dependency(what, values)
            except NoValue:
                if not optional:
                    missing.extend([what] if what in names else matching(names, what))
        elif kind == "param":
            if what in facts.parameters:
                kwargs[argument] = facts.parameters[what]
            elif not optional:
                return Failure.skip(f"no value was given for the parameter {what!r} (argument {argument!r})")
        elif kind == "mymdc":
            value = facts.mymdc(what)
            if not isinstance(value, Failure):
                kwargs[argument] = value
            elif not optional:
                return Failure(value.class_name, f"argument {argument!r} ({annotation}): {value.message}")
        elif kind == "job":
            kwargs[argument] = outcome
        elif kind == "meta":
            try:
                kwargs[argument] = facts.meta(what)
            except KeyError:
                return _unknown(argument, annotation)
        else:
            return _unknown(argument, annotation)
    if missing:
        return missing_dependencies(missing, values.failures)
    if variable.job is not None and outcome is None:
        return Failure.skip(_NO_JOB_FOR_MOCK if facts.mock else _NO_JOB)
    return kwargs


def _unknown(argument: str, annotation: str) -> Failure:
    return Failure("RuntimeError", f"argument {argument!r}: {annotation!r} is not a valid annotation")


def _dependency(pattern: str, values: Values) -> Any:
    try:
        return values.get(pattern)
    except NoValue:
        if not _GLOB.search(pattern):
            raise
    found = values.matching(pattern)
    if not found:
        raise NoValue(pattern)
    return found


class Results:
    """Results of an execution: ``cells`` (name → :class:`Cell`, including ``start_time``) and ``errors``
    (name → exception)."""

    def __init__(self, cells: dict[str, Any], errors: dict[str, Exception], ctx: Variables) -> None:
        self.cells = cells
        self.errors = errors
        self.ctx = ctx


def execute_all(variables: Variables, facts: RunFacts, label: str) -> Results:
    """Executes a pipeline's variables in order. Nothing is stored."""
    head = f"[{label}] " if label and label != "default" else ""
    begun = run_files.start_time(facts.run) if run_files.is_data_collection(facts.run) else time.time()
    values = Values(begun)
    cells: dict[str, Any] = {"start_time": Cell(begun)}
    errors: dict[str, Exception] = {}
    for name in variables.ordered_vars():
        variable = variables.vars[name]
        t0 = time.perf_counter()
        kwargs = arguments(variable, facts, values, variables.vars)
        if isinstance(kwargs, Failure):
            log(f"{head}{name} not run: {kwargs.message}")
            values.failures[name] = kwargs
            errors[name] = _as_exception(kwargs)
            continue
        try:
            cell = variable.evaluate(facts.run, kwargs)
        except Exception as error:
            if isinstance(error, Skip):
                log(f"{head}{name} skipped: {error}")
            else:
                log_problem(f"{head}{name} failed")
            values.failures[name] = Failure.of(error)
            errors[name] = error
            continue
        log(f"{head}{name} computed in {time.perf_counter() - t0:.3f} s")
        if not variable.transient:
            cells[name] = cell
        values.put(name, cell.data)
    for name, variable in variables.vars.items():
        if variable.transient:
            errors.pop(name, None)
    return Results(cells, errors, variables)


def _as_exception(failure: Failure) -> Exception:
    if failure.skipped:
        return Skip(failure.message)
    if failure.class_name == "DependencyError":
        error = DependencyError([])
        error.args = (failure.message,)
        return error
    return RuntimeError(failure.message)
