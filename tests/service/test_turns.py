"""Directories that share the processes of a service: whatever one of them does, the others go on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from arriving import Site, has
from served import pipe, wait_for

Start = Callable[..., Any]

HEALTHY = """
@Variable(title="A")
def a(run):
    return 1
"""

# Each run takes a process for itself until there is a file.
ENDLESS = """
import time

@Variable(title="Endless")
def endless(run, number: "meta#run_number"):
    effect(f"endless{number}")
    while not os.path.exists("GO"):
        time.sleep(0.02)
    return 1
"""


def more_than_processes() -> int:
    """How many runs take all processes of the service, and a bit more."""
    return min(pipe.RUNS, (os.cpu_count() or 1) + 1)


def other_database(database: pipe.Database, folder: Path) -> pipe.Database:
    """A second directory of the same proposal, which the service of the first one serves."""
    other = pipe.Database(database.root, folder)
    database.amore("listener", "add", "1234", str(other.path))
    return other


def is_served(database: pipe.Database, other: pipe.Database, process: Any) -> None:
    """Waits until the service of the first directory is the owner of both."""
    wait_for("both directories are served", lambda: other.is_owned_by(process), process)
    assert database.is_owned_by(process)


def take_all_processes(database: pipe.Database, endless: pipe.Database, go: Path) -> Any:
    """User code of one directory occupies every process of the service; gives the command that asked for it."""
    if (os.cpu_count() or 1) > pipe.RUNS:
        pytest.skip(f"{pipe.RUNS} runs do not take all {os.cpu_count()} processes of this host")
    endless.context(ENDLESS.replace("GO", str(go)))
    command = endless.start("reprocess", f"1-{more_than_processes()}")
    wanted = os.cpu_count() or 1

    def taken() -> int:
        return len([name for name in database.executions() if name.startswith("endless")])

    wait_for("all processes are taken", lambda: taken() >= wanted, command)
    return command


@pytest.mark.parametrize("how", ["reprocess", "trigger"])
def test_user_code_without_an_end_does_not_delay_another_directory(
    database: Any, service: Start, tmp_path: Path, how: str
) -> None:
    database.context(HEALTHY)
    endless = other_database(database, tmp_path / "endless")
    process = service(database)
    is_served(database, endless, process)
    go = tmp_path / "go"
    command = take_all_processes(database, endless, go)
    before = database.executions()
    if how == "reprocess":
        # One after the other, and more than there are processes.
        database.amore("reprocess", "1-3")
    else:
        for run in (1, 2, 3):
            database.amore("trigger", str(run))
    wait_for("the healthy directory goes on", lambda: all(database.rows(run).get("a") == 1 for run in (1, 2, 3)), process)
    assert command.poll() is None
    # What does not end has got no processes beyond its own meanwhile.
    assert len(database.executions()) == len(before)
    go.touch()
    out, err = command.communicate(timeout=120)
    assert command.returncode == 0, out + err


def test_a_live_run_does_not_wait_for_endless_reprocessing_of_its_own_directory(
    site: Site, service: Start, tmp_path: Path
) -> None:
    process = service(site.database)
    before = range(1, more_than_processes() + 1)
    for run in before:
        site.arrive(run)
    wait_for("the runs are processed", lambda: all(has(site, run, a=16) for run in before), process)
    go = tmp_path / "go"
    command = take_all_processes(site.database, site.database, go)
    site.restore()
    live = len(before) + 1
    site.arrive(live)
    wait_for("the live run is processed", lambda: has(site, live, a=16), process)
    assert command.poll() is None
    go.touch()
    command.communicate(timeout=120)


@contextmanager
def freezable(folder: Path, image: Path) -> Iterator[Callable[[str], None]]:
    """A file system of its own; gives what freezes it (`-f`) and thaws it (`-u`)."""

    def skip(why: str) -> None:
        if os.environ.get("CI") == "true" and os.getuid() == 0:
            pytest.fail(why)
        pytest.skip(why)

    if os.getuid() != 0:
        skip("only root can mount and freeze a file system")
    for program in ("mkfs.ext4", "mount", "fsfreeze", "umount"):
        if shutil.which(program) is None:
            skip(f"there is no {program}")
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, stdin=subprocess.DEVNULL)
    folder.mkdir()
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no image can be mounted here: {mounted.stderr.strip()}")

    def freeze(how: str) -> None:
        subprocess.run(["fsfreeze", how, str(folder)], check=True)

    try:
        yield freeze
    finally:
        subprocess.run(["fsfreeze", "-u", str(folder)], capture_output=True, check=False)
        subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.parametrize("how", ["reprocess", "trigger"])
def test_a_file_system_that_hangs_does_not_delay_another_directory(
    database: Any, service: Start, tmp_path: Path, how: str
) -> None:
    with freezable(tmp_path / "hung", tmp_path / "image") as freeze:
        database.context(HEALTHY)
        hung = other_database(database, tmp_path / "hung")
        process = service(database)
        is_served(database, hung, process)
        go = tmp_path / "go"
        command = take_all_processes(database, hung, go)
        freeze("-f")
        # The functions end, and their results cannot be written.
        go.touch()
        if how == "reprocess":
            database.amore("reprocess", "1-3")
        else:
            # For both directories.
            for run in (1, 2, 3):
                database.amore("trigger", str(run))
        wait_for(
            "the healthy directory goes on",
            lambda: all(database.rows(run).get("a") == 1 for run in (1, 2, 3)),
            process,
        )
        assert command.poll() is None
        freeze("-u")
        wait_for("the other one goes on", lambda: hung.rows(1).get("endless") == 1, process)
        command.communicate(timeout=300)
        process.terminate()
        assert process.wait(timeout=120) == 0


def test_work_on_the_host_is_shown_while_it_is_under_way(database: Any, service: Start, tmp_path: Path) -> None:
    process = service(database)
    go = tmp_path / "go"
    command = take_all_processes(database, database, go)
    runs = more_than_processes()

    def shown() -> dict[int, str]:
        rows = json.loads(database.amore("jobs", "--json").stdout)
        return {row["run"]: row["here"]["is"] for row in rows}

    wait_for("the work is shown", lambda: len(shown()) == runs and "running" in shown().values(), command)
    if runs > (os.cpu_count() or 1):
        wait_for("one waits", lambda: sorted(set(shown().values())) == ["running", "waits_for_process"], command)
        waits = next(run for run, state in shown().items() if state == "waits_for_process")
        assert "endless is waiting for a free process" in database.amore("explain", str(waits)).stdout
    runs_now = next(run for run, state in shown().items() if state == "running")
    assert "endless is running since" in database.amore("explain", str(runs_now), "endless").stdout
    table = database.amore("jobs").stdout
    assert "endless" in table and "running since" in table
    go.touch()
    out, err = command.communicate(timeout=120)
    assert command.returncode == 0, out + err
    wait_for("nothing is left", lambda: "no unfinished tasks" in database.amore("jobs").stdout, process)
    assert not (database.path / ".amore/local_work.json").exists()


def test_work_of_an_owner_that_was_killed_is_not_shown(database: Any, service: Start, tmp_path: Path) -> None:
    process = service(database)
    command = take_all_processes(database, database, tmp_path / "go")
    left = database.path / ".amore/local_work.json"
    wait_for("the work is shown", left.exists, command)
    # Also not by the one that has the directory next, and has not begun.
    command.kill()
    command.communicate()
    process.kill()
    process.wait()
    assert "no unfinished tasks" in database.amore("jobs").stdout
    assert left.exists()


def test_a_context_file_that_hangs_is_read_again_when_it_is_repaired(database: Any, service: Start) -> None:
    database.context("import time\neffect('hangs')\ntime.sleep(3600)\n" + HEALTHY)
    process = service(database)
    command = database.start("reprocess", "1")
    wait_for("the file is executed", lambda: database.executions().get("hangs"), command)
    log = database.path / "amore.log"
    wait_for("the log says what is waited for", lambda: "context file is still being executed" in log.read_text(), process)
    assert "the context file is being executed since" in database.amore("jobs").stderr
    assert "the context file is being executed since" in database.amore("explain", "1").stdout
    database.context(HEALTHY)
    out, err = command.communicate(timeout=120)
    assert command.returncode == 0, out + err
    assert "context file is still being executed" in out + err
    assert database.rows(1)["a"] == 1
    # Nothing of the first one goes on.
    wait_for("its process is gone", lambda: not database.processes()["child"], process)
