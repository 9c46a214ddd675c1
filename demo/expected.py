"""The demo's values, computed again from the raw files with h5py and numpy only.

Uses neither extra_data nor damnit_ctx, and imports nothing from `context.py`: a value that agrees with
this was read, computed, stored and summarised correctly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

XGM = "SA2_XTD1_XGM/XGM/DOOCS"
CAMERA = "SPB_IRU_CAM/CAM/SIDEMIC:daqOutput/data"
MOTOR = "SPB_IRU_MOTOR/MOTOR/SAMPLE_X"
SENSOR = "SPB_IRU_TSENS/TSENS/SAMPLE"
ADC = "SPB_IRU_ADC/ADC/DIGITIZER:channel_1.output/data"
HC_KEV_NM = 1.2398419843320026


# Units that come along with the data depend on the version of xarray: newer ones keep attributes in a mean.
ANY_UNITS = "any"


@dataclass(frozen=True)
class Value:
    """A variable that returned a value.

    `data` is the content of its run file (a dict for a Dataset or DataFrame: column → array; None where the
    content is not compared, as for figures). `summary` is the cell of the table: a number, a text, or
    one of "<thumbnail>" and "<sparkline>".
    """

    data: object
    summary: object
    dims: tuple[str, ...] | None = None
    units: str | None = None
    bold: bool | None = None
    background: list[int] | None = None


@dataclass(frozen=True)
class Nothing:
    """A variable that returned None, or that was not run because the run has no proc data: no trace of it."""


@dataclass(frozen=True)
class Failure:
    """A variable that failed or skipped itself."""

    error_class: str
    words: str


Expected = Value | Nothing | Failure


def proposal_directory(root: Path, proposal: int) -> Path:
    """Directory of the demo's proposal below the data root."""
    return root / "SPB" / "202601" / f"p{proposal:06}"


def runs(directory: Path) -> list[int]:
    """Runs with raw data."""
    return sorted(int(folder.name[1:]) for folder in (directory / "raw").glob("r[0-9]*"))


def expected(directory: Path, proposal: int, run: int) -> dict[str, Expected]:
    """The expected result of each variable of the demo's context file for a run."""
    result = dict(from_daq(directory, proposal, run))
    result.update(from_detector(directory, run))
    return result


