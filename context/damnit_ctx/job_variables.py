"""Slurm's variables of a job that functions may read, but that programs started by them do not inherit.

``SLURM_CPUS_PER_TASK`` and others describe the size of the job, and functions use them to size pools. Slurm's commands
interpret the same variables as options, which would be wrong for a job that a function submits. They are therefore in
``os.environ``, but not in the environment that child processes inherit.
"""

from __future__ import annotations

import json
import os

# Set by the worker (worker/src/hosts.rs): a JSON object of names and values.
VARIABLE = "AMORE_JOB_VARIABLES"


_given: dict[str, str] = {}


def make_readable() -> None:
    """Takes over the variables from the worker, if any. Called before anything else reads the environment."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return
    _given.update(json.loads(text))
    put_back()
    import subprocess

    # It would pass on os.environ instead; subprocess documents this switch.
    subprocess._USE_POSIX_SPAWN = False  # type: ignore[misc, attr-defined, unused-ignore]


def put_back() -> None:
    """Restores them after a function that may have changed them."""
    for name, value in _given.items():
        os.environ[name] = value
        os.unsetenv(name)  # leaves os.environ as it is
