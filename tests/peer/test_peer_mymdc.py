"""DAMNIT 0.4 and Amore get the same values from the same metadata catalogue."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

from mymdc_server import Catalogue, serving
from sides import PROPOSAL, Amore, Peer

CONTEXT = """
from damnit_ctx import Variable

@Variable
def sample(run, name: "mymdc#sample_name"): return name
@Variable
def kind(run, kind: "mymdc#run_type"): return kind
@Variable
def techniques(run, found: "mymdc#techniques"): return repr(found)
@Variable
def with_default(run, name: "mymdc#sample_name" = "unknown"): return name
@Variable
def types(run, a: "mymdc#sample_name", b: "mymdc#run_type", c: "mymdc#techniques"):
    return " ".join(type(value).__name__ for value in (a, b, c, *c))
@Variable
def after(run, kind: "var#kind"): return kind.upper()
"""


def values(directory: Path, number: int) -> dict[str, str]:
    """What the functions returned."""
    found = {}
    with h5py.File(directory / "extracted_data" / f"p{PROPOSAL}_r{number}.h5") as file:
        for name, group in file.items():
            if not name.startswith(".") and name != "start_time" and "data" in group:
                found[name] = group["data"][()].decode()
    return found


@pytest.fixture
def catalogue(proposal_root: Path):
    """Values that are easily changed on the way, and a run without a sample."""
    catalogue = Catalogue(PROPOSAL, 1, 2, 3)
    catalogue.replies["/runs/702"] = (
        200,
        b'{"techniques": [{"z": 1, "a": 1.50, "big": 123456789012345678901234567890, "e": 1e400}, null, "\\ud83d\\ude00"]}',
    )
    catalogue.replies["/experiments/9"] = (200, '{"name": "Dark", "name": "Größe\\t1"}'.encode())
    catalogue.replies[f"{catalogue.base}/3"] = {"runs": [{"id": 703, "sample_id": None, "experiment_id": "9"}]}
    (directory,) = proposal_root.glob(f"*/*/p{PROPOSAL:06d}")
    (directory / "usr").mkdir(exist_ok=True)
    with serving(catalogue):
        path = catalogue.write_credentials(directory)
        yield catalogue
        path.unlink()


def test_the_same_values(catalogue, peer_python, amore_bin, proposal_root, tmp_path) -> None:
    context = tmp_path / "context_mymdc.py"
    context.write_text(CONTEXT)
    peer = Peer(peer_python, proposal_root, PROPOSAL)
    peer.prepare(tmp_path / "peer", context)
    peer.reprocess(tmp_path / "peer", 1, 2, 3)
    assert catalogue.strangers == []
    theirs = {run: values(tmp_path / "peer", run) for run in (1, 2, 3)}
    assert theirs[1]["sample"] == "Lysozyme µ" and theirs[1]["kind"] == "Größe\t1" and "1e400" not in theirs[2]["techniques"]
    amore = Amore(amore_bin, peer_python, proposal_root, PROPOSAL)
    amore.prepare(tmp_path / "amore", context)
    amore.reprocess(tmp_path / "amore", 1, 2)
    assert {run: values(tmp_path / "amore", run) for run in (1, 2)} == {run: theirs[run] for run in (1, 2)}
    # A run without a sample: an error in both. The default counts here only.
    assert "sample failed: MymdcNotFoundError" in amore.reprocess(tmp_path / "amore", 3)
    ours = values(tmp_path / "amore", 3)
    assert ours.pop("with_default") == "unknown"
    assert ours == theirs[3] and "sample" not in ours
