"""The service: how long a stand-by takes to take over, and the memory after 100,000 tasks.

DAMNIT has nothing comparable. What is wanted stands in its place.
"""

import contextlib
import importlib.util
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import measure as timing
from cluster import Skipped
from report import Measure
from sides import Bench, Case

ROOT = Path(__file__).resolve().parents[2]
TAKEOVER_WANTED_S = 10.0
MEMORY_WANTED_MIB = 150.0
PATIENCE_S = 120.0
RUNS = 1000
"""Runs of a request. They have a folder and no data: nobody opens them."""
REQUESTS = 100


def _postgres() -> Any:
    """The module with the server of the service's tests."""
    spec = importlib.util.spec_from_file_location("postgres", ROOT / "tests/service/postgres.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _until(condition: Callable[[], bool], process: "subprocess.Popen[bytes]", what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise timing.CommandFailed(f"{what}: in vain")
        time.sleep(0.005)


def _owner(folder: Path) -> int | None:
    with contextlib.closing(sqlite3.connect(folder / "runs.sqlite", timeout=30)) as table:
        try:
            row = table.execute("SELECT pid FROM amore_owner").fetchone()
        except sqlite3.OperationalError:
            return None
    return None if row is None else row[0]


@contextlib.contextmanager
def _service(
    command: list[str], folder: Path, environment: dict[str, str]
) -> "Iterator[subprocess.Popen[bytes]]":
    with (folder / "bench.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _named(host: str, command: list[str]) -> list[str]:
    """The command on a host of this name."""
    name = 'hostname "$1"; shift; exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--uts", "sh", "-c", name, "sh", host, *command]


def _one_takeover(bench: Bench, folder: Path, postgres: Any, rest_s: float) -> float:
    context = folder / "a_context.py"
    context.write_text("")
    bench.ours.prepare(folder, context, folder)
    listen = [str(bench.programs / "amore"), "listen"]
    with ExitStack() as ends:
        server = postgres.Server(folder)
        ends.callback(server.stop)
        environment = {**bench.ours.environment, "AMORE_LEDGER_URL": server.url()}
        first = ends.enter_context(_service(_named("one", listen), folder, environment))
        _until(lambda: _owner(folder) == first.pid, first, "the first service owns the directory")
        second = ends.enter_context(_service(_named("two", listen), folder, environment))
        waits = "serves this directory; waiting"
        _until(lambda: waits in (folder / "amore.log").read_text(), second, "the second one stands by")
        time.sleep(rest_s)
        begun = time.perf_counter()
        first.kill()
        _until(lambda: _owner(folder) == second.pid, second, "the second one takes over")
        return time.perf_counter() - begun


def _takeover(bench: Bench) -> list[Measure]:
    postgres = _postgres()
    if postgres.binaries() is None or shutil.which("unshare") is None:
        raise Skipped("needs unshare and PostgreSQL's programs")
    samples = []
    for number in range(bench.repetitions(5)):
        folder = bench.folder("takeover", bench.ours, number)
        # The first has just renewed its right, or is about to.
        samples.append(_one_takeover(bench, folder, postgres, rest_s=0.4 * number))
    bench.clear("takeover")
    note = "Amore only: from the kill of the first to the second as owner, beside what is wanted"
    return [Measure("takeover", "s", samples, [TAKEOVER_WANTED_S], note=note)]


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _memory(bench: Bench) -> list[Measure]:
    folder = bench.folder("service_memory_100k", bench.ours, 0)
    root = folder / "root"
    proposal = root / "SPB/202601/p001234"
    for run in range(1, RUNS + 1):
        (proposal / f"raw/r{run:04d}").mkdir(parents=True)
    database = proposal / "usr/Shared/amore"
    database.mkdir(parents=True)
    context = folder / "a_context.py"
    context.write_text("from damnit_ctx import Variable\n\n@Variable(title='A')\ndef a(run): ...\n")
    bench.ours.prepare(database, context, root)
    (database / "service.toml").write_text("[runs]\nquiet_seconds = 1e9\n")
    environment = {
        **bench.ours.environment,
        "EXTRA_DATA_DATA_ROOT": str(root),
        "AMORE_WORKER": str(ROOT / "bench/quick_worker.py"),
    }
    amore = str(bench.programs / "amore")
    requests = bench.repetitions(REQUESTS)
    resident = []
    with _service([amore, "listen"], database, environment) as process:
        _until(lambda: _owner(database) == process.pid, process, "the service owns the directory")
        for _ in range(requests):
            command = [amore, "reprocess", "--json", f"1-{RUNS}"]
            place = {"cwd": database, "env": environment}
            ended = subprocess.run(command, **place, capture_output=True, text=True, timeout=600, check=False)
            # Without results, the runs count as failed.
            if f'"runs_failed":{RUNS}' not in ended.stdout:
                raise timing.CommandFailed(ended.stdout[-2000:] + ended.stderr[-2000:])
            resident.append(round(_resident(process.pid), 1))
    bench.clear("service_memory_100k")
    tasks = requests * RUNS
    extra = {"tasks": tasks, "mib_after_each_tenth": resident[:: max(1, requests // 10)]}
    note = "Amore only: resident memory of the service after these tasks, beside what is wanted"
    name, ours, peer = "service_memory_100k", [resident[-1]], [MEMORY_WANTED_MIB]
    return [Measure(name, "MiB", ours, peer, note=note, extra=extra)]


CASES = [Case(("takeover",), _takeover), Case(("service_memory_100k",), _memory)]
