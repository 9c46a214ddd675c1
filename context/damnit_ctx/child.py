"""A forked child: describes a context file, or executes variables for one run. Ends with the process."""

from __future__ import annotations

import ast
import faulthandler
import fnmatch
import gc
import importlib.util
import logging
import os
import resource
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Callable, Optional

from . import (
    _core,
    encode,
    end_of_process,
    execute,
    lost,
    preload,
    problems,
    report,
    resources,
    run_files,
    signals,
    slurm_job,
    stored,
)
from .channel import Lines, Message, SharedMemory, WorkerGone
from .context_file import Execution, LoadedContext, offer_to_other_processes
from .errors import DependencyError, Failure, GroupError, Skip, clean, text_of
from .fingerprint import Fingerprints
from .functions import SourceTree
from .order import execution_order
from .process_state import ProcessState
from .variable import Variable


def main(sock: socket.socket, log: int, memory: int, last_words: int, host: int) -> None:
    """Runs a child: handles one connection to the worker. Does not return.

    Args:
        sock: the connection.
        log: descriptor of the run's log.
        memory: descriptor of the shared memory.
        last_words: descriptor of a file of this process only, for the traceback written when it dies.
        host: process id of the host; this process ends with it.
    """
    code = 1
    try:
        _settle(log, host)
        _leave_last_words(last_words)
        lines = Lines(sock)
        request = lines.receive()
        if request["op"] == "describe":
            lines.send(describe(request["context"]))
        elif request["op"] == "run":
            _Task(request, lines, memory, (log, last_words)).run()
        else:
            raise RuntimeError(f"the worker said {request['op']!r} where 'describe' or 'run' was expected")
        end_of_process.end(log, _folders(request["context"]))
        code = 0
    except WorkerGone:
        pass
    except BaseException:
        # Users' exceptions do not get here. The log has the traceback, and the worker sees the exit code.
        report.log_problem("internal error of damnit_ctx")
    finally:
        report.flush()
        os._exit(code)


def _settle(log: int, host: int) -> None:
    """Makes the fork independent of the host."""
    os.setpgid(0, 0)
    _core.die_with_parent()
    if os.getppid() != host:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    # A library that writes into a closed pipe must not kill the process.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    # Messages logged by functions go to the run's log.
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S"
    )
    end_of_process.leave_to_the_host()
    if "numpy.random" in sys.modules:
        # Without this all runs would draw the same numbers.
        sys.modules["numpy.random"].seed()
    gc.enable()


def _leave_last_words(file: int) -> None:
    """Enables a traceback when the process dies. It does not go to the log, which other children may be writing to."""
    # Handlers that are already enabled or registered are not changed.
    faulthandler.disable()
    faulthandler.unregister(signal.SIGUSR2)
    # Only the crashed thread: the others do not show where it happened.
    faulthandler.enable(file=file, all_threads=False)
    # The worker sends this signal to a variable that exceeds its time limit.
    faulthandler.register(signal.SIGUSR2, file=file, all_threads=True, chain=False)


# --- Describe ---------------------------------------------------------------------------------------------------------


