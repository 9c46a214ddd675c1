"""Write a proposal in the EuXFEL data format, filled with made-up measurements.

    python make_proposal.py --root DIR [--runs 20] [--proposal 1234] [--small]

writes DIR/SPB/202601/p001234/{raw,proc,usr/Shared}. The files come from extra_data's own writers (format
1.2), so whatever reads real runs reads these. All numbers depend on proposal and run only: two calls
on two machines give the same data. Existing runs are kept, so calling it again does nothing.

Each run has a DAQ file with a gas monitor (XGM), a camera, a motor, a temperature sensor and a digitizer, and
AGIPD modules, one of each quadrant; every even run is "calibrated" and has their corrected images.
"""

import argparse
import json
import shutil
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import h5py
import numpy as np
from extra_data.tests.mockdata import write_file
from extra_data.tests.mockdata.adc import ADC
from extra_data.tests.mockdata.basler_camera import BaslerCamera
from extra_data.tests.mockdata.detectors import AGIPDModule
from extra_data.tests.mockdata.motor import Motor
from extra_data.tests.mockdata.tsens import TemperatureSensor
from extra_data.tests.mockdata.xgm import XGM

INSTRUMENT = "SPB"
CYCLE = "202601"
FORMAT_VERSION = "1.2"
# The XGM of the DAMNIT manual's example, so that the example runs here word for word.
XGM_ID = "SA2_XTD1_XGM/XGM/DOOCS"
CAMERA_ID = "SPB_IRU_CAM/CAM/SIDEMIC"
MOTOR_ID = "SPB_IRU_MOTOR/MOTOR/SAMPLE_X"
SENSOR_ID = "SPB_IRU_TSENS/TSENS/SAMPLE"
ADC_ID = "SPB_IRU_ADC/ADC/DIGITIZER"
ADC_CHANNEL = "channel_1.output"
DETECTOR_ID = "SPB_DET_AGIPD1M-1"
MODULES = (0, 4, 8, 12)
FIRST_START = datetime(2026, 3, 12, 8, 0, tzinfo=timezone.utc)
SAMPLES = ("lysozyme", "water", "silver behenate", "Löß (Kiesgrube)")


class BunchCountingXGM(XGM):
    """An XGM that also reports the number of bunches, as real ones do and the mock does not."""

    control_keys = [*XGM.control_keys, ("pulseEnergy/numberOfBunchesActual", "i4", ())]


