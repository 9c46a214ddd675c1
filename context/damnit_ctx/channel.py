"""The child's end of the connection to its worker: lines of JSON, and arrays through shared memory."""

from __future__ import annotations

import json
import mmap
import os
import socket
from collections.abc import Iterable
from typing import Any, Optional

import numpy as np

from . import _core

_ALIGNMENT = 64
Message = dict[str, Any]


class WorkerGone(Exception):
    """The worker has closed the socket: this child is no longer needed."""


class Lines:
    """JSON objects, one per line, over a stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._process = os.getpid()
        self._reader = sock.makefile("rb")

    def send(self, message: Message) -> None:
        """Sends one message.

        Raises:
            WorkerGone: the other end is closed.
        """
        if os.getpid() != self._process:
            raise WorkerGone  # from a copy that user code forked: the worker knows nothing of it
        # JSON has no NaN and infinity; messages must not contain them.
        line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
        try:
            self._socket.sendall(line)
        except (BrokenPipeError, ConnectionResetError):
            raise WorkerGone from None

    def receive(self) -> Message:
        """Waits for the next message.

        Raises:
            WorkerGone: the other end is closed.
        """
        try:
            line = self._reader.readline()
        except ConnectionResetError:
            line = b""
        if not line:
            raise WorkerGone
        message = json.loads(line)
        assert isinstance(message, dict)
        return message


class SharedMemory:
    """Slots of memory shared with the worker, through which arrays are passed.

    If all arrays of a value fit into the slots, they are packed from the start; the worker copies them before the next
    value is written. Larger values are passed through the slots one after another, which are refilled as the worker
    frees them.
    """

    def __init__(self, descriptor: int, slots: int, slot_bytes: int) -> None:
        self._slots = slots
        self._slot_bytes = slot_bytes
        self._size = slots * slot_bytes
        self._map = mmap.mmap(descriptor, self._size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._address = np.frombuffer(self._map, dtype=np.uint8).__array_interface__["data"][0]

    def send_value(self, lines: Lines, message: Message, arrays: list[tuple[Message, np.ndarray]]) -> None:
        """Sends a value and returns when the worker has received all of it.

        Args:
            lines: the socket.
            message: the ``value`` message, which contains the descriptions of the arrays.
            arrays: description and array, in the order of the message. The location of the content is written into the
                description.

        Raises:
            WorkerGone: the other end is closed.
        """
        offsets = self._pack(array.nbytes for _, array in arrays)
        if offsets is None:
            for description, _ in arrays:
                description["in"] = "stream"
            lines.send(message)
            self._stream(lines, [array for _, array in arrays])
        else:
            for offset, (description, array) in zip(offsets, arrays):
                _copy(array, self._address + offset, 0, array.size)
                description.update({"in": "shm", "offset": offset, "bytes": array.nbytes})
            lines.send(message)
        answer = lines.receive()
        while answer["op"] == "free":
            answer = lines.receive()
        if answer["op"] != "taken":
            raise RuntimeError(f"the worker said {answer['op']!r} where 'taken' was expected")

    def _pack(self, sizes: Iterable[int]) -> Optional[list[int]]:
        """The offset of each array, if all fit."""
        offsets = []
        end = 0
        for size in sizes:
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = start + size
            offsets.append(start)
            if end > self._size:
                return None
        return offsets

    def _stream(self, lines: Lines, arrays: list[np.ndarray]) -> None:
        free = list(range(self._slots))
        for array in arrays:
            per_slot = max(1, self._slot_bytes // max(1, array.itemsize))
            for start in range(0, array.size, per_slot):
                if not free:
                    answer = lines.receive()
                    if answer["op"] != "free":
                        raise RuntimeError(f"the worker said {answer['op']!r} where 'free' was expected")
                    free.append(answer["slot"])
                slot = free.pop(0)
                count = min(per_slot, array.size - start)
                copied = _copy(array, self._address + slot * self._slot_bytes, start, count)
                lines.send({"ev": "chunk", "slot": slot, "bytes": copied})


def _copy(array: np.ndarray, destination: int, start: int, count: int) -> int:
    """Copies ``count`` elements from ``start`` on (C order) to an address. Returns the number of bytes."""
    if count == 0 or array.itemsize == 0:
        return 0
    source = array.__array_interface__["data"][0]
    return _core.copy_array(source, array.shape, array.strides, array.itemsize, destination, start, count)
