"""Runs in the EuXFEL format for the benchmarks, written by extra_data's own writers.

There are two proposals with the same number, each below its own data root:

- `trivial`: 50 runs with one gas monitor (XGM) and 100 trains;
- `realistic`: 50 runs with an XGM, a camera, a motor, a temperature sensor, a digitizer and two AGIPD
  modules, raw and corrected.

The writers write the first run, which is then copied. Each copy gets its own values.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from extra_data import RunDirectory
from extra_data.tests.mockdata import write_file
from extra_data.tests.mockdata.adc import ADC
from extra_data.tests.mockdata.basler_camera import BaslerCamera
from extra_data.tests.mockdata.detectors import AGIPDModule
from extra_data.tests.mockdata.motor import Motor
from extra_data.tests.mockdata.tsens import TemperatureSensor
from extra_data.tests.mockdata.xgm import XGM

PROPOSAL = 1234
RUNS = 50
ARRIVALS = 201
FORMAT_VERSION = "1.2"
LAYOUT = "1"
"""Goes up when the data changes: data made by an older bench is then made again."""

XGM_ID = "SPB_XTD9_XGM/DOOCS/MAIN"
CAMERA_ID = "SPB_IRU_CAM/CAM/SIDEMIC"
MOTOR_ID = "SPB_IRU_MOTOR/MOTOR/SAMPLE_X"
SENSOR_ID = "SPB_IRU_TSENS/TSENS/SAMPLE"
ADC_ID = "SPB_IRU_ADC/ADC/DIGITIZER"
ADC_CHANNEL = "channel_1.output/data"
MODULES = (0, 1)
CAMERA_SIZE = (256, 320)
TRIVIAL_TRAINS = 100
REALISTIC_TRAINS = 50
FRAMES = 8


def trivial(target: Path) -> Path:
    """The data root of the trivial runs. They are created if they do not exist."""
    return _made(target / "data" / "trivial", _write_trivial)


def arrivals(target: Path) -> Path:
    """A data root with the trivial runs under many numbers: one for each event."""
    source = trivial(target) / "SPB" / "202601" / f"p{PROPOSAL:06d}" / "raw"
    root = target / "data" / "arrivals"
    raw = root / "SPB" / "202601" / f"p{PROPOSAL:06d}" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for run in range(1, ARRIVALS + 1):
        link = raw / f"r{run:04d}"
        if not link.is_symlink():
            link.symlink_to(source / f"r{(run - 1) % RUNS + 1:04d}")
    return root


def realistic(target: Path) -> Path:
    """The data root of the realistic runs. They are created if they do not exist."""
    return _made(target / "data" / "realistic", _write_realistic)


def pulse_energy(root: Path, run: int) -> float:
    """The mean pulse energy of a trivial run."""
    proposal = root / "SPB" / "202601" / f"p{PROPOSAL:06d}"
    with h5py.File(_run_file(proposal, "raw", run, "DA01")) as f:
        return float(f[f"INSTRUMENT/{XGM_ID}:output/data/intensityTD"][:TRIVIAL_TRAINS].mean())


def _made(root: Path, write: Callable[[Path], None]) -> Path:
    done = root / "layout"
    if not done.is_file() or done.read_text() != LAYOUT:
        shutil.rmtree(root, ignore_errors=True)
        proposal = root / "SPB" / "202601" / f"p{PROPOSAL:06d}"
        write(proposal)
        # extra_data keeps an index next to each run. Without it, whoever opens a run first would have the
        # cost of creating it.
        for run in sorted(proposal.glob("*/r*")):
            RunDirectory(run)
        done.write_text(LAYOUT)
    return root


def _run_file(proposal: Path, kind: str, run: int, part: str) -> Path:
    prefix = "CORR" if kind == "proc" else "RAW"
    return proposal / kind / f"r{run:04d}" / f"{prefix}-R{run:04d}-{part}-S00000.h5"


def _copies(first: Path, others: list[Path], fill: Callable[[h5py.File, int], None]) -> None:
    """Copy the files of the first run for the others, and set the values of each run, including the first.
    """
    for other in others:
        other.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(first, other)
    for run, path in enumerate([first, *others], start=1):
        with h5py.File(path, "r+") as f:
            fill(f, run)


def _write_trivial(proposal: Path) -> None:
    files = [_run_file(proposal, "raw", run, "DA01") for run in range(1, RUNS + 1)]
    files[0].parent.mkdir(parents=True)
    write_file(files[0], [XGM(XGM_ID)], ntrains=TRIVIAL_TRAINS, format_version=FORMAT_VERSION)
    _copies(files[0], files[1:], lambda f, run: _fill_xgm(f, run, TRIVIAL_TRAINS))


def _write_realistic(proposal: Path) -> None:
    runs = range(2, RUNS + 1)
    daq = _run_file(proposal, "raw", 1, "DA01")
    daq.parent.mkdir(parents=True)
    devices = [
        XGM(XGM_ID),
        BaslerCamera(CAMERA_ID, sensor_size=CAMERA_SIZE),
        Motor(MOTOR_ID),
        TemperatureSensor(SENSOR_ID),
        ADC(ADC_ID, channels=(ADC_CHANNEL,)),
    ]
    write_file(daq, devices, ntrains=REALISTIC_TRAINS, chunksize=50, format_version=FORMAT_VERSION)
    _copies(daq, [_run_file(proposal, "raw", run, "DA01") for run in runs], _fill_daq)

    frames = np.zeros(REALISTIC_TRAINS, dtype=np.uint64)
    frames[:: REALISTIC_TRAINS // FRAMES][:FRAMES] = 1
    for kind in ("raw", "proc"):
        for module in MODULES:
            part = f"AGIPD{module:02d}"
            first = _run_file(proposal, kind, 1, part)
            first.parent.mkdir(parents=True, exist_ok=True)
            device = AGIPDModule(_module_id(module), frames_per_train=frames, raw=kind == "raw")
            write_file(first, [device], ntrains=REALISTIC_TRAINS, chunksize=8, format_version=FORMAT_VERSION)
            _copies(first, [_run_file(proposal, kind, run, part) for run in runs], _fill_module(module))


def _module_id(module: int) -> str:
    return f"SPB_DET_AGIPD1M-1/DET/{module}CH0"


def _fill_xgm(f: h5py.File, run: int, trains: int) -> None:
    rng = np.random.default_rng([PROPOSAL, run])
    f[f"INSTRUMENT/{XGM_ID}:output/data/intensityTD"][:trains] = rng.normal(1000 + run, 30, (trains, 1000))
    f[f"CONTROL/{XGM_ID}/pulseEnergy/photonFlux/value"][:trains] = rng.normal(900 + run, 20, trains)
    f[f"CONTROL/{XGM_ID}/pulseEnergy/wavelengthUsed/value"][:trains] = 0.1333
    f[f"RUN/{XGM_ID}/pulseEnergy/wavelengthUsed/value"][:] = 0.1333


def _fill_daq(f: h5py.File, run: int) -> None:
    n = REALISTIC_TRAINS
    _fill_xgm(f, run, n)
    rng = np.random.default_rng([PROPOSAL, run, 1])
    rows, columns = np.mgrid[: CAMERA_SIZE[0], : CAMERA_SIZE[1]]
    distance = (rows - 128 - run % 7) ** 2 + (columns - 160 + run % 5) ** 2
    spot = (2500 * np.exp(-distance / 800)).astype("u2")
    noise = rng.integers(90, 110, (n, 1, CAMERA_SIZE[1]), dtype="u2")
    f[f"INSTRUMENT/{CAMERA_ID}:daqOutput/data/image/pixels"][:n] = spot + noise

    target = -2.0 + 0.25 * run
    f[f"CONTROL/{MOTOR_ID}/targetPosition/value"][:n] = target
    f[f"CONTROL/{MOTOR_ID}/actualPosition/value"][:n] = target + rng.normal(0, 0.0005, n)
    f[f"RUN/{MOTOR_ID}/targetPosition/value"][:] = target
    f[f"CONTROL/{SENSOR_ID}/value/value"][:n] = 21 + 0.05 * run + rng.normal(0, 0.01, n)
    pulses = 900 * np.exp(-(((np.arange(4096) % 128) - 32) ** 2) / 60.0)
    f[f"INSTRUMENT/{ADC_ID}:{ADC_CHANNEL}/rawData"][:n] = 200 + pulses + rng.integers(0, 10, (n, 4096))


def _fill_module(module: int) -> Callable[[h5py.File, int], None]:
    source = f"INSTRUMENT/{_module_id(module)}:xtdf/image/data"

    def fill(f: h5py.File, run: int) -> None:
        rng = np.random.default_rng([PROPOSAL, run, 2 + module])
        images = f[source]
        images[:] = rng.integers(4000, 5000, images.shape[1:], dtype="u2") + (run + module)

    return fill
