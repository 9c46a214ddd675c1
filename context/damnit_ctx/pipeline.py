"""Pipelines: sets of variables and groups that are put together by hand, and executed inside Python."""

from __future__ import annotations

import contextvars
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import filter as matching
from graphlib import CycleError, TopologicalSorter
from typing import Any, Optional, Union

from .errors import ContextFileErrors, GroupError
from .group import assign_names, expand, is_group, require_name
from .problems import check_variable
from .variable import RunData, Variable

_MYMDC = ("sample_name", "run_type", "techniques")


class _Default:
    """The default pipeline of the context file that is being executed."""

    def __init__(self) -> None:
        self.pipeline = Pipeline(name="default")
        self.explicit = False
        self.used = False


_default: contextvars.ContextVar[Optional[_Default]] = contextvars.ContextVar("damnit_ctx_default", default=None)


@contextmanager
def default_pipeline() -> Iterator[_Default]:
    """A default pipeline of its own for the execution of a context file."""
    state = _Default()
    token = _default.set(state)
    try:
        yield state
    finally:
        _default.reset(token)


def _current_default() -> _Default:
    state = _default.get()
    if state is None:
        state = _Default()
        _default.set(state)
    return state


class Variables:
    """Variables that fit together: dependencies exist, no cycles, promoted to proc and cluster by dependencies.

    Raises:
        KeyError: a dependency that no variable has.
        CycleError: variables that depend on one another in a ring.
    """

    def __init__(self, variables: Mapping[str, Variable], code: str = "") -> None:
        self.vars: dict[str, Variable] = dict(variables)
        self.code = code
        self._direct = {name: self.direct_dependencies(variable) for name, variable in self.vars.items()}
        try:
            self._order = tuple(TopologicalSorter(self._direct).static_order())
        except CycleError as error:
            ring = " -> ".join(error.args[1])
            raise CycleError(f"variables depend on one another in a ring: {ring}") from None
        for name in self._order:
            variable = self.vars[name]
            needs = [self.vars[other] for other in self._direct[name]]
            if variable._data is None and any(other.data is RunData.PROC for other in needs):
                variable._data = "proc"
            if any(other.cluster for other in needs):
                variable.cluster = True

    def direct_dependencies(self, variable: Variable) -> set[str]:
        """Names of the variables whose values it asks for, wildcards resolved."""
        found: set[str] = set()
        for pattern in variable.arg_dependencies().values():
            names = [pattern] if pattern in self.vars else matching(self.vars, pattern)
            if not names:
                raise KeyError(f"variable {variable.name!r} depends on {pattern!r}, which is no variable")
            found.update(names)
        return found

    def ordered_vars(self) -> tuple[str, ...]:
        """All names, dependencies first."""
        return self._order

    def all_dependencies(self, *variables: Variable) -> set[str]:
        """Names of everything that these variables need, directly or not."""
        found: set[str] = set()
        pending = [name for variable in variables for name in self._direct[variable.name]]
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending.extend(self._direct[name])
        return found

    def filter(
        self,
        run_data: RunData = RunData.ALL,
        cluster: Optional[bool] = None,
        name_matches: Iterable[str] = (),
        variables: Iterable[str] = (),
    ) -> Variables:
        """Those of some data, cluster or not, with a title that contains one of the words, or of these names;
        and what they depend on."""
        words = [name_matches] if isinstance(name_matches, str) else list(name_matches)
        names = {variables} if isinstance(variables, str) else set(variables)

        def wanted(name: str, variable: Variable) -> bool:
            if run_data is not RunData.ALL and variable.data is not run_data:
                return False
            if cluster is not None and bool(variable.cluster) is not cluster:
                return False
            if names:
                return name in names
            title = str(variable.title or name).lower()
            return not words or any(word.lower() in title for word in words)

        chosen = {name: variable for name, variable in self.vars.items() if wanted(name, variable)}
        needed = self.all_dependencies(*chosen.values())
        return Variables({name: self.vars[name] for name in self.vars if name in chosen or name in needed}, self.code)

    def vars_to_dict(self, inc_transient: bool = False) -> dict[str, dict[str, Any]]:
        """Title, description and tags of each variable that is stored."""
        return {
            name: {
                "title": variable.title,
                "description": variable.description,
                "tags": variable.tags,
                "attributes": None,
                "type": None,
            }
            for name, variable in self.vars.items()
            if inc_transient or not variable.transient
        }

    def check(self) -> None:
        """Raises `ContextFileErrors` with everything that is wrong with the variables, each and together."""
        problems = [
            problem["message"]
            for variable in self.vars.values()
            for problem in check_variable(variable)
            if problem["severity"] == "error"
        ]
        problems += self._wrong_together()
        if problems:
            raise ContextFileErrors(problems)

    def _wrong_together(self) -> Iterator[str]:
        """What the planner finds in a context file, for pipelines, which it does not see."""
        by_title: dict[str, list[str]] = {}
        for name, variable in self.vars.items():
            by_title.setdefault(str(variable.title), []).append(name)
            if variable._data in (None, "raw"):
                proc = sorted(other for other in self.all_dependencies(variable) if self.vars[other]._data == "proc")
                if proc:
                    yield (
                        f"variable {name} is for raw data, but depends on calibrated data ({', '.join(proc)}): "
                        "leave data='raw' out, or say data='proc'"
                    )
            for argument, field in variable.arg_dependencies("mymdc#").items():
                if field not in _MYMDC:
                    yield f"variable {name}, argument {argument}: there is no 'mymdc#{field}' ({', '.join(_MYMDC)})"
        for title, names in by_title.items():
            if len(names) > 1:
                yield f"variables {', '.join(names)} have the same title {title!r}"


