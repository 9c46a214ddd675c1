"""The unit of the facility-wide service, checked by systemd itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from supervised import REPOSITORY

UNIT = REPOSITORY / "templates/amore-listen.service"


def verify(unit: Path) -> subprocess.CompletedProcess[str]:
    """`systemd-analyze verify`; skipped if it cannot work here at all."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here (Debian: apt-get install systemd)")
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )


def installed(tmp_path: Path, amore_bin: Path) -> str:
    """The unit, with the program that was built."""
    text = UNIT.read_text()
    assert text.count("/opt/amore/bin/amore ") == 1
    return text.replace("/opt/amore/bin/amore ", f"{amore_bin / 'amore'} ")


def about(unit: Path, told: subprocess.CompletedProcess[str]) -> list[str]:
    """What was said about this unit; other units of the machine may have faults of their own."""
    return [line for line in (told.stdout + told.stderr).splitlines() if unit.name in line]


def test_systemd_accepts_the_unit(tmp_path: Path, amore_bin: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(installed(tmp_path, amore_bin))
    told = verify(unit)
    assert about(unit, told) == [], told
    assert told.returncode == 0, told


def test_systemd_accepts_what_the_unit_proposes(tmp_path: Path, amore_bin: Path) -> None:
    text = installed(tmp_path, amore_bin)
    proposed = re.findall(r"^#   (\w+=\w+)$", text, re.MULTILINE)
    assert len(proposed) > 5
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("[Install]", "\n".join([*proposed, "", "[Install]"])))
    told = verify(unit)
    assert about(unit, told) == [] and told.returncode == 0, told


def test_the_check_finds_faults(tmp_path: Path, amore_bin: Path) -> None:
    # A test that cannot fail would be worth nothing.
    for fault in ("KillMode=mixd", "ProtectHoem=read-only", "ExecStartPre=/nowhere/amore"):
        unit = tmp_path / UNIT.name
        unit.write_text(installed(tmp_path, amore_bin).replace("KillMode=mixed", fault))
        assert about(unit, verify(unit)), fault


def test_the_unit_and_supervisor_wait_longer_than_the_service_takes_to_stop() -> None:
    supervisor = (REPOSITORY / "templates/supervisord.conf.tera").read_text()
    for text, key in ((UNIT.read_text(), "TimeoutStopSec"), (supervisor, "stopwaitsecs")):
        found = re.search(rf"^{key}=(\d+)$", text, re.MULTILINE)
        assert found and int(found[1]) >= 15, key
