"""DAMNIT's own API returns the same for our files as for its own, created from the same context file and run."""

from pathlib import Path

import pytest

from commands import REPO, run
from comparing import Dump, differences
from sides import PROPOSAL, Amore, Peer
from stored import netcdf_c_problems

MATRIX = REPO / "tests" / "matrix" / "context_values.py"
HERE = Path(__file__).parent
STRUCTURE, PIPELINE = HERE / "context_structure.py", HERE / "context_pipeline.py"
BEFORE, AFTER = HERE / "context_before.py", HERE / "context_after.py"
# Run 2 has proc data, run 1 has none: there, both programs leave out variables that need it.
RUNS = (1, 2)


@pytest.fixture(scope="session")
def peer(peer_python, proposal_root) -> Peer:
    """DAMNIT 0.4.0."""
    return Peer(peer_python, proposal_root, PROPOSAL)


@pytest.fixture(scope="session")
def amore(amore_bin, peer_python, proposal_root) -> Amore:
    """Amore, with the same Python for the context file."""
    return Amore(amore_bin, peer_python, proposal_root, PROPOSAL)


def dump(peer: Peer, directory: Path) -> Dump:
    """What the API returns for a directory."""
    out = directory.with_name(f"{directory.name}-dump")
    command = [peer.python, HERE / "dump_damnit.py", directory, out]
    run(command, env=peer.environment(directory))
    return Dump.load(out)


def assert_same(ours: Dump, theirs: Dump) -> None:
    """Fail with all differences, one per line."""
    found = differences(ours, theirs)
    assert not found, "\n".join([f"{len(found)} differences:", *found])


def assert_readable(directory: Path) -> None:
    """netCDF-C can open every run file too, and reads the same as h5py."""
    files = sorted((directory / "extracted_data").glob("*.h5"))
    assert len(files) == len(RUNS)
    problems = [
        p for path in files for p in netcdf_c_problems(path, directory.with_name(f"{path.stem}-netcdf"))
    ]
    assert not problems, "\n".join(problems)


def made_by_peer(peer: Peer, directory: Path, context: Path) -> Dump:
    """A directory created by DAMNIT."""
    peer.prepare(directory, context)
    peer.reprocess(directory, *RUNS)
    return dump(peer, directory)


@pytest.fixture(scope="session")
def matrix_by_peer(peer, tmp_path_factory) -> Dump:
    """The whole matrix of value types, by DAMNIT."""
    return made_by_peer(peer, tmp_path_factory.mktemp("matrix") / "peer", MATRIX)


@pytest.fixture(scope="session")
def after_by_peer(peer, tmp_path_factory) -> Dump:
    """The later context file, by DAMNIT, in a directory that never had the earlier one."""
    return made_by_peer(peer, tmp_path_factory.mktemp("after") / "peer", AFTER)


def test_two_calls_of_the_peer_agree(peer, matrix_by_peer, tmp_path):
    """Otherwise the comparison would find false differences."""
    again = made_by_peer(peer, tmp_path / "peer", MATRIX)
    assert_same(again, matrix_by_peer)


def test_matrix_covers_what_it_claims(matrix_by_peer):
    """DAMNIT stored the values: otherwise the comparison would be meaningless."""
    for number in RUNS:
        variables = matrix_by_peer.tree["runs"][str(number)]["variables"]
        assert len(variables) > 250
        broken = [name for name, asked in variables.items() if raised(asked["read"])]
        assert all(name.startswith("cell_summary_only") for name in broken), broken
    hints = {asked["type_hint"] for asked in variables.values() if not raised(asked["type_hint"])}
    assert hints == {None, "DataArray", "Dataset", "Image", "PlotlyFigure", "Series", "DataFrame"}


def raised(tree) -> bool:
    """Whether the API raised an exception."""
    return isinstance(tree, dict) and tree.get("is") == "raised"


def test_fresh_values(amore, peer, matrix_by_peer, tmp_path):
    """Every type of value, computed for the first time."""
    directory = tmp_path / "amore"
    amore.prepare(directory, MATRIX)
    amore.reprocess(directory, *RUNS)
    assert_same(dump(peer, directory), matrix_by_peer)
    assert_readable(directory)


def test_values_computed_twice(amore, peer, matrix_by_peer, tmp_path):
    """If the same values are computed again, nothing of the first time remains."""
    directory = tmp_path / "amore"
    amore.prepare(directory, MATRIX)
    amore.reprocess(directory, *RUNS)
    amore.reprocess(directory, *RUNS)
    assert_same(dump(peer, directory), matrix_by_peer)
    assert_readable(directory)


def test_replaced_values(amore, peer, after_by_peer, tmp_path):
    """Values whose type, shape or outcome changes, or that disappear, when the context file is edited."""
    directory = tmp_path / "amore"
    amore.prepare(directory, BEFORE)
    amore.reprocess(directory, *RUNS)
    amore.replace_context(directory, AFTER)
    amore.reprocess(directory, *RUNS)
    assert_same(dump(peer, directory), after_by_peer)
    assert_readable(directory)


def test_replaced_values_one_run_at_a_time(amore, peer, after_by_peer, tmp_path):
    """The same, with the runs in separate commands."""
    directory = tmp_path / "amore"
    amore.prepare(directory, BEFORE)
    for number in RUNS:
        amore.reprocess(directory, number)
    amore.replace_context(directory, AFTER)
    for number in RUNS:
        amore.reprocess(directory, number)
    assert_same(dump(peer, directory), after_by_peer)
    assert_readable(directory)


@pytest.mark.parametrize("context", [STRUCTURE, PIPELINE], ids=lambda path: path.stem)
def test_groups_and_pipelines(amore, peer, tmp_path, context):
    """What a file contains, with which names and titles, and what depends on what."""
    theirs = made_by_peer(peer, tmp_path / "peer", context)
    amore.prepare(tmp_path / "amore", context)
    amore.reprocess(tmp_path / "amore", *RUNS)
    assert_same(dump(peer, tmp_path / "amore"), theirs)


def test_demo(amore, peer, tmp_path):
    """The demo's context file, with proc data in one of the runs and a cluster variable."""
    context = REPO / "demo" / "context.py"
    theirs = made_by_peer(peer, tmp_path / "peer", context)
    assert "agipd_rings" in theirs.tree["runs"]["2"]["keys"]
    assert "agipd_rings" not in theirs.tree["runs"]["1"]["keys"]
    amore.prepare(tmp_path / "amore", context)
    amore.reprocess(tmp_path / "amore", *RUNS)
    assert_same(dump(peer, tmp_path / "amore"), theirs)
