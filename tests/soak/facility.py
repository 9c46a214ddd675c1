"""The facility: proposals with their databases, runs that arrive, and what the table has to show in the end."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from containers import BROKER_PORT, UID, Containers

XGM = "SA2_XTD1_XGM/XGM/DOOCS"
TRAINS = 4
#: The first proposal.
FIRST = 9001
#: In every proposal. Each execution is recorded with its time, because how often something is computed is part of the test.
CONTEXT = """
import os, time
from damnit_ctx import Variable

def executed(name, proposal, run):
    line = f"{time.time():.6f} {name} {proposal} {run}\\n"
    fd = os.open("@EXECUTIONS@", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o664)
    os.write(fd, line.encode())
    os.close(fd)

def intensity(data):
    return data["SA2_XTD1_XGM/XGM/DOOCS:output", "data.intensityTD"].ndarray()

@Variable(title="Trains")
def trains(data, proposal: "meta#proposal", run: "meta#run_number"):
    executed("trains", proposal, run)
    return len(data.train_ids)

@Variable(title="Intensity")
def mean(data, proposal: "meta#proposal", run: "meta#run_number"):
    executed("mean", proposal, run)
    time.sleep(0.05)
    return float(intensity(data)[:, 0].mean())

@Variable(title="Twice the intensity")
def twice(data, proposal: "meta#proposal", run: "meta#run_number", mean: "var#mean"):
    executed("twice", proposal, run)
    return 2 * mean

@Variable(title="Calibrated", data="proc")
def calibrated(data, proposal: "meta#proposal", run: "meta#run_number"):
    executed("calibrated", proposal, run)
    return float(intensity(data)[:, 0].max())
"""
#: In some proposals: a job of Slurm for each run.
IN_JOBS = """
@Variable(title="In a job", cluster=True)
def in_a_job(data, proposal: "meta#proposal", run: "meta#run_number"):
    executed("in_a_job", proposal, run)
    return float(intensity(data)[:, 0].min())
"""
#: The configuration of the services.
SERVICE = f"""
[runs]
quiet_seconds = 2

