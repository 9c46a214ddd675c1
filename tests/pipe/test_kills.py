"""kill -9 at any instant, two owners, a stopped owner: nothing is lost, mixed or stored twice."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sqlite3
import subprocess
import time

import h5py
import pytest

from conftest import Database, kill, wait_for

SLOW = "".join(
    f"""
@Variable
def v{i}(run, r: "meta#run_number"):
    effect(f"v{i}-{{r}}")
    time.sleep(0.05)
    return np.full((20, 50), 1000 * r + {i})
"""
    for i in range(6)
)


def gated(database: Database) -> str:
    """The same, but each variable waits until the test creates the file `go`."""
    hold = f"    while not os.path.exists({str(database.path / 'go')!r}):\n        time.sleep(0.02)\n"
    return "import time\n" + SLOW.replace("    time.sleep(0.05)\n", hold)


def held_open(database: Database, factor: int = 1000) -> str:
    """The same, but the last variable of run 4 waits for the file `go`, so that the command does not end before the test has
    acted.
    """
    hold = f"    while r == 4 and not os.path.exists({str(database.path / 'go')!r}):\n        time.sleep(0.02)\n"
    begun, before, last = SLOW.rpartition("    time.sleep(0.05)\n")
    return ("import time\n" + begun + before + hold + last).replace("1000 * r", f"{factor} * r")


def calls(database: Database) -> int:
    """The number of calls of variables."""
    return sum(database.executions().values())


def check_values(database: Database, runs: range) -> None:
    for run in runs:
        rows = database.rows(run)
        with h5py.File(database.run_file(run)) as file:
            for i in range(6):
                data = file[f"v{i}/data"][()]
                assert data.shape == (20, 50) and (data == 1000 * run + i).all()
                assert rows[f"v{i}"] is not None


@pytest.mark.parametrize("role", ["host", "worker"])
def test_a_killed_helper_is_replaced_within_the_same_command(database: Database, role: str) -> None:
    database.context(held_open(database))
    process = database.start("reprocess", "1-4")
    killed: set[int] = set()
    for begun in (2, 8):
        wait_for(f"{begun} variables", lambda begun=begun: calls(database) >= begun, process)

        def living() -> set[int]:
            return set(database.processes()[role]) - killed

        pid = wait_for(f"a {role}", living, process).pop()
        assert kill([pid]) == 1
        killed.add(pid)
        # Another process takes over.
        wait_for(f"another {role}", living, process)
    (database.path / "go").touch()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    check_values(database, range(1, 5))
    assert database.leftovers() == []


@pytest.mark.parametrize("begun", [1, 4, 8, 12, 17])
def test_kill_9_of_everything_at_any_instant(database: Database, begun: int) -> None:
    database.context(held_open(database))
    rng = random.Random(begun)
    database.amore("reprocess", "1-2")
    before = calls(database)
    process = database.start("reprocess", "1-4", start_new_session=True)
    wait_for(f"{begun} variables", lambda: calls(database) >= before + begun, process)
    # A random instant between two variables.
    time.sleep(rng.random() * 0.05)
    assert kill(sum(database.processes().values(), [])) >= 2
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, "it was over before it was killed"
    # Existing results are complete: old or new, never mixed.
    check_values(database, range(1, 3))
    (database.path / "go").touch()
    database.amore("reprocess", "1-4")
    check_values(database, range(1, 5))
    assert database.leftovers() == []


def shared(database: Database) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """Two commands: the first owns the directory, and has taken the request of the second before anything is finished."""
    database.context(gated(database))
    first = database.start("reprocess", "1-2")
    wait_for("the first variable", lambda: calls(database), first)
    second = database.start("reprocess", "3-4")
    wait_for("the request is taken", lambda: database.requests("taken"), second)
    assert database.is_owned_by(first)
    return first, second


def test_two_commands_at_once_share_the_work(database: Database) -> None:
    first, second = shared(database)
    (database.path / "go").touch()
    _, second_words = second.communicate(timeout=120)
    _, first_words = first.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (0, 0), first_words + second_words
    assert "request handed over" in second_words
    check_values(database, range(1, 5))
    assert len(database.executions()) == 24
    assert all(count == 1 for count in database.executions().values())
    assert database.leftovers() == []


def test_a_request_survives_the_death_of_the_owner(database: Database) -> None:
    first, second = shared(database)
    assert kill([pid for pids in database.processes().values() for pid in pids if pid != second.pid]) >= 2
    first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL
    wait_for("the second owns the directory", lambda: database.is_owned_by(second), second)
    (database.path / "go").touch()
    _, words = second.communicate(timeout=180)
    assert second.returncode == 0, words
    check_values(database, range(3, 5))


def holds_a_lock(database: Database) -> bool:
    """Whether SQLite's lock or that of the run files is held."""
    lock = os.open(database.path / "extracted_data/.collect.lock", os.O_RDWR | os.O_CREAT)
    connection = sqlite3.connect(database.path / "runs.sqlite", timeout=0, isolation_level=None)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        return False
    except (BlockingIOError, sqlite3.OperationalError):
        return True
    finally:
        connection.close()
        os.close(lock)


def stop_outside_a_transaction(database: Database, pid: int) -> None:
    """Stops a process while it holds no lock, because nobody can take over a lock that a stopped process holds."""
    for _ in range(200):
        os.kill(pid, signal.SIGSTOP)
        if not holds_a_lock(database):
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
    pytest.fail("the process holds a lock all the time")


