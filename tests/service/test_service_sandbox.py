"""The sandbox of the service: its own setting, and that of the site, which goes first."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import wait_for

_SCRIPT = Path(__file__).resolve().parents[1] / "pipe/sandbox_script.py"
_spec = importlib.util.spec_from_file_location("sandbox_script", _SCRIPT)
assert _spec is not None and _spec.loader is not None
_script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_script)

CONTEXT = """
@Variable
def a(run): return os.environ.get("SANDBOXED", "no")
"""


def sandbox(folder: Path, name: str) -> tuple[Path, Path]:
    """A sandbox, and the file of its calls."""
    program, calls = folder / name, folder / f"{name}.txt"
    program.write_text(_script.SANDBOX.format(calls=calls))
    program.chmod(0o755)
    return program, calls


@pytest.mark.parametrize("site", [False, True])
def test_user_code_of_the_service_runs_in_its_sandbox(
    database: Any, service: Callable[..., Any], tmp_path: Path, site: bool
) -> None:
    of_service, its_calls = sandbox(tmp_path, "of-service")
    of_site, site_calls = sandbox(tmp_path, "of-site")
    environment = dict(database.environment)
    if site:
        file = tmp_path / "amore.toml"
        file.write_text(f"sandbox_args = {json.dumps(str(of_site))}\n")
        environment["AMORE_SITE_CONFIG"] = str(file)
    database.amore("listener", "config", "sandbox_args", str(of_service))
    said = database.amore("listener", "config", "sandbox_args", "bwrap 'a", code=None)
    assert said.returncode != 0 and "sandbox_args is an absolute path of a program" in said.stderr
    database.context(CONTEXT)
    service(database, env=environment)
    # The command hands its request over, and executes nothing itself.
    database.amore("reprocess", "1")
    assert database.rows(1)["a"] == "yes"
    assert (its_calls.exists(), site_calls.exists()) == (not site, site)


def test_another_sandbox_is_used_at_once(database: Any, service: Callable[..., Any], tmp_path: Path) -> None:
    program, calls = sandbox(tmp_path, "late")
    database.context(CONTEXT)
    process = service(database)
    database.amore("reprocess", "1")
    assert database.rows(1)["a"] == "no"
    database.amore("listener", "config", "sandbox_args", str(program))
    log = database.path / "amore.log"
    wait_for("the directory begins anew", lambda: "all directories begin anew" in log.read_text(), process)
    wait_for("it is served again", lambda: log.read_text().count("state=Serving") == 2, process)
    database.amore("reprocess", "1")
    assert database.rows(1)["a"] == "yes" and calls.exists()