class Results:
    """What an execution gave: ``cells`` (name → :class:`Cell`, ``start_time`` among them) and ``errors``
    (name → exception)."""

    def __init__(self, cells: dict[str, Any], errors: dict[str, Exception], ctx: Variables) -> None:
        self.cells = cells
        self.errors = errors
        self.ctx = ctx


class Pipeline:
    """A set of variables and groups that can be selected from, joined and executed for a run.

    Args:
        proposal: proposal number, for ``meta#proposal`` and for opening the run.
        run_number: run number, likewise.
        name: said in the log.
        data: handed to the functions in place of the run that would be opened.
        run_data: which data are opened; all, if left out.
        param_values: values of ``param#`` arguments.
    """

    def __init__(
        self,
        proposal: Optional[int] = None,
        run_number: Optional[int] = None,
        *,
        name: Optional[str] = None,
        data: Any = None,
        run_data: Union[RunData, str, None] = None,
        param_values: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self._name = name
        self.proposal = proposal
        self.run_number = run_number
        self.data = data
        self.run_data = _run_data(run_data)
        self.param_values = dict(param_values or {})
        self.declared: dict[str, Variable] = {}
        self.code = ""
        self._checked: Optional[Variables] = None
        self._results: Optional[Results] = None

    @classmethod
    def default(cls) -> Pipeline:
        """The pipeline that this context file fills by itself, with all its variables and groups."""
        state = _current_default()
        state.used = True
        return state.pipeline

    @classmethod
    def set_default(cls, pipeline: Pipeline) -> Pipeline:
        """Makes this the pipeline of the context file: what it does not hold is left out."""
        if not isinstance(pipeline, Pipeline):
            raise TypeError(f"Pipeline.set_default takes a Pipeline, not a {type(pipeline).__name__}")
        state = _current_default()
        state.pipeline, state.explicit, state.used = pipeline, True, True
        return pipeline

    @classmethod
    def from_context_file(cls, path: Union[str, os.PathLike[str]], *, name: Optional[str] = None) -> Pipeline:
        """The variables of a context file."""
        absolute = os.path.abspath(path)
        with open(absolute, encoding="utf-8") as file:
            return cls.from_str(file.read(), path=absolute, name=name)

    @classmethod
    def from_str(cls, code: str, *, path: str = "<string>", name: Optional[str] = None) -> Pipeline:
        """The variables of a context file's text."""
        from .context_file import load

        pipeline = cls(name=name)
        pipeline.declared = load(code, str(path)).variables
        pipeline.code = code
        pipeline.context.check()
        return pipeline

    @property
    def name(self) -> str:
        """The name given, or one made of what the pipeline holds."""
        if self._name is not None:
            return self._name
        parts = [*self.param_values, str(self.proposal), str(self.run_number), *self.declared]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]

    def copy(self) -> Pipeline:
        """Another pipeline with the same content and settings."""
        other = Pipeline(
            self.proposal,
            self.run_number,
            name=self._name,
            data=self.data,
            run_data=self.run_data,
            param_values=self.param_values,
        )
        other.declared = dict(self.declared)
        other.code = self.code
        return other

    def add(self, *items: Any) -> Pipeline:
        """Adds variables and groups: one by one, in sequences, or in dictionaries (whose keys name the groups).

        Raises:
            TypeError: something else.
            GroupError: a second variable or group of one name.
        """
        variables: list[Variable] = []
        groups: list[Any] = []
        for item in items:
            _sort_in(item, variables, groups)
        for variable in variables:
            if self.declared.setdefault(variable.name, variable) is not variable:
                raise GroupError(f"the pipeline has another variable {variable.name!r} already")
        for group in groups:
            require_name(group)
        assign_names({group.name: group for group in groups})
        self.declared.update(expand(groups, self.declared))
        self._checked = self._results = None
        return self

    def union(self, other: Pipeline, *, on_conflict: str = "error") -> Pipeline:
        """A new pipeline with the variables of both and the settings of this one.

        ``on_conflict`` says what happens to different variables of one name: ``"error"``, or the one of the
        ``"left"`` (this) or the ``"right"`` (other) pipeline is taken.
        """
        if not isinstance(other, Pipeline):
            raise TypeError(f"Pipeline.union takes a Pipeline, not a {type(other).__name__}")
        if on_conflict not in ("error", "left", "right"):
            raise ValueError(f"on_conflict is 'error', 'left' or 'right', not {on_conflict!r}")
        joined = self.copy()
        for name, variable in other.declared.items():
            known = joined.declared.get(name)
            if known is not None and known is not variable:
                if on_conflict == "error":
                    raise ValueError(f"both pipelines have a variable {name!r}, and they differ")
                if on_conflict == "left":
                    continue
            joined.declared[name] = variable
        return joined

    def with_context(
        self,
        *,
        name: Optional[str] = None,
        proposal: Optional[int] = None,
        run_number: Optional[int] = None,
        run_data: Union[RunData, str, None] = None,
        data: Any = None,
        param_values: Optional[Mapping[str, Any]] = None,
    ) -> Pipeline:
        """A copy with other settings."""
        other = self.copy()
        other._name = self._name if name is None else name
        other.proposal = self.proposal if proposal is None else proposal
        other.run_number = self.run_number if run_number is None else run_number
        other.run_data = self.run_data if run_data is None else _run_data(run_data)
        other.data = self.data if data is None else data
        other.param_values = dict(self.param_values if param_values is None else param_values)
        return other

    def select(
        self,
        *,
        variables: Iterable[str] = (),
        match: Iterable[str] = (),
        run_data: Union[RunData, str, None] = None,
        cluster: Optional[bool] = None,
    ) -> Pipeline:
        """A new pipeline with some of the variables and what they depend on.

        Args:
            variables: names.
            match: words, of which one must be in the title; upper and lower case are the same.
            run_data: only those that need these data.
            cluster: only those that run in a Slurm job, or only the others.
        """
        other = self.copy()
        other.declared = self.context.filter(_run_data(run_data), cluster, match, variables).vars
        return other

    def execute(self, *, data: Any = None, param_values: Optional[Mapping[str, Any]] = None) -> Results:
        """Executes the variables and returns what they gave. Nothing is stored.

        Args:
            data: handed to the functions in place of the run that would be opened.
            param_values: ``param#`` values on top of the pipeline's.

        Raises:
            ValueError: proposal or run number are not set.
        """
        from . import execute, run_files
        from .report import log

        if self.proposal is None or self.run_number is None:
            raise ValueError("a pipeline needs proposal and run_number to be executed")
        variables = self.context
        variables.check()
        run = self.data if data is None else data
        if run is None:
            run, has_proc = run_files.open_for_pipeline(self.proposal, self.run_number, self.run_data.value)
            if not has_proc and any(variable.data is RunData.PROC for variable in variables.vars.values()):
                log(f"[{self.name}] no calibrated data: only variables of raw data are executed")
                variables = variables.filter(RunData.RAW)
        facts = execute.RunFacts(run, self.proposal, self.run_number, {**self.param_values, **dict(param_values or {})})
        self._results = execute.execute_all(variables, facts, self.name)
        return self._results

    @property
    def results(self) -> Optional[Results]:
        """What the last execution gave."""
        return self._results

    @property
    def context(self) -> Variables:
        """The variables, checked and in order."""
        if self._checked is None:
            self._checked = Variables(self.declared, self.code)
        return self._checked

    @property
    def vars(self) -> dict[str, Variable]:
        """Name → variable."""
        return self.declared

    def vars_to_dict(self, inc_transient: bool = False) -> dict[str, dict[str, Any]]:
        """Title, description and tags of each variable that is stored."""
        return self.context.vars_to_dict(inc_transient)


def _run_data(value: Union[RunData, str, None]) -> RunData:
    return RunData.ALL if value is None else RunData(value)


def _sort_in(item: Any, variables: list[Variable], groups: list[Any]) -> None:
    if isinstance(item, Variable):
        variables.append(item)
    elif is_group(item):
        groups.append(item)
    elif isinstance(item, Mapping):
        for key, value in item.items():
            if is_group(value) and value.name is None:
                value.name = key
                value.title = value.title or key
            _sort_in(value, variables, groups)
    elif isinstance(item, Sequence) and not isinstance(item, (str, bytes, bytearray)):
        for inner in item:
            _sort_in(inner, variables, groups)
    else:
        raise TypeError(f"a Pipeline takes variables, groups, and sequences or dictionaries of them, not {item!r}")