@dataclass(frozen=True)
class Size:
    """How much data a run has."""

    trains: int
    camera: tuple[int, int]
    modules: int
    frames: int

    @property
    def frames_per_train(self) -> np.ndarray:
        """The detector kept one image in some of the trains, spread evenly over the run."""
        counts = np.zeros(self.trains, dtype=np.uint64)
        counts[:: self.trains // self.frames][: self.frames] = 1
        return counts


FULL = Size(trains=60, camera=(96, 128), modules=4, frames=4)
SMALL = Size(trains=12, camera=(32, 40), modules=1, frames=2)


def first_train(run: int) -> int:
    """Train ID that a run starts with: runs are ten minutes apart, trains a tenth of a second."""
    return 2_000_000_000 + run * 6000


def number_of_pulses(run: int) -> int:
    """Pulses in each train of a run."""
    return 20 + 10 * (run % 3)


def motor_position(run: int) -> float:
    """Position of the sample in a run, in mm."""
    return round(-2.0 + 0.25 * (run - 1), 3)


def has_proc(run: int) -> bool:
    """Every second run was calibrated."""
    return run % 2 == 0


def fill_daq(f: h5py.File, proposal: int, run: int, size: Size) -> None:
    """Fill in the values of every device of the DAQ file."""
    rng = np.random.default_rng([proposal, run])
    n = size.trains
    seconds = np.arange(n) / 10
    pulses = number_of_pulses(run)

    energy = rng.normal(1000, 30, (n, pulses)) * (1 + 0.02 * np.sin(seconds * 2))[:, None]
    intensity = rng.uniform(0, 0.2, (n, 1000)).astype("f4")
    intensity[:, :pulses] = energy
    f[f"INSTRUMENT/{XGM_ID}:output/data/intensityTD"][:n] = intensity
    pulse_energy = f[f"CONTROL/{XGM_ID}/pulseEnergy"]
    pulse_energy["photonFlux/value"][:n] = energy.mean(axis=1)
    pulse_energy["numberOfBunchesActual/value"][:n] = pulses
    pulse_energy["wavelengthUsed/value"][:n] = 0.1333
    for key, value in (("numberOfBunchesActual", pulses), ("wavelengthUsed", 0.1333)):
        f[f"RUN/{XGM_ID}/pulseEnergy/{key}/value"][:] = value

    rows, columns = np.mgrid[: size.camera[0], : size.camera[1]]
    drift = np.sin(seconds) * 2
    middle_row = size.camera[0] / 2 + 5 * np.sin(run / 3)
    middle_column = size.camera[1] / 2 + 8 * np.cos(run / 4) + drift
    width = size.camera[0] / 12
    distance = (rows - middle_row) ** 2 + (columns - middle_column[:, None, None]) ** 2
    spot = 2.5 * energy.mean(axis=1)[:, None, None] * np.exp(-distance / (2 * width**2))
    image = f[f"INSTRUMENT/{CAMERA_ID}:daqOutput/data/image"]
    image["pixels"][:n] = np.rint(spot + rng.integers(90, 110, spot.shape)).astype("u2")

    target = motor_position(run)
    motor = f[f"CONTROL/{MOTOR_ID}"]
    motor["targetPosition/value"][:n] = target
    motor["actualPosition/value"][:n] = target + rng.normal(0, 0.0005, n)
    f[f"RUN/{MOTOR_ID}/targetPosition/value"][:] = target
    f[f"RUN/{MOTOR_ID}/actualPosition/value"][:] = target

    f[f"CONTROL/{SENSOR_ID}/value/value"][:n] = 21 + 0.05 * run + 0.02 * seconds + rng.normal(0, 0.005, n)

    digitizer = f[f"INSTRUMENT/{ADC_ID}:{ADC_CHANNEL}/data"]
    samples = np.arange(4096)
    pulse_shape = 900 * np.exp(-(((samples % 128) - 32) ** 2) / 60.0) * (samples // 128 < pulses)
    traces = 200 + pulse_shape + rng.integers(-5, 6, (n, 4096))
    digitizer["rawData"][:n] = np.rint(traces).astype("u2")
    digitizer["baseline"][:n] = 200.0


def fill_module(f: h5py.File, proposal: int, run: int, module: int, source: str) -> None:
    """Scattering rings in the corrected images of one module."""
    rng = np.random.default_rng([proposal, run, module])
    group = f[f"INSTRUMENT/{source}/image"]
    row, column = np.mgrid[:512, :128]
    radius = np.hypot(row - 256, column + 20)
    rings = 3 + 2 * np.cos(radius / 12 + 0.1 * run) * np.exp(-radius / 200)
    images = np.empty(group["data"].shape, dtype="f4")
    for frame in range(len(images)):
        # Photon counts at 8 keV: whole photons, with the gain of one module a little above its neighbour's.
        photons = rng.poisson(rings * (1 + 0.05 * frame))
        images[frame] = photons.astype("f4") * np.float32(8.0 + module / 16)
    # Compressed, which the calibration pipeline can do, to keep the demo small on disk.
    del group["data"]
    group.create_dataset(
        "data", data=images, chunks=(1, 512, 128), compression="gzip", compression_opts=1, shuffle=True
    )
    # A few dead pixels, as masked by the calibration.
    group["mask"][:, 100 + module, :16] = 1


def fix_metadata(f: h5py.File, proposal: int, run: int, size: Size) -> None:
    """Replace what the mock writer takes from the clock and from its own example run."""
    start = FIRST_START + timedelta(minutes=10 * run)
    nanoseconds = int(start.timestamp()) * 10**9
    f["INDEX/timestamp"][: size.trains] = nanoseconds + np.arange(size.trains, dtype="u8") * 10**8
    metadata = f["METADATA"]
    metadata["proposalNumber"][:] = proposal
    metadata["runNumber"][:] = run
    stamps = {"creationDate": start, "updateDate": start + timedelta(minutes=5)}
    texts = {name: moment.strftime("%Y%m%dT%H%M%SZ") for name, moment in stamps.items()}
    texts["sample"] = SAMPLES[run % len(SAMPLES)]
    texts["runType"] = "Calibration - Dark" if run == 1 else "Sample"
    for name, text in texts.items():
        del metadata[name]
        metadata[name] = [text.encode()]


def write_raw(folder: Path, proposal: int, run: int, size: Size) -> None:
    """All raw files of a run."""
    path = folder / f"RAW-R{run:04}-DA01-S00000.h5"
    devices = [
        BunchCountingXGM(XGM_ID),
        BaslerCamera(CAMERA_ID, sensor_size=size.camera),
        Motor(MOTOR_ID),
        TemperatureSensor(SENSOR_ID),
        ADC(ADC_ID, channels=(f"{ADC_CHANNEL}/data",)),
    ]
    write_file(
        str(path),
        devices,
        ntrains=size.trains,
        firsttrain=first_train(run),
        chunksize=16,
        format_version=FORMAT_VERSION,
    )
    with h5py.File(path, "r+") as f:
        fill_daq(f, proposal, run, size)
        fix_metadata(f, proposal, run, size)

    for module in MODULES[: size.modules]:
        path = folder / f"RAW-R{run:04}-AGIPD{module:02}-S00000.h5"
        detector = AGIPDModule(f"{DETECTOR_ID}/DET/{module}CH0", frames_per_train=size.frames_per_train)
        write_file(
            str(path),
            [detector],
            ntrains=size.trains,
            firsttrain=first_train(run),
            chunksize=16,
            format_version=FORMAT_VERSION,
        )
        with h5py.File(path, "r+") as f:
            fix_metadata(f, proposal, run, size)


def write_proc(folder: Path, proposal: int, run: int, size: Size) -> None:
    """All corrected files of a run."""
    for module in MODULES[: size.modules]:
        path = folder / f"CORR-R{run:04}-AGIPD{module:02}-S00000.h5"
        detector = AGIPDModule(
            f"{DETECTOR_ID}/CORR/{module}CH0",
            frames_per_train=size.frames_per_train,
            raw=False,
            channel_name="output",
            legacy_name=f"{DETECTOR_ID}/DET/{module}CH0",
        )
        write_file(
            str(path),
            [detector],
            ntrains=size.trains,
            firsttrain=first_train(run),
            chunksize=16,
            format_version=FORMAT_VERSION,
        )
        with h5py.File(path, "r+") as f:
            fill_module(f, proposal, run, module, f"{DETECTOR_ID}/CORR/{module}CH0:output")
            fix_metadata(f, proposal, run, size)


def write_folder(folder: Path, write, *arguments) -> bool:
    """Fill a run's folder under another name, then rename it: it exists complete or not at all.

    Returns whether there was anything to do.
    """
    if folder.is_dir():
        return False
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial, *arguments)
    partial.rename(folder)
    return True


def make_proposal(root: Path, proposal: int, runs: int, size: Size, progress) -> Path:
    """Write runs 1 to `runs` and return the proposal's directory.

    `progress(run, written)` is called after each run. Raises `SystemExit` if the directory holds a demo of
    another size (mixing the two would give inconsistent runs) or anything else.
    """
    directory = root / INSTRUMENT / CYCLE / f"p{proposal:06}"
    marker = directory / "usr" / "made-by-demo.json"
    wanted = json.loads(json.dumps(asdict(size)))
    if marker.is_file():
        if json.loads(marker.read_text(encoding="utf-8")) != wanted:
            sys.exit(f"{directory} holds a demo of another size; remove it or choose another --root")
    elif (directory / "raw").is_dir():
        sys.exit(f"{directory} exists and was not made by this program; choose another --root or --proposal")
    (directory / "usr" / "Shared").mkdir(parents=True, exist_ok=True)
    (directory / "raw").mkdir(exist_ok=True)
    (directory / "proc").mkdir(exist_ok=True)
    marker.write_text(json.dumps(wanted) + "\n", encoding="utf-8")
    for run in range(1, runs + 1):
        written = write_folder(directory / "raw" / f"r{run:04}", write_raw, proposal, run, size)
        if has_proc(run):
            written |= write_folder(directory / "proc" / f"r{run:04}", write_proc, proposal, run, size)
        progress(run, written)
    return directory


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write a proposal in the EuXFEL format, with made-up data.")
    parser.add_argument(
        "--root", type=Path, required=True, help="data root: SPB/202601/pNNNNNN is made below it"
    )
    parser.add_argument("--runs", type=int, default=20, help="number of runs (default 20)")
    parser.add_argument("--proposal", type=int, default=1234, help="proposal number (default 1234)")
    parser.add_argument("--small", action="store_true", help="fewer trains and pixels, for tests")
    arguments = parser.parse_args()

    live = sys.stdout.isatty()
    written = 0

    def progress(run: int, new: bool) -> None:
        nonlocal written
        written += new
        if live:
            print(f"\rwriting run {run} of {arguments.runs}", end="", flush=True)

    size = SMALL if arguments.small else FULL
    directory = make_proposal(arguments.root.resolve(), arguments.proposal, arguments.runs, size, progress)
    if live:
        print("\r\033[K", end="")
    kept = arguments.runs - written
    if written:
        print(f"{written} runs written, {kept} were there already: {directory}")
    else:
        print(f"nothing to do, all {kept} runs are there: {directory}")


if __name__ == "__main__":
    main()