[kafka]
brokers = ["127.0.0.1:{BROKER_PORT}"]
"""


@dataclass
class Arrival:
    """Data of a run: in how many files they come, and when each of them, in seconds of the test."""

    proposal: int
    run: int
    data: str
    pieces: list[float]
    #: How a service is told: `folders`, `http`, `kafka`, `trigger`.
    by: str
    #: When events happened that make it right to process the data once more.
    reasons: list[float] = field(default_factory=list)


def value(proposal: int, run: int, data: str, file: int) -> np.ndarray:
    """The intensities in a file: different in all of them, and small whole numbers: sums in single precision are exact."""
    base = (proposal - FIRST) * 10_000 + run * 8 + (500_000 if data == "proc" else 0)
    return base + np.arange(TRAINS) + file * TRAINS


class Facility:
    """All proposals below one data root."""

    def __init__(self, containers: Containers, proposals: int) -> None:
        self.containers = containers
        self.folder = containers.folder
        self.root = self.folder / "root"
        self.service = self.folder / "service"
        self.executions = self.folder / "executions.txt"
        #: The environment of all commands.
        self.environment = {"EXTRA_DATA_DATA_ROOT": str(containers.inside(self.root))}
        self.proposals = list(range(FIRST, FIRST + proposals))
        self.templates = {files: self.template(files) for files in range(2)}
        self.executions.touch()
        self.service.mkdir()
        for proposal in self.proposals:
            self.database(proposal).mkdir(parents=True)
            text = CONTEXT + (IN_JOBS if self.has_jobs(proposal) else "")
            text = text.replace("@EXECUTIONS@", str(containers.inside(self.executions)))
            (self.database(proposal) / "context.py").write_text(text)
            for data in ("raw", "proc"):
                (self.of(proposal) / data).mkdir()
        (self.service / "service.toml").write_text(SERVICE)
        for path in [self.executions, *self.service.rglob("*"), *self.root.rglob("*"), self.service, self.root]:
            os.chown(path, UID, -1)
        for proposal in self.proposals:
            database = self.database(proposal)
            self.call("amore-proto", "proposal", str(proposal), where=database)
            self.call("amore-proto", "db-config", "context_python", str(containers.site.python), where=database)
            self.call("amore", "listener", "add", str(proposal), where=self.service)

    def has_jobs(self, proposal: int) -> bool:
        """Whether a variable of this proposal is computed in jobs."""
        return (proposal - FIRST) % 5 == 0

    def of(self, proposal: int) -> Path:
        """The folder of a proposal."""
        return self.root / f"SA2/202601/p{proposal:06d}"

    def database(self, proposal: int) -> Path:
        """Its official database."""
        return self.of(proposal) / "usr/Shared/amore"

    def call(self, program: str, *arguments: str, where: Path) -> None:
        """Runs a command."""
        self.containers.call(program, *arguments, where=where, environment=self.environment)

    def template(self, file: int) -> Path:
        """A file of a run, without its values."""
        from extra_data.tests.mockdata import write_file
        from extra_data.tests.mockdata.xgm import XGM as MockXGM

        path = self.folder / f"RAW-R0001-DA01-S{file:05d}.h5"
        write_file(str(path), [MockXGM(XGM)], TRAINS, firsttrain=10_000 + file * TRAINS, format_version="1.2")
        return path

    def write(self, arrival: Arrival, file: int) -> None:
        """A file of a run appears, complete."""
        folder = self.of(arrival.proposal) / arrival.data / f"r{arrival.run:04d}"
        folder.mkdir(exist_ok=True)
        kind = "RAW" if arrival.data == "raw" else "CORR"
        writing = folder / f".{file}.writing"
        shutil.copyfile(self.templates[file], writing)
        with h5py.File(writing, "r+") as f:
            values = value(arrival.proposal, arrival.run, arrival.data, file)
            f[f"INSTRUMENT/{XGM}:output/data/intensityTD"][:TRAINS] = values[:, None]
        writing.rename(folder / f"{kind}-R{arrival.run:04d}-DA01-S{file:05d}.h5")

    def plan(self, runs: int, seconds: float, chance: random.Random) -> list[Arrival]:
        """Which data arrive when: raw data, and calibrated data for half of the runs, sometimes first; in one or two files."""
        arrivals = []
        for number in range(runs):
            proposal = self.proposals[number % len(self.proposals)]
            run = 1 + number // len(self.proposals)
            begin = chance.uniform(0, seconds)
            kinds = [("raw", begin)]
            if chance.random() < 0.5:
                kinds.append(("proc", max(0.0, begin + chance.uniform(-10, 20))))
            for data, at in kinds:
                pieces = [at] if chance.random() < 0.7 else [at, at + chance.uniform(0.5, 12)]
                by = chance.choices(["folders", "http", "kafka", "trigger"], [3, 3, 3, 1])[0]
                arrivals.append(Arrival(proposal, run, data, pieces, by))
        return arrivals

    def expected(self, arrivals: list[Arrival]) -> dict[tuple[int, int, str], float]:
        """The values that the tables have to have, computed without Amore."""
        wanted: dict[tuple[int, int, str], float] = {}
        for one in arrivals:
            files = [value(one.proposal, one.run, one.data, file) for file in range(len(one.pieces))]
            values = np.concatenate(files).astype(float)
            key = (one.proposal, one.run)
            if one.data == "proc":
                wanted[(*key, "calibrated")] = values.max()
                continue
            wanted[(*key, "trains")] = len(values)
            wanted[(*key, "mean")] = values.mean()
            wanted[(*key, "twice")] = 2 * values.mean()
            if self.has_jobs(one.proposal):
                wanted[(*key, "in_a_job")] = values.min()
        return wanted

    def found(self) -> dict[tuple[int, int, str], object]:
        """What the tables have."""
        values: dict[tuple[int, int, str], object] = {}
        for proposal in self.proposals:
            with sqlite3.connect(f"file:{self.database(proposal)}/runs.sqlite?mode=ro", uri=True, timeout=30) as table:
                rows = table.execute("SELECT proposal, run, name, value, attributes FROM run_variables")
                for number, run, name, found, attributes in rows.fetchall():
                    if name != "comment":
                        values[number, run, name] = attributes if found is None else found
            table.close()
        return values
