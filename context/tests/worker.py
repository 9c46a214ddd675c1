"""Plays the worker's part towards a real host: sockets, descriptors, shared memory, answers."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import numpy as np

PACKAGE = Path(__file__).resolve().parents[1]
SLOTS = 4
SLOT_BYTES = 1 << 20


class Host:
    """A running host."""

    def __init__(self, context: Path, **environment: str) -> None:
        ours, theirs = socket.socketpair()
        self.control = ours
        self.process = subprocess.Popen(
            [sys.executable, "-m", "damnit_ctx.host", "--context", str(context)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(PACKAGE), *filter(None, [environment.get("MORE")])]),
                "AMORE_CONTROL_FD": str(theirs.fileno()),
                **environment,
            },
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd="/",
        )
        theirs.close()
        self._lines = ours.makefile("rb")
        self.first = self.hear()

    def hear(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise EOFError("the host is gone")
        return json.loads(line)

    def say(self, message: dict[str, Any], descriptors: Optional[list[int]] = None) -> None:
        socket.send_fds(self.control, [json.dumps(message).encode() + b"\n"], descriptors or [])

    def close(self) -> None:
        self._lines.close()
        self.control.close()
        self.process.wait(timeout=60)


class Value:
    """A value as it crossed: the message, and its arrays in the message's order."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.message = message
        self.arrays: list[Any] = []

    @property
    def data(self) -> Any:
        """A plain value."""
        assert self.message["data"]["layout"]["kind"] == "plain"
        return self.message["data"]["layout"]["array"]["content"]

    @property
    def summary(self) -> Any:
        return self.message["summary"]["content"]


class Child:
    """A forked child and everything that it said."""

    def __init__(self, host: Host, log: Path, request: dict[str, Any], answer: bool = True) -> None:
        self.host = host
        self.log = log
        ours, theirs = socket.socketpair()
        self.socket = ours
        descriptor = os.memfd_create("values")
        os.ftruncate(descriptor, SLOTS * SLOT_BYTES)
        log_descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.memory = mmap.mmap(descriptor, SLOTS * SLOT_BYTES)
        self.words_descriptor = os.memfd_create("words")
        host.say({"op": "fork", "id": "t1"}, [theirs.fileno(), log_descriptor, descriptor, self.words_descriptor])
        for each in (log_descriptor, descriptor):
            os.close(each)
        theirs.close()
        self.forked = host.hear()
        assert self.forked["ev"] == "forked", self.forked
        self.events: list[dict[str, Any]] = []
        self.values: dict[str, Value] = {}
        self.chunks = 0
        self._lines = ours.makefile("rb")
        self.say(request)
        if answer:
            self.converse()
            self.exited = host.hear()
            assert self.exited["ev"] == "exited", self.exited
            self.close()

    def close(self) -> None:
        if not self._lines.closed:
            self.last_words = self.words
            os.close(self.words_descriptor)
        self._lines.close()
        self.socket.close()

    def say(self, message: dict[str, Any]) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def converse(self) -> None:
        """Listens and answers until the child closes its socket."""
        for line in self._lines:
            event = json.loads(line)
            self.events.append(event)
            if event["ev"] == "value":
                self.take(event)
                self.say({"op": "taken"})

    def take(self, event: dict[str, Any]) -> None:
        value = Value(event)
        for array in arrays_of(event):
            if array["in"] == "text":
                strings = np.array(array["strings"], dtype=object).reshape(array["shape"])
                content = strings[()]
            elif array["in"] == "shm":
                begin = array["offset"]
                content = shaped(bytes(self.memory[begin : begin + array["bytes"]]), array)
            else:
                content = shaped(self.stream(array), array)
            array["content"] = content
            value.arrays.append(content)
        self.values[event["name"]] = value

    def stream(self, array: dict[str, Any]) -> bytes:
        expected = int(np.prod(array["shape"])) * element(array["dtype"]).itemsize
        content = b""
        while len(content) < expected:
            chunk = json.loads(self._lines.readline())
            assert chunk["ev"] == "chunk", chunk
            assert 0 < chunk["bytes"] <= SLOT_BYTES
            begin = chunk["slot"] * SLOT_BYTES
            content += self.memory[begin : begin + chunk["bytes"]]
            self.chunks += 1
            self.say({"op": "free", "slot": chunk["slot"]})
        return content

    def of(self, name: str) -> dict[str, Any]:
        """How a variable ended."""
        (event,) = (
            event
            for event in self.events
            if event.get("name") == name and event["ev"] in ("value", "kept", "nothing", "failed")
        )
        return event

    @property
    def words(self) -> str:
        """What ``faulthandler`` wrote, so far."""
        return os.pread(self.words_descriptor, 1 << 20, 0).decode(errors="replace")

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")


def shaped(content: bytes, array: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(content, dtype=element(array["dtype"])).reshape(array["shape"])


def element(told: str) -> np.dtype:
    """The type of a message's array; of records from the places of the fields."""
    if not told.startswith("{"):
        return np.dtype(told)
    record = json.loads(told)
    fields = record["fields"]
    return np.dtype(
        {
            "names": [field["name"] for field in fields],
            "formats": [(element(field["dtype"]), tuple(field["shape"])) for field in fields],
            "offsets": [field["offset"] for field in fields],
            "itemsize": record["size"],
        }
    )


def arrays_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Descriptions of all arrays of a value, in the order in which they are streamed."""
    found = []
    for part in ("data", "preview"):
        if event.get(part) is not None:
            layout = event[part]["layout"]
            if layout["kind"] == "plain":
                found.append(layout["array"])
            else:
                found.extend(variable["array"] for variable in layout["variables"])
    if event.get("summary") is not None:
        found.append(event["summary"])
    return found


def source(path: Path, text: str) -> dict[str, str]:
    return {"path": str(path), "text": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}


class Database:
    """A database directory with a context file, and a host for it."""

    def __init__(self, folder: Path, text: str, **environment: str) -> None:
        self.folder = folder
        self.path = folder / "context.py"
        self.path.write_text(text)
        self.text = text
        self.host = Host(self.path, **environment)
        assert self.host.first["ev"] == "ready", self.host.first
        self.children: list[Child] = []

    def child(self, request: dict[str, Any], answer: bool = True) -> Child:
        child = Child(self.host, self.folder / f"log{len(self.children)}", request, answer)
        self.children.append(child)
        return child

    def close(self) -> None:
        for child in self.children:
            child.close()
        self.host.close()

    def describe(self, text: Optional[str] = None) -> dict[str, Any]:
        context = {**source(self.path, self.text if text is None else text), "directory": str(self.folder)}
        child = self.child({"op": "describe", "context": context})
        (event,) = child.events
        assert event["ev"] == "described"
        assert child.exited["code"] == 0, child.text
        return event

    def run(self, *names: str, answer: bool = True, **changes: Any) -> Child:
        request = {
            "op": "run",
            "proposal": 1234,
            "run": 1,
            "data": "raw",
            "mock": True,
            "directory": str(self.folder),
            "context": source(self.path, changes.pop("text", self.text)),
            "steps": [{"name": name, "needs": [], "transient": False, "fingerprint": ""} for name in names],
            "given": {},
            "ended": {},
            "parameters": {},
            "memory_bytes": None,
            "slots": SLOTS,
            "slot_bytes": SLOT_BYTES,
        }
        request.update(changes)
        return self.child(request, answer)
