"""The warm context host: imports once what all runs need, then forks a child per task.

Started by the worker as ``python -m damnit_ctx.host --context FILE [--folder FOLDER]... [--one-task]`` with the control
socket's descriptor in ``AMORE_CONTROL_FD``. It starts no thread and keeps no file open, so that its forks are safe.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Optional

VERSION = 1
_REQUIRED = {"numpy": "numpy", "h5py": "h5py", "extra_data": "extra_data", "yaml": "pyyaml", "requests": "requests"}
_MAX_LINE = 1 << 16
_BACKENDS_WITHOUT_SCREEN = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


class Host:
    """Forks and reaps. One thread, one loop.

    Args:
        control: the worker's socket.
        folders: folders of the context file, whose modules are never preloaded.
    """

    def __init__(self, control: socket.socket, folders: Sequence[str]) -> None:
        self._control = control
        self._folders = folders
        self._buffer = b""
        self._descriptors: list[int] = []
        self._children: dict[int, str] = {}
        self._wake, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._inherited = (self._wake, wakeup)

    def serve(self) -> None:
        """Serves until the worker closes the socket; then kills all children."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            while True:
                ready = dict(poll.poll())
                if self._wake in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                    self._reap()
                if self._control.fileno() in ready and not self._listen():
                    return
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            for pid in self._children:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    def _listen(self) -> bool:
        """Reads the worker's messages. False when it has closed the socket."""
        data, descriptors, _, _ = socket.recv_fds(self._control, _MAX_LINE, 30, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        self._buffer += data
        self._descriptors += descriptors
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["op"] == "fork":
                self._fork(message["id"])
            elif message["op"] == "preload":
                self._preload(message["modules"])
            elif message["op"] == "signal":
                self._signal(message["id"], message["signal"])
        return True

    def _preload(self, modules: list[str]) -> None:
        from . import preload

        preload.preload(modules, self._folders)
        gc.collect()
        gc.freeze()

    def _fork(self, id_: str) -> None:
        from . import child

        conversation, log, memory, last_words = self._descriptors[:4]
        del self._descriptors[:4]
        host = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._control.close()
            for descriptor in (*self._inherited, *self._descriptors):
                os.close(descriptor)
            child.main(socket.socket(fileno=conversation), log, memory, last_words, host)
        for descriptor in (conversation, log, memory, last_words):
            os.close(descriptor)
        # Both sides set it, so that it is set whichever is first.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)
        self._children[pid] = id_
        self._say({"ev": "forked", "id": id_, "pid": pid})

    def _signal(self, id_: str, number: int) -> None:
        """Sends a signal to a child; SIGKILL to all processes that it started, too."""
        send = os.killpg if number == signal.SIGKILL else os.kill
        for pid, child_id in self._children.items():
            if child_id == id_:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    send(pid, number)

    def _reap(self) -> None:
        """Reports ended children, and ends processes that they left behind."""
        for pid in list(self._children):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            # Until the child is reaped, its process id is not reused.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            ended: dict[str, Any] = {"ev": "exited", "id": self._children.pop(pid), "pid": pid}
            if os.WIFSIGNALED(status):
                ended["signal"] = os.WTERMSIG(status)
            else:
                ended["code"] = os.WEXITSTATUS(status)
            ended["max_rss_kib"] = usage.ru_maxrss
            ended["cpu_seconds"] = usage.ru_utime + usage.ru_stime
            self._say(ended)

    def _say(self, message: dict[str, Any]) -> None:
        say(self._control, message)


def say(control: socket.socket, message: dict[str, Any]) -> None:
    """Sends one message to the worker."""
    control.sendall(json.dumps(message).encode() + b"\n")


def unusable() -> Optional[dict[str, Any]]:
    """Why this Python cannot be a host, if so."""
    from importlib.util import find_spec

    missing = [package for module, package in _REQUIRED.items() if find_spec(module) is None]
    if missing:
        return {
            "message": f"the Python {sys.executable} lacks {', '.join(missing)}",
            "hint": f"install what is missing ({sys.executable} -m pip install {' '.join(missing)}), "
            "or choose another Python with: amore db-config context_python /path/to/python",
        }
    if find_spec("damnit_ctx._core") is None:
        return {
            "message": "damnit_ctx was installed without its native extension (damnit_ctx/_core.abi3.so)",
            "hint": "run make build (or make install) again",
        }
    if not os.path.isdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "_vendor", "pyflakes")):
        return {
            "message": "damnit_ctx was installed without pyflakes (damnit_ctx/_vendor)",
            "hint": "run context/vendor.sh, or make build (or make install) again",
        }
    return None


def main(arguments: list[str]) -> int:
    """Runs the host. Returns the exit code."""
    control = _control(int(os.environ.pop("AMORE_CONTROL_FD")))
    # "python -m" puts the worker's current directory first; no user modules must be found there.
    if not getattr(sys.flags, "safe_path", False) and sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    _choose_backend()
    from . import job_variables

    job_variables.make_readable()
    # Imports create many objects and free few; children enable it again.
    gc.disable()
    context = arguments[arguments.index("--context") + 1] if "--context" in arguments else None
    folders = [after for before, after in zip(arguments, arguments[1:]) if before == "--folder"]
    if not folders and context is not None:
        folders = [os.path.dirname(os.path.abspath(context))]
    problem = unusable()
    if problem is None:
        try:
            environment = _load(context, folders, for_one_task="--one-task" in arguments)
        except Exception as error:
            problem = {
                "message": f"the Python {sys.executable} cannot load what it needs: {type(error).__name__}: {error}"
            }
    if problem is not None:
        say(control, {"ev": "unusable", **problem})
        return 1
    host = Host(control, folders)
    # The garbage collector ignores existing objects, so that forks continue to share their pages.
    gc.freeze()
    ready = {"ev": "ready", "version": VERSION, "python": sys.version.split()[0], "environment": environment}
    say(control, ready)
    host.serve()
    return 0


def _control(descriptor: int) -> socket.socket:
    """The worker's socket. If it is standard input, which every sandbox passes on, that is empty afterwards."""
    if descriptor == 0:
        descriptor = os.dup(0)
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.close(empty)
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def _choose_backend() -> None:
    """Makes matplotlib draw into memory.

    There is no screen or notebook here, and a backend for one of these, which the user's shell may name, may not be
    usable.
    """
    if os.environ.get("MPLBACKEND", "").lower() not in _BACKENDS_WITHOUT_SCREEN:
        os.environ["MPLBACKEND"] = "agg"


def _load(context: Optional[str], folders: Sequence[str], for_one_task: bool) -> str:
    """Imports what children need; returns the environment's digest.

    For a single task, only what every task needs is worth the time; the child imports the rest itself.
    """
    from . import preload

    for module in preload.NEEDED if for_one_task else preload.ALWAYS:
        import_module(module)
    if not for_one_task:
        preload.preload(preload.imports_at_head(_text(context)), folders)
        gc.collect()
    from . import child

    return child.environment()


def _text(context: Optional[str]) -> str:
    if context is None:
        return ""
    try:
        with open(context, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""  # problems of the file are reported when its text is described


if __name__ == "__main__":
    from damnit_ctx import host as _host  # not __main__, so that there is one copy of the module

    code = _host.main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # There is nothing to finalize, and finalizing takes as long as some imports.
    os._exit(code)
