"""Fixtures shared by the Python tests: the built programs, DAMNIT's Python, a small proposal."""

import os
import sys
from pathlib import Path

import pytest

from commands import REPO, TARGET, run
from sides import PROPOSAL
from venvs import PEER_PACKAGES, interpreters, make_venv

RUNS = 3


@pytest.fixture(scope="session")
def amore_bin() -> Path:
    """Directory of the built programs: AMORE_BIN_DIR, or target/release."""
    folder = Path(os.environ.get("AMORE_BIN_DIR", TARGET / "release"))
    missing = [name for name in ("amore", "amore-worker") if not os.access(folder / name, os.X_OK)]
    if missing:
        pytest.fail(f"{folder} lacks {', '.join(missing)}: run `make build`, or set AMORE_BIN_DIR")
    return folder


@pytest.fixture(scope="session")
def peer_python() -> Path:
    """Python with DAMNIT 0.4.0: AMORE_PEER_PYTHON, or an environment that is created here."""
    if given := os.environ.get("AMORE_PEER_PYTHON"):
        return Path(given)
    found = interpreters()
    for version in ("3.11", "3.12", "3.13", "3.10"):
        if version in found:
            return make_venv("peer", found[version], PEER_PACKAGES)
    pytest.fail("DAMNIT 0.4.0 needs Python 3.10 or later: none was found")


@pytest.fixture(scope="session")
def proposal_root(tmp_path_factory) -> Path:
    """Data root with proposal 1234 and runs 1 to 3. Run 2 has proc data."""
    root = tmp_path_factory.mktemp("data-root")
    maker = REPO / "demo" / "make_proposal.py"
    run([sys.executable, maker, "--root", root, "--runs", RUNS, "--proposal", PROPOSAL, "--small"])
    return root
