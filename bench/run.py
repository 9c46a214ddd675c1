"""Measures Amore and DAMNIT 0.4.0 side by side. Prints one line per measurement, and writes
`target/bench/report.json`.

    make bench                 everything (45 minutes: DAMNIT and Slurm need most of it)
    make bench ONLY=cold_run   one measurement

A ratio above 1 means that ours is better. Both sides start without any running process of theirs and are
measured in turn. They execute their context files in the same Python environment (DAMNIT's), and their
values must be equal before their times count. `amore` and `amore-proto` must be on PATH; AMORE_PEER_PYTHON
is the interpreter of an environment with `damnit[backend]==0.4.0`.
"""

import argparse
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import cluster
import measure
import report
from cases import CASES
from ours import Ours
from peer import Peer
from sides import Bench
from values import Differ, Missing

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ("core_100k", "time_accepts", "time_plan", "time_store")
"""Programs that measure a library."""
BUSY = 0.7
"""Load average above which the machine is not calm."""


def main() -> int:
    """Run the requested measurements. The exit code is 1 if one of them failed."""
    names = [name for case in CASES for name in case.names]
    parser = argparse.ArgumentParser(prog="bench", description="Measure Amore beside DAMNIT 0.4.0.")
    parser.add_argument("--only", choices=names, action="append", help="this measure alone (may be repeated)")
    parser.add_argument(
        "--quick", action="store_true", help="few runs and repetitions, to try the bench itself"
    )
    parser.add_argument("--target", type=Path, default=ROOT / "target" / "bench", help="where to work")
    options = parser.parse_args()
    wanted = set(options.only or names)
    measure.adopt_orphans()
    with ExitStack() as closing:
        bench = _bench(options.target.resolve(), options.quick, closing)
        return _measure(bench, wanted)


def _measure(bench: Bench, wanted: set[str]) -> int:
    """Run the requested measurements and report them."""
    if (load := os.getloadavg()[0]) > BUSY:
        print(f"bench: other work runs here (load {load:.1f}); the times will be too long", file=sys.stderr)

    print(report.line("measure", "ours", "peer", "ratio"), flush=True)
    measures: list[report.Measure] = []
    written = bench.target / "report.json"
    written.unlink(missing_ok=True)
    failed = 0
    for case in CASES:
        if not wanted & set(case.names):
            continue
        try:
            taken = [one for one in case.measure(bench) if one.name in wanted]
        except cluster.Skipped as reason:
            left_out = [name for name in case.names if name in wanted]
            print(f"bench: SKIPPED: {', '.join(left_out)}: {reason}", file=sys.stderr)
            continue
        except (measure.CommandFailed, Differ, Missing) as error:
            failed += 1
            left_out = [name for name in case.names if name in wanted]
            print(f"bench: not measured: {', '.join(left_out)}: {error}", file=sys.stderr)
            continue
        for one in taken:
            print(one.line(), flush=True)
        measures += taken
        # After each measurement, so that an interrupted benchmark keeps what it has.
        report.write(written, measures)
    if measures:
        print(f"bench: {written}", file=sys.stderr)
    return 1 if failed else 0


def _bench(target: Path, quick: bool, closing: ExitStack) -> Bench:
    found = shutil.which("amore-proto")
    if found is None:
        sys.exit("bench: amore-proto is not on PATH; build it first (make build)")
    # The examples are next to the program itself (the command is a link to it).
    programs = Path(found).resolve().parent
    peer_python = os.environ.get("AMORE_PEER_PYTHON")
    if peer_python is None or not os.access(peer_python, os.X_OK):
        sys.exit("bench: set AMORE_PEER_PYTHON to the Python of an environment with damnit[backend]==0.4.0")
    for example in EXAMPLES:
        if not (programs / "examples" / example).is_file():
            sys.exit(f"bench: {programs / 'examples' / example} is missing: run `make examples`")
    # Links are not resolved: the python of a virtual environment is a link, and identifies its environment
    # by that.
    python = Path(peer_python).absolute()
    target.mkdir(parents=True, exist_ok=True)
    return Bench(Ours(programs, python), Peer(python), python, programs, target, quick, closing)


if __name__ == "__main__":
    sys.exit(main())
