"""Runs steps on the cluster's login node and takes the clock there: `clock.py < PLAN`, prints JSON.

Reached from outside, a command on that node begins some 0.1 s late; here that counts for nobody. The plan is
`{"poll_s", "steps"}`; a step is one of

- `{"run": […], "cwd", "env", "log"}`: a command, to its end. With `"table"` and `"values"` that SQLite table
  is looked at meanwhile, until it holds so many values: `values_s`;
- `{"drain": USER}`: until no job of the user waits or runs, by the queue that Slurm shows.

The answer is `{"wall_s", "values_s", "printed"}`: the time from the first step to the end of the last, that
from the first step to the values, and what each command printed.
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
    """Looks at a run table until it holds so many values."""

    def __init__(self, path, values):
        super().__init__(daemon=True)
        self.path = path
        self.values = values
        self.seen_at = None
        self.over = threading.Event()

    def run(self):
        """Look."""
        while not self.over.is_set():
            if self.complete():
                self.seen_at = time.perf_counter()
                return
            self.over.wait(TABLE_POLL_S)

    def complete(self):
        """Are all values there now?"""
        try:
            connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=0)
            try:
                query = "SELECT count(*) FROM run_variables WHERE value IS NOT NULL"
                return connection.execute(query).fetchone()[0] >= self.values
            finally:
                connection.close()
        except sqlite3.OperationalError:
            # Being written at this moment.
            return False


def run(step):
    """One command; gives what it printed and when the values were there."""
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
    # The command's end is after the values; one more look should do.
    watch.join(5)
    watch.over.set()
    if watch.seen_at is None:
        sys.exit(f"{' '.join(step['run'])}: {step['table']} does not hold {step['values']} values")
    return done.stdout, watch.seen_at


def drain(user, poll_s):
    """Wait until the queue is empty. Jobs that Slurm still cleans up after are over."""
    query = ["squeue", "-h", "-u", user, "-t", "PENDING,RUNNING", "-o", "%i"]
    while subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip():
        time.sleep(poll_s)


def main():
    """Take the steps of the plan."""
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
