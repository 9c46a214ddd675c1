"""The data of the instruments' runs, created once, and a simulated Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_slurm.cluster import Cluster
from proposals import EXPERIMENTS


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The proposal of each instrument, with all its data."""
    root = tmp_path_factory.mktemp("real-data")
    return {name: experiment.instrument.write(root) for name, experiment in EXPERIMENTS.items()}


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Path]:
    """The folder of the fake Slurm's commands."""
    cluster = Cluster.make(tmp_path / "cluster")
    yield cluster.bin
    cluster.close()
