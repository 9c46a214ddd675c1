"""What a variable asks Slurm for: ``cpus=8, mem="64G", time="2:00:00"`` in one form (``Resources`` in crates/model)."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional, Union

# The arguments of `Variable`.
ARGUMENTS = ("cpus", "mem", "gpus", "time", "nodes", "constraint", "partition", "reservation", "account", "qos")
# Those of `SlurmJob`: a variable is one process, a command may start more.
JOB_ARGUMENTS = (*ARGUMENTS, "ntasks")

# Compiled when they are first needed: most variables ask for nothing.
_MEM = r"([0-9]{1,18})([kKmMgGtT]?)\Z"
_TIME = r"(?:([0-9]{1,9})-)?([0-9]{1,9})(?::([0-9]{1,9}))?(?::([0-9]{1,9}))?\Z"
# One word, which sbatch cannot take for an option.
_WORD = r"[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]*\Z"
_COUNT_END = 2**32
_MEM_END = 2**53  # read by programs that know only floating-point numbers


class Wrong(ValueError):
    """A value that Slurm would not take. The message completes ``cpus='eight', ...``."""

    def __init__(self, message: str, hint: Optional[str] = None) -> None:
        super().__init__(message)
        self.hint = hint


def read(given: Mapping[str, Any]) -> dict[str, Union[int, str]]:
    """``Resources`` of the arguments; those with a wrong value are left out."""
    found: dict[str, Union[int, str]] = {}
    for argument, value in given.items():
        name, of = _READERS[argument]
        try:
            found[name] = of(value)
        except Wrong:
            pass
    return found


def wrong(given: Mapping[str, Any]) -> Iterator[tuple[str, Optional[str]]]:
    """Message and hint for each argument with a wrong value."""
    for argument, value in given.items():
        try:
            _READERS[argument][1](value)
        except Wrong as error:
            yield f"{argument}={value!r}, {error}", error.hint


def _whole(value: Any) -> Optional[int]:
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _count(value: Any) -> int:
    count = _whole(value)
    if count is None or not 0 < count < _COUNT_END:
        hint = "omit it if none is needed" if count == 0 else None
        raise Wrong("which must be a positive integer", hint)
    return count


def _mem(value: Any) -> int:
    """MiB."""
    amount = _whole(value)
    if amount is None:
        match = re.match(_MEM, value) if isinstance(value, str) else None
        if match is None:
            raise Wrong("which is not an amount of memory", _mem_hint(value))
        number, unit = int(match[1]), match[2].upper()
        # As sbatch does: a bare number is MiB, KiB are rounded up.
        amount = -(-number // 1024) if unit == "K" else number * {"": 1, "M": 1, "G": 2**10, "T": 2**20}[unit]
    if not 0 < amount < _MEM_END:
        raise Wrong(
            "which must be more than nothing" if amount <= 0 else "which is too large",
            "omit it for the partition's default" if amount == 0 else None,
        )
    return amount


def _mem_hint(value: Any) -> str:
    near = re.match(r"\s*([0-9]+)\s*([kKmMgGtT])i?[bB]?\s*\Z", value) if isinstance(value, str) else None
    if near is not None:
        return f"write {near[1] + near[2].upper()!r}"
    return "an integer followed by K, M, G or T, as for sbatch: '500M', '64G'; without a unit it is MiB"


def _time(value: Any) -> int:
    """Minutes."""
    minutes = _whole(value)
    if minutes is None:
        match = re.match(_TIME, value) if isinstance(value, str) else None
        if match is None:
            raise Wrong("which is not a time", _time_hint(value))
        days, *rest = match.groups()
        first, second, third = (int(part or 0) for part in rest)
        if days is not None:  # d-hh, d-hh:mm, d-hh:mm:ss
            seconds = ((int(days) * 24 + first) * 60 + second) * 60 + third
        elif rest[2] is not None:  # hh:mm:ss
            seconds = (first * 60 + second) * 60 + third
        else:  # mm, mm:ss
            seconds = first * 60 + second
        minutes = -(-seconds // 60)  # as Slurm does
    if not 0 < minutes < _COUNT_END:
        hint = "omit it for the partition's limit" if minutes == 0 else None
        raise Wrong("which must be at least a minute" if minutes <= 0 else "which is too long", hint)
    return minutes


def _time_hint(value: Any) -> str:
    if isinstance(value, str) and value.lower() in ("unlimited", "infinite"):
        return "omit it for the partition's limit"
    return "minutes, 'mm:ss', 'hh:mm:ss', 'd-hh', 'd-hh:mm' or 'd-hh:mm:ss', as for sbatch"


def _word(value: Any) -> str:
    if not isinstance(value, str) or re.match(_WORD, value) is None:
        raise Wrong("which must be a single word for sbatch, without spaces")
    return value


_READERS: dict[str, tuple[str, Callable[[Any], Union[int, str]]]] = {
    "cpus": ("cpus", _count),
    "mem": ("mem_mib", _mem),
    "gpus": ("gpus", _count),
    "time": ("time_minutes", _time),
    "nodes": ("nodes", _count),
    "constraint": ("constraint", _word),
    "partition": ("partition", _word),
    "reservation": ("reservation", _word),
    "account": ("account", _word),
    "qos": ("qos", _word),
    "ntasks": ("ntasks", _count),
}
