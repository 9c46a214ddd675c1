"""What the documentation says that users type exists: commands, and the options of each."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import REPOSITORY, programs

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
PROGRAMS = "amore|amore-proto|damnit"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Of other programs, where the text says so.
OF_SLURM = {
    "--above",
    "--cpus-per-task",
    "--export",
    "--gpus",
    "--mem",
    "--nice",
    "--no-requeue",
    "--nodes",
    "--ntasks",
    "--time",
}


@functools.cache
def help_of(*command: str) -> str:
    ended = subprocess.run([str(programs() / "amore"), *command, "--help"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"amore {' '.join(command)} --help: {ended.stderr}"
    return ended.stdout


@functools.cache
def commands() -> set[str]:
    listed = help_of().split("Commands:")[1].split("Options:")[0]
    return set(re.findall(r"^  ([a-z][a-z-]*)  ", listed, re.MULTILINE)) - {"help"}


@functools.cache
def options(command: str) -> set[str]:
    return set(OPTION.findall(help_of(command)))


@functools.cache
def all_options() -> set[str]:
    return {"--version", *OPTION.findall(help_of()), *(one for name in commands() for one in options(name))}


def code_of(text: str) -> Iterator[str]:
    """Lines of code blocks, and what stands in backquotes elsewhere."""
    for number, part in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        yield from part.splitlines() if number % 2 else re.findall(r"`([^`\n]+)`", part)


def calls_in(code: str) -> Iterator[tuple[str, str]]:
    """Commands of ours in a line, each with its arguments."""
    for call in re.finditer(rf"(?:^|[\s$(])(?:{PROGRAMS})\s+([a-z][a-z-]*)\b([^|;&#]*)", code):
        yield call[1], call[2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_have_the_options_that_it_gives_them(page: Path) -> None:
    wrong = []
    for code in code_of(page.read_text()):
        if code.startswith(("from ", "import ")):
            continue
        for command, arguments in calls_in(code):
            if command not in commands():
                wrong.append(f"amore {command}: no such command ({code})")
                continue
            for option in OPTION.findall(arguments):
                if option not in options(command):
                    wrong.append(f"amore {command} has no {option} ({code})")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_in_the_text_exist(page: Path) -> None:
    found = {option for code in code_of(page.read_text()) for option in OPTION.findall(code)}
    assert sorted(found - all_options() - OF_SLURM) == []


def test_the_table_of_commands_is_complete_and_right() -> None:
    text = (REPOSITORY / "docs/cli.md").read_text()
    rows = re.findall(r"^\| `([a-z][a-z-]*)([^`]*)` \| (.*) \|$", text, re.MULTILINE)
    described = {command: more for command, *_, more in rows if command in commands()}
    assert commands() - set(described) == set()
    wrong = [
        f"amore {command} has no {option}"
        for command, more in described.items()
        for option in OPTION.findall(more)
        if option not in options(command) | {"--help"}
    ]
    assert wrong == []
