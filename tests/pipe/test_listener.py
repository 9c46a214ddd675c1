"""`amore listener`: what is not in its output. (For that, see test_commands.py.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Database


@pytest.mark.parametrize(("umask", "mode"), [(0, 0o664), (0o007, 0o660), (0o077, 0o600)])
def test_the_database_is_for_the_group_by_umask_and_never_writable_for_everyone(
    database: Database, umask: int, mode: int
) -> None:
    database.amore("listener", "add", "1234", umask=umask)
    assert (database.path / "listener.sqlite").stat().st_mode & 0o777 == mode
    assert sorted(path.name for path in database.path.glob("listener*")) == ["listener.sqlite"]


def test_a_path_is_stored_as_it_leads_there_from_everywhere(database: Database, tmp_path: Path) -> None:
    place = tmp_path / "place"
    database.amore("init", str(place), "--proposal", "1234")
    link = database.path / "link"
    link.symlink_to(place)
    # A link is meant; a relative path is not.
    assert database.amore("listener", "add", "1234", "./link/").stdout == f"Added proposal 1234 at {link}\n"
    assert database.amore("listener", "rm", str(place)).stdout == f"Removed database at {link}\n"
    assert database.amore("listener", "add", "1234", "../amore/link").stdout == f"Added proposal 1234 at {place}\n"


def test_the_official_directory_is_recognised_by_any_path(database: Database, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(database.path)
    said = database.amore("listener", "add", "1234", str(link)).stdout
    assert said == f"Added proposal 1234 at {database.path}\n"
    assert database.amore("listener", "databases").stdout == f"p1234: {database.path}\n"
