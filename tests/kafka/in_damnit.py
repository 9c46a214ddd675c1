"""Runs in DAMNIT's environment: receives the updates of a database as its graphical interface does, without a window.

The consumer, the topic, the kinds of messages, the tracker of jobs and the query of new values are DAMNIT 0.4's. Prints a
JSON line for each message: its kind, and what the interface would show then.
"""

import json
import sys
from pathlib import Path

from damnit.backend.db import DamnitDB, MsgKind
from damnit.backend.extraction_control import ExtractionJobTracker
from damnit.definitions import UPDATE_TOPIC
from damnit.util import kafka_consumer


def say(**line):
    print(json.dumps(line), flush=True)


def shown(db, proposal, run, values):
    """As `handle_run_values_changed` in its table.py."""
    placeholders = ", ".join(["?"] * len(values))
    rows = db.conn.execute(
        f"SELECT name, value FROM run_variables WHERE proposal=? AND run=? AND name IN ({placeholders})",
        (proposal, run, *values),
    )
    return dict(rows.fetchall())


def main():
    db = DamnitDB.from_dir(Path(sys.argv[1]))
    consumer = kafka_consumer(UPDATE_TOPIC.format(db.metameta["db_id"]))
    consumer.poll(timeout_ms=1000)
    while not consumer.assignment():
        consumer.poll(timeout_ms=100)
    for partition in consumer.assignment():
        consumer.position(partition)
    tracker = ExtractionJobTracker()
    say(ready=True)
    while True:
        for messages in consumer.poll(timeout_ms=100).values():
            for message in messages:
                handle(db, tracker, json.loads(message.value))


def handle(db, tracker, message):
    """As `handle_update` in its main_window.py."""
    kind = MsgKind(message["msg_kind"])
    data = message["data"]
    if kind == MsgKind.run_values_updated:
        say(kind=kind.value, run=data["run"], values=shown(db, data["proposal"], data["run"], data["values"]))
    elif kind == MsgKind.variable_set:
        say(kind=kind.value, name=data["name"], title=data["title"] or data["name"], editable=data["type"] is not None)
    elif kind == MsgKind.processing_state_set:
        tracker.on_processing_state_set(data)
        say(kind=kind.value, run=data["run"], status=data["status"], jobs=len(tracker.jobs))
    elif kind == MsgKind.processing_finished:
        tracker.on_processing_finished(data)
        say(kind=kind.value, jobs=len(tracker.jobs))


main()
