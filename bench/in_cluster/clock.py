"""Executes steps on the cluster's login node and measures their time there: `clock.py < PLAN`, prints JSON.

A command that is started from outside begins some 0.1 s later on that node; here this is not counted. The
plan is `{"poll_s", "steps"}`. A step is one of

- `{"run": […], "cwd", "env", "log"}`: runs a command until it ends. With `"table"` and `"values"`, this
  SQLite table is watched in the meantime until it contains this many values: `values_s`;
- `{"drain": USER}`: waits until no job of the user is pending or running, according to the queue.

The result is `{"wall_s", "values_s", "printed"}`: the time from the first step to the end of the last, the
time from the first step to the values, and the output of each command.
"""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time

TABLE_POLL_S = 0.01


class Watch(threading.Thread):
    """Watches a run table until it contains this many values."""

    def __init__(self, path, values):
        super().__init__(daemon=True)
        self.path = path
        self.values = values
        self.seen_at = None
        self.over = threading.Event()

    def run(self):
        """Poll the table."""
        while not self.over.is_set():
            if self.complete():
                self.seen_at = time.perf_counter()
                return
            self.over.wait(TABLE_POLL_S)

    def complete(self):
        """Whether all values are in the table."""
        try:
            connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=0)
            try:
                query = "SELECT count(*) FROM run_variables WHERE value IS NOT NULL"
                return connection.execute(query).fetchone()[0] >= self.values
            finally:
                connection.close()
        except sqlite3.OperationalError:
            # It is being written at this moment.
            return False


def run(step):
    """Run one command. Returns its output and the time at which the values were in the table."""
    watch = Watch(step["table"], step["values"]) if "table" in step else None
    if watch:
        watch.start()
    with open(step["log"], "ab") as log:
        done = subprocess.run(
            step["run"],
            cwd=step["cwd"],
            env={**os.environ, **step.get("env", {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.write(done.stdout.encode())
    if done.returncode != 0:
        with open(step["log"], errors="replace") as log:
            sys.exit(f"{' '.join(step['run'])}: exit code {done.returncode}\n{log.read()[-3000:]}")
    if watch is None:
        return done.stdout, None
    # The command ends after the values are stored, so one more poll should be enough.
    watch.join(5)
    watch.over.set()
    if watch.seen_at is None:
        sys.exit(f"{' '.join(step['run'])}: {step['table']} does not hold {step['values']} values")
    return done.stdout, watch.seen_at


def drain(user, poll_s):
    """Wait until the queue is empty. Jobs that are only being cleaned up count as ended."""
    query = ["squeue", "-h", "-u", user, "-t", "PENDING,RUNNING", "-o", "%i"]
    while subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip():
        time.sleep(poll_s)


def main():
    """Execute the steps of the plan."""
    plan = json.load(sys.stdin)
    printed = []
    values_at = None
    start = time.perf_counter()
    for step in plan["steps"]:
        if "drain" in step:
            drain(step["drain"], plan["poll_s"])
        else:
            text, seen_at = run(step)
            printed.append(text)
            values_at = values_at or seen_at
    wall_s = time.perf_counter() - start
    print(json.dumps({"wall_s": wall_s, "values_s": values_at and values_at - start, "printed": printed}))


if __name__ == "__main__":
    main()
