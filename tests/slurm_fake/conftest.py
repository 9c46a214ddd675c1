"""A separate cluster for each test, and a database directory whose commands find it on PATH."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import Database
from fake_slurm.cluster import Cluster

from pipe import conftest as pipe

data_root = pipe.data_root


@pytest.fixture
def new_cluster(tmp_path: Path) -> Iterator[Callable[[], Cluster]]:
    """Creates clusters, and removes them after the test."""
    made: list[Cluster] = []

    def make() -> Cluster:
        made.append(Cluster.make(tmp_path / f"cluster{len(made)}"))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def cluster(new_cluster: Callable[[], Cluster]) -> Cluster:
    """A single cluster."""
    return new_cluster()


@pytest.fixture
def new_database(
    new_cluster: Callable[[], Cluster], tmp_path: Path, data_root: Path
) -> Iterator[Callable[[], Database]]:
    """Creates empty database directories, each with its own cluster, in proposals with the raw data of `data_root`."""
    made: list[Database] = []

    def make() -> Database:
        root = tmp_path / f"root{len(made)}"
        proposal = root / "SA2/202601/p001234"
        proposal.mkdir(parents=True)
        (proposal / "raw").symlink_to(data_root / "SA2/202601/p001234/raw")
        made.append(Database(root, proposal, new_cluster()))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    """A single database directory."""
    return new_database()
