"""The run: opening it, its start time, its proposal's folder, and a stand-in for ``--mock``."""

from __future__ import annotations

import os
import sys
from datetime import timezone
from pathlib import Path
from typing import Any

import numpy as np

from . import report


def open_run(proposal: int, run: int, data: str, mock: bool = False) -> Any:
    """The run as ``extra_data.open_run`` gives it, or a stand-in.

    Raises:
        Exception: what extra_data says of a run that it cannot open.
    """
    if mock:
        return mock_run()
    import extra_data

    return extra_data.open_run(proposal, run, data=data)


def open_for_pipeline(proposal: int, run: int, data: str) -> tuple[Any, bool]:
    """The run for a pipeline, and whether it has calibrated data."""
    import extra_data

    try:
        extra_data.open_run(proposal, run, data="proc")
        has_proc = True
    except FileNotFoundError:
        has_proc = False
    return extra_data.open_run(proposal, run, data="raw" if data == "raw" else "all"), has_proc


def is_data_collection(run: Any) -> bool:
    """Was the run opened by extra_data?"""
    loaded = sys.modules.get("extra_data")
    return loaded is not None and isinstance(run, loaded.DataCollection)


def start_time(run: Any) -> float:
    """Time stamp of the first train, in seconds since 1970. Files of old runs have none, nor has a run without trains,
    and damaged files may not give it: then the time at which the first file (raw, if there is one) was last written."""
    try:
        stamps = run.select_trains(np.s_[:1]).train_timestamps()
        if len(stamps) > 0 and not np.isnat(stamps[0]):
            moment = np.datetime64(stamps[0], "us").item()
            return float(moment.replace(tzinfo=timezone.utc).timestamp())
    except Exception as error:
        report.log(f"the first train's time cannot be read, using the file's time: {type(error).__name__}: {error}")
    names = sorted(file.filename for file in run.files)
    raw = [name for name in names if "raw" in name]
    return os.stat((raw or names)[0]).st_mtime


def proposal_folder(run: Any, directory: str) -> Path:
    """The root folder of the proposal: that of the run's files, else that of the database directory."""
    if is_data_collection(run):
        return Path(*Path(run.files[0].filename).parts[:-3])
    here = Path(directory)
    for folder in (here, *here.parents):
        if folder.name == "usr":
            return folder.parent
    return here


def mock_run() -> Any:
    """A run of ten trains on which any method may be called and any source be asked for."""
    from unittest.mock import MagicMock

    run = MagicMock()
    run.files = [MagicMock(filename="/tmp/foo/bar.h5")]
    run.train_ids = np.arange(10)
    run.select_trains.side_effect = lambda trains: run
    run.train_timestamps.side_effect = lambda: np.array(run.train_ids + 1493892000000000000, dtype="datetime64[ns]")
    return run
