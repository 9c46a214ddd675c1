"""`listener.sqlite` as shared by DAMNIT's ``ListenerDB`` and `amore listener`, in both directions.

``AMORE_PEER_PYTHON`` names a Python with ``damnit[backend]==0.4.0``; ``AMORE_BIN_DIR`` is the directory of the built programs.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent

WRITE = """
db.settings["static_mode"] = False
db.settings["sandbox_args"] = "/opt/sandbox --strict"
db.settings["colour"] = 1.5
db.add_proposal_db(1234, Path(directory) / "first", True)
db.add_proposal_db(1234, Path(directory) / "second", False)
db.add_proposal_db(77, "third", False)
"""
READ = """
print(json.dumps({
    "settings": dict(db.settings.items()),
    "databases": {
        proposal: [[str(one.db_dir), one.official] for one in databases]
        for proposal, databases in db.all_proposals().items()
    },
    "schema": [row[0] for row in db.conn.execute("SELECT name FROM sqlite_master ORDER BY name")],
}))
"""


def peer(directory: Path, script: str) -> str:
    """What a script prints that uses DAMNIT's ListenerDB of a directory."""
    python = os.environ.get("AMORE_PEER_PYTHON")
    if python is None:
        pytest.fail("set AMORE_PEER_PYTHON to a Python that has damnit[backend]==0.4.0")
    head = (
        "import json, sys\nfrom pathlib import Path\nfrom damnit.backend.listener import ListenerDB\n"
        "directory = sys.argv[1]\ndb = ListenerDB(Path(directory))\n"
    )
    command = [python, "-c", head + script, str(directory)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout


@pytest.fixture
def amore(amore_bin: Path, tmp_path: Path):
    """Runs `amore listener …` in the directory."""

    def run(*arguments: str) -> str:
        command = [str(amore_bin / "amore"), "listener", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout

    return run


def databases(tmp_path: Path, amore_bin: Path, *names: str) -> None:
    """Makes database directories."""
    for name in names:
        command = [str(amore_bin / "amore"), "init", name, "--proposal", "1234"]
        subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL, timeout=60)


def test_we_read_what_damnit_wrote(tmp_path: Path, amore: Any) -> None:
    peer(tmp_path, WRITE)
    assert amore("config").splitlines() == [
        "allow_local_processing=0",
        "colour=1.5",
        "sandbox_args='/opt/sandbox --strict'",
        "static_mode=0",
    ]
    assert amore("config", "colour") == "1.5\n"
    assert amore("databases").splitlines() == [
        "p77: third (unofficial)",
        "p1234:",
        f"    {tmp_path}/first",
        f"    {tmp_path}/second (unofficial)",
    ]
    # And change it.
    assert amore("rm", "third") == "Removed database at third\n"
    amore("config", "static_mode", "1")
    found = json.loads(peer(tmp_path, READ))
    assert found["settings"]["static_mode"] == 1
    assert list(found["databases"]) == ["1234"]


def test_damnit_reads_what_we_wrote(tmp_path: Path, amore: Any, amore_bin: Path) -> None:
    databases(tmp_path, amore_bin, "first", "second")
    amore("add", "1234", "first")
    amore("add", "1234", str(tmp_path / "second"))
    amore("config", "allow_local_processing", "true")
    amore("config", "sandbox_args", "run --in")
    ours = json.loads(peer(tmp_path, READ))
    assert ours["settings"] == {"static_mode": 1, "allow_local_processing": 1, "sandbox_args": "run --in"}
    assert ours["databases"] == {"1234": [[str(tmp_path / "first"), False], [str(tmp_path / "second"), False]]}
    # The same tables and indices as in a file that DAMNIT creates.
    other = tmp_path / "other"
    other.mkdir()
    assert ours["schema"] == json.loads(peer(other, READ))["schema"]


def test_the_defaults_are_damnits(tmp_path: Path, amore: Any) -> None:
    ours = amore("config")
    assert not (tmp_path / "listener.sqlite").exists()
    peer(tmp_path, "")
    assert amore("config") == ours
