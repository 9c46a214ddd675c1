"""Variables that share state have the same values as in DAMNIT 0.4 with one process per run."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from sides import PROPOSAL, Amore, Peer
from state_kinds import ADDING, FILES, KINDS, one_of_each

HEAD = "import os\nimport numpy as np\nfrom damnit_ctx import Variable\n"
# The order matters: it is that of the dependencies, and then that of the file.
ORDER = """
LOG = []
def log(name):
    LOG.append(name)
    return ",".join(LOG)
@Variable
def late(run, x: "var#early"): return log("late")
@Variable
def free(run): return log("free")
@Variable
def early(run): return log("early")
@Variable
def failing(run):
    log("failing")
    raise ValueError("after it has changed something")
@Variable
def last(run, x: "var#late", y: "var#failing" = None): return log("last")
@Variable
def defaults(run, x: "var#nothing" = 1): return log("defaults")
@Variable
def nothing(run):
    log("nothing")
"""
ALONE = {kind: KINDS[kind] for kind in KINDS if kind not in FILES}
DIES = "@Variable\ndef dies(run): os.abort()\n"


@pytest.fixture(scope="module")
def peer(peer_python, proposal_root) -> Peer:
    """DAMNIT 0.4.0."""
    return Peer(peer_python, proposal_root, PROPOSAL)


@pytest.fixture(scope="module")
def amore(amore_bin, peer_python, proposal_root) -> Amore:
    """Amore, with the same Python for the context file."""
    return Amore(amore_bin, peer_python, proposal_root, PROPOSAL)


def values(directory: Path, number: int) -> dict[str, object]:
    """What the functions returned, by variable."""
    found = {}
    with h5py.File(directory / "extracted_data" / f"p{PROPOSAL}_r{number}.h5") as file:
        for name, group in file.items():
            if not name.startswith(".") and "data" in group:
                value = group["data"][()]
                found[name] = value.decode() if isinstance(value, bytes) else np.asarray(value).tolist()
    return found


def context(directory: Path, text: str) -> Path:
    """A context file for both."""
    path = directory / "context_state.py"
    path.write_text(HEAD + text)
    return path


@pytest.fixture(scope="module")
def by_peer(peer, tmp_path_factory) -> dict[int, dict[str, object]]:
    """DAMNIT's values, by run."""
    folder = tmp_path_factory.mktemp("state")
    directory = folder / "peer"
    peer.prepare(directory, context(folder, one_of_each() + ORDER))
    peer.reprocess(directory, 1)
    found = {1: values(directory, 1)}
    # All runs have separate processes, which find the files of the first.
    peer.reprocess(directory, 2, 3)
    return {**found, 2: values(directory, 2), 3: values(directory, 3)}


def test_the_peer_computes_them(by_peer):
    """Otherwise nothing would be compared."""
    for number, (kind, (*_, expected)) in enumerate(KINDS.items()):
        value = by_peer[1][f"last_{number}"]
        assert value == pytest.approx(expected, abs=1e-6) if isinstance(expected, float) else value == expected, kind
    assert by_peer[1]["last"].count(",") == 6


def differences(ours: dict[str, object], theirs: dict[str, object]) -> dict[str, tuple[object, object]]:
    """Variables whose values differ."""
    names = {*ours, *theirs} - {"dies"}
    return {name: (ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)}


def test_one_run(amore, by_peer, tmp_path):
    """One run at a time, with as many parts as there are processors."""
    directory = tmp_path / "amore"
    amore.prepare(directory, context(tmp_path, one_of_each() + ORDER))
    amore.reprocess(directory, 1)
    assert differences(values(directory, 1), by_peer[1]) == {}


def test_after_a_neighbour_died(amore, by_peer, tmp_path):
    """With a death between variables that change state and those that read it."""
    directory = tmp_path / "amore"
    amore.prepare(directory, context(tmp_path, one_of_each(between=DIES) + ORDER))
    amore.reprocess(directory, 1)
    assert differences(values(directory, 1), by_peer[1]) == {}


def test_readers_alone(amore, by_peer, tmp_path):
    """Readers are selected by name. Variables that only append to files were executed before."""
    directory = tmp_path / "amore"
    amore.prepare(directory, context(tmp_path, one_of_each() + ORDER))
    amore.reprocess(directory, 1)
    names = [f"--var=last_{number}" for number in range(len(KINDS))]
    amore.amore(directory, "reprocess", 1, *names, "--var=last", "--var=late")
    assert differences(values(directory, 1), by_peer[1]) == {}
    assert ADDING


def test_three_runs(amore, by_peer, tmp_path):
    """Three runs at the same time, without files of a fixed name, because the runs would share them."""
    directory = tmp_path / "amore"
    amore.prepare(directory, context(tmp_path, one_of_each(ALONE) + ORDER))
    amore.reprocess(directory, 1, 2, 3)
    numbers = {kind: number for number, kind in enumerate(KINDS)}
    for run in (1, 2, 3):
        ours = values(directory, run)
        for number, kind in enumerate(ALONE):
            assert ours[f"last_{number}"] == by_peer[run][f"last_{numbers[kind]}"], (run, kind)
        order = ("late", "free", "early", "last", "defaults")
        assert [ours[name] for name in order] == [by_peer[run][name] for name in order]
