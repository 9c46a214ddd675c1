"""What a context file imports: variables, cells, groups and pipelines.

::

    from damnit_ctx import Variable

    @Variable(title="XGM intensity", summary="mean", units="uJ")
    def xgm_intensity(run):
        return run["SA2_XTD1_XGM/XGM/DOOCS:output", "data.intensityTD"].xarray()

The user's own interpreter finds the package through ``PYTHONPATH``. It only needs NumPy there; support for other
libraries (xarray, pandas, matplotlib, plotly) is used only if the context file has imported them.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import as_damnit

if TYPE_CHECKING:
    from .cell import Cell
    from .errors import GroupError, Skip
    from .group import Group
    from .job_outcome import JobOutcome
    from .pipeline import Pipeline
    from .slurm_job import SlurmJob
    from .submission import SubmitError, submit
    from .variable import RunData, Variable

if sys.version_info < (3, 9):  # noqa: UP036 (an older one is what this is for)
    raise ImportError(f"Amore needs Python 3.9 or later; {sys.executable} is {sys.version.split()[0]}")

__all__ = [
    "Cell",
    "Group",
    "GroupError",
    "JobOutcome",
    "Pipeline",
    "RunData",
    "Skip",
    "SlurmJob",
    "SubmitError",
    "Variable",
    "submit",
]

_HOMES = {
    "Cell": ".cell",
    "Group": ".group",
    "GroupError": ".errors",
    "JobOutcome": ".job_outcome",
    "Pipeline": ".pipeline",
    "RunData": ".variable",
    "Skip": ".errors",
    "SlurmJob": ".slurm_job",
    "SubmitError": ".submission",
    "Variable": ".variable",
    "submit": ".submission",
}


as_damnit.install()


def __getattr__(name: str) -> Any:
    # Loaded on demand: the host must be able to start without NumPy, to report what is missing.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value
