"""Sends events about runs and waits for their values: `events.py BROKER FOLDER FIRST COUNT`.

Prints the seconds from each event to the value in `runs.sqlite` of FOLDER, as JSON. One event is sent after
the other; run FIRST only warms up, and its event is repeated until somebody listens.
"""

import json
import sqlite3
import sys
import time
from pathlib import Path

from kafka import KafkaProducer

PROPOSAL = 1234
TOPIC = "test.r2d2"
POLL_S = 0.001
AGAIN_S = 5.0
LIMIT_S = 120.0


def send(producer, run):
    """Send the event of a run; returns when that began."""
    start = time.perf_counter()
    message = {"event": "migration_complete", "proposal": PROPOSAL, "run": run}
    producer.send(TOPIC, json.dumps(message).encode()).get(timeout=30)
    return start


def wait(connection, run, limit_s):
    """Wait until the table has a value of the run; False after the limit."""
    end = time.perf_counter() + limit_s
    query = "SELECT 1 FROM run_variables WHERE proposal=? AND run=? AND value IS NOT NULL"
    while connection.execute(query, (PROPOSAL, run)).fetchone() is None:
        if time.perf_counter() > end:
            return False
        time.sleep(POLL_S)
    return True


def main():
    """Measure."""
    broker, folder, first, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    producer = KafkaProducer(bootstrap_servers=broker)
    connection = sqlite3.connect(f"file:{folder / 'runs.sqlite'}?mode=ro", uri=True, timeout=30)
    end = time.perf_counter() + LIMIT_S
    while send(producer, first) and not wait(connection, first, AGAIN_S):
        if time.perf_counter() > end:
            sys.exit(f"nobody has processed run {first} in {LIMIT_S} s")
    times = []
    for run in range(first + 1, first + 1 + count):
        start = send(producer, run)
        if not wait(connection, run, LIMIT_S):
            sys.exit(f"nobody has processed run {run} in {LIMIT_S} s")
        times.append(time.perf_counter() - start)
    print(json.dumps(times))


main()
