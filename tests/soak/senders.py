"""Those who tell the service of data, by HTTP and by Kafka. A message is kept until it is accepted, and some are sent twice."""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import threading
from pathlib import Path

from facility import Arrival

#: How long an answer may take before the message is sent again.
PATIENCE = 10.0
#: The topic and the event of Kafka that tell of data.
TOPICS = {"raw": ("test.r2d2", "migration_complete"), "proc": ("cal.offline-corrections", "run_corrections_complete")}


class Connection(http.client.HTTPConnection):
    """HTTP over the Unix socket of a service."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        """Connects to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class HttpSender:
    """Sends messages, one after the other, until all are accepted."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.chance = path, random.Random(seed)
        self.waiting: list[Arrival] = []
        self.refused: list[str] = []
        self.tries = 0
        self.more = threading.Condition()
        self.is_over = False
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def send(self, arrival: Arrival) -> None:
        """There is a message about these data."""
        with self.more:
            self.waiting.append(arrival)
            self.more.notify()

    def left(self) -> int:
        """How many messages are not accepted yet."""
        with self.more:
            return len(self.waiting)

    def end(self) -> None:
        """No more messages are sent."""
        with self.more:
            self.is_over = True
            self.more.notify()
        self.thread.join()

    def work(self) -> None:
        """Sends."""
        while True:
            with self.more:
                self.more.wait_for(lambda: self.waiting or self.is_over)
                if self.is_over:
                    return
                arrival = self.waiting[0]
            accepted = self.post(arrival)
            # The answer may have been lost: what comes twice must do no harm.
            if accepted and self.chance.random() < 0.2:
                self.post(arrival)
            with self.more:
                if accepted:
                    self.waiting.remove(arrival)
                else:
                    self.more.wait(0.3)

    def post(self, arrival: Arrival) -> bool:
        """Sends a message once. Whether it needs not be sent again."""
        self.tries += 1
        message = {"data": arrival.data, "key": f"{arrival.proposal}-{arrival.run}-{arrival.data}"}
        connection = Connection(self.path)
        try:
            connection.request(
                "POST",
                f"/v1/proposals/{arrival.proposal}/runs/{arrival.run}/triggers",
                json.dumps(message),
                {"Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        # The proposals are not known before the service has opened their databases.
        if answer.status >= 400 and answer.status not in (404, 429, 500, 503, 504):
            self.refused.append(f"{message}: {answer.status} {text}")
            return True
        return answer.status < 400


class KafkaSender:
    """Sends the messages of EuXFEL's offline cluster."""

    def __init__(self, program: subprocess.Popen[str], seed: int) -> None:
        self.program, self.chance = program, random.Random(seed)
        self.tries = 0
        self.confirmed = 0
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def send(self, arrival: Arrival) -> None:
        """There is a message about these data."""
        topic, event = TOPICS[arrival.data]
        message = {"event": event, "proposal": str(arrival.proposal), "run": str(arrival.run), "instrument": "SA2"}
        assert self.program.stdin is not None
        for _ in range(2 if self.chance.random() < 0.2 else 1):
            self.tries += 1
            self.program.stdin.write(json.dumps({"topic": topic, "message": message}) + "\n")

    def left(self) -> int:
        """How many messages the broker does not have yet."""
        return self.tries - self.confirmed

    def read(self) -> None:
        """Counts what is confirmed."""
        assert self.program.stdout is not None
        for _ in self.program.stdout:
            self.confirmed += 1

    def end(self) -> None:
        """No more messages are sent."""
        self.program.kill()
        self.program.wait()
        self.thread.join()