def describe(context: Mapping[str, Any]) -> Message:
    """Answer to ``describe``: the file's variables and all its problems."""
    path, text = context["path"], context["text"]
    report.show_source(path, text)
    answer: Message = {"ev": "described", "variables": [], "problems": []}
    found: list[problems.Problem] = answer["problems"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text, path)
            code = compile(tree, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        found.append(problems.of_syntax(error))
        return answer
    loaded, errors = _loaded(path, code, context)
    found.extend(errors)
    prints = Fingerprints(tree, path, loaded.namespace, _folders(context))
    found.extend(
        problems.problem("bad-argument", f"{name} is a Variable without a function", variables=[name])
        for name in loaded.unfinished
    )
    definitions = lost.Definitions(tree, path)
    found.extend(lost.hidden(loser, winner, definitions) for loser, winner in loaded.hidden)
    if not errors:  # otherwise the file may have stopped before it kept them
        found.extend(lost.problems(loaded, definitions, path))
    for variable in loaded.variables.values():
        line, file = _place(variable, path, prints)
        wrong = problems.check_variable(variable, line, file)
        found.extend(wrong)
        answer["variables"].append(_spec(variable, line, file, prints))
    from .shared_state import SharedState  # for describing alone

    state = SharedState(prints.source, loaded.namespace)
    shared = state.of(loaded.variables)
    found.extend(problems.value_changed(name, of, use.line, use.file) for name, of, use in state.values_changed)
    for spec, uses in zip(answer["variables"], shared.values()):
        if uses:
            spec["state"] = [_state(name, use) for name, use in uses.items()]
    found.extend(problems.of_pyflakes(tree, path))
    return answer


def _loaded(path: str, code: Any, context: Mapping[str, Any]) -> tuple[LoadedContext, list[problems.Problem]]:
    """Executes the file as far as possible; returns it with its problems."""
    wrong = []
    execution = Execution(path)
    sys.path[:0] = _folders(context)
    try:
        if context.get("directory"):
            os.chdir(context["directory"])
        execution.run(code)
    except BaseException as error:
        wrong.append(problems.of_import(error, path))
    try:
        return execution.collect(), wrong
    except GroupError as error:
        if not wrong:  # otherwise the file stopped before its groups were complete
            wrong.append(problems.of_group(error, path))
    return LoadedContext(vars(execution.module)), wrong


def _folders(context: Mapping[str, Any]) -> list[str]:
    """The directories of the file's own modules: next to it and, if it is a link, next to its target."""
    return context.get("folders") or [os.path.dirname(context["path"])]


def _place(variable: Variable, path: str, prints: Fingerprints) -> tuple[Optional[int], Optional[str]]:
    line = prints.line(variable.func)
    code = getattr(getattr(variable.func, "__func__", variable.func), "__code__", None)
    if code is None or code.co_filename == path:
        return line, None
    return line, None if report.is_ours(code.co_filename) else code.co_filename


def _spec(variable: Variable, line: Optional[int], file: Optional[str], prints: Fingerprints) -> Message:
    """A ``VariableSpec``. Invalid parts have already been reported as problems; they are only converted here."""
    data = variable._data if variable._data in ("raw", "proc") else None
    tags = variable.tags if isinstance(variable.tags, (tuple, list, set, frozenset)) else ()
    if isinstance(tags, (set, frozenset)):
        tags = sorted(tags, key=str)
    job = slurm_job.spec(variable.job, _defaults(variable))
    return {
        "name": clean(str(variable.name)),
        "title": clean(str(variable.title)),
        "description": clean(variable.description) if isinstance(variable.description, str) else None,
        "summary": variable.summary if isinstance(variable.summary, str) else None,
        "data": data,
        "cluster": bool(variable.cluster),
        "resources": resources.read(variable.resources),
        "tags": [clean(tag) for tag in tags if isinstance(tag, str)],
        "transient": bool(variable.transient),
        "units": clean(variable.units) if isinstance(variable.units, str) else None,
        "arguments": _arguments(variable),
        "line": line,
        "file": file,
        "fingerprint": prints.of(variable),
        **({} if job is None else {"job": job}),
    }


def _state(name: str, use: Any) -> Message:
    """A ``StateUse``."""
    return {
        "name": clean(name),
        "changes": use.changes,
        "reads": use.reads,
        "together": use.together,
        **({"adds": True} if use.adds else {}),
        "line": use.line,
        **({} if use.file is None else {"file": use.file}),
    }


def _arguments(variable: Variable) -> list[Message]:
    import inspect

    annotations = variable.annotations()
    try:
        parameters = list(inspect.signature(variable.func).parameters.values())[1:]
    except (TypeError, ValueError):
        return []
    return [
        {
            "name": parameter.name,
            "annotation": clean(annotations[parameter.name]),
            "has_default": parameter.default is not inspect.Parameter.empty,
        }
        for parameter in parameters
        if parameter.name in annotations
    ]


def _defaults(variable: Variable) -> dict[str, Any]:
    """Default values of annotated arguments."""
    import inspect

    annotations = variable.annotations()
    try:
        parameters = list(inspect.signature(variable.func).parameters.values())[1:]
    except (TypeError, ValueError):
        return {}
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.name in annotations and parameter.default is not inspect.Parameter.empty
    }