def test_a_stopped_owner_is_deposed_and_writes_nothing(database: Database) -> None:
    database.context(held_open(database))
    first = database.start("reprocess", "1-4", env={**database.environment, "AMORE_OWNER_TERM": "2"})
    # It has started to collect.
    while not (database.path / "extracted_data/.collect.lock").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    stop_outside_a_transaction(database, first.pid)
    wait_for("its term is over", lambda: (database.owner() or (0, 0.0))[1] < time.time())
    (database.path / "go").touch()
    database.context(held_open(database, 5000))
    database.amore("reprocess", "1-4", env={**database.environment, "AMORE_OWNER_TERM": "2"})
    os.kill(first.pid, signal.SIGCONT)
    _, words = first.communicate(timeout=120)
    assert first.returncode != 0
    assert "this process no longer owns the run table" in words, words
    for run in range(1, 5):
        with h5py.File(database.run_file(run)) as file:
            for i in range(6):
                assert (file[f"v{i}/data"][()] == 5000 * run + i).all()


def test_ctrl_c_keeps_what_is_computed(database: Database) -> None:
    database.context(held_open(database))
    process = database.start("reprocess", "1-4")
    wait_for("a row", lambda: any(database.rows(run) for run in range(1, 5)), process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: computed results are stored" in out
    assert database.leftovers() == []
    assert sum(len(database.rows(run)) for run in range(1, 5)) > 0
    (database.path / "go").touch()
    database.amore("reprocess", "1-4")
    check_values(database, range(1, 5))


def test_a_reader_with_the_run_file_open_disturbs_nobody(database: Database) -> None:
    database.context("@Variable\ndef a(run): return np.arange(1000)\n")
    database.amore("reprocess", "1")
    with h5py.File(database.run_file(1)) as reader:
        before = reader["a/data"]
        database.context(
            "@Variable\ndef a(run): return np.arange(1000) * 2\n@Variable\ndef b(run): return 1\n"
        )
        database.amore("reprocess", "1")
        assert (before[:] == list(range(1000))).all()
    with h5py.File(database.run_file(1)) as reader:
        assert reader["a/data"][999] == 1998
    assert database.rows(1)["b"] == 1


def test_a_reader_that_locks_the_table_delays_only_the_table(database: Database) -> None:
    database.context("@Variable\ndef a(run): return 1\n")
    database.amore("reprocess", "1")
    go = database.path / "go"
    database.context(
        "import time\n@Variable\ndef a(run):\n    effect('a')\n"
        f"    while not os.path.exists({str(go)!r}):\n        time.sleep(0.02)\n    return 2\n"
    )
    process = database.start("reprocess", "1")
    wait_for("the variable", lambda: calls(database), process)
    connection = sqlite3.connect(database.path / "runs.sqlite", isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM run_variables").fetchall()
    go.touch()

    def in_the_file() -> bool:
        with h5py.File(database.run_file(1)) as file:
            return int(file["a/data"][()]) == 2

    wait_for("the value is in the run's file", in_the_file, process)
    # As long as the reader reads, nothing can be written to the table.
    for _ in range(20):
        assert process.poll() is None
        assert connection.execute("SELECT value FROM run_variables WHERE name='a'").fetchall() == [(1,)]
        time.sleep(0.05)
    connection.execute("COMMIT")
    connection.close()
    _, words = process.communicate(timeout=120)
    assert process.returncode == 0, words
    assert database.rows(1)["a"] == 2


def test_a_child_dies_with_its_worker(database: Database) -> None:
    database.context(
        "import time\n@Variable\ndef slow(run):\n    effect(f'pid{os.getpid()}')\n    time.sleep(60)\n"
    )
    process = database.start("reprocess", "1")
    while not database.executions():
        time.sleep(0.05)
    pid = int(next(iter(database.executions())).removeprefix("pid"))
    assert kill([other for pids in database.processes().values() for other in pids if other != pid]) >= 2
    process.communicate(timeout=60)
    for _ in range(100):
        if subprocess.run(["kill", "-0", str(pid)], capture_output=True).returncode != 0:
            return
        time.sleep(0.1)
    pytest.fail("the child goes on without its worker")


def test_few_runs_go_before_many(database: Database) -> None:
    database.context(
        '@Variable(title="Slow")\n'
        'def slow(run, r: "meta#run_number"):\n'
        "    import time\n"
        '    effect(f"run-{r}")\n'
        "    time.sleep(0.1)\n"
        "    return r\n"
    )
    many = database.start("reprocess", "1-60", "--mock", "--concurrent-jobs", "1")
    while not database.executions():
        assert many.poll() is None
        time.sleep(0.02)
    few = database.start("reprocess", "61-62", "--mock")
    out, err = few.communicate(timeout=300)
    assert few.returncode == 0, out + err
    assert many.poll() is None, "the many have ended before the few"
    out, err = many.communicate(timeout=300)
    assert many.returncode == 0, out + err
    order = [int(name.removeprefix("run-")) for name in database.effects.read_text().split()]
    assert sorted(order) == list(range(1, 63))
    assert max(order.index(61), order.index(62)) < order.index(60)
    # The runs of one request are processed in order.
    assert [run for run in order if run <= 60] == list(range(1, 61))
    assert order.index(61) < order.index(62)
    assert database.rows(60) and database.rows(62)


def test_many_runs_are_nice_to_other_jobs(database: Database) -> None:
    database.context('@Variable(title="Far", cluster=True)\ndef far(run):\n    return 1\n')
    few = database.amore("plan", "1-50", "--mock", "--script").stdout
    assert few.count("\nsbatch ") == 50 and "--nice" not in few
    many = database.amore("plan", "1-51", "--mock", "--script").stdout
    assert many.count(" --nice=1000 ") == 51
