"""The contents of DAMNIT 0.4's ``damnit.context``, imported under that name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, Union

from damnit_ctx import Cell, Group, GroupError, Pipeline, RunData, Skip, Variable, context_file, run_files
from damnit_ctx.errors import ContextFileErrors
from damnit_ctx.execute import Results
from damnit_ctx.variables import Variables

__all__ = [
    "Cell",
    "ContextFile",
    "ContextFileErrors",
    "DataType",
    "Group",
    "GroupError",
    "PNGData",
    "Pipeline",
    "Results",
    "RunData",
    "Skip",
    "Variable",
    "add_to_h5_file",
    "generate_thumbnail",
    "get_proposal_path",
    "save_fragment",
]

# How long to wait for a file that another process has open for writing.
_LOCK_PATIENCE_S = 60


class ContextFile(Variables):
    """The variables of a context file."""

    @classmethod
    def from_py_file(cls, path: Union[str, os.PathLike[str]]) -> ContextFile:
        """The file at a path."""
        return cls.from_str(Path(path).read_text(encoding="utf-8"), os.path.abspath(path))

    @classmethod
    def from_str(cls, code: str, path: str = "<string>") -> ContextFile:
        """A file's text."""
        return cls(context_file.load(code, str(path)).variables, code)


class DataType(Enum):
    """Types of objects in files of results."""

    DataArray = "dataarray"
    DataFrame = "dataframe"
    Dataset = "dataset"
    Image = "image"
    PlotlyFigure = "PlotlyFigure"
    Series = "series"
    Timestamp = "timestamp"


class PNGData:
    """An image: the bytes of a PNG file."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def generate_thumbnail(image: Any) -> PNGData:
    """The table's thumbnail of a two-dimensional array."""
    from damnit_ctx import summary

    return PNGData(bytes(summary.thumbnail(image)))


def get_proposal_path(xd_run: Any) -> Any:
    """The proposal's root directory of an open run; an empty string for other objects."""
    if not run_files.is_data_collection(xd_run):
        return ""
    return run_files.proposal_folder(xd_run, os.getcwd())


@contextmanager
def add_to_h5_file(path: Union[str, os.PathLike[str]]) -> Iterator[Any]:
    """An HDF5 file, opened for changes as soon as nobody else has it open for writing."""
    import h5py

    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            file = h5py.File(path, "a")
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    with file:
        yield file


def save_fragment(*_: Any, **__: Any) -> None:
    """Stores results of variables. Not available to functions of a context file.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(
        "Amore stores return values itself: return the value instead of calling save_fragment"
    )
