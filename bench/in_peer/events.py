"""Sends events about runs and waits for their values: `events.py BROKER FOLDER FIRST COUNT PAUSE`.

Prints the seconds from each event to the value in `runs.sqlite` of FOLDER, as JSON. One event is sent after
the other, PAUSE seconds after the value before; run FIRST only warms up. DAMNIT's listener skips events while
it is busy: an event without a value is sent again, and the time counts from the last one.
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
AGAIN_S = 20.0
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


def time_of(producer, connection, run):
    """The seconds from the event of a run to its value."""
    end = time.perf_counter() + LIMIT_S
    while time.perf_counter() < end:
        start = send(producer, run)
        if wait(connection, run, AGAIN_S):
            return time.perf_counter() - start
    sys.exit(f"nobody has processed run {run} in {LIMIT_S} s")


def main():
    """Measure."""
    broker, folder = sys.argv[1], Path(sys.argv[2])
    first, count, pause = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
    producer = KafkaProducer(bootstrap_servers=broker)
    connection = sqlite3.connect(f"file:{folder / 'runs.sqlite'}?mode=ro", uri=True, timeout=30)
    times = []
    for run in range(first, first + 1 + count):
        times.append(time_of(producer, connection, run))
        time.sleep(pause)
    print(json.dumps(times[1:]))


main()
