"""The shared file system becomes full while jobs are running."""

from __future__ import annotations

from collections.abc import Callable

from clusters import Proposal
from databases import TWO, Database


def test_a_full_file_system(proposal: Callable[..., Proposal]) -> None:
    mine = proposal()
    site = mine.site
    with site.small_file_system() as small:
        mine.database = small / "amore"
        site.run("alice", ["mkdir", mine.database])
        database = Database(mine)
        database.context(TWO)
        command = database.start("reprocess", "1")
        database.wait_effect("second-1")
        fill = small / "fill"
        filled = site.run("alice", ["dd", "if=/dev/zero", f"of={fill}", "bs=64k"], check=False)
        assert "No space left on device" in filled.stderr
        database.touch("go-1")
        command.wait_said("no space left to write")
        site.run("alice", ["rm", fill])
        command.ends(1)
        assert database.rows()[1]["first"] == 1
        assert database.rows()[1].get("second") in (None, 10)
        database.amore("reprocess", "1")
        assert database.rows()[1] == {"first": 1, "second": 10}
