"""Sends the messages of its standard input to a Kafka broker, and prints a line for each that the broker has.

A line is `{"topic": …, "message": …}`. A message is sent until the broker confirms it, so it may arrive twice.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError


def send(address: str, producer: Any, topic: str, message: bytes) -> Any:
    """Sends until it is confirmed. Returns a producer for the next message."""
    while True:
        try:
            producer = producer or KafkaProducer(bootstrap_servers=address, acks="all", retries=0)
            producer.send(topic, message, partition=0).get(timeout=5)
            return producer
        except (KafkaError, AssertionError, OSError):
            if producer is not None:
                producer.close(timeout=0)
            producer = None
            time.sleep(0.3)


def main() -> None:
    """Until the input ends."""
    producer = None
    for line in sys.stdin:
        wanted = json.loads(line)
        producer = send(sys.argv[1], producer, wanted["topic"], json.dumps(wanted["message"]).encode())
        print("sent", flush=True)


if __name__ == "__main__":
    main()
