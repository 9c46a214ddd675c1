"""Runs in the EuXFEL format of three made-up proposals, with the devices that the context files read.

All numbers are derived from proposal and run: two calls write the same data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from extra_data import RunDirectory
from extra_data.tests.mockdata import write_file
from extra_data.tests.mockdata.base import DeviceBase
from extra_data.tests.mockdata.basler_camera import BaslerCamera
from extra_data.tests.mockdata.detectors import AGIPDModule
from extra_data.tests.mockdata.motor import Motor
from extra_data.tests.mockdata.tsens import TemperatureSensor
from extra_data.tests.mockdata.xgm import XGM

from make_proposal import FORMAT_VERSION, Size, first_train, fix_metadata

CYCLE = "202601"
TRAINS = 8
FRAMES_PER_TRAIN = 2
CAMERA = (24, 32)
SIZE = Size(trains=TRAINS, camera=CAMERA, modules=2, frames=TRAINS)


class Attenuator(DeviceBase):
    """The properties of an attenuator's middle layer that are read."""

    control_keys = [("actual/transmission", "f8", ())]


class BunchPattern(DeviceBase):
    """The properties of the bunch pattern decoder that are read."""

    control_keys = [("sase1/nPulses", "i4", ()), ("sase1/pulseIds", "i4", (1000,))]


class FlowMeter(DeviceBase):
    """A flow meter."""

    control_keys = [("measureCapacity/value", "f4", ())]


class SampleList(DeviceBase):
    """The middle layer that knows which sample is in the beam."""

    control_keys = [("sampleNumber", "i4", ())]
    extra_run_values = [("actualSampleName", None, "to be replaced")]


class BunchCountingXGM(XGM):
    """An XGM that reports the number of bunches."""

    control_keys = [*XGM.control_keys, ("pulseEnergy/numberOfBunchesActual", "i4", ())]


