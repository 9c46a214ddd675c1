"""Runs in the EuXFEL format, by extra_data's own writers."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from extra_data.tests.mockdata import write_file
from extra_data.tests.mockdata.basler_camera import BaslerCamera
from extra_data.tests.mockdata.xgm import XGM

XGM_NAME = "SPB_XTD9_XGM/DOOCS/MAIN"
TRAINS = 40


def write_run(folder: Path) -> None:
    """A run with an XGM whose intensities are known, and a camera."""
    folder.mkdir(parents=True)
    path = folder / "RAW-R0001-DA01-S00000.h5"
    sources = [XGM(XGM_NAME), BaslerCamera("SPB_IRU_CAM/CAM/A", sensor_size=(12, 16))]
    write_file(str(path), sources, ntrains=TRAINS, chunksize=8, format_version="1.2")
    with h5py.File(path, "r+") as file:
        file[f"INSTRUMENT/{XGM_NAME}:output/data/intensityTD"][:] = intensities()


def intensities() -> np.ndarray:
    return np.arange(TRAINS * 1000, dtype="f4").reshape(TRAINS, 1000)
