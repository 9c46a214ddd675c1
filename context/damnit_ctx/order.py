"""The order in which variables are executed in one process: that of DAMNIT 0.4."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def execution_order(needs: Mapping[str, Collection[str]], cluster: Collection[str] = ()) -> list[str]:
    """Names, dependencies first, as ``graphlib.TopologicalSorter.static_order`` gives them in DAMNIT: first all that
    need nothing, then all that need only these, and so on. The same in each process, and as in crates/plan/src/dag.rs.

    Args:
        needs: variable → those whose values it asks for, in the order of the file. A variable that stands on a
            cycle, or depends on one, is left out.
        cluster: those that run in Slurm jobs. What does not, has the order that it would have without them.
    """
    places = {name: place for place, name in enumerate(needs)}
    ordered = {name: sorted(set(others), key=places.__getitem__) for name, others in needs.items()}
    met: dict[str, None] = {}
    for name, others in ordered.items():
        met.setdefault(name)
        for other in others:
            if other in cluster or name not in cluster:
                met.setdefault(other)
    followers: dict[str, list[str]] = {name: [] for name in needs}
    for name, others in ordered.items():
        for other in others:
            followers[other].append(name)
    missing = {name: len(others) for name, others in ordered.items()}
    ready = [name for name in met if not missing[name]]
    order: list[str] = []
    while ready:
        order += ready
        after = []
        for name in ready:
            for follower in followers[name]:
                missing[follower] -= 1
                if not missing[follower]:
                    after.append(follower)
        ready = after
    return order
