"""Sends the messages of its standard input to a Kafka broker, and prints a line for each that the broker has.

A line is `{"topic": …, "message": …}`. A message is sent until the broker confirms it, so it may arrive twice.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from kafka.errors import KafkaError

from kafka import KafkaProducer


def connected(address: str) -> Any:
    """A producer; the broker may be away. It connects again by itself."""
    while True:
        try:
            return KafkaProducer(bootstrap_servers=address, acks="all")
        except KafkaError:
            time.sleep(0.3)


def send(producer: Any, topic: str, message: bytes) -> None:
    """Sends until it is confirmed."""
    while True:
        try:
            producer.send(topic, message, partition=0).get(timeout=5)
            return
        except KafkaError:
            time.sleep(0.3)


def main() -> None:
    """Until the input ends."""
    producer = connected(sys.argv[1])
    for line in sys.stdin:
        wanted = json.loads(line)
        send(producer, wanted["topic"], json.dumps(wanted["message"]).encode())
        print("sent", flush=True)


if __name__ == "__main__":
    main()