def from_daq(directory: Path, proposal: int, run: int) -> Iterator[tuple[str, Expected]]:
    """The variables that need raw data only."""
    folder = directory / "raw" / f"r{run:04}"
    with h5py.File(folder / f"RAW-R{run:04}-DA01-S00000.h5") as f:
        ids = f["INDEX/trainId"][:]
        ids = ids[ids > 0]
        n = len(ids)
        start_time = int(f["INDEX/timestamp"][0]) / 1e9
        intensity = f[f"INSTRUMENT/{XGM}:output/data/intensityTD"][:n].astype("f8")
        bunches = f[f"CONTROL/{XGM}/pulseEnergy/numberOfBunchesActual/value"][:n]
        nm = float(f[f"RUN/{XGM}/pulseEnergy/wavelengthUsed/value"][0])
        frames = f[f"INSTRUMENT/{CAMERA}/image/pixels"][:n]
        trace = f[f"INSTRUMENT/{ADC}/rawData"][:n].mean(axis=0)
        position = f[f"CONTROL/{MOTOR}/actualPosition/value"][:n]
        target = f[f"CONTROL/{MOTOR}/targetPosition/value"][:n]
        temperature = f[f"CONTROL/{SENSOR}/value/value"][:n]

    yield "start_time", Value(start_time, start_time)

    energy = intensity[:, intensity[0] > 1].mean(axis=1)
    yield "xgm_intensity", Value(energy, energy.mean(), dims=("trainId",), units=ANY_UNITS)
    yield "pulses", Value(np.median(bunches), np.median(bunches))
    text = f"p{proposal} · run {run}"
    yield "label", Value(text, text)
    count = len(list(folder.glob("*.h5")))
    yield "raw_files", Value(count, count)
    jitter = 100 * energy.std() / energy.mean()
    yield "jitter", Value(jitter, jitter, units="%")
    yield "beam_ok", Value(jitter < 1.6, int(jitter < 1.6))
    phasor = (energy * np.exp(-2j * np.pi * np.arange(n) / 30)).mean()
    yield "beam_phasor", Value(phasor, phasor)
    text = f"{'ok' if jitter < 1.6 else 'unstable'}, phasor {abs(phasor):.2f} (2 values)"
    yield "report", Value(text, text)
    yield "trains", Value(np.array([ids[0], ids[-1], n]), "<sparkline>")
    yield "laser_delay", Value(0.5 * run, 0.5 * run, units="ps") if run % 3 == 0 else Nothing()
    if run == 1:
        yield "corrected_intensity", Failure("Skip", "dark run")
    else:
        yield "corrected_intensity", Value(energy - 100, energy.max() - 100, units="uJ")

    yield "digitizer_trace", Value(trace, "<sparkline>")
    yield "camera", Value(frames.mean(axis=0), "<thumbnail>")
    yield "camera_profile", Value(frames.mean(axis=1), "<thumbnail>", dims=("trainId", "x"), units="counts")
    yield "camera_frames", Value(frames[:4], f"uint16: {frames[:4].shape}")
    yield "moments", Nothing()
    x, y = moments(frames)
    yield "spot", Value({"x": x, "y": y, "trainId": ids}, f"Dataset ({3 * 8 * n / 1e6:.2f}MB)")
    far = bool(x.max() - x.min() > 3.9)
    colour = [0xFF, 0xCC, 0x80] if far else None
    yield "spot_x", Value(x, x.mean(), units="px", bold=far, background=colour)
    yield "spot_figure", Value(None, "<thumbnail>")

    yield "sample_x.position", Value(position.mean(), position.mean(), units="mm")
    yield "sample_x.target", Value(np.median(target), np.median(target), units="mm")
    miss = 1000 * (position.mean() - np.median(target))
    yield "sample_x.miss", Value(miss, miss, units="um")
    mean = temperature.mean(dtype="f8")
    yield "temperature", Value(temperature, mean, units="degC")
    drift = float(temperature[-10:].mean(dtype="f8") - temperature[:10].mean(dtype="f8"))
    yield "temperature_drift", Value(drift, f"{drift:+.3f} K", units="K", bold=drift > 0.1)
    table = {"position": position, "temperature": temperature}
    yield "slow_data", Value(table, "DataFrame")

    if run == 7:
        yield "wavelength", Failure("ValueError", "between two settings")
        yield "photon_energy", Failure("DependencyError", "wavelength")
        yield "photon_energy_or_guess", Value(HC_KEV_NM / 0.1, HC_KEV_NM / 0.1, units="keV")
    else:
        yield "wavelength", Value(nm, nm, units="nm")
        yield "photon_energy", Value(HC_KEV_NM / nm, HC_KEV_NM / nm, units="keV")
        yield "photon_energy_or_guess", Value(HC_KEV_NM / nm, HC_KEV_NM / nm, units="keV")


def moments(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre of the spot in each camera image, in pixels: column and row."""
    above = np.maximum(frames.astype("f8") - 150, 0)
    total = np.einsum("nyx->n", above)
    x = np.einsum("nyx,x->n", above, np.arange(frames.shape[2])) / total
    y = np.einsum("nyx,y->n", above, np.arange(frames.shape[1])) / total
    return x, y


def from_detector(directory: Path, run: int) -> Iterator[tuple[str, Expected]]:
    """The variables that need calibrated data."""
    files = sorted((directory / "proc" / f"r{run:04}").glob("CORR-*-AGIPD*.h5"))
    if not files:
        for name in ("agipd_signal", "agipd_image", "agipd_rings"):
            yield name, Nothing()
        return
    signals, images = [], []
    for path in files:
        module = int(path.name.split("AGIPD")[1][:2])
        with h5py.File(path) as f:
            group = f[f"INSTRUMENT/SPB_DET_AGIPD1M-1/CORR/{module}CH0:output/image"]
            data, mask = group["data"][:].astype("f8"), group["mask"][:]
        signals.append(data.mean(axis=(1, 2)))
        data[mask != 0] = np.nan
        images.append(data.mean(axis=0))
    signal = np.array(signals)
    yield "agipd_signal", Value(signal, signal.mean(), dims=("module", "image"), units="keV")
    image = np.concatenate(images, axis=1).astype("f4")
    yield "agipd_image", Value(image, "<thumbnail>")
    row, column = np.indices(image.shape)
    radius = np.sqrt((row - 256.0) ** 2 + (column + 20.0) ** 2).astype(int)
    good = np.isfinite(image)
    total, count = np.zeros(radius[good].max() + 1), np.zeros(radius[good].max() + 1)
    np.add.at(total, radius[good], image[good])
    np.add.at(count, radius[good], 1)
    yield "agipd_rings", Value(total / np.maximum(count, 1), "<sparkline>")
