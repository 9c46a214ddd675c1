"""The soak: a facility with many proposals whose runs arrive while processes are killed.

Slurm and PostgreSQL run in containers, with a service and a stand-by on the login node; runs arrive in folders, by HTTP, by a
Kafka broker and by `amore trigger`. `make soak` runs it. At the end every run must be in its table with the right values, and
nothing may have been computed more often than the faults explain.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from containers import Broker, Containers, Postgres, what_is_missing
from facility import Arrival, Facility
from processes import Faults, Kill, Service, resident_mib
from senders import HttpSender, KafkaSender

#: The whole soak.
PROPOSALS, RUNS = 20, 600
#: How long everything may take to end after the last fault.
PATIENCE = 600.0
#: A fault of this long ago may still have an effect: what was away is tried again after a while.
NOTICED = 30.0
#: The death of a broker makes nothing right to be computed again: an event that comes twice is one event.
NO_REASON = ("broker", "broker is back")
#: More than this is not flat, whatever happened.
MOST_MIB = 400.0


def note(begin: float, words: str) -> None:
    """A line for whoever watches."""
    print(f"{time.monotonic() - begin:7.1f} s  {words}", flush=True)


def executions(facility: Facility) -> dict[tuple[int, int, str], list[float]]:
    """When each variable of each run was executed. Runs of different proposals have different numbers in the file's lines."""
    found: dict[tuple[int, int, str], list[float]] = defaultdict(list)
    for line in facility.executions.read_text().splitlines():
        at, name, proposal, run = line.split()
        found[int(proposal), int(run), name].append(float(at))
    return found


def superfluous(facility: Facility, arrivals: list[Arrival], kills: list[Kill]) -> list[str]:
    """Executions that neither new data, nor a user, nor a fault between the arrival and the last of them explains."""
    reasons = {(one.proposal, one.run, one.data): one.reasons for one in arrivals}
    problems = []
    for (proposal, run, name), times in executions(facility).items():
        of_data = reasons.get((proposal, run, "proc" if name == "calibrated" else "raw"), [])
        faults = [
            kill
            for kill in kills
            if kill.what not in NO_REASON and of_data and of_data[0] - NOTICED <= kill.at <= max(times)
        ]
        if len(times) > len(of_data) + len(faults):
            problems.append(
                f"{name} of p{proposal} r{run} was computed {len(times)} times, at {sorted(times)}; "
                f"{len(of_data)} and {len(faults)} faults are explained: data at {of_data}"
            )
    return problems


def wrong(facility: Facility, arrivals: list[Arrival]) -> list[str]:
    """Values that are missing or not the right ones."""
    found = facility.found()
    expected = facility.expected(arrivals)
    problems = [
        f"{name} of p{proposal} r{run} is {found.get((proposal, run, name))!r}, not {value!r}"
        for (proposal, run, name), value in expected.items()
        if found.get((proposal, run, name)) != value
    ]
    extra = found.keys() - expected.keys()
    return problems + [f"nobody expects {key}" for key in sorted(extra)]


