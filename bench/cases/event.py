"""From a message of Kafka to the value in the table, with everything running and warm: our service; DAMNIT's
listener, extraction and combiner. Both get one event after the other from the same kind of broker, and store
one trivial variable.

DAMNIT's listener has no Slurm here: it is allowed to process runs on this machine, so its times contain no
queue.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import data
import measure
from broker import broker
from report import Measure
from sides import Bench, Case, Side, settle

CONTEXT = Path(__file__).parents[1] / "contexts" / "trivial.py"
IN_PEER = Path(__file__).parents[1] / "in_peer"
OURS = 200
PEER = 10
# DAMNIT's process goes on after it has stored the value, and its listener takes no event meanwhile.
PEER_PAUSE_S = 5.0
STOP_S = 30.0
SERVICE = """
[runs]
quiet_seconds = 1e9   # no run is found in its folder

[kafka]
brokers = ["{}"]
"""


def _event_to_value(bench: Bench) -> list[Measure]:
    data_root = data.arrivals(bench.target)
    log = bench.target / "broker.log"
    # Whoever prepares a folder waits for all processes of the bench: the broker has to begin after that.
    folders = [_prepared(bench, side, data_root) for side in (bench.ours, bench.peer)]
    with broker(bench.peer_python, log) as address:
        ours = _ours(bench, folders[0], data_root, address)
    with broker(bench.peer_python, log) as address:
        peer = _peer(bench, folders[1], data_root, address)
    bench.clear("event_to_value")
    ordered = sorted(ours)
    p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return [Measure("event_to_value", "s", ours, peer, extra={"ours_p99": p99, "ours_max": ordered[-1]})]


def _prepared(bench: Bench, side: Side, data_root: Path) -> Path:
    folder = bench.folder("event_to_value", side, 0)
    side.prepare(folder, CONTEXT, data_root)
    return folder


def _ours(bench: Bench, folder: Path, data_root: Path, address: str) -> list[float]:
    (folder / "service.toml").write_text(SERVICE.format(address))
    environment = _environment(bench.ours, data_root)
    settle()
    with _running([bench.programs / "amore", "listen"], folder, environment):
        return _times(bench, address, folder, bench.repetitions(OURS), pause_s=0)


def _peer(bench: Bench, folder: Path, data_root: Path, address: str) -> list[float]:
    command = bench.peer_python.parent / "damnit"
    environment = {**_environment(bench.peer, data_root), "AMORE_BROKER": address}
    for arguments in (["add", str(data.PROPOSAL), "."], ["config", "allow_local_processing", "1"]):
        argv = [command, "listener", *arguments]
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise measure.CommandFailed(f"{' '.join(map(str, argv))}: {done.stderr}")
    settle()
    with (
        _running([command, "combiner", "run"], folder, environment),
        _running([bench.peer_python, IN_PEER / "listen.py", address], folder, environment),
    ):
        return _times(bench, address, folder, bench.repetitions(PEER), pause_s=PEER_PAUSE_S)


def _environment(side: Side, data_root: Path) -> dict[str, str]:
    return {**side.environment, "EXTRA_DATA_DATA_ROOT": str(data_root), "XFEL_DATA_ROOT": str(data_root)}


def _times(bench: Bench, address: str, folder: Path, count: int, pause_s: float) -> list[float]:
    program = IN_PEER / "events.py"
    argv: list[str | Path] = [bench.peer_python, program, address, folder, "1", str(count), str(pause_s)]
    return [float(seconds) for seconds in json.loads(measure.output_of(argv, os.environ))]


@contextmanager
def _running(argv: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Has a program run meanwhile."""
    with (folder / "bench.log").open("ab") as log:
        process = subprocess.Popen(argv, cwd=folder, env=dict(environment), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        measure.kill_tree(process.pid)
        process.wait()


CASES = [Case(("event_to_value",), _event_to_value)]