# --- Run --------------------------------------------------------------------------------------------------------------


class _Task:
    """The execution of one ``ChildTask``."""

    def __init__(self, request: Message, lines: Lines, memory: int, log_and_last_words: tuple[int, int]) -> None:
        self._request = request
        self._lines = lines
        self._memory = SharedMemory(memory, request["slots"], request["slot_bytes"])
        os.close(memory)
        self._variables: dict[str, Variable] = {}
        self._log, self._last_words = log_and_last_words
        self._state: Optional[ProcessState] = None
        self._had = set(sys.modules)
        # Variables whose functions have been called in this process.
        self._called: set[str] = set()
        self._writers: Optional[dict[str, list[str]]] = None
        self._process = os.getpid()

    def run(self) -> None:
        request = self._request
        context = request["context"]
        report.show_source(context["path"], context["text"])
        try:
            os.chdir(request["directory"])
            limit = request.get("memory_bytes")
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            sys.path[:0] = _folders(context)
            offer_to_other_processes(context["path"], context["text"])
            execution = Execution(context["path"])
            execution.run(compile(context["text"], context["path"], "exec", dont_inherit=True))
            loaded = execution.collect()
            self._variables, self._namespace = loaded.variables, loaded.namespace
            self._state = ProcessState(self._log, request["directory"])
            run = run_files.open_run(request["proposal"], request["run"], request["data"], request["mock"])
            started = run_files.start_time(run)
        except BaseException as error:
            traceback = report.user_traceback(error)
            report.log(f"cannot start:\n{traceback.rstrip()}")
            self._lines.send({"ev": "cannot_start", **_words(error), "traceback": clean(traceback)})
            return
        self._lines.send({"ev": "opened", "start_time": started})
        facts = execute.RunFacts(
            run,
            request["proposal"],
            request["run"],
            request["parameters"],
            request["directory"],
            _received(request.get("outcomes", {})),
            request["mock"],
            request.get("mymdc"),
        )
        values = self._earlier_values(started, facts)
        for step in request["steps"]:
            if step.get("again"):
                self._leave(step, facts, values)
            else:
                self._step(step, facts, values)
            # After the value was sent: only then a lazy array has been computed.
            self._state.put_back()
        self._lines.send({"ev": "done", "imported": self._imported()})

    def _earlier_values(self, started: float, facts: execute.RunFacts) -> execute.Values:
        values = execute.Values(started)

        def fetch(name: str, path: str) -> Callable[[], Any]:
            return lambda: self._read_back(name, path, facts, values)

        for name, path in self._request["given"].items():
            # A failed variable may have a value of an earlier command in the run's file, which must not be used.
            if name not in self._request["ended"]:
                values.offer(name, fetch(name, path))
        for name, how in self._request["ended"].items():
            if how["how"] == "error":
                values.failures[name] = Failure.received(how)
        return values

    def _read_back(self, name: str, path: str, facts: execute.RunFacts, values: execute.Values) -> Any:
        """A stored value; computed again (and not stored) if it cannot be restored exactly."""
        try:
            try:
                return stored.read(path, name)
            except OSError as error:
                # The fragment was collected in the meantime: the run file has the value. HDF5 has several errors for a
                # file that disappears while it is opened.
                if os.path.exists(path):
                    raise _unreadable(name, path, error) from error
            try:
                return stored.read(self._run_file(), name)
            except (OSError, execute.NoValue) as error:
                # It had a value, so this is not a variable that returned nothing.
                raise _unreadable(name, path, error) from None
        except stored.Failed as failed:
            values.failures[name] = failed.how
            raise
        except stored.NotAsReturned as reason:
            report.log(f"{name} is computed again: {reason}")
        return self._compute_again(name, facts, values)

    def _stored_or(self, data: Any, name: str) -> Any:
        """The stored value of a variable that was executed again, or ``data`` if it cannot be restored exactly."""
        path = self._request["given"][name]
        try:
            try:
                return stored.read(path, name)
            except OSError as error:
                # The fragment was collected in the meantime, as above.
                if os.path.exists(path):
                    raise _unreadable(name, path, error) from error
            return stored.read(self._run_file(), name)
        except stored.NotAsReturned:
            if data is None:
                raise execute.NoValue(name) from None
            return data

    def _run_file(self) -> str:
        request = self._request
        name = f"p{request['proposal']}_r{request['run']}.h5"
        return os.path.join(request["directory"], "extracted_data", name)

    def _compute_again(self, name: str, facts: execute.RunFacts, values: execute.Values) -> Any:
        variable = self._variables.get(name)
        if variable is None:
            raise execute.NoValue(name)
        self._offer_needs(variable, facts, values)
        kwargs = execute.arguments(variable, facts, values, self._variables)
        if isinstance(kwargs, Failure):
            values.failures[name] = kwargs
            raise execute.NoValue(name)
        self._before(name, facts, values)
        try:
            return self._evaluate(variable, facts, kwargs).data
        except BaseException as error:
            report.log_problem(f"{name} failed")
            values.failures[name] = Failure.of(error)
            raise execute.NoValue(name) from None
        finally:
            if self._state is not None:
                self._state.put_back()

    def _before(self, name: str, facts: execute.RunFacts, values: execute.Values) -> None:
        """Executes the preceding variables that change state it reads, unless this process has already done so."""
        if self._writers is None:
            self._writers = self._find_writers()
        for writer in self._writers.get(name, ()):
            if writer not in self._called:
                self._leave({"name": writer}, facts, values, tell=False)

    def _find_writers(self) -> dict[str, list[str]]:
        """For each variable, the preceding ones that change state it reads, in order.

        A variable that appends to a file is included only after one that creates the file anew: the file persists.
        """
        from .shared_state import SharedState

        context = self._request["context"]
        tree = ast.parse(context["text"], context["path"])
        shared = SharedState(SourceTree(tree, context["path"]), self._namespace).of(self._variables)
        needs = {name: self._needs(variable) for name, variable in self._variables.items()}
        cluster: set[str] = set()
        for name in execution_order(needs):
            if self._variables[name].cluster or not cluster.isdisjoint(needs[name]):
                cluster.add(name)
        changers: dict[str, list[str]] = {}
        files_written: set[str] = set()
        found: dict[str, list[str]] = {}
        order = execution_order(needs, cluster)
        place = {name: number for number, name in enumerate(order)}
        for name in order:
            before = {
                writer
                for piece, use in shared[name].items()
                if use.reads
                for writer in changers.get(piece, ())
                if (name in cluster or writer not in cluster) and not self._is_deadly(writer)
            }
            found[name] = sorted(before, key=place.__getitem__)
            for piece, use in shared[name].items():
                if use.changes and (not use.adds or piece in files_written):
                    changers.setdefault(piece, []).append(name)
                if use.changes and not use.adds and not self._is_deadly(name):
                    files_written.add(piece)
        return found

    def _is_deadly(self, name: str) -> bool:
        """Whether it has ended a process."""
        how = self._request["ended"].get(name, {})
        return how.get("class") in ("ProcessKilled", "ProcessExited", "TimeoutError", "MemoryError")

    def _offer_needs(self, variable: Variable, facts: execute.RunFacts, values: execute.Values) -> None:
        """Its dependencies are computed here too, if neither a step nor a file provides them."""
        for other in self._needs(variable):
            if not (values.knows(other) or other in self._called or other in self._request["ended"]):
                values.offer(other, lambda other=other: self._compute_again(other, facts, values))  # type: ignore[misc]

    def _needs(self, variable: Variable) -> list[str]:
        found: list[str] = []
        for pattern in variable.arg_dependencies().values():
            found += [pattern] if pattern in self._variables else fnmatch.filter(self._variables, pattern)
        return found

    def _leave(self, step: Message, facts: execute.RunFacts, values: execute.Values, tell: bool = True) -> None:
        """Executes a variable for the state it leaves in the module. Its value is only used in this process."""
        name = step["name"]
        begun = time.perf_counter()
        if tell:
            self._lines.send({"ev": "started", "name": name})
        self._called.add(name)
        variable = self._variables.get(name)
        try:
            if variable is not None:
                self._offer_needs(variable, facts, values)
                self._before(name, facts, values)
                kwargs = execute.arguments(variable, facts, values, self._variables)
                if isinstance(kwargs, Failure):
                    report.log(f"{name} not executed again: {clean(kwargs.message)}")
                    values.failures.setdefault(name, kwargs)
                else:
                    data = self._evaluate(variable, facts, kwargs).data
                    self._end_copy(None)
                    seconds = time.perf_counter() - begun
                    report.log(f"{name} executed again for the state it leaves in the module, in {seconds:.3f} s")
                    # If it failed before, dependents see that failure; if it is stored, they see what the table shows.
                    if name in self._request["given"]:
                        values.offer(name, lambda: self._stored_or(data, name))
                    elif name not in values.failures:
                        values.put(name, data)
        except WorkerGone:
            raise
        except BaseException as error:
            self._end_copy(error)
            report.log_problem(f"{name} failed when it was executed again for the state it leaves in the module")
            if not values.knows(name):
                values.failures[name] = Failure.of(error)
        if self._state is not None:
            self._state.put_back()
        if tell:
            self._lines.send({"ev": "kept", "name": name, "seconds": time.perf_counter() - begun})

    def _evaluate(self, variable: Variable, facts: execute.RunFacts, kwargs: dict[str, Any]) -> Any:
        """Calls the function; an alarm that it leaves set must not hit the next one."""
        self._called.add(variable.name)
        with signals.put_back(lambda: _leave_last_words(self._last_words)):
            return variable.evaluate(facts.run, kwargs)

    def _step(self, step: Message, facts: execute.RunFacts, values: execute.Values) -> None:
        name = step["name"]
        begun = time.perf_counter()
        cpu_begun = time.process_time()
        self._lines.send({"ev": "started", "name": name})

        def failed(failure: Failure, traceback: Optional[str]) -> None:
            values.failures[name] = failure
            message = {"ev": "failed", "name": name, "class": failure.class_name, "skipped": failure.skipped}
            message.update(message=clean(failure.message), traceback=traceback)
            self._lines.send({**message, "seconds": time.perf_counter() - begun})

        variable = self._variables.get(name)
        try:
            if variable is None:
                failed(Failure("KeyError", f"the context file declares no variable {name!r} when it is executed"), None)
                return
            kwargs = execute.arguments(variable, facts, values, self._variables)
            if isinstance(kwargs, Failure):
                report.log(f"{name} not run: {clean(kwargs.message)}")
                failed(kwargs, None)
                return
            cell = self._evaluate(variable, facts, kwargs)
            self._end_copy(None)
            seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
            self._hand_over(name, variable, cell, seconds, cpu)
        except WorkerGone:
            raise
        except Skip as skip:
            self._end_copy(skip)
            report.log(f"{name} skipped: {clean(text_of(skip))}")
            failed(Failure.skip(text_of(skip)), None)
            return
        except BaseException as error:
            self._end_copy(error)
            traceback = report.user_traceback(error)
            report.log(f"{name} failed after {time.perf_counter() - begun:.3f} s:\n{traceback.rstrip()}")
            failed(Failure.of(error), clean(traceback))
            return
        values.put(name, cell.data)

    def _end_copy(self, error: Optional[BaseException]) -> None:
        """Ends a fork of this process that the function created and did not end, as Python would.

        It must not continue with the steps: two processes would report them to the worker.
        """
        if os.getpid() == self._process:
            return
        code = 0
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            code = 1
            report.log(f"in a process that was forked here:\n{report.user_traceback(error).rstrip()}")
        report.flush()
        os._exit(code & 0xFF)

    def _hand_over(self, name: str, variable: Variable, cell: Any, seconds: float, cpu: float) -> None:
        """Sends a value to the worker, or reports that there is none."""
        nothing = cell.data is None
        if nothing and not variable.transient:
            nothing = cell.preview is None and cell.summary_value is None
        report.log(f"{name} {'returned None' if nothing else 'computed'} in {seconds:.3f} s")
        if variable.transient:
            event = "nothing" if cell.data is None else "kept"
            self._lines.send({"ev": event, "name": name, "seconds": seconds})
            return
        if nothing:
            self._lines.send({"ev": "nothing", "name": name, "seconds": seconds})
            return
        message, arrays = encode.encode(name, cell)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        message.update(seconds=seconds, cpu_seconds=cpu, max_rss_kib=usage.ru_maxrss)
        self._memory.send_value(self._lines, message, arrays)

    def _imported(self) -> list[str]:
        """Installed modules that this child had to import; the host may import them before its next fork.

        Modules that the file imports after other statements are not included, and none at all if it changes the
        environment: the statements may have to come first.
        """
        text = self._request["context"]["text"]
        if "environ" in text or "putenv" in text:
            return []
        late = preload.late_imports(text)
        found = []
        for name in sorted(set(sys.modules) - self._had):
            module = sys.modules.get(name)
            origin = getattr(module, "__file__", None)
            if origin is None or name.partition(".")[0] in late or preload.is_denied(name):
                continue
            if preload.is_installed(origin) and not report.is_ours(origin):
                found.append(name)
        return found