class Soak:
    """One run of the soak."""

    def __init__(self, arguments: argparse.Namespace, containers: Containers) -> None:
        self.begin = time.monotonic()
        self.chance = random.Random(arguments.seed)
        self.seconds = arguments.minutes * 60
        proposals, runs = max(1, round(PROPOSALS * arguments.scale)), max(1, round(RUNS * arguments.scale))
        self.containers = containers
        self.facility = Facility(containers, proposals)
        postgres, self.broker = Postgres(containers), Broker(containers, containers.folder)
        self.broker.start()
        environment = {**self.facility.environment, "AMORE_LEDGER_URL": postgres.url}
        self.services = [Service(name, self.facility, environment) for name in ("first", "second")]
        every = max(4.0, self.seconds / (60 * arguments.scale + 5))
        self.faults = Faults(containers, self.services, {"postgres": postgres, "broker": self.broker}, every)
        self.arrivals = self.facility.plan(runs, self.seconds * 0.9, self.chance)
        self.memory: dict[int, list[float]] = defaultdict(list)
        self.triggered: list[subprocess.Popen[bytes]] = []
        self.http = HttpSender(self.facility.service / ".amore/service.sock", arguments.seed)
        self.kafka = KafkaSender(self.broker.sender(), arguments.seed)
        note(self.begin, f"{proposals} proposals, {runs} runs, {len(self.arrivals)} arrivals, seed {arguments.seed}")

    def run(self) -> None:
        """Lets runs arrive and processes die."""
        files = [(at, file, one) for one in self.arrivals for file, at in enumerate(one.pieces)]
        files.sort(key=lambda each: each[0])
        start = time.monotonic()
        next_note = 0.0
        while (now := time.monotonic() - start) < self.seconds or files:
            while files and files[0][0] <= now:
                _, file, arrival = files.pop(0)
                self.arrive(arrival, file)
            self.go_on(now, is_over=False)
            if now >= next_note:
                next_note = now + 15
                done = len(executions(self.facility))
                note(self.begin, f"{len(files)} files to come, {done} variables executed, {len(self.faults.kills)} kills")
            time.sleep(0.1)

    def arrive(self, arrival: Arrival, file: int) -> None:
        self.facility.write(arrival, file)
        arrival.reasons.append(time.time())
        if file + 1 < len(arrival.pieces):
            return
        if arrival.by == "http":
            self.http.send(arrival)
        elif arrival.by == "kafka":
            self.kafka.send(arrival)
        elif arrival.by == "trigger":
            arguments = ["trigger", str(arrival.run), *(["--proc"] if arrival.data == "proc" else [])]
            self.triggered.append(
                self.containers.start(
                    "amore",
                    *arguments,
                    where=self.facility.database(arrival.proposal),
                    environment=self.facility.environment,
                    out=subprocess.DEVNULL,
                )
            )
            # The folder's change, and what the user wants.
            arrival.reasons.append(time.time())

    def go_on(self, now: float, *, is_over: bool) -> None:
        self.faults.go_on(now, self.chance, is_over=is_over)
        for service in self.services:
            service.keep(now, self.chance)
            pid = service.pid
            if pid is not None and (mib := resident_mib(pid)) is not None:
                self.memory[pid].append(mib)

    def end(self) -> list[str]:
        """Waits until every value is there, ends the services, and returns what is wrong."""
        start = time.monotonic()
        problems = wrong(self.facility, self.arrivals)
        note(self.begin, f"everything has arrived; {len(problems)} values are not there yet")
        while problems and time.monotonic() - start < PATIENCE:
            self.go_on(self.seconds + time.monotonic() - start + 3600, is_over=True)
            time.sleep(0.5)
            problems = wrong(self.facility, self.arrivals)
        note(self.begin, f"{len(problems)} values are not right, {time.monotonic() - start:.1f} s after the last arrival")
        # What is superfluous would come now.
        quiet = time.monotonic() + 15
        while time.monotonic() < quiet:
            self.go_on(self.seconds + 7200, is_over=True)
            time.sleep(0.2)
        problems = wrong(self.facility, self.arrivals)
        problems += [f"a message was refused: {words}" for words in self.http.refused]
        problems += [f"{left} messages were not accepted by HTTP"] if (left := self.http.left()) else []
        problems += [f"{left} messages were not accepted by the broker"] if (left := self.kafka.left()) else []
        problems += superfluous(self.facility, self.arrivals, self.faults.kills)
        slow = [seconds for service in self.services if (seconds := service.end()) > 10]
        problems += [f"a service took {seconds:.1f} s to end" for seconds in slow]
        most = max((max(of) for of in self.memory.values()), default=0.0)
        if most > MOST_MIB:
            problems.append(f"a service had {most:.0f} MiB")
        return problems

    def report(self, problems: list[str]) -> dict[str, object]:
        """What was measured."""
        longest = max(self.memory.values(), key=len, default=[0.0])
        third = max(1, len(longest) // 3)
        times = executions(self.facility)
        kills: dict[str, int] = defaultdict(int)
        for kill in self.faults.kills:
            kills[kill.what] += 1
        return {
            "arrivals": len(self.arrivals),
            "variables": len(times),
            "executions": sum(map(len, times.values())),
            "messages_by_http": self.http.tries,
            "messages_by_kafka": self.kafka.tries,
            "kills": dict(kills),
            "starts_of_services": sum(service.starts for service in self.services),
            "memory_mib": {
                "longest_life_first_third": round(statistics.median(longest[:third]), 1),
                "longest_life_last_third": round(statistics.median(longest[-third:]), 1),
                "most": round(max((max(of) for of in self.memory.values()), default=0.0), 1),
            },
            "seconds": round(time.monotonic() - self.begin, 1),
            "problems": problems,
        }

    def close(self) -> None:
        """Ends the processes outside of the containers."""
        self.http.end()
        self.kafka.end()
        self.broker.kill()
        for process in [*self.triggered, *(one.process for one in self.services if one.process is not None)]:
            process.kill()
            process.wait()


def play(arguments: argparse.Namespace) -> int:
    """The soak in a cluster of its own."""
    containers = Containers(arguments.product.resolve())
    try:
        soak = Soak(arguments, containers)
        try:
            soak.run()
            problems = soak.end()
        finally:
            soak.close()
        report = soak.report(problems)
        print(json.dumps({**report, "problems": len(problems)}, indent=2))
        if arguments.report:
            arguments.report.write_text(json.dumps(report, indent=2))
        if problems or arguments.keep:
            kept = Path(tempfile.mkdtemp(prefix="amore-soak-"))
            # A socket cannot be copied.
            sockets = shutil.ignore_patterns("*.sock", "*.socket")
            shutil.copytree(containers.folder, kept, dirs_exist_ok=True, symlinks=True, ignore=sockets)
            print(f"soak: {len(problems)} problems; seed {arguments.seed}; a copy of all files is in {kept}", file=sys.stderr)
    finally:
        containers.close()
    for problem in problems[:20]:
        print(f"soak: {problem}", file=sys.stderr)
    return 1 if problems else 0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("product", type=Path, help="a tree of `make install`")
    parser.add_argument("--scale", type=float, default=1.0, help="1: 20 proposals and 600 runs; 0.1: a tenth of them")
    parser.add_argument("--minutes", type=float, default=15.0, help="in which time the runs arrive")
    parser.add_argument("--seed", type=int, default=1, help="which runs, when, and which faults")
    parser.add_argument("--report", type=Path, help="write what was measured, as JSON")
    parser.add_argument("--keep", action="store_true", help="copy all files also when everything is right")
    arguments = parser.parse_args()
    if (missing := what_is_missing()) is not None:
        is_ci = os.environ.get("CI") == "true"
        print(f"soak: {'it cannot run' if is_ci else 'SKIPPED'}: {missing}", file=sys.stderr)
        return 1 if is_ci else 0
    # Whoever ends this program ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return play(arguments)


if __name__ == "__main__":
    sys.exit(main())
