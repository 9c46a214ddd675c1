"""The examples with curl in docs/api.md work as they are printed, in the directory they are shown for, and harm nothing there."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from http_service import HttpService

from conftest import pipe

PAGE = Path(__file__).resolve().parents[2] / "docs/api.md"
#: What the page calls the directory.
DIRECTORY = "/gpfs/exfel/exp/SPB/202601/p001234/usr/Shared/amore"
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

#: An image, as the demo has it. The data of these tests are without a camera.
CAMERA = """
@Variable(title="Camera")
def camera(run):
    return np.arange(48.0).reshape(6, 8)
"""


def xgm_intensity() -> str:
    """The variable of the demo's context file."""
    text = (PAGE.parents[1] / "demo/context.py").read_text()
    parts = [re.search(pattern, text, re.DOTALL) for pattern in (r"xgm_name = .*?\n", r'@Variable\(title="XGM .*?\n\n')]
    return "\n".join(part[0] for part in parts if part)


class Command:
    """A command of the page, and what is printed below it."""

    def __init__(self, text: str, shown: str) -> None:
        self.text, self.shown = text, shown

    @property
    def is_assignment(self) -> bool:
        """It sets variables of the shell for those that follow."""
        return re.match(r"[A-Z]+=", self.text) is not None

    @property
    def is_endless(self) -> bool:
        """Its answer never ends."""
        return " -N " in self.text


def sections() -> list[list[Command]]:
    """The commands of each section that uses curl. A reader begins at any of them."""
    found = []
    for section in re.split(r"^##+ ", PAGE.read_text(), flags=re.MULTILINE):
        commands: list[Command] = []
        for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("$ "):
                    commands.append(Command(line.removeprefix("$ "), ""))
                elif commands:
                    commands[-1].shown += line
        if any("curl" in command.text for command in commands):
            found.append(commands)
    return found


def users_files(directory: Path) -> dict[str, str]:
    """The files of the users and of the service, without those that change while runs are processed."""
    kept = [path for path in directory.rglob("*") if path.is_file() and ".amore" not in path.parts]
    changing = ("runs.sqlite", "effects.txt", "amore.log")
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in kept
        if not path.name.startswith(changing) and path.parent == directory
    }


@pytest.fixture
def documented(database: pipe.Database, start: Callable[..., HttpService], data_root: Path) -> HttpService:
    """A service of a proposal that has what the examples are about."""
    raw = database.path.parents[2] / "raw"
    raw.unlink()
    raw.mkdir()
    for folder in (data_root / "SA2/202601/p001234/raw").iterdir():
        (raw / folder.name).symlink_to(folder)
    (raw / "r0042").symlink_to(data_root / "SA2/202601/p001234/raw/r0001")
    database.context(xgm_intensity() + CAMERA)
    database.amore("reprocess", "1-3", "42")
    return start()


class Shell:
    """A shell in the service's directory, as a reader of the page has it."""

    def __init__(self, service: HttpService, home: Path) -> None:
        self.service, self.directory = service, service.database.path
        # Options of curl that a reader does not have to type: without them, an error is printed like an answer.
        (home / ".curlrc").write_text("fail\nsilent\nshow-error\nmax-time = 60\n")
        programs = f"{pipe.programs()}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**service.database.environment, "CURL_HOME": str(home), "HOME": str(home), "PATH": programs}

    def run(self, before: list[str], command: Command) -> str:
        """What a command prints after others that set variables."""
        text = command.text.replace(":8711", f":{self.service.port}").replace(DIRECTORY, str(self.directory))
        if command.is_endless:
            text = text.replace("curl ", "curl --max-time 2 ", 1)
        script = "\n".join([*before, text])
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.directory, env=self.environment, capture_output=True, text=True, check=False
        )
        # 28: the time that the test gives it is over.
        good = (0, 28) if command.is_endless else (0,)
        assert done.returncode in good, f"{command.text}\n{done.stdout}{done.stderr}"
        return done.stdout


def as_json(text: str) -> Any:
    """What a text is as JSON, if it is."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def test_the_documented_requests_are_answered(documented: HttpService, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shell = Shell(documented, home)
    context = (shell.directory / "context.py").read_text()
    assert len(sections()) >= 6
    tried = 0
    for commands in sections():
        # `cd` is where the shell is already.
        before: list[str] = []
        for command in commands:
            if command.is_assignment:
                before.append(command.text)
            if "curl" not in command.text:
                continue
            files = users_files(shell.directory)
            printed = shell.run(before, command)
            tried += 1
            left = users_files(shell.directory)
            assert {name: left.get(name) for name in files} == files, f"it harms a file: {command.text}"
            # With -i, the header comes first.
            shown, told = as_json(command.shown), as_json(printed.rpartition("\n\n")[2])
            if isinstance(shown, dict):
                assert isinstance(told, dict) and set(shown) <= set(told), f"{command.text}\n{printed}"
    assert tried >= 15
    assert (shell.directory / "new_context.py").read_text() == context
    assert (shell.directory / "x.npy").read_bytes().startswith(b"\x93NUMPY")
    assert (shell.directory / "camera.png").read_bytes().startswith(b"\x89PNG")


def test_the_documented_way_to_change_the_context_file_changes_it(documented: HttpService, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shell = Shell(documented, home)
    [commands] = [commands for commands in sections() if any("new_context.py" in one.text for one in commands)]
    before = []
    for command in commands:
        if command.is_assignment:
            before.append(command.text)
        elif "--data-binary" in command.text:
            new = shell.directory / "new_context.py"
            new.write_text(new.read_text() + "\n# changed\n")
            shell.run(before, command)
            break
        else:
            shell.run(before, command)
    assert (shell.directory / "context.py").read_text().endswith("# changed\n")


def test_the_documented_values_are_those_of_the_demo(
    database: pipe.Database, start: Callable[..., HttpService], tmp_path: Path
) -> None:
    database.context(xgm_intensity() + CAMERA)
    database.amore("reprocess", "1")
    start()
    (block,) = re.findall(r"```console\n(\$ S=[^\n]*/variables/.*?)```", PAGE.read_text(), re.DOTALL)
    shown = json.loads(re.findall(r"^\{.*?\}$", block, re.DOTALL | re.MULTILINE)[0])
    lines = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
    script = "\n".join(lines).replace("runs/42/", "runs/1/").replace("curl ", "curl --silent --fail-with-body ")
    files = script.replace("-o ", f"-o {tmp_path}/").replace("\ncurl", "\necho; curl")
    done = subprocess.run(
        ["bash", "-ec", files], cwd=database.path, env=database.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    about, answer = (json.loads(line) for line in done.stdout.splitlines() if line)
    assert about["name"] == "xgm_intensity"
    # The numbers are those of another run.
    assert len(answer.pop("data")) == len(shown.pop("data"))
    assert answer == shown
    assert np.load(io.BytesIO((tmp_path / "x.npy").read_bytes())).ndim == 1
    assert (tmp_path / "camera.png").read_bytes().startswith(b"\x89PNG")
