"""A PostgreSQL server of the benchmark's own, which syncs each commit to the disk as a real one does."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cluster


def _programs() -> Path:
    """The directory of the newest server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise cluster.Skipped("PostgreSQL is not installed (scripts/setup.sh postgres)")
    return Path(on_path).resolve().parent


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start a server with its data in a new folder; gives its address."""
    programs = _programs()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # PostgreSQL refuses to run as root.
    as_nobody = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        as_nobody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
    data = folder / "data"
    control = [programs / "pg_ctl", "-D", data, "-w", "-s"]
    options = f"-k {folder} -c listen_addresses="
    initdb = [programs / "initdb", "-D", data, "-U", "amore", "-A", "trust", "-E", "UTF8", "--locale=C"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_nobody)  # type: ignore[call-overload]
    start = [*control, "-l", folder / "log", "-o", options, "start"]
    subprocess.run(start, check=True, cwd=folder, **as_nobody)  # type: ignore[call-overload]
    try:
        yield f"postgres://amore@localhost/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=True, cwd=folder, **as_nobody)  # type: ignore[call-overload]
        shutil.rmtree(folder, ignore_errors=True)
