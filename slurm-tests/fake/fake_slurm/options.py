"""Reading a command line, strictly: what is not listed is not known, and said so."""

from __future__ import annotations

from collections.abc import Collection


class NotKnown(Exception):
    """Something that Slurm may know, and this program does not: an answer would be made up."""


def short(words: list[str], flags: Collection[str], valued: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """`-h -a -u 1000 NAME`: options by name (flags are empty), and the other words."""
    found: dict[str, str] = {}
    others = []
    rest = iter(words)
    for word in rest:
        if word in flags:
            found[word] = ""
        elif word in valued:
            found[word] = next(rest, "")
        elif word.startswith("-"):
            raise NotKnown(f"the option {word}")
        else:
            others.append(word)
    return found, others


def long(words: list[str], flags: Collection[str], valued: Collection[str]) -> dict[str, str]:
    """`--parsable --name=value`, and nothing else."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if word in flags:
            found[word] = ""
        elif equals and name in valued:
            found[name] = value
        else:
            raise NotKnown(f"the option {word}")
    return found


def needed(found: dict[str, str], *names: str) -> None:
    """Options without which the answer would be another one."""
    for name in names:
        if name not in found:
            raise NotKnown(f"an answer without {name}")
