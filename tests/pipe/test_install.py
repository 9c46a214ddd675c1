"""The installed tree and its modulefile, with a real `module` command."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from commands import run
from conftest import REPOSITORY, programs


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree that was moved after its installation."""
    first = tmp_path_factory.mktemp("install") / "first place"
    run([REPOSITORY / "scripts/install.sh", programs(), first])
    return first.rename(first.with_name("second place"))


def shell(script: str, modulefiles: Path, *, code: int = 0) -> str:
    """The output of a shell that has `module`, no other modules, and a minimal PATH."""
    modulecmd = shutil.which("modulecmd")
    if modulecmd is None:
        pytest.skip("there is no modulecmd here (Debian: apt-get install environment-modules)")
    # This does not use Debian's own file for login shells, which differs from site to site; modulecmd prints what has to be
    # evaluated.
    head = 'module() { eval "$("$MODULECMD" bash "$@")"; }\n'
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": os.environ.get("HOME", "/"),
        "MODULECMD": modulecmd,
        "MODULEPATH": str(modulefiles),
    }
    command = ["bash", "-c", head + script]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == code, ended
    return ended.stdout + ended.stderr


def test_the_modulefile_gives_the_commands_and_takes_them_away(installed: Path) -> None:
    modulefiles = installed / "share/modulefiles"
    said = shell("module avail; module whatis amore; module help amore", modulefiles)
    version = subprocess.run([programs() / "amore", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    for words in (f"amore/{version}", "automatic per-run analysis", "amore-proto and damnit"):
        assert words in said, said
    said = shell(
        'module load amore; type -p amore amore-proto damnit supervisord supervisorctl; amore --version; echo "$PATH"; '
        'module unload amore; echo "$PATH"; type -p amore supervisorctl || true',
        modulefiles,
    )
    bin_folder = installed / "bin"
    assert said.splitlines() == [
        *(str(bin_folder / name) for name in ("amore", "amore-proto", "damnit", "supervisord", "supervisorctl")),
        f"amore {version}",
        f"{bin_folder}:/usr/bin:/bin",
        "/usr/bin:/bin",
    ]


def test_supervisor_is_there_whatever_python_the_user_has_loaded(installed: Path, tmp_path: Path) -> None:
    # A Python of the user, with modules that would get in the way.
    (tmp_path / "python3").write_text("#!/bin/sh\necho the wrong Python\n")
    (tmp_path / "python3").chmod(0o755)
    (tmp_path / "configparser.py").write_text("raise SystemExit('the wrong module')\n")
    for program in ("supervisord", "supervisorctl"):
        said = subprocess.run(
            [installed / "bin" / program, "--help"],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert said.returncode == 0 and said.stdout.startswith(program), said
    version = subprocess.run([installed / "bin/supervisord", "--version"], capture_output=True, text=True, check=True).stdout
    assert version == "4.3.0\n"


def test_a_link_to_the_modulefile_finds_the_tree(installed: Path, tmp_path: Path) -> None:
    (file,) = (installed / "share/modulefiles/amore").iterdir()
    (tmp_path / "amore").mkdir()
    (tmp_path / "amore/ours").symlink_to(file)
    assert shell("module load amore; type -p amore", tmp_path) == f"{installed / 'bin/amore'}\n"


def test_two_versions_are_not_loaded_at_once(installed: Path, tmp_path: Path) -> None:
    (file,) = (installed / "share/modulefiles/amore").iterdir()
    (tmp_path / "amore").mkdir()
    for name in ("1.0", "2.0"):
        (tmp_path / "amore" / name).symlink_to(file)
    said = shell('module load amore/1.0; module load amore/2.0 || true; echo "$LOADEDMODULES"', tmp_path)
    assert said.splitlines()[0] == "amore/1.0" and "conflict" in said, said
    said = shell('module load amore/1.0; module switch amore amore/2.0; echo "$LOADEDMODULES $PATH"', tmp_path)
    assert said == f"amore/2.0 {installed / 'bin'}:/usr/bin:/bin\n"
