"""Data of the instruments' runs, made once, and a Slurm that is only played."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_slurm.cluster import Cluster
from proposals import EXPERIMENTS


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The proposal with all its data, of each instrument."""
    root = tmp_path_factory.mktemp("real-data")
    return {name: experiment.instrument.write(root) for name, experiment in EXPERIMENTS.items()}


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Path]:
    """The folder of its commands."""
    cluster = Cluster.make(tmp_path / "cluster")
    yield cluster.bin
    cluster.close()
