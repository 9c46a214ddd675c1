"""Virtual environments for the tests, created once and kept in target/venvs."""

import fcntl
import os
import re
import shutil
from pathlib import Path

from commands import REPO, TARGET, run

# The packages that a context file's Python must have, and no others.
CONTEXT_PACKAGES = ("extra_data", "pyyaml", "requests")
# A Kafka broker that keeps its messages in a file.
NAFKA_PACKAGES = ("nafka==0.1", "kafka-python>=2,<3")
PEER_PACKAGES = ("damnit[backend]==0.4.0", "netCDF4", "plotly", "pyarrow")


# Hundreds of megabytes come from an index, beside other tests.
INSTALL_PATIENCE_S = 1800


def make_venv(name: str, base_python: Path, packages: tuple[str, ...]) -> Path:
    """Python of the environment `name` with these packages. It is created if it does not exist or has other packages."""
    folder = TARGET / "venvs" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    stamp = folder / "made-for-tests.txt"
    wanted = "\n".join([str(base_python), *packages]) + "\n"
    with open(folder.with_suffix(folder.suffix + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.is_file() and stamp.read_text() == wanted and python.exists()):
            shutil.rmtree(folder, ignore_errors=True)
            run([base_python, "-m", "venv", folder])
            run([REPO / "scripts/pip.sh", python, *packages], patience_s=INSTALL_PATIENCE_S)
            stamp.write_text(wanted)
    return python


def interpreters() -> dict[str, Path]:
    """Pythons from 3.9 on, by "3.x": one per version, from pyenv and from PATH."""
    found: dict[str, Path] = {}
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [*sorted((root / "versions").glob("3.*/bin/python")), *on_path()]
    for python in candidates:
        version = version_of(python)
        if version is not None and version >= (3, 9):
            found.setdefault(f"3.{version[1]}", python)
    return dict(sorted(found.items(), key=lambda item: int(item[0][2:])))


def on_path() -> list[Path]:
    """`python3.x` commands on PATH."""
    names = [f"python3.{minor}" for minor in range(9, 20)]
    return [Path(path) for path in map(shutil.which, names) if path]


def version_of(python: Path) -> tuple[int, int] | None:
    """Its version, or None if it cannot be used.

    pyenv leaves commands on PATH that do not work, and Debian's Python may lack the module that creates environments.
    """
    try:
        code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
        match = re.fullmatch(r"(3) (\d+)\n", run([python, "-c", code]).stdout)
    except (AssertionError, OSError):
        return None
    return (3, int(match[2])) if match else None
