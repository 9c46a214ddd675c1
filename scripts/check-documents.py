#!/usr/bin/env python3
"""Checks that names in the documents exist, and that each invariant of ARCHITECTURE.md names what enforces it.

- Relative links point to existing files and headings.
- Paths in `code` exist (a folder, a file, or the end of a file's path), as do targets of `make`.
- Each invariant of ARCHITECTURE.md names what enforces it: `path` or `path::name`, where the file contains `name`.

Prints one line for each problem; then the exit code is 1. (Commands and their options are checked by
tests/documents, which need the programs.)
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
#: A path within a repository like this one: it has a folder, or an extension of ours.
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")
EXTENSIONS = (".rs", ".py", ".toml", ".sh")
ARCHITECTURE = "ARCHITECTURE.md"
#: What the documents talk about and is no file of this repository: a site's file, and DAMNIT's module.
NOT_OURS = {"etc/amore.toml", "damnit", "service.toml"}


def tracked() -> list[str]:
    """Files of the repository, and those that are about to be added."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(listing, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    return [name for name in answer.stdout.splitlines() if (REPOSITORY / name).exists()]


FILES = tracked()
FOLDERS = {str(parent) for name in FILES for parent in Path(name).parents}
PAGES = [name for name in FILES if name.endswith(".md")]


def prose(text: str) -> str:
    """The text without code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchor(heading: str) -> str:
    """The anchor of a heading."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", words).strip())


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings."""
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", prose((REPOSITORY / page).read_text()), re.MULTILINE)}


def links(page: str) -> Iterator[str]:
    """Links without a target."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose((REPOSITORY / page).read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = link.partition("#")
        target = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        if not target.exists():
            yield f"{page}: the link {link} leads to no file"
        elif heading and target.suffix == ".md" and heading not in anchors(str(target.resolve().relative_to(REPOSITORY))):
            yield f"{page}: the link {link} leads to no heading"


def exists(path: str, page: str) -> bool:
    """Whether it is a file or folder, relative to the repository or to the page, or the end of a file's path."""
    path = path.rstrip("/").removeprefix("./")
    if path in FOLDERS or path in FILES:
        return True
    if ((REPOSITORY / page).parent / path).exists():
        return True
    return any(name.endswith(f"/{path}") for name in (*FILES, *FOLDERS))


def paths(page: str) -> Iterator[str]:
    """Paths of source files, in backquotes, that do not exist."""
    heads = {name.split("/")[0] for name in FILES if "/" in name}
    for code in re.findall(r"`([^`\n]+)`", prose((REPOSITORY / page).read_text())):
        path = code.partition("::")[0]
        if not PATH.fullmatch(path) or "..." in path:
            continue
        ours = path.split("/")[0] in heads and "/" in path
        if (ours or path.endswith(EXTENSIONS)) and path not in NOT_OURS and not exists(path, page):
            yield f"{page}: there is no {path}"


def make_targets(page: str) -> Iterator[str]:
    """Targets of `make` that the Makefile does not have."""
    known = set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    text = (REPOSITORY / page).read_text()
    code = "\n".join([*re.findall(r"`([^`\n]+)`", prose(text)), *re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)])
    for target in re.findall(r"(?:^|[\s$])make ([a-z][a-z-]*)", code, re.MULTILINE):
        if target not in known:
            yield f"{page}: the Makefile has no target {target}"


def rooms() -> Iterator[str]:
    """Names of modules in the table of ARCHITECTURE.md that do not exist in the directory of their row."""
    for row in re.findall(r"^\| (`.+) \|$", (REPOSITORY / ARCHITECTURE).read_text(), re.MULTILINE):
        places, _, answer = row.partition(" | ")
        folders = [folder.rstrip("/") for folder in re.findall(r"`([^`]+)`", places)]
        inside = {
            part
            for name in FILES
            for folder in folders
            if name.startswith(f"{folder}/")
            for part in (Path(name).stem, *Path(name).parent.parts)
        }
        for word in re.findall(r"`([a-z_]+)/?`", answer):
            if word not in inside | NOT_OURS and not exists(word, ARCHITECTURE):
                yield f"{ARCHITECTURE}: there is no {word} in {' or '.join(folders)}"


def invariants() -> Iterator[str]:
    """Invariants that name nothing that enforces them, or something that does not exist."""
    text = (REPOSITORY / ARCHITECTURE).read_text().partition("\n## Invariants\n")[2].partition("\n## ")[0]
    found = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        yield f"{ARCHITECTURE}: there is no list of invariants"
    for number, invariant in found:
        holders = re.findall(r"`([^`]+)`", invariant.partition("Enforced by")[2])
        if not holders:
            yield f"{ARCHITECTURE}: invariant {number} does not say which test or lint enforces it"
        for holder in holders:
            path, _, name = holder.partition("::")
            if path not in FILES:
                yield f"{ARCHITECTURE}: invariant {number} is enforced by {path}, which does not exist"
            elif name and not re.search(rf"\b{re.escape(name)}\b", (REPOSITORY / path).read_text()):
                yield f"{ARCHITECTURE}: invariant {number} is enforced by {name}, which {path} does not contain"


def main() -> int:
    """Checks all documents."""
    checks = (links, paths, make_targets)
    wrong = [problem for page in PAGES for check in checks for problem in check(page)]
    wrong += [*rooms(), *invariants()]
    print("\n".join(wrong) if wrong else "documents: what they name exists")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