@dataclass(frozen=True)
class Instrument:
    """A proposal of an instrument, and how the data of its runs is created."""

    name: str
    proposal: int
    runs: tuple[int, ...]
    devices: Callable[[], list[DeviceBase]]
    fill: Callable[[h5py.File, int], None]
    #: Names of the detector's modules below `SPB_DET_AGIPD1M-1`; if there are none, there is no proc data.
    detector: str | None = None
    aliases: str | None = None

    @property
    def place(self) -> Path:
        """The proposal's directory below a data root."""
        return Path(self.name, CYCLE, f"p{self.proposal:06}")

    def write(self, root: Path) -> Path:
        """Write all runs below a data root, and return the proposal's directory."""
        directory = root / self.place
        for run in self.runs:
            path = directory / "raw" / f"r{run:04}" / f"RAW-R{run:04}-DA01-S00000.h5"
            self._write_file(path, run, self.devices(), lambda f, run=run: self.fill(f, run))
            for module in range(2) if self.detector else ():
                self._write_module(directory, run, module)
        for folder in directory.glob("*/r*"):
            # extra_data keeps an index next to the files. It is created here, because otherwise the first reader of a run
            # would change its size.
            RunDirectory(folder)
        if self.aliases:
            (directory / "usr").mkdir()
            (directory / "usr" / "extra-data-aliases.yml").write_text(self.aliases)
        return directory

    def _write_file(self, path: Path, run: int, devices: Iterable, fill: Callable[[h5py.File], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(str(path), list(devices), TRAINS, first_train(run), chunksize=8, format_version=FORMAT_VERSION)
        with h5py.File(path, "r+") as f:
            fill(f)
            fix_metadata(f, self.proposal, run, SIZE)

    def _write_module(self, directory: Path, run: int, number: int) -> None:
        """A module's corrected images: rings around the beam, and a few bright ones."""
        source = f"{self.detector}/CORR/{number}CH0"
        module = AGIPDModule(
            source, FRAMES_PER_TRAIN, raw=False, channel_name="output", legacy_name=f"{self.detector}/DET/{number}CH0"
        )

        def fill(f: h5py.File) -> None:
            rng = np.random.default_rng([self.proposal, run, number])
            image = f[f"INSTRUMENT/{source}:output/image"]
            row, column = np.mgrid[:512, :128]
            radius = np.hypot(row - 256, column + 20 + 140 * number)
            rings = 2 + np.cos(radius / 15 + 0.1 * run) * np.exp(-radius / 150)
            bright = np.where(np.arange(len(image["data"])) % (run + 2) == 0, 3.0, 1.0)
            for frame, factor in enumerate(bright):
                image["data"][frame] = rng.poisson(factor * rings).astype("f4")
            image["mask"][:, 40 : 44 + number, :8] = 1

        path = directory / "proc" / f"r{run:04}" / f"CORR-R{run:04}-AGIPD{number:02}-S00000.h5"
        self._write_file(path, run, [module], fill)


def control(f: h5py.File, source: str, key: str, values) -> None:
    """Slow data of a run: values for each train, and at the start of the run."""
    values = np.broadcast_to(values, (TRAINS, *f[f"CONTROL/{source}/{key}/value"].shape[1:]))
    f[f"CONTROL/{source}/{key}/value"][:TRAINS] = values
    f[f"RUN/{source}/{key}/value"][:] = values[0]


def beam(f: h5py.File, xgm: str, run: int, pulses: int) -> None:
    """Pulse energies of a gas monitor."""
    rng = np.random.default_rng([run, pulses])
    energy = np.ones((TRAINS, 1000), dtype="f4")
    energy[:, :pulses] = rng.normal(1500 + 20 * run, 40, (TRAINS, pulses))
    f[f"INSTRUMENT/{xgm}:output/data/intensityTD"][:TRAINS] = energy
    control(f, xgm, "pulseEnergy/photonFlux", energy[:, :pulses].mean(axis=1))
    control(f, xgm, "pulseEnergy/numberOfBunchesActual", pulses)
    control(f, xgm, "pulseEnergy/wavelengthUsed", 0.154)


def spot(f: h5py.File, camera: str, run: int, row: float, column: float, width: float = 3.0) -> None:
    """A bright spot that drifts over a camera's images."""
    rng = np.random.default_rng([run, int(row * 10), int(column * 10)])
    rows, columns = np.mgrid[: CAMERA[0], : CAMERA[1]]
    train = np.arange(TRAINS)[:, None, None]
    distance = (rows - row) ** 2 + (columns - column - 0.4 * train) ** 2
    image = 800 * np.exp(-distance / (2 * width**2)) + rng.integers(90, 110, (TRAINS, *CAMERA))
    f[f"INSTRUMENT/{camera}:daqOutput/data/image/pixels"][:TRAINS] = np.rint(image).astype("u2")


SPB_XGM = "SPB_XTD9_XGM/XGM/DOOCS"
SPB_FLOWS = ("CO2_CAPILLARY", "N2_CHAMBER", "DP_1")


def spb_devices() -> list[DeviceBase]:
    """Beamline, injector and a camera at SPB."""
    return [
        Motor("SPB_XTD2_UND/DOOCS/ENERGY"),
        BunchPattern("SPB_RR_SYS/MDL/BUNCH_PATTERN"),
        Attenuator("SA1_XTD2_ATT/MDL/MAIN"),
        Attenuator("SPB_XTD9_ATT/MDL/MAIN"),
        BunchCountingXGM(SPB_XGM),
        Motor("SPB_IRU_AGIPD1M/MOTOR/Z_STEPPER"),
        BaslerCamera("SPB_IRU_AEROSOL/CAM/CAM_1", sensor_size=CAMERA),
        *(FlowMeter(f"SPB_IRU_AEROSOL/FLOW/{name}") for name in SPB_FLOWS),
    ]


def fill_spb(f: h5py.File, run: int) -> None:
    """Particles from an electrospray; the jet stood still in run 2."""
    pulses = 40 + 10 * run
    train = np.arange(TRAINS)
    control(f, "SPB_XTD2_UND/DOOCS/ENERGY", "actualPosition", 6.0 + 0.001 * train)
    counts = np.where(train == 0, 0, pulses)
    ids = np.zeros((TRAINS, 1000), dtype="i4")
    ids[:, :pulses] = 1000 + 4 * np.arange(pulses)
    control(f, "SPB_RR_SYS/MDL/BUNCH_PATTERN", "sase1/nPulses", counts)
    control(f, "SPB_RR_SYS/MDL/BUNCH_PATTERN", "sase1/pulseIds", ids)
    control(f, "SA1_XTD2_ATT/MDL/MAIN", "actual/transmission", 0.5)
    control(f, "SPB_XTD9_ATT/MDL/MAIN", "actual/transmission", 0.25 * run)
    beam(f, SPB_XGM, run, pulses)
    control(f, "SPB_IRU_AGIPD1M/MOTOR/Z_STEPPER", "encoderPosition", 205.5 + run)
    spot(f, "SPB_IRU_AEROSOL/CAM/CAM_1", run, 10 + run, 12)
    for place, name in enumerate(SPB_FLOWS):
        flow = (place + 1) * (1 + 0.1 * np.sin(train)) * (0 if (name, run) == ("DP_1", 2) else 1)
        control(f, f"SPB_IRU_AEROSOL/FLOW/{name}", "measureCapacity/value", flow)


MID_XGM = "SA2_XTD1_XGM/XGM/DOOCS"


def mid_devices() -> list[DeviceBase]:
    """Beamline, sample stage and a droplet camera at MID."""
    return [
        BunchCountingXGM(MID_XGM),
        Attenuator("SA2_XTD1_ATT/MDL/MAIN"),
        Attenuator("MID_XTD6_ATT/MDL/MAIN"),
        Motor("MID_SAE_FSSS/MOTOR/SCANNERX"),
        BaslerCamera("MID_EXP_SAM/CAM/CAM5", sensor_size=CAMERA),
        SampleList("MID_EXP_SYS/MDL/SAMPLES"),
    ]


def fill_mid(f: h5py.File, run: int) -> None:
    """Levitated droplets; nothing hangs in the beam in run 2."""
    train = np.arange(TRAINS)
    beam(f, MID_XGM, run, 60)
    control(f, "SA2_XTD1_ATT/MDL/MAIN", "actual/transmission", np.where(train == 3, np.nan, 0.8))
    control(f, "MID_XTD6_ATT/MDL/MAIN", "actual/transmission", 0.1 * run)
    control(f, "MID_SAE_FSSS/MOTOR/SCANNERX", "actualPosition", -24 + 6.5 * train + run)
    spot(f, "MID_EXP_SAM/CAM/CAM5", run, 11, 9, width=4)
    control(f, "MID_EXP_SYS/MDL/SAMPLES", "sampleNumber", run)
    f["RUN/MID_EXP_SYS/MDL/SAMPLES/actualSampleName/value"][:] = b"colloid 40 %" if run == 1 else b"empty"


MID_ALIASES = """\
xtd1-transmission: [SA2_XTD1_ATT/MDL/MAIN, actual.transmission]
sample-x: [MID_SAE_FSSS/MOTOR/SCANNERX, actualPosition]
MID_XTD6_ATT/MDL/MAIN:
  xtd6-transmission: actual.transmission
"""

HED_XGM = "SA2_XTD6_XGM/XGM/DOOCS"
KEPLERS = ("HED_EXP_VISAR/EXP/ARM_1", "HED_EXP_VISAR/EXP/ARM_2")


def hed_devices() -> list[DeviceBase]:
    """Two streak cameras of a VISAR and two more, temperatures and the sample list at HED."""
    return [
        BunchCountingXGM(HED_XGM),
        *(BaslerCamera(name, sensor_size=CAMERA) for name in KEPLERS),
        BaslerCamera("HED_OPT_IC1/CAM/NEAR", sensor_size=CAMERA),
        BaslerCamera("HED_OPT_IC1/CAM/FAR", sensor_size=CAMERA),
        TemperatureSensor("HED_EXP_TSENS/TSENS/CHAMBER"),
        SampleList("HED_PLAYGROUND/MDL/SamplePositionList_2"),
    ]


def fill_hed(f: h5py.File, run: int) -> None:
    """Run 1 is dark; the others are shots."""
    beam(f, HED_XGM, run, 1)
    for place, name in enumerate(KEPLERS):
        spot(f, name, run, 8 + 3 * place + run, 14 - 2 * place, width=0.4 if run == 1 else 4)
    spot(f, "HED_OPT_IC1/CAM/NEAR", run, 12, 15 + run)
    spot(f, "HED_OPT_IC1/CAM/FAR", run, 9 + 0.5 * run, 11)
    control(f, "HED_EXP_TSENS/TSENS/CHAMBER", "value", 21.5 + 0.1 * run + 0.01 * np.arange(TRAINS))
    control(f, "HED_PLAYGROUND/MDL/SamplePositionList_2", "sampleNumber", 100 + run)
    name = b"dark" if run == 1 else f"Fe 5 \u00b5m, {run}".encode()
    f["RUN/HED_PLAYGROUND/MDL/SamplePositionList_2/actualSampleName/value"][:] = name


SPB = Instrument("SPB", 4001, (1, 2), spb_devices, fill_spb, detector="SPB_DET_AGIPD1M-1")
MID = Instrument("MID", 4002, (1, 2), mid_devices, fill_mid, detector="MID_DET_AGIPD1M-1", aliases=MID_ALIASES)
HED = Instrument("HED", 4003, (1, 2, 3), hed_devices, fill_hed)
