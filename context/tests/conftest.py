from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1])]

from runs import write_run  # noqa: E402
from worker import Database  # noqa: E402


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Callable[..., Database]]:
    """Makes database directories with warm hosts, which end with the test."""
    made: list[Database] = []

    def make(text: str, **environment: str) -> Database:
        folder = tmp_path / f"db{len(made)}"
        folder.mkdir()
        made.append(Database(folder, text, **environment))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with run 1 of proposal 1234."""
    root = tmp_path_factory.mktemp("root")
    write_run(root / "SPB" / "202601" / "p001234" / "raw" / "r0001")
    return root
