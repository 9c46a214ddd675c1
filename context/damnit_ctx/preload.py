"""Which modules the host imports before it forks, so that no child has to."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Optional

# Used by each child.
NEEDED = (
    "numpy",
    "h5py",
    "extra_data",
    "damnit_ctx",
    "damnit_ctx.child",
)
# And what many of them use, or extra_data when a run is opened and read.
ALWAYS = (
    *NEEDED,
    "numpy.random",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_8",
    "ast",
    "bisect",
    "datetime",
    "faulthandler",
    "fnmatch",
    "graphlib",
    "hashlib",
    "inspect",
    "json",
    "linecache",
    "mmap",
    "random",
    "resource",
    "socket",
    "tempfile",
    "threading",
    "traceback",
)
# Leave threads, sockets or devices behind that a forked process cannot use.
_DENIED = (
    "dask.distributed",
    "distributed",
    "grpc",
    "cupy",
    "cupyx",
    "numba.cuda",
    "pycuda",
    "ray",
    "rmm",
    "cudf",
    "tensorflow",
    "torch",
    "jax",
    "jaxlib",
    "mpi4py",
    "zmq",
    "karabo_bridge",
    "karabo",
    "pyspark",
    "kaleido",
    "choreographer",
)
# Known by test (docs/design/fork.md) to survive a fork; anything else is first tried in a child.
_TRUSTED = (
    "numpy",
    "h5py",
    "extra_data",
    "pandas",
    "xarray",
    "matplotlib",
    "scipy",
    "yaml",
    "requests",
    "PIL",
    "pyarrow",
)


def is_denied(module: str) -> bool:
    """Must it not be imported before a fork?"""
    return any(module == denied or module.startswith(denied + ".") for denied in _DENIED)


def imports_at_head(text: str) -> list[str]:
    """Modules that a context file imports before it does anything else.

    Import statements behind another statement are left to the child: the statement may be meant to come first
    (``os.environ[...] = ...``).
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    modules: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            modules.extend(alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            if statement.level == 0 and statement.module and statement.module != "__future__":
                modules.append(statement.module)
                modules.extend(f"{statement.module}.{alias.name}" for alias in statement.names)
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            break
    if "xarray" in text:
        modules.append("xarray")
    return modules


def late_imports(text: str) -> set[str]:
    """Top-level packages that the file imports behind other statements (when it is executed, not in functions)."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return set()
    head = {name.partition(".")[0] for name in imports_at_head(text)}
    found: set[str] = set()
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        pending.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found - head - {"__future__"}


def _standard_library() -> tuple[str, ...]:
    """Where Python's own modules are. (`sysconfig` knows it, and takes some milliseconds to load.)"""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    folders = {os.path.join(prefix, lib, version) for prefix in prefixes for lib in ("lib", sys.platlibdir)}
    folders.add(os.path.dirname(str(os.__file__)))
    return tuple(sorted(os.path.realpath(folder) + os.sep for folder in folders))


def _installed_packages() -> tuple[str, ...]:
    folders = {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    return tuple(sorted(os.path.realpath(folder) + os.sep for folder in folders))


_STANDARD_LIBRARY = _standard_library()
_FOLDERS = _STANDARD_LIBRARY + _installed_packages()


def is_installed(origin: Optional[str]) -> bool:
    """Does a module's file belong to Python or to an installed package?"""
    if origin in (None, "built-in", "frozen"):
        return origin is not None
    return os.path.realpath(str(origin)).startswith(_FOLDERS)


def installed_origin(module: str, folders: Sequence[str]) -> bool:
    """Is it an installed module, and not one that a folder of the context file hides?"""
    top = module.partition(".")[0]
    for folder in folders:
        hidden = (os.path.join(folder, top + ".py"), os.path.join(folder, top))
        if any(map(os.path.exists, hidden)):
            return False
    if top in sys.modules:
        return True
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return False
    return spec is not None and is_installed(spec.origin)


def preload(modules: Iterable[str], folders: Sequence[str] = ()) -> None:
    """Imports those of the modules that are installed and survive a fork. What fails is left to the child, in which
    the user sees why."""
    wanted = [
        name for name in modules if name not in sys.modules and not is_denied(name) and installed_origin(name, folders)
    ]
    unknown = [name for name in wanted if not _is_trusted(name)]
    refused = _tried_in_a_child(unknown) if unknown else set()
    for name in wanted:
        if name not in refused:
            _import(name)


def _is_trusted(module: str) -> bool:
    top = module.partition(".")[0]
    if top in _TRUSTED or top == "damnit_ctx":
        return True
    spec = importlib.util.find_spec(top) if top not in sys.modules else sys.modules[top].__spec__
    origin = None if spec is None else spec.origin
    return origin in ("built-in", "frozen") or (
        os.path.realpath(str(origin)).startswith(_STANDARD_LIBRARY) and "-packages" + os.sep not in str(origin)
    )


def _import(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False  # `from package import function`: no module
    except Exception:
        # Said when the child imports it, with the user's own lines.
        return False
    return True


def _tried_in_a_child(modules: list[str]) -> set[str]:
    """Imports modules in a forked child and returns those that leave threads or open files behind."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        refused = []
        try:
            os.close(reader)
            with contextlib.suppress(BaseException):
                refused = list(_leaving_traces(modules))
            os.write(writer, "\n".join(refused).encode()[:60000])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    if status != 0:
        return set(modules)  # it died of one of them
    return set(filter(None, answer.split("\n")))


def _leaving_traces(modules: list[str]) -> Iterator[str]:
    for name in modules:
        before = _traces()
        if "." in name and name.rpartition(".")[0] not in sys.modules:
            _import(name.rpartition(".")[0])
        _import(name)
        if _traces() != before:
            yield name


def _traces() -> tuple[int, int, int]:
    return threading.active_count(), len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
