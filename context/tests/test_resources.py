"""How resources are read."""

from __future__ import annotations

import numpy as np
import pytest

from damnit_ctx import SlurmJob, Variable
from damnit_ctx.errors import ContextFileErrors
from damnit_ctx.pipeline import Pipeline
from damnit_ctx.resources import ARGUMENTS, JOB_ARGUMENTS, read, wrong


@pytest.mark.parametrize(
    "mem, mib",
    [("500M", 500), ("64G", 65536), ("1T", 2**20), ("64g", 65536), ("100", 100), (100, 100), ("1K", 1), ("2049k", 3)],
)
def test_memory(mem, mib):
    assert read({"mem": mem}) == {"mem_mib": mib}


@pytest.mark.parametrize(
    "mem",
    [
        "",
        "G",
        "64GB",
        "64 G",
        "64GiB",
        "1.5G",
        "-1G",
        "0",
        "0G",
        0,
        -5,
        2.0,
        True,
        None,
        [],
        "64G\n",
        "9" * 5000,
        "9" * 18,
    ],
)
def test_no_memory(mem):
    assert read({"mem": mem}) == {}
    assert len(list(wrong({"mem": mem}))) == 1


@pytest.mark.parametrize(
    "time, minutes",
    [
        (90, 90),
        (np.int64(90), 90),
        ("90", 90),
        ("90:00", 90),
        ("5:01", 6),
        ("2:00:00", 120),
        ("02:00:01", 121),
        ("0:90:00", 90),
        ("1-0", 1440),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("1-12:30:30", 2191),
        ("00:00:01", 1),
    ],
)
def test_times(time, minutes):
    assert read({"time": time}) == {"time_minutes": minutes}


@pytest.mark.parametrize(
    "time",
    ["", "2h", "1:2:3:4", "1-", "-5", "1-2:3:4:5", "unlimited", "0", "0:00", 0, -1, 1.5, True, None, "1 0", "9" * 5000],
)
def test_no_times(time):
    assert read({"time": time}) == {}
    assert len(list(wrong({"time": time}))) == 1


@pytest.mark.parametrize("word", ["", " ", "a b", "-p", "--wrap=x", "a\n", "a\0", 5, None])
@pytest.mark.parametrize("argument", ["constraint", "partition", "reservation", "account", "qos"])
def test_no_words(argument, word):
    assert read({argument: word}) == {}
    assert len(list(wrong({argument: word}))) == 1


def test_every_argument_is_one_of_variable():
    given = dict.fromkeys(ARGUMENTS, 1)
    assert Variable(**given).resources == given
    assert Variable().resources == {}
    assert list(wrong({"nodes": 2**32})) and list(wrong({"cpus": True}))


def test_every_argument_of_a_job_is_one_of_slurm_job():
    given = dict.fromkeys(JOB_ARGUMENTS, 1)
    assert SlurmJob(["x"], **given).resources == given
    # A variable is one process.
    with pytest.raises(TypeError, match="ntasks"):
        Variable(ntasks=2)  # type: ignore[call-arg]


def test_pipelines_refuse_wrong_resources():
    @Variable(cluster=True, mem="lots")
    def a(run):
        return 1

    pipeline = Pipeline(1234, 1, data=object())
    with pytest.raises(ContextFileErrors, match="mem='lots', which is not an amount of memory"):
        pipeline.add(a).execute()
