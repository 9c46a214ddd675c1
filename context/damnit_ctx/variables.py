"""Sets of variables: their order, dependencies and problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import filter as matching
from graphlib import CycleError, TopologicalSorter
from typing import Any, Optional

from .errors import ContextFileErrors
from .order import execution_order
from .problems import check_variable
from .variable import RunData, Variable, identifier

_MYMDC = ("sample_name", "run_type", "techniques")


class Variables:
    """A valid set of variables: dependencies exist, no cycles, promoted to proc and cluster by dependencies.

    Raises:
        KeyError: a dependency does not exist.
        CycleError: variables depend on each other in a cycle.
    """

    def __init__(self, variables: Mapping[str, Variable], code: str = "") -> None:
        self.vars: dict[str, Variable] = dict(variables)
        self.code = code
        self._direct = {name: self.direct_dependencies(variable) for name, variable in self.vars.items()}
        try:
            TopologicalSorter(self._direct).prepare()
        except CycleError as error:
            ring = " -> ".join(error.args[1])
            raise CycleError(f"variables depend on each other in a cycle: {ring}") from None
        for name in execution_order(self._direct):
            variable = self.vars[name]
            needs = [self.vars[other] for other in self._direct[name]]
            if variable._data is None and any(other.data is RunData.PROC for other in needs):
                variable._data = "proc"
            if any(other.cluster for other in needs):
                variable.cluster = True
        cluster = {name for name, variable in self.vars.items() if variable.cluster}
        self._order = tuple(execution_order(self._direct, cluster))

    def direct_dependencies(self, variable: Variable) -> set[str]:
        """Names of its dependencies, with wildcards resolved."""
        found: set[str] = set()
        for pattern in variable.arg_dependencies().values():
            names = [pattern] if pattern in self.vars else matching(self.vars, pattern)
            if not names:
                raise KeyError(f"variable {variable.name!r} depends on {pattern!r}, which is not a variable")
            found.update(names)
        return found

    def ordered_vars(self) -> tuple[str, ...]:
        """All names, dependencies first."""
        return self._order

    def all_dependencies(self, *variables: Variable) -> set[str]:
        """Names of all direct and indirect dependencies of these variables."""
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
        """Variables for some data, in the cluster or not, with one of the words in the title, or with one of these
        names; and their dependencies."""
        words = [name_matches] if isinstance(name_matches, str) else list(name_matches)
        names = {identifier(name) for name in ([variables] if isinstance(variables, str) else variables)}

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
        """Raises `ContextFileErrors` with all problems of the variables, individually and together."""
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
        """The planner's checks, for pipelines, which it does not see."""
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
