"""The run table as shared by DAMNIT and Amore, in both directions.

``AMORE_PEER_PYTHON`` names a Python with ``damnit[backend]==0.4.0``; ``AMORE_BIN_DIR`` is the directory of the built programs
(target/release).
"""

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from commands import TARGET

HERE = Path(__file__).parent
PROGRAMS = Path(os.environ.get("AMORE_BIN_DIR", TARGET / "release"))


def example(name: str, directory: Path, umask: int = -1) -> str:
    """Run an example program of the crate on a directory; returns its output."""
    program = PROGRAMS / "examples" / name
    if not program.is_file():
        pytest.fail(f"{program} is missing: run `make examples`", pytrace=False)
    done = subprocess.run(
        [program, str(directory)], check=True, stdout=subprocess.PIPE, text=True, umask=umask, timeout=300
    )
    return done.stdout


def peer(script: str, directory: Path) -> str:
    """Run one of the scripts in this folder with DAMNIT's Python."""
    python = os.environ.get("AMORE_PEER_PYTHON")
    if python is None:
        pytest.fail("set AMORE_PEER_PYTHON to a Python that has damnit[backend]==0.4.0")
    command = [python, str(HERE / script), str(directory)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What DAMNIT reads from a table that we wrote."""
    directory = tmp_path_factory.mktemp("ours")
    example("make_table", directory)
    report: dict[str, Any] = json.loads(peer("peer_reads.py", directory))
    return report | {"directory": directory}


def test_damnit_reads_our_table(ours: dict[str, Any]) -> None:
    rows = {(row["proposal"], row["run"]): row for row in ours["rows"]}
    assert set(rows) == {(1234, 1), (1234, 2), (5678, 1)}
    row = rows[1234, 1]
    assert row["start_time"].startswith("Timestamp('2023-11-14 23:13:21")
    assert row["energy"] == 1.25
    assert row["trains"] == 200
    assert row["sample"] == 'it\'s "Ünï"'
    assert row["image"] == "<thumbnail>"
    assert row["trend"] == "<sparkline>"
    assert row["amplitude"] == {"re": 1.5, "im": -2.0}
    assert rows[5678, 1]["energy"] == 1.25
    assert rows[1234, 2]["energy"] is None, "a value that was taken back"
    assert "The energy" in ours["titled"]
    assert ours["proposal"] == 1234
    assert (ours["version"], ours["jobs"]) == (4, 15)


def test_views_keep_proposals_apart(ours: dict[str, Any]) -> None:
    view = {(row["proposal"], row["run"]): row["energy"] for row in ours["view"]}
    assert view == {(1234, 1): 1.25, (1234, 2): None, (5678, 1): 1.25}
    diffs = {(row["proposal"], row["run"]): row["energy"] for row in ours["max_diffs"]}
    assert diffs == {(1234, 1): 0.5, (1234, 2): None, (5678, 1): 0.5}


def test_damnit_reads_errors_tags_and_descriptions(ours: dict[str, Any]) -> None:
    assert ours["errors"] == 3 * [{"error": 'no "beam"\nat all', "error_cls": "ValueError"}]
    assert ours["tags of energy"] == ["all", "tag of energy"]
    assert len(ours["tags"]) == 9
    assert ours["descriptions"]["trains"] == "What trains is"


def test_the_file_is_sound_and_damnit_can_write_it(ours: dict[str, Any]) -> None:
    assert (ours["integrity"], ours["foreign keys"]) == ("ok", 0)
    assert ours["comment"] == "good"
    shown = json.loads(example("show_table", ours["directory"]))["table"]
    assert [column["title"] for column in shown["columns"] if column["user_editable"]] == ["Checked"]
    assert shown["rows"][0]["comment"] == "good"


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_the_umask_says_who_may_write_a_new_table(tmp_path: Path, umask: int, mode: int) -> None:
    example("make_table", tmp_path, umask)
    assert (tmp_path / "runs.sqlite").stat().st_mode & 0o777 == mode


def test_we_read_damnits_table(tmp_path: Path) -> None:
    peer("peer_writes.py", tmp_path)
    shown = json.loads(example("show_table", tmp_path))
    assert dict(shown["settings"])["proposal"] == 1234
    assert {tag for row in shown["variables"] for tag in row["tags"]} == {"laser"}
    columns = [column["name"] for column in shown["table"]["columns"]]
    first, second = shown["table"]["rows"]
    cells = dict(zip(columns, first["cells"]))
    assert (first["proposal"], first["run"], first["start_time"], first["added_at"]) == (1234, 1, 10.0, 11.0)
    assert first["comment"] == "good"
    assert cells["energy"] == {"kind": "number", "value": 1.25}
    assert cells["image"] == {"kind": "image"}
    assert cells["trend"] == {"kind": "trendline"}
    assert cells["amplitude"] == {"kind": "complex", "re": 1.5, "im": -2.0}
    assert cells["broken"] == {"kind": "error", "class": "ValueError", "message": "no beam"}
    assert cells["nan"]["kind"] == "number" and (
        cells["nan"]["value"] is None or math.isnan(cells["nan"]["value"])
    )
    assert cells["checked"] == {"kind": "boolean", "value": True}
    assert (second["proposal"], dict(zip(columns, second["cells"]))["energy"]) == (
        5678,
        {"kind": "integer", "value": 7},
    )
