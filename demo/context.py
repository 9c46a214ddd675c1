"""The demo's context file: each function below becomes a column of the run table.

It also works unchanged with DAMNIT 0.4. Edit it and run `amore-proto reprocess 1-20` again.
"""

from importlib.util import find_spec

import numpy as np
import xarray as xr
from damnit_ctx import Cell, Group, Skip, Variable

xgm_name = "SA2_XTD1_XGM/XGM/DOOCS"
camera_name = "SPB_IRU_CAM/CAM/SIDEMIC:daqOutput"
motor_name = "SPB_IRU_MOTOR/MOTOR/SAMPLE_X"
sensor_name = "SPB_IRU_TSENS/TSENS/SAMPLE"
adc_name = "SPB_IRU_ADC/ADC/DIGITIZER:channel_1.output"
agipd_name = "SPB_DET_AGIPD1M-1/CORR"


# The two examples of the DAMNIT manual: an array with a summary, and a number.


@Variable(title="XGM intensity [uJ]", summary="mean")
def xgm_intensity(run):
    """Mean XGM intensity per-train."""
    xgm = run[f"{xgm_name}:output", "data.intensityTD"].xarray()
    return xgm[:, np.where(xgm[0] > 1)[0]].mean(axis=1)


@Variable(title="Pulses", tags="beam")
def pulses(run):
    """Number of pulses in the run."""
    return run[xgm_name, "pulseEnergy.numberOfBunchesActual"].as_single_value()


# Plain values: text, numbers with units, a boolean, a complex number, a list.


@Variable(title="Label")
def label(run, number: "meta#run_number", proposal: "meta#proposal"):
    """A text made of the run's own numbers."""
    return f"p{proposal} · run {number}"


@Variable(title="Raw files")
def raw_files(run, folder: "meta#proposal_path", number: "meta#run_number"):
    """How many files were recorded. The proposal's directory comes as a Path."""
    return len(list(folder.glob(f"raw/r{number:04}/*.h5")))


@Variable(title="Jitter", units="%", tags=["beam", "quality"])
def jitter(run, intensity: "var#xgm_intensity"):
    """Standard deviation of the pulse energy over its mean. Depends on another variable."""
    return float(100 * intensity.std() / intensity.mean())


@Variable(title="Beam ok", tags=["beam", "quality"])
def beam_ok(run, percent: "var#jitter"):
    """A boolean."""
    return bool(percent < 1.6)


@Variable(title="Beam phasor", tags="beam")
def beam_phasor(run, intensity: "var#xgm_intensity"):
    """Fourier component of the pulse energy with a period of 30 trains: a complex number."""
    phase = np.exp(-2j * np.pi * np.arange(len(intensity)) / 30)
    return complex((intensity.values * phase).mean())


@Variable(title="Trains")
def trains(run):
    """A list: first and last train, and how many there are."""
    return [int(run.train_ids[0]), int(run.train_ids[-1]), len(run.train_ids)]


@Variable(title="Laser delay", units="ps")
def laser_delay(run, number: "meta#run_number"):
    """The laser was on in every third run only: elsewhere None, and the cell stays empty."""
    if number % 3 != 0:
        return None
    return 0.5 * number


@Variable(title="Dark-corrected intensity", units="uJ", summary="max")
def corrected_intensity(run, intensity: "var#xgm_intensity", number: "meta#run_number"):
    """Run 1 is a dark run: the variable skips itself, which is not an error."""
    if number == 1:
        raise Skip("dark run")
    return intensity.values - 100


# Arrays and images.


@Variable(title="Digitizer trace")
def digitizer_trace(run):
    """A line: the table shows it as a small plot."""
    return run[adc_name, "data.rawData"].ndarray().mean(axis=0)


@Variable(title="Camera")
def camera(run):
    """An image: the table shows a thumbnail."""
    return run[camera_name, "data.image.pixels"].ndarray().mean(axis=0)


@Variable(title="Camera profile", units="counts")
def camera_profile(run):
    """A labelled image: train by column, with coordinates."""
    frames = run[camera_name, "data.image.pixels"].xarray(extra_dims=["y", "x"])
    return frames.astype("f4").mean("y").assign_coords(x=np.arange(frames.sizes["x"]) * 0.5)


@Variable(title="Camera frames")
def camera_frames(run):
    """Three dimensions: the table shows type and shape."""
    return run[camera_name, "data.image.pixels"][:4].ndarray()


@Variable(title="Moments", transient=True)
def moments(run):
    """Used by the variables below but not stored: a transient variable may return any object."""
    frames = run[camera_name, "data.image.pixels"].ndarray().astype("f8")
    frames = np.clip(frames - 150, 0, None)
    weight = frames.sum(axis=(1, 2))
    x = (frames.sum(axis=1) * np.arange(frames.shape[2])).sum(axis=1) / weight
    y = (frames.sum(axis=2) * np.arange(frames.shape[1])).sum(axis=1) / weight
    return {"x": x, "y": y}


@Variable(title="Spot", tags="beam")
def spot(run, found: "var#moments"):
    """Several arrays in one: a Dataset."""
    return xr.Dataset(
        {axis: ("trainId", found[axis], {"units": "px"}) for axis in ("x", "y")},
        coords={"trainId": np.asarray(run.train_ids)},
        attrs={"camera": camera_name},
    )


