"""Members of a group work in one directory, each with the usual umask, and the service of one of them serves all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from served import wait_for

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can be other users")
ANN, BOB, CARL, GROUP = 54341, 54342, 54343, 54340


def being(user: int) -> dict[str, Any]:
    """How to start a command as a member of the group."""
    return {"user": user, "group": user, "extra_groups": [GROUP], "umask": 0o022}


def test_whoever_is_first_locks_nobody_out(database: Any, tmp_path: Path) -> None:
    raw = (database.path.parents[2] / "raw").resolve()
    for path in [*raw.rglob("*"), raw, *raw.parents, *database.path.parents]:
        if path.stat().st_uid == os.getuid() and path != Path("/tmp"):
            path.chmod(path.stat().st_mode & 0o7777 | (0o055 if path.is_dir() else 0o044))
    place = tmp_path / "shared"
    place.mkdir()
    os.chown(place, BOB, GROUP)
    place.chmod(0o2770)
    database.amore("init", ".", "--proposal", "1234", cwd=place, **being(BOB))
    assert (place / "runs.sqlite").stat().st_mode & 0o777 == 0o664
    (place / "service.toml").write_text("[runs]\nquiet_seconds = 1e9\n")
    (place / "context.py").write_text("from damnit_ctx import Variable\n\n@Variable()\ndef a(run):\n    return 1\n")

    def said(user: int, *words: str) -> str:
        done = database.amore(*words, cwd=place, code=None, **being(user))
        return f"{done.returncode}: {done.stdout}{done.stderr}"

    # Before there is a service: the folders of requests are Ann's.
    assert said(ANN, "trigger", "1").startswith("0")
    assert said(BOB, "trigger", "2").startswith("0")
    assert said(CARL, "trigger", "3").startswith("0")
    service = database.start("listen", cwd=place, **being(BOB))

    def events() -> list[Any]:
        every = [word for state in ("open", "done", "failed", "dropped") for word in ("--state", state)]
        done = database.amore("inbox", "list", "--json", *every, cwd=place, code=None, **being(CARL))
        found = json.loads(done.stdout)["events"] if done.returncode == 0 else []
        return [event for event in found if event["source"] == "command"]

    try:
        # Other users may have no Python with the libraries of context files: nothing has to be computed here.
        wait_for("the events", lambda: len(events()) == 3, service)
        # Requests and their answers are left by different users.
        for user, event in zip((ANN, BOB, CARL), events(), strict=True):
            said_to_it = said(user, "inbox", "drop", str(event["number"]))
            assert "the service does not answer" not in said_to_it and said_to_it.startswith("0"), said_to_it
        assert [event["state"] for event in events()] == ["dropped"] * 3
        for name in ("amore.log", "runs.sqlite"):
            assert (place / name).stat().st_mode & 0o060 == 0o060, "another member can go on"
    finally:
        service.terminate()
        service.communicate(timeout=60)
    assert said(ANN, "variable", "add", "sample", "string").startswith("0")
    assert said(CARL, "trigger", "4").startswith("0")
    service = database.start("listen", cwd=place, **being(CARL))
    try:
        wait_for("the event", lambda: len(events()) == 4, service)
    finally:
        service.terminate()
        service.communicate(timeout=60)
