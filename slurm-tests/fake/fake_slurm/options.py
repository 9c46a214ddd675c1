"""Parses command lines strictly: an unlisted option is an error."""

from __future__ import annotations

from collections.abc import Collection


class NotKnown(Exception):
    """Something that Slurm supports but this program does not: an answer would be made up."""


def short(words: list[str], flags: Collection[str], valued: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """`-h -a -u 1000 NAME`: options by name (empty for flags), and the positional arguments."""
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
    """Checks for options without which the answer would differ."""
    for name in names:
        if name not in found:
            raise NotKnown(f"an answer without {name}")
