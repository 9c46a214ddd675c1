"""Slurm's variables of a job that functions may read, and that programs which they start do not inherit.

``SLURM_CPUS_PER_TASK`` and others say how large the job is, and functions size their pools by them. Slurm's commands
take the same variables for options: of a job that a function submits they would be the wrong ones. So they stand in
``os.environ``, and not in the environment that the operating system hands on.
"""

from __future__ import annotations

import json
import os

# Set by the worker (worker/src/hosts.rs): a JSON object of names and values.
VARIABLE = "AMORE_JOB_VARIABLES"


_given: dict[str, str] = {}


def make_readable() -> None:
    """Takes the variables from the worker, if it gave any. Called before anything else notes the environment."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return
    _given.update(json.loads(text))
    put_back()
    import subprocess

    # It would hand on os.environ instead; subprocess documents this switch.
    subprocess._USE_POSIX_SPAWN = False  # type: ignore[misc, attr-defined, unused-ignore]


def put_back() -> None:
    """Makes them what they were, after a function that may have changed them."""
    for name, value in _given.items():
        os.environ[name] = value
        os.unsetenv(name)  # leaves os.environ as it is
