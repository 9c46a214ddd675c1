"""Pipelines: sets of variables and groups that are put together by hand, and executed inside Python."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional, Union

from . import context_file, default_pipeline, run_files
from .errors import GroupError
from .execute import Results, RunFacts, execute_all
from .group import assign_names, expand, is_group, require_name
from .report import log
from .variable import RunData, Variable
from .variables import Variables


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
        state = default_pipeline.current()
        if state.pipeline is None:
            state.pipeline = cls(name="default")
        return state.pipeline

    @classmethod
    def set_default(cls, pipeline: Pipeline) -> Pipeline:
        """Makes this the pipeline of the context file: what it does not hold is left out."""
        if not isinstance(pipeline, Pipeline):
            raise TypeError(f"Pipeline.set_default takes a Pipeline, not a {type(pipeline).__name__}")
        state = default_pipeline.current()
        state.pipeline, state.explicit = pipeline, True
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
        pipeline = cls(name=name)
        pipeline.declared = context_file.load(code, str(path)).variables
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
                raise GroupError(f"the pipeline already has another variable {variable.name!r}")
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
        if self.proposal is None or self.run_number is None:
            raise ValueError("a pipeline needs proposal and run_number to be executed")
        variables = self.context
        variables.check()
        run = self.data if data is None else data
        if run is None:
            run, has_proc = run_files.open_for_pipeline(self.proposal, self.run_number, self.run_data.value)
            if not has_proc and any(variable.data is RunData.PROC for variable in variables.vars.values()):
                log(f"[{self.name}] no calibrated data: only variables for raw data are executed")
                variables = variables.filter(RunData.RAW)
        facts = RunFacts(run, self.proposal, self.run_number, {**self.param_values, **dict(param_values or {})})
        self._results = execute_all(variables, facts, self.name)
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
