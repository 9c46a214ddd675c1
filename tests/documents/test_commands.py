"""The commands and options that the documentation tells users to type exist."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("AMORE_BIN_DIR", REPOSITORY / "target/release")) / "amore"
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").glob("**/*.md"))]
PROGRAMS = "amore|amore-proto|damnit"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Options of other programs that the text mentions as such: Slurm's, cargo's, and bubblewrap's.
OF_OTHERS = {
    "--above",
    "--bind",
    "--cpus-per-task",
    "--data-binary",
    "--dev",
    "--die-with-parent",
    "--example",
    "--export",
    "--gpus",
    "--home-dir",
    "--mem",
    "--nice",
    "--no-requeue",
    "--nodes",
    "--now",
    "--ntasks",
    "--proc",
    "--read-only",
    "--release",
    "--ro-bind",
    "--system",
    "--time",
    "--tmpfs",
    "--unix-socket",
    "--unshare-pid",
}
# Settings of our programs without --help: those that our programs start themselves, and environment variables of all programs.
STARTED_BY_US = (REPOSITORY / "context/damnit_ctx/host.py", REPOSITORY / "worker/src/sandboxed.rs")
SOURCES = ("orchestrator/src", "worker/src", "crates", "context", "tests", "bench", "slurm-tests", "scripts")
SETTING = re.compile(r"AMORE_[A-Z]+(?:_[A-Z]+)*")
BETWEEN_US = {"AMORE_JOB_VARIABLES", "AMORE_OWNER_TERM"}


@functools.cache
def help_of(*command: str) -> str:
    ended = subprocess.run([str(PROGRAM), *command, "--help"], capture_output=True, text=True, check=False)
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
    of_subcommands = (one for name in commands() for sub in subcommands(name) for one in OPTION.findall(help_of(name, sub)))
    return {"--version", *OPTION.findall(help_of()), *(one for name in commands() for one in options(name)), *of_subcommands}


def code_of(text: str) -> Iterator[str]:
    """Lines of code blocks, and text in backquotes elsewhere."""
    for number, part in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        yield from part.splitlines() if number % 2 else re.findall(r"`([^`\n]+)`", part)


@functools.cache
def subcommands(command: str) -> set[str]:
    """Commands of a command, such as `listener add`; empty if it has none."""
    _, _, listed = help_of(command).partition("Commands:")
    return set(re.findall(r"^  ([a-z][a-z-]*)  ", listed.split("Options:")[0], re.MULTILINE)) - {"help"}


def options_of(command: str, arguments: str) -> set[str]:
    """The options of a command, or of its subcommand if the arguments begin with one."""
    first = re.match(r"[a-z][a-z-]*", arguments.strip())
    if first and first[0] in subcommands(command):
        return set(OPTION.findall(help_of(command, first[0])))
    return options(command)


def calls_in(code: str) -> Iterator[tuple[str, str]]:
    """Calls of our commands in a line, each with its arguments."""
    for call in re.finditer(rf"(?:^|[\s$(])(?:{PROGRAMS})\s+([a-z][a-z-]*)\b([^|;&#]*)", code):
        yield call[1], call[2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
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
                if option not in options_of(command, arguments):
                    wrong.append(f"amore {command} has no {option} ({code})")
            first = re.match(r" *([a-z][a-z-]*)", arguments)
            if first and subcommands(command) and first[1] not in subcommands(command):
                wrong.append(f"amore {command} {first[1]}: no such command ({code})")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_options_in_the_text_exist(page: Path) -> None:
    found = {option for code in code_of(page.read_text()) for option in OPTION.findall(code)}
    between_us = {option for file in STARTED_BY_US for option in OPTION.findall(file.read_text())}
    assert sorted(found - all_options() - between_us - OF_OTHERS) == []


def test_environment_variables_in_the_text_are_read() -> None:
    files = [file for folder in SOURCES for end in ("rs", "py", "sh") for file in (REPOSITORY / folder).rglob(f"*.{end}")]
    sources = "\n".join(file.read_text() for file in files if "_vendor" not in file.parts)
    read = set(SETTING.findall(sources))
    # Commands of variables get each placeholder also as AMORE_ and its name.
    placeholders = (REPOSITORY / "crates/model/src/job.rs").read_text().split("PLACEHOLDERS: ")[1].split(";\n")[0]
    read |= {f"AMORE_{name.upper()}" for name in re.findall(r'"([a-z_]+)"', placeholders)}
    in_manual = {name for page in PAGES for name in SETTING.findall(page.read_text())}
    assert sorted(in_manual - read) == []
    # Each of them is in the manual, except for those that our programs set for each other, and those of tests.
    to_users = set(re.findall(r'env::var(?:_os)?\("(AMORE_[A-Z_]+)"\)', sources))
    assert sorted(name for name in to_users - in_manual - BETWEEN_US if not name.startswith("AMORE_TEST_")) == []


def test_the_table_of_commands_is_complete_and_right() -> None:
    text = (REPOSITORY / "docs/cli.md").read_text()
    rows = re.findall(r"^\| `([a-z][a-z-]*)([^`]*)` \| (.*) \|$", text, re.MULTILINE)
    described = [(command, arguments, more) for command, arguments, more in rows if command in commands()]
    assert commands() - {command for command, *_ in described} == set()
    wrong = [
        f"amore {command}{arguments} has no {option}"
        for command, arguments, more in described
        for option in OPTION.findall(more)
        if option not in options_of(command, arguments) | {"--help"}
    ]
    assert wrong == []
    words = {(command, arguments.split()[0]) for command, arguments, _ in described if arguments}
    assert {("listener", sub) for sub in subcommands("listener")} <= words
