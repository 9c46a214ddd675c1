"""The real Supervisor, from PyPI, and directories whose service it manages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from supervised import Service

from venvs import make_venv

SUPERVISOR = "supervisor==4.3.0"


@pytest.fixture(scope="session")
def supervisor() -> Path:
    """The folder of supervisord and supervisorctl."""
    return make_venv("supervisor", Path(sys.executable).resolve(), (SUPERVISOR,)).parent


@pytest.fixture
def make_service(tmp_path: Path, amore_bin: Path, supervisor: Path) -> Iterator[Callable[..., Service]]:
    """Makes directories with a service; it is ended after the test."""
    made: list[Service] = []

    def make(name: str = "amore", **options: int) -> Service:
        made.append(Service(tmp_path / name, amore_bin, supervisor, **options))
        return made[-1]

    yield make
    for service in made:
        service.end()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """A directory whose service does not run yet."""
    return make_service()
