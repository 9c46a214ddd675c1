"""Context files in the style of the instruments' own give the same values as in DAMNIT 0.4."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from proposals import EXPERIMENTS, Experiment

from commands import REPO, run
from comparing import Dump, differences, without
from sides import Amore, Peer

DUMP = REPO / "tests" / "peer" / "dump_damnit.py"
each = pytest.mark.parametrize("name", EXPERIMENTS)


def dump(peer: Peer, directory: Path, out: Path) -> Dump:
    """What DAMNIT's own API reads from a directory."""
    run([peer.python, DUMP, directory, out], env=peer.environment(directory))
    return Dump.load(out)


@pytest.fixture(scope="session")
def by_peer(peer_python, data, tmp_path_factory) -> Callable[[str], Dump]:
    """DAMNIT's results for each, computed once."""
    made: dict[str, Dump] = {}

    def make(name: str) -> Dump:
        if name not in made:
            experiment, root = EXPERIMENTS[name], tmp_path_factory.mktemp(f"{name}-by-peer")
            directory = experiment.proposal(root, data[name])
            peer = Peer(peer_python, root, experiment.instrument.proposal)
            experiment.prepare(peer, directory)
            for runs in experiment.batches:
                peer.reprocess(directory, *runs)
            made[name] = dump(peer, directory, root / "dump")
        return made[name]

    return make


@pytest.fixture
def ours(amore_bin, peer_python, data, tmp_path) -> Callable[..., Dump]:
    """Amore's results for one of them."""

    def make(
        experiment: Experiment,
        batches: Iterable[tuple[int, ...]] | None = None,
        *,
        context: Path | None = None,
        slurm: Path | None = None,
    ) -> Dump:
        instrument = experiment.instrument
        directory = experiment.proposal(tmp_path, data[instrument.name])
        amore = Amore(amore_bin, peer_python, tmp_path, instrument.proposal, slurm)
        experiment.prepare(amore, directory, context)
        for runs in batches or experiment.batches:
            amore.reprocess(directory, *runs)
        return dump(Peer(peer_python, tmp_path, instrument.proposal), directory, tmp_path / "dump")

    return make


def assert_same(ours: Dump, theirs: Dump, but: frozenset[str] = frozenset()) -> None:
    """Fail with all differences, one per line."""
    found = differences(without(ours, but), without(theirs, but))
    assert not found, "\n".join([f"{len(found)} differences:", *found])


@each
def test_the_peer_gives_what_the_file_is_about(by_peer, name):
    """If DAMNIT computed nothing, the comparison would be meaningless."""
    tree = by_peer(name).tree
    for number, run_tree in tree["runs"].items():
        read = {variable: asked["read"] for variable, asked in run_tree["variables"].items()}
        computed = [variable for variable, value in read.items() if not raised(value)]
        assert len(computed) >= 20, (number, sorted(set(read) - set(computed)))


def raised(tree) -> bool:
    """Whether the API raised an exception."""
    return isinstance(tree, dict) and tree.get("is") == "raised"


@each
def test_run_by_run(by_peer, ours, name):
    """In the order in which they were measured."""
    experiment = EXPERIMENTS[name]
    assert_same(ours(experiment, [(number,) for number in experiment.instrument.runs]), by_peer(name))


@each
def test_all_runs_at_once(by_peer, ours, name):
    """No value depends on how many runs were requested together, except for those that look up earlier runs."""
    experiment = EXPERIMENTS[name]
    assert_same(ours(experiment, [experiment.instrument.runs]), by_peer(name), experiment.look_up)


@pytest.mark.parametrize("name", ["SPB", "MID"])
def test_in_jobs(by_peer, ours, slurm, name):
    """Cluster variables, and the values that they need from others."""
    assert_same(ours(EXPERIMENTS[name], slurm=slurm), by_peer(name))


@each
def test_after_the_death_of_a_neighbour(by_peer, ours, tmp_path, name):
    """A death affects only the value of its own variable."""
    experiment = EXPERIMENTS[name]
    made = ours(experiment, context=experiment.with_neighbour(tmp_path))
    dead = [row for row in made.tree["database"]["run_variables"] if row.endswith(" neighbour")]
    assert len(dead) == len(experiment.instrument.runs)
    assert_same(made, by_peer(name), frozenset({"neighbour", "Neighbour"}))
