"""Users' values, comments, and results from outside, shared with DAMNIT 0.4 in both directions."""

import json
import os
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from commands import run
from sides import PROPOSAL, Amore, Peer, data_roots

HERE = Path(__file__).parent
CONTEXT = "from damnit_ctx import Variable\n\n@Variable()\ndef a(run):\n    return 1\n"


@pytest.fixture
def amore(amore_bin, peer_python, proposal_root) -> Amore:
    """Amore, with DAMNIT's Python for the context file."""
    return Amore(amore_bin, peer_python, proposal_root, PROPOSAL)


@pytest.fixture
def directory(amore, tmp_path) -> Path:
    """A database of ours with run 1."""
    context = tmp_path / "context.py"
    context.write_text(CONTEXT)
    amore.prepare(tmp_path / "db", context)
    amore.reprocess(tmp_path / "db", 1)
    return tmp_path / "db"


@pytest.fixture
def peer(peer_python, proposal_root) -> Peer:
    """DAMNIT 0.4.0."""
    return Peer(peer_python, proposal_root, PROPOSAL)


def ask_peer(peer: Peer, directory: Path, what: str):
    """Runs `peer_user_values.py` with DAMNIT's Python."""
    script = HERE / "peer_user_values.py"
    output = run([peer.python, script, directory, what], env=peer.environment(directory)).stdout
    return json.loads(output.splitlines()[-1])


def rows(directory: Path) -> dict:
    """Value, provenance and attributes by variable."""
    connection = sqlite3.connect(directory / "runs.sqlite", timeout=30)
    found = connection.execute("SELECT name, value, provenance, attributes FROM run_variables WHERE run = 1").fetchall()
    connection.close()
    return {name: rest for name, *rest in found}


def test_damnit_reads_what_our_users_enter(peer, amore, directory):
    for variable_type in ("boolean", "integer", "number", "string"):
        title = f"Our {variable_type}"
        amore.amore(
            directory, "variable", "add", f"our_{variable_type}", variable_type, "--title", title, "--description", "d"
        )
    values = ["our_boolean=true", "our_integer=3", "our_number=2", "our_string=x"]
    amore.amore(directory, "variable", "set", "1", *values)
    amore.amore(directory, "comment", "1", "ours")
    amore.amore(directory, "comment", "--at", "1970-01-01T00:00:07Z", "our time")
    said = ask_peer(peer, directory, "read")
    assert said["types"] == {f"our_{word}": word for word in ("boolean", "integer", "number", "string")}
    assert said["titles"]["our_boolean"] == "Our boolean" and said["descriptions"]["our_string"] == "d"
    assert said["values"] == {"our_boolean": True, "our_integer": 3, "our_number": 2.0, "our_string": "x"}
    assert said["api"]["our_string"] == "x" and float(said["api"]["our_number"]) == 2.0
    assert said["comment"] == "ours"
    assert said["time_comments"] == [[7.0, "our time"]]


def test_we_read_what_their_users_enter_and_change_it(peer, amore, directory):
    ask_peer(peer, directory, "write")
    listed = {one["name"]: one for one in json.loads(amore.amore(directory, "variable", "list", "--json"))}
    assert {name: one["type"] for name, one in listed.items()} == {
        f"their_{word}": word for word in ("boolean", "integer", "number", "string")
    }
    assert amore.amore(directory, "comment", "1").strip() == "their comment"
    assert json.loads(amore.amore(directory, "comment", "--list", "--json"))[0]["comment"] == "their time"
    amore.amore(directory, "variable", "set", "1", "their_boolean=yes", "their_string=ours")
    amore.amore(directory, "variable", "unset", "1", "their_integer")
    said = ask_peer(peer, directory, "read")
    assert said["values"] == {
        "their_boolean": True,
        "their_integer": None,
        "their_number": 0.5,
        "their_string": "ours",
    }
    amore.reprocess(directory, 1)
    assert rows(directory)["their_string"][0] == "ours"


def test_their_submit_is_collected_by_our_service(peer, amore, directory):
    (directory / "service.toml").write_text("[runs]\nquiet_seconds = 1e9\n")
    environment = {**os.environ, **data_roots(amore.data_root), "AMORE_NO_SLURM": "1"}
    with open(directory / "listen.log", "w") as log:
        service = subprocess.Popen(
            [amore.folder / "amore", "listen"], cwd=directory, env=environment, stdout=log, stderr=log
        )
    try:
        ask_peer(peer, directory, "submit")
        end = time.monotonic() + 120
        while "theirs" not in rows(directory) or "wrong" not in rows(directory):
            assert service.poll() is None and time.monotonic() < end, (directory / "listen.log").read_text()
            time.sleep(0.1)
    finally:
        service.terminate()
        service.wait(60)
    found = rows(directory)
    assert found["theirs"][:2] == [2.5, "their script"]
    assert json.loads(found["wrong"][2]) == {"error": "'k'", "error_cls": "KeyError"}
    assert found["a"][:2] == [1, "context.py"]
    # These would be columns of the table that DAMNIT adds itself.
    assert not {"run", "proposal", "added_at"} & set(found)
    script = "import sys; from damnit import Damnit; print(Damnit(sys.argv[1]).table().iloc[0]['theirs'])"
    assert run([peer.python, "-c", script, directory], env=peer.environment(directory)).stdout.split() == ["2.5"]
    assert not list((directory / "extracted_data").glob("*.ready.h5"))


def test_ours_is_read_by_their_api(peer, amore, directory):
    amore.amore(directory, "submit", "1", "ours=2.5", "word=good", "--python", amore.context_python, "--provenance", "me")
    # Its API finds only variables that a context file declares by their names: the same for results of its own submit().
    script = (
        "import sys, h5py; from damnit import Damnit; damnit = Damnit(sys.argv[1]); row = damnit.table().iloc[0];"
        "file = h5py.File(damnit[1].file); print(row['ours'], row['word'], file['ours/data'][()])"
    )
    said = run([peer.python, "-c", script, directory], env=peer.environment(directory)).stdout
    assert said.split() == ["2.5", "good", "2.5"]
