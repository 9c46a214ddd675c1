"""24 variables of many kinds, as in an experiment."""

import numpy as np
import xarray as xr
from damnit_ctx import Cell, Variable

XGM = "SPB_XTD9_XGM/DOOCS/MAIN"
CAMERA = "SPB_IRU_CAM/CAM/SIDEMIC:daqOutput"
MOTOR = "SPB_IRU_MOTOR/MOTOR/SAMPLE_X"
SENSOR = "SPB_IRU_TSENS/TSENS/SAMPLE"
DIGITIZER = "SPB_IRU_ADC/ADC/DIGITIZER:channel_1.output"
MODULES = [f"SPB_DET_AGIPD1M-1/DET/{module}CH0:xtdf" for module in (0, 1)]


@Variable(title="Trains", data="raw")
def n_trains(run):
    return len(run.train_ids)


@Variable(title="XGM/Pulse energy", data="raw", summary="mean", units="uJ")
def pulse_energy(run):
    return run[f"{XGM}:output", "data.intensityTD"].xarray(extra_dims=["pulse"])


@Variable(title="XGM/Energy per train", data="raw", summary="mean")
def train_energy(run, energy: "var#pulse_energy"):
    return energy.mean("pulse")


@Variable(title="XGM/Energy per pulse", data="raw", summary="max")
def energy_per_pulse(run, energy: "var#pulse_energy"):
    return energy.values.mean(axis=0)


@Variable(title="XGM/Energy spread", data="raw")
def energy_spread(run, energy: "var#pulse_energy"):
    return float(energy.values.std())


@Variable(title="XGM/Flux", data="raw", summary="mean")
def flux(run):
    return run[XGM, "pulseEnergy.photonFlux"].xarray()


@Variable(title="XGM/Wavelength", data="raw", units="nm")
def wavelength(run):
    return run[XGM, "pulseEnergy.wavelengthUsed"].as_single_value()


@Variable(title="XGM/By train", data="raw")
def by_train(run, energy: "var#train_energy", flux: "var#flux"):
    return xr.Dataset({"energy": energy, "flux": flux})


@Variable(title="Camera/Mean image", data="raw")
def camera_mean(run):
    return run[CAMERA, "data.image.pixels"].ndarray().mean(axis=0)


@Variable(title="Camera/Brightest", data="raw")
def camera_max(run, image: "var#camera_mean"):
    return int(image.max())


@Variable(title="Camera/Projection", data="raw")
def camera_projection(run, image: "var#camera_mean"):
    return image.sum(axis=0)


@Variable(title="Camera/Centre", data="raw")
def camera_centre(run, image: "var#camera_mean"):
    weight = image - np.median(image)
    rows, columns = np.indices(image.shape)
    return np.array([(rows * weight).sum(), (columns * weight).sum()]) / weight.sum()


@Variable(title="Camera/Region of interest", data="raw", summary="mean")
def camera_roi(run):
    pixels = run[CAMERA, "data.image.pixels"].xarray(roi=np.s_[100:150, 140:180])
    return pixels.sum(pixels.dims[1:])


@Variable(title="Sample/Position", data="raw", units="mm")
def sample_position(run):
    return run.get_run_value(MOTOR, "targetPosition.value")


@Variable(title="Sample/Moving", data="raw")
def sample_moving(run):
    position = run[MOTOR, "actualPosition"].ndarray()
    return bool(np.ptp(position) > 0.1)


@Variable(title="Sample/Name", data="raw")
def sample_name(run, number: "meta#run_number"):
    return ("water", "lysozyme", "silver behenate", "empty")[number % 4]


@Variable(title="Sample/Temperature", data="raw", units="°C")
def temperature(run):
    values = run[SENSOR, "value"].ndarray()
    return Cell(values, summary_value=round(float(values.mean()), 2), bold=bool(values.mean() > 22))


@Variable(title="Digitizer/Mean trace", data="raw")
def mean_trace(run):
    return run[DIGITIZER, "data.rawData"].ndarray().mean(axis=0)


@Variable(title="Digitizer/Peaks", data="raw")
def peaks(run, trace: "var#mean_trace"):
    above = trace > 600
    return int(np.count_nonzero(above[1:] & ~above[:-1]))


@Variable(title="Detector/Raw mean", data="raw", summary="mean")
def detector_raw(run):
    return np.stack([run[module, "image.data"].ndarray()[:, 0].mean(axis=0) for module in MODULES])


@Variable(title="Detector/Mean image", data="proc", summary="mean")
def detector_image(run):
    images = [run[module, "image.data"].ndarray().mean(axis=0) for module in MODULES]
    return xr.DataArray(np.stack(images), dims=["module", "slow_scan", "fast_scan"], name="adu")


@Variable(title="Detector/Histogram")
def detector_histogram(run, image: "var#detector_image"):
    return np.histogram(image.values, bins=100, range=(4000, 5100))[0]


@Variable(title="Overview", data="raw")
def overview(run, trace: "var#mean_trace", projection: "var#camera_projection"):
    from matplotlib.figure import Figure

    figure = Figure()
    above, below = figure.subplots(2)
    above.plot(trace)
    below.plot(projection)
    return figure


@Variable(title="Usable")
def usable(run, trains: "var#n_trains", spread: "var#energy_spread", image: "var#detector_image"):
    return trains == 50 and spread < 100 and bool(np.isfinite(image.values).all())