def _unreadable(name: str, path: str, error: Exception) -> DependencyError:
    """Why a needed value cannot be read. It is not treated as missing: an argument's default would hide the problem."""
    if os.path.exists(path):
        why = f"it cannot be read from {path}: {error}"
    else:
        why = f"it could not be stored, or what was stored is gone: it is neither in {path} nor in the run's file"
    return DependencyError([(name, Failure("StorageError", why))])


def _received(outcomes: Mapping[str, Message]) -> dict[str, Any]:
    if not outcomes:
        return {}
    # Few runs have such errors.
    from .job_outcome import JobOutcome

    return {name: JobOutcome.received(outcome) for name, outcome in outcomes.items()}


def _words(error: BaseException) -> Message:
    return {"class": type(error).__name__, "message": clean(text_of(error))}


def environment() -> str:
    """A short digest of the interpreter and of the most relevant installed packages."""
    parts = [sys.version, sys.executable]
    packages = ("numpy", "h5py", "xarray", "pandas", "extra_data")
    versions = _versions_by_folder(packages)
    parts += [f"{package} {versions.get(package) or _version(package)}" for package in packages]
    return _core.sha256("\n".join(parts).encode())[:16]


def _versions_by_folder(packages: Iterable[str]) -> dict[str, str]:
    """Versions from the directory names of installed packages: importlib.metadata takes as long as some imports."""
    wanted = set(packages)
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            package, _, rest = name.partition("-")
            package = package.lower().replace(".", "_")
            if package in wanted and rest.endswith(".dist-info"):
                # The first one on the path is imported.
                found.setdefault(package, rest[: -len(".dist-info")])
    return found


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    if importlib.util.find_spec(package) is None:
        return "-"
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"