@Variable(title="Spot x", units="px", tags="beam")
def spot_x(run, found: "var#moments"):
    """A Cell: its data, its summary in the table, and a preview for the double click, set one by one."""
    x = found["x"]
    wandering = float(x.max() - x.min())
    return Cell(
        x,
        summary="mean",
        bold=wandering > 3.9,
        background="#ffcc80" if wandering > 3.9 else None,
        preview=np.histogram(x, bins=20)[0],
    )


@Variable(title="Spot figure")
def spot_figure(run, found: "var#moments", number: "meta#run_number"):
    """A matplotlib figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3))
    axes = figure.add_subplot()
    axes.plot(found["x"], found["y"], ".")
    axes.set_xlabel("x [px]")
    axes.set_ylabel("y [px]")
    axes.set_title(f"Spot in run {number}")
    return figure


# Slow control data. A Group is a set of variables that can be made for several devices.


@Group(tags="stage")
class Stage:
    """The measured and the requested position of a stage."""

    device: str

    @Variable(title="Position", units="mm")
    def position(self, run):
        """Mean of the measured position."""
        return float(run[self.device, "actualPosition"].ndarray().mean())

    @Variable(title="Target", units="mm")
    def target(self, run):
        """The requested position."""
        return float(run[self.device, "targetPosition"].as_single_value())

    @Variable(title="Miss", units="um")
    def miss(self, run, position: "self#position", target: "self#target"):
        """The distance between the two."""
        return 1000 * (position - target)


sample_x = Stage(device=motor_name, title="Sample x")


@Variable(title="Temperature", summary="mean", units="degC")
def temperature(run):
    """Sensor readings of the run."""
    return run[sensor_name, "value"].ndarray()


@Variable(title="Temperature drift")
def temperature_drift(run, values: "var#temperature"):
    """The text in the table may be anything: here summary_value."""
    drift = float(values[-10:].mean(dtype="f8") - values[:10].mean(dtype="f8"))
    return Cell(drift, summary_value=f"{drift:+.3f} K", units="K", bold=drift > 0.1)


if find_spec("pyarrow"):  # pandas needs it to store tables

    @Variable(title="Slow data")
    def slow_data(run):
        """A table: a DataFrame."""
        import pandas as pd

        columns = {
            "position": run[motor_name, "actualPosition"].ndarray(),
            "temperature": run[sensor_name, "value"].ndarray(),
        }
        return pd.DataFrame(columns)


# An error is shown in the table, and only affects its own cell and those that depend on it.


@Variable(title="Wavelength", units="nm")
def wavelength(run, number: "meta#run_number"):
    """Fails in run 7, on purpose: see the table and `amore log 7`."""
    if number == 7:
        raise ValueError("the monochromator was between two settings (this error belongs to the demo)")
    return float(run.get_run_value(xgm_name, "pulseEnergy.wavelengthUsed"))


@Variable(title="Photon energy", units="keV")
def photon_energy(run, nm: "var#wavelength"):
    """Needs the wavelength: in run 7 its error says what is missing."""
    return 1.2398419843320026 / nm


@Variable(title="Photon energy or guess", units="keV")
def photon_energy_or_guess(run, nm: "var#wavelength" = 0.1):
    """Has a default value for the wavelength, so it works without it."""
    return 1.2398419843320026 / nm


@Variable(title="Beam report", tags="quality")
def report(run, beam: "var#beam_*"):
    """Depends on all variables whose names match: they are passed as a dict."""
    verdict = "ok" if beam["beam_ok"] else "unstable"
    return f"{verdict}, phasor {abs(beam['beam_phasor']):.2f} ({len(beam)} values)"


# Calibrated data: computed for the runs that have it.


def agipd_modules(run):
    """Source names of the modules in the run."""
    sources = (name for name in run.instrument_sources if name.startswith(f"{agipd_name}/"))
    return sorted(sources, key=lambda name: int(name.split("/")[2].split("CH")[0]))


@Variable(title="AGIPD signal", data="proc", summary="mean", tags="AGIPD")
def agipd_signal(run):
    """Mean of each module and image."""
    means = [run[name, "image.data"].ndarray().mean(axis=(1, 2), dtype="f8") for name in agipd_modules(run)]
    return xr.DataArray(
        np.stack(means),
        dims=("module", "image"),
        coords={"module": [name.split("/")[2].split(":")[0] for name in agipd_modules(run)]},
        name="signal",
        attrs={"units": "keV"},
    )


@Variable(title="AGIPD image", data="proc", tags="AGIPD")
def agipd_image(run):
    """Mean image, modules side by side, dead pixels as NaN."""
    parts = []
    for name in agipd_modules(run):
        images = run[name, "image.data"].ndarray()
        masks = run[name, "image.mask"].ndarray()
        parts.append(np.where(masks == 0, images, np.nan).mean(axis=0, dtype="f8"))
    return np.hstack(parts).astype("f4")


@Variable(title="AGIPD rings", cluster=True, tags="AGIPD")
def agipd_rings(run, image: "var#agipd_image"):
    """Heavy work belongs in a Slurm job: cluster=True. It needs proc data because its dependency does."""
    row, column = np.mgrid[: image.shape[0], : image.shape[1]]
    ring = np.hypot(row - 256, column + 20).astype(int)
    good = ~np.isnan(image)
    return np.bincount(ring[good], weights=image[good]) / np.maximum(np.bincount(ring[good]), 1)
