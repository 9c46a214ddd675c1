#!/usr/bin/env python3
"""A worker that ends every task at once, without results: for measurements of the service alone.

It speaks the messages of `amore-worker` (crates/wire), and declares one variable.
"""

import json
import sys

VARIABLE = {"name": "a", "title": "A"}


def say(**message: object) -> None:
    """Send a message."""
    sys.stdout.write(json.dumps(message) + "\n")


def main() -> None:
    """Answer until the input ends."""
    for line in iter(sys.stdin.readline, ""):
        message = json.loads(line)
        if message["op"] == "hello":
            say(ev="hello", version=1, processes=2)
        elif message["op"] == "describe":
            say(ev="described", id=message["id"], variables=[VARIABLE], problems=[])
        elif message["op"] == "run":
            of = {name: message[name] for name in ("id", "attempt", "token") if message.get(name) is not None}
            say(ev="started", **of)
            say(ev="task_ended", **of, problem="nothing was computed")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
