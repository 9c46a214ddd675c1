"""Fixtures of the tests on a real cluster: `site`, `proposal`, `database`, `ledger_url`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from clusters import Proposal, Site
from compose_site import ComposeSite
from databases import Database
from host_site import HostSite


def chosen_site() -> Site | None:
    """The site named by AMORE_SLURM_SITE, or None."""
    name = os.environ.get("AMORE_SLURM_SITE", "")
    if not name:
        return None
    kinds: dict[str, type[Site]] = {"compose": ComposeSite, "host": HostSite}
    if name not in kinds:
        raise pytest.UsageError(f"AMORE_SLURM_SITE is {name!r}; there are compose and host")
    site = kinds[name]()
    if not site.is_up():
        raise pytest.UsageError(f"there is no cluster of the kind {name}: start it with slurm-tests/*/up.sh")
    return site


@pytest.fixture(scope="session")
def whole_site() -> Site:
    """The cluster; tests use `site`, which is repaired after each test."""
    if site := chosen_site():
        site.restore()
        return site
    pytest.skip("no cluster: `make slurm-test` starts one, or set AMORE_SLURM_SITE=compose|host")


@pytest.fixture
def site(whole_site: Site) -> Iterator[Site]:
    """The cluster with idle nodes and no jobs; afterwards everything that the test broke is repaired."""
    yield whole_site
    whole_site.restore()


@pytest.fixture
def proposal(site: Site) -> Iterator[Callable[..., Proposal]]:
    """Creates proposals: `proposal(user="alice", runs=3)`."""
    made: list[Proposal] = []

    def make(user: str = "alice", runs: int = 3) -> Proposal:
        made.append(Proposal(site, user, runs))
        return made[-1]

    yield make
    for each in made:
        each.remove()


@pytest.fixture
def database(proposal: Callable[..., Proposal]) -> Database:
    """A database directory of alice, with three runs."""
    return Database(proposal())


@pytest.fixture
def ledger_url(site: Site) -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database."""
    with site.database() as url:
        yield url
