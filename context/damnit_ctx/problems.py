"""What is wrong with a context file: all of it at once, with lines (``Problem`` in crates/model).

What concerns several variables (cycles, missing dependencies, titles, raw on proc) is the planner's to find.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from typing import Any, Optional

import numpy as np

from . import as_damnit, resources, slurm_job
from .errors import GroupError, clean, text_of
from .report import line_in, user_traceback
from .variable import Variable

Problem = dict[str, Any]
_META = ("run_number", "proposal", "proposal_path", "proposal_dir")


def problem(kind: str, message: str, *, severity: str = "error", **facts: Any) -> Problem:
    """A problem as it travels; facts that are None are left out."""
    return {
        "severity": severity,
        "kind": kind,
        "message": clean(message),
        **{name: clean(fact) if isinstance(fact, str) else fact for name, fact in facts.items() if fact is not None},
    }


def value_changed(name: str, of: str, line: Optional[int], file: Optional[str]) -> Problem:
    """Of a function that changes what another variable returned."""
    place = ", ".join([*([file] if file else []), *([f"line {line}"] if line else [])])
    return problem(
        "shared-state",
        f"{name} changes the value of {of} in place{f' ({place})' if place else ''}: variables that come later get it "
        f"changed, what is stored for {of} is what its function returned",
        severity="warning",
        hint=f"modify a copy, and return it for others to use with var#{name}",
        line=line,
        file=file,
        variables=[name, of],
    )


def of_syntax(error: Exception) -> Problem:
    """Of text that is not Python."""
    if not isinstance(error, SyntaxError):  # NUL characters
        return problem("syntax", text_of(error))
    return problem(
        "syntax",
        error.msg or "invalid syntax",
        line=error.lineno or None,
        column=error.offset or None,
    )


def of_import(error: BaseException, path: str) -> Problem:
    """Of an exception that the file raised when it was executed."""
    if isinstance(error, GroupError):
        return of_group(error, path)
    words = text_of(error)
    message = f"{type(error).__name__}: {words}" if words else type(error).__name__
    hint = None
    if isinstance(error, (ImportError, AttributeError)):
        hint = as_damnit.hint(error)
    if hint is None and isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"install {error.name.partition('.')[0]} in this Python, or choose another with db-config context_python"
    file = line = None
    if isinstance(error, SyntaxError):  # of a file that is imported
        file, line = error.filename, error.lineno
    return problem(
        "import",
        message,
        file=file,
        line=line or line_in(path, error.__traceback__),
        hint=hint,
        traceback=user_traceback(error),
    )


def of_group(error: GroupError, path: str) -> Problem:
    """Of groups that cannot be."""
    return problem("bad-group", text_of(error), line=line_in(path, error.__traceback__))


def check_variable(variable: Variable, line: Optional[int] = None, file: Optional[str] = None) -> list[Problem]:
    """What is wrong with one variable by itself."""
    found: list[Problem] = []
    name = variable.name

    def add(kind: str, message: str, hint: Optional[str] = None, severity: str = "error") -> None:
        where = {"line": line, "file": file, "variables": [clean(str(name))]}
        found.append(problem(kind, message, severity=severity, hint=hint, **where))

    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        add("bad-name", f"{name!r} is not a valid variable name: it must be a Python identifier")
    if variable._data not in (None, "raw", "proc"):
        add("bad-data", f"variable {name}: data={variable._data!r}, which must be 'raw' or 'proc'")
    if not _are_tags(variable.tags):
        add("bad-tags", f"variable {name}: tags={variable.tags!r}, which must be a non-empty string or several")
    if variable.units is not None and (not isinstance(variable.units, str) or not variable.units):
        add("bad-units", f"variable {name}: units={variable.units!r}, which must be a non-empty string")
    if not isinstance(variable.title, str):
        add("bad-argument", f"variable {name}: title={variable.title!r}, which must be a string")
    if variable.description is not None and not isinstance(variable.description, str):
        add("bad-argument", f"variable {name}: description={variable.description!r}, which must be a string")
    summary = variable.summary
    if summary is not None and not (isinstance(summary, str) and callable(getattr(np, summary, None))):
        add(
            "bad-argument",
            f"variable {name}: summary={summary!r}, but NumPy has no function of that name",
            "np.<summary> is called with the value: 'mean', 'nanmax', 'std' ...",
            "warning",  # the table then shows the usual summary of such a value
        )
    for message, hint in resources.wrong(variable.resources):
        add("bad-resources", f"variable {name}: {message}", hint)
    if variable.job is not None:
        for kind, message, hint in slurm_job.wrong(variable.job):
            add(kind, f"variable {name}: {message}", hint)
    if not callable(getattr(variable, "func", None)):
        add("bad-argument", f"variable {name}: @Variable must stand before a function")
        return found
    _check_arguments(variable, add)
    return found


def _are_tags(tags: Any) -> bool:
    if tags is None:
        return True
    return isinstance(tags, Iterable) and all(isinstance(tag, str) and tag for tag in tags)


def _check_arguments(variable: Variable, add: Any) -> None:
    name = variable.name
    annotations = variable.annotations()
    try:
        parameters = list(inspect.signature(variable.func).parameters.values())
    except (TypeError, ValueError):
        add("bad-argument", f"variable {name}: the signature of its function could not be read")
        return
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in (*positional, inspect.Parameter.VAR_POSITIONAL):
        add("bad-argument", f"variable {name}: its function must take the run as its first argument")
        return
    if "#" in annotations.get(parameters[0].name, ""):
        add(
            "bad-annotation",
            f"variable {name}: the first argument is always the run, but it is annotated "
            f"{annotations[parameters[0].name]!r}",
            "put an argument 'run' before it",
        )
    for parameter in parameters[1:]:
        annotation = annotations.get(parameter.name)
        if annotation is not None:
            message = _bad_annotation(annotation, variable.job is not None)
            if message:
                add("bad-annotation", f"variable {name}, argument {parameter.name}: {message}")
            elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                add("bad-argument", f"variable {name}: {parameter.name} cannot be passed by name")
        elif parameter.default is inspect.Parameter.empty and parameter.kind not in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        ):
            add(
                "bad-annotation",
                f"variable {name}: there is no annotation for the argument {parameter.name} is to get",
                f"annotate it ({parameter.name}: 'var#...'), or give it a default value",
            )


def _bad_annotation(annotation: str, has_job: bool) -> Optional[str]:
    kind, hash_sign, what = annotation.partition("#")
    if not hash_sign or kind not in ("var", "meta", "mymdc", "param", "job"):
        hint = "" if hash_sign else f" (write 'var#{annotation}' for another variable)"
        return f"{annotation!r} is not a valid annotation{hint}"
    if not what:
        return f"{annotation!r} has nothing after '#'"
    if kind == "job" and what != "outcome":
        return f"{annotation!r} does not exist; there is job#outcome"
    if kind == "job" and not has_job:
        return "'job#outcome' requires a job, and this variable has none (job=SlurmJob([...]))"
    if kind == "meta" and what not in _META:
        return f"{annotation!r} does not exist; there are {', '.join('meta#' + word for word in _META)}"
    return None


def _is_request(annotation: Optional[ast.expr]) -> bool:
    return isinstance(annotation, ast.Constant) and isinstance(annotation.value, str) and "#" in annotation.value


def of_pyflakes(tree: ast.Module, path: str) -> list[Problem]:
    """Pyflakes' warnings.

    It would take our annotations for type names. They are cut out of the tree beforehand, by where they stand:
    strings with a ``#`` that annotate an argument.
    """
    from ._vendor_path import pyflakes_checker

    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and _is_request(node.annotation):
            node.annotation = None
    # It says some things as often as it comes by.
    said = {
        (message.lineno, message.col, message.message % message.message_args)
        for message in pyflakes_checker()(tree, filename=path).messages
    }
    return [
        problem("pyflakes", words, severity="warning", line=line, column=column + 1)
        for line, column, words in sorted(said)
    ]
