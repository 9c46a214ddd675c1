"""A service with many directories asks Slurm as often as with one."""

from __future__ import annotations

import time
from pathlib import Path

from databases import Command, Database, wait_until

CONTEXT = """
@Variable(title="Heavy", cluster=True)
def heavy(run):
    effect("heavy")
    wait_for("go")
    return 7
"""
DIRECTORIES = 6
# How far apart queries of the same kind begin.
APART_S = 2


class Place(Database):
    """One of the directories of a service."""

    def __init__(self, first: Database, path: Path) -> None:
        self.root, self.cluster, self.commands = first.root, first.cluster, first.commands
        self.path, self.python, self.effects = path, first.python, path / "effects.txt"
        first.amore("init", str(path), "--proposal", "1234")
        self.amore("db-config", "context_python", self.python)
        self.context(CONTEXT)


def bulk(database: Database) -> list[str]:
    """The queries for all jobs of the user."""
    return [call for call in database.cluster.calls("squeue") if " -u " in call]


def test_many_directories_cause_as_many_queries_as_one(database: Database, tmp_path: Path) -> None:
    service = tmp_path / "service"
    service.mkdir()
    (service / "service.toml").write_text("[runs]\nquiet_seconds = 1e9\n")
    places = [Place(database, tmp_path / f"place{number}") for number in range(DIRECTORIES)]
    for place in places:
        database.amore("listener", "add", "1234", str(place.path), cwd=service)
    listening = database.start("listen", cwd=service)
    try:
        wait_until(lambda: all(place.is_owned_by(listening) for place in places), "the service to own all")
        commands: list[Command] = [place.begin("reprocess", "1", env=place.environment) for place in places]
        for place in places:
            place.wait_effects(heavy=1)
        before, begun = len(bulk(database)), time.monotonic()
        wait_until(lambda: len(bulk(database)) >= before + 4, "some more queries")
        asked, passed = len(bulk(database)) - before, time.monotonic() - begun
        assert asked <= passed / APART_S + 1, f"{asked} queries in {passed:.1f} s"
        # Each directory gets what concerns it, and only that.
        lost = next(job for job in database.cluster.jobs() if job["chdir"].startswith(str(places[0].path)))
        assert database.cluster.run("scancel", lost["id"]).returncode == 0
        commands[0].wait_said(f"job {lost['id']} was cancelled by")
        for place in places[1:]:
            assert "heavy" not in place.rows(1)
            place.touch("go")
        for command in commands:
            command.process.wait(timeout=240)
        assert [place.rows(1)["heavy"] for place in places[1:]] == [7] * (DIRECTORIES - 1)
    finally:
        listening.terminate()
        listening.communicate(timeout=60)
