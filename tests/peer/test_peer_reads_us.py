"""DAMNIT's own API gives the same on files of ours as on its own, made from the same context file and run."""

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
# Run 2 has proc data, run 1 has not: variables that need it are then left out by both.
RUNS = (1, 2)


@pytest.fixture(scope="session")
def peer(peer_python, proposal_root) -> Peer:
    """DAMNIT 0.4.0."""
    return Peer(peer_python, proposal_root, PROPOSAL)


@pytest.fixture(scope="session")
def amore(amore_bin, peer_python, proposal_root) -> Amore:
    """Ours, with the same Python for the context file."""
    return Amore(amore_bin, peer_python, proposal_root, PROPOSAL)


def dump(peer: Peer, directory: Path) -> Dump:
    """What the API gives for a directory."""
    out = directory.with_name(f"{directory.name}-dump")
    command = [peer.python, HERE / "dump_damnit.py", directory, out]
    run(command, env=peer.environment(directory))
    return Dump.load(out)


def assert_same(ours: Dump, theirs: Dump) -> None:
    """Fail with all differences, one a line."""
    found = differences(ours, theirs)
    assert not found, "\n".join([f"{len(found)} differences:", *found])


def assert_readable(directory: Path) -> None:
    """Every run file opens in netCDF-C too, which gives what h5py gives."""
    files = sorted((directory / "extracted_data").glob("*.h5"))
    assert len(files) == len(RUNS)
    problems = [
        p for path in files for p in netcdf_c_problems(path, directory.with_name(f"{path.stem}-netcdf"))
    ]
    assert not problems, "\n".join(problems)


def made_by_peer(peer: Peer, directory: Path, context: Path) -> Dump:
    """A directory that DAMNIT made afresh."""
    peer.prepare(directory, context)
    peer.reprocess(directory, *RUNS)
    return dump(peer, directory)


@pytest.fixture(scope="session")
def matrix_by_peer(peer, tmp_path_factory) -> Dump:
    """The whole matrix of value types, by DAMNIT."""
    return made_by_peer(peer, tmp_path_factory.mktemp("matrix") / "peer", MATRIX)


@pytest.fixture(scope="session")
def after_by_peer(peer, tmp_path_factory) -> Dump:
    """The later context file, by DAMNIT, in a directory that never saw the earlier one."""
    return made_by_peer(peer, tmp_path_factory.mktemp("after") / "peer", AFTER)


def test_two_calls_of_the_peer_agree(peer, matrix_by_peer, tmp_path):
    """Or else the comparison would find what is not there."""
    again = made_by_peer(peer, tmp_path / "peer", MATRIX)
    assert_same(again, matrix_by_peer)


def test_matrix_covers_what_it_claims(matrix_by_peer):
    """DAMNIT stored the values: a matrix that it lost would agree with anything."""
    for number in RUNS:
        variables = matrix_by_peer.tree["runs"][str(number)]["variables"]
        assert len(variables) > 250
        broken = [name for name, asked in variables.items() if raised(asked["read"])]
        assert all(name.startswith("cell_summary_only") for name in broken), broken
    hints = {asked["type_hint"] for asked in variables.values() if not raised(asked["type_hint"])}
    assert hints == {None, "DataArray", "Dataset", "Image", "PlotlyFigure", "Series", "DataFrame"}


def raised(tree) -> bool:
    """Did the API raise?"""
    return isinstance(tree, dict) and tree.get("is") == "raised"


def test_fresh_values(amore, peer, matrix_by_peer, tmp_path):
    """Every type of value, computed for the first time."""
    directory = tmp_path / "amore"
    amore.prepare(directory, MATRIX)
    amore.reprocess(directory, *RUNS)
    assert_same(dump(peer, directory), matrix_by_peer)
    assert_readable(directory)


def test_values_computed_twice(amore, peer, matrix_by_peer, tmp_path):
    """The same values over themselves leave no trace of the first time."""
    directory = tmp_path / "amore"
    amore.prepare(directory, MATRIX)
    amore.reprocess(directory, *RUNS)
    amore.reprocess(directory, *RUNS)
    assert_same(dump(peer, directory), matrix_by_peer)
    assert_readable(directory)


def test_replaced_values(amore, peer, after_by_peer, tmp_path):
    """Values that change type, shape or outcome, or go, with an edit of the context file."""
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
    """What is in a file, under which names and titles, and what depends on what."""
    theirs = made_by_peer(peer, tmp_path / "peer", context)
    amore.prepare(tmp_path / "amore", context)
    amore.reprocess(tmp_path / "amore", *RUNS)
    assert_same(dump(peer, tmp_path / "amore"), theirs)


def test_demo(amore, peer, tmp_path):
    """The demo's context file, with proc data in one of the runs and a variable for the cluster."""
    context = REPO / "demo" / "context.py"
    theirs = made_by_peer(peer, tmp_path / "peer", context)
    assert "agipd_rings" in theirs.tree["runs"]["2"]["keys"]
    assert "agipd_rings" not in theirs.tree["runs"]["1"]["keys"]
    amore.prepare(tmp_path / "amore", context)
    amore.reprocess(tmp_path / "amore", *RUNS)
    assert_same(dump(peer, tmp_path / "amore"), theirs)
