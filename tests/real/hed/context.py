"""HED 4003: shock compression, with a VISAR of two arms and two cameras on the optics."""

import logging
import sqlite3
from functools import lru_cache

import numpy as np
import pandas as pd
import xarray as xr
from damnit_ctx import Cell, Group, Skip, Variable
from visar import VISAR, Fringes

log = logging.getLogger("hed")

VISAR_CAL_FILE = "./visar_calibration.toml"
KEPLER1 = None
KEPLER2 = None

# One generator for all error estimates: they are drawn in the order of the variables.
rng = np.random.default_rng(20260312)
np.random.seed(4003)

# What each camera saw, for the report at the end.
seen = []


@lru_cache(maxsize=4)
def camera(run, name):
    """Opening takes long, and several variables ask for each camera."""
    opened.append(name)
    frames = run[f"{name}:daqOutput", "data.image.pixels"].xarray(extra_dims=["y", "x"])
    return frames.astype("f4") - background(name)


opened = []


@lru_cache
def background(name):
    return np.load(f"backgrounds/{name.rsplit('/', 1)[1].lower()}.npy")


def earlier(name, run_no):
    """The last value of a variable in the runs before this one."""
    with sqlite3.connect("runs.sqlite") as db:
        df = pd.read_sql_query("SELECT * FROM runs", db)
    if name not in df:
        return None
    df = df.loc[df["run"] < run_no, ["run", name]].dropna().sort_values("run")
    return df.iloc[-1] if len(df) else None


# Parameters of the run


@Variable(title="Sample pos", data="raw")
def sample_pos(run):
    """Sample name from the positioner's middle layer"""
    return run.get_run_value("HED_PLAYGROUND/MDL/SamplePositionList_2", "actualSampleName")


@Variable(title="Trains", summary="size")
def trains(run):
    return np.array(run.train_ids)


@Variable(title="Pulses", summary="max")
def pulses(run):
    return run["SA2_XTD6_XGM/XGM/DOOCS", "pulseEnergy.numberOfBunchesActual"].xarray()


@Variable(title="Chamber [°C]", summary="mean", units="°C")
def chamber_temperature(run):
    return run["HED_EXP_TSENS/TSENS/CHAMBER", "value"].xarray()


@Variable(title="Energy of the shot", units="uJ")
def shot_energy(run):
    energy = run["SA2_XTD6_XGM/XGM/DOOCS:output", "data.intensityTD"].ndarray()[:, 0]
    error = rng.normal(0, energy.std(ddof=1), 200).std()
    return Cell(energy.mean(), summary_value=f"{energy.mean():.1f} ± {error:.2f}")


@Variable(title="Dark?")
def is_dark(run, name: "var#sample_pos"):
    return name == "dark"


@Variable(title="Dark level", transient=False)
def dark_level(run, dark: "var#is_dark"):
    if not dark:
        raise Skip("a shot")
    return float(run["HED_OPT_IC1/CAM/NEAR:daqOutput", "data.image.pixels"].ndarray()[:, :4].mean())


@Variable(title="Dark level of the last dark run")
def last_dark_level(run, run_no: "meta#run_number"):
    found = earlier("dark_level", run_no)
    if found is not None:
        level, run_no = found["dark_level"], found["run"]
        return Cell(level, summary_value=f"{level:.3f} (run {run_no:.0f})")


# VISAR: the objects stay open for the plots


@Variable(title="KEPLER 1")
def kepler1(run):
    global KEPLER1
    KEPLER1 = VISAR(run, "KEPLER1", VISAR_CAL_FILE)
    seen.append("KEPLER1")
    return KEPLER1.shot()


@Variable(title="KEPLER 1 PLOT")
def kepler1_plot(run, _: "var#kepler1"):
    return KEPLER1.plot()


@Variable(title="KEPLER 2")
def kepler2(run):
    global KEPLER2
    KEPLER2 = VISAR(run, "KEPLER2", VISAR_CAL_FILE)
    seen.append("KEPLER2")
    return KEPLER2.shot()


@Variable(title="KEPLER 2 PLOT")
def kepler2_plot(run, _: "var#kepler2"):
    return KEPLER2.plot()


@Variable(title="Velocity", summary="nanmax", units="km/s")
def velocity(run, one: "var#kepler1", two: "var#kepler2", dark: "var#is_dark"):
    if dark:
        raise Skip("no shot")
    return VISAR.combine(KEPLER1, KEPLER2)


@Variable(title="Break-out", units="ns")
def break_out(run, v: "var#velocity"):
    return float(v.time[int(np.argmax(v.values))])


@Variable(title="Fringes counted")
def fringes(run, _: "var#velocity"):
    return Fringes.count


@Variable(title="Velocity, error", units="km/s")
def velocity_error(run, v: "var#velocity"):
    return rng.choice(v.values, (50, v.size)).mean(axis=1).std() + np.random.uniform() * 0


# Two cameras on the optics


@Group(tags="camera")
class OpticsCamera:
    device: str
    roi: tuple = (slice(None), slice(None))

    @Variable(title="Image")
    def image(self, run):
        return camera(run, self.device).mean("trainId")

    @Variable(title="ROI", summary="mean")
    def roi_sum(self, run):
        frames = camera(run, self.device)[(slice(None), *self.roi)]
        seen.append(self.device.rsplit("/", 1)[1])
        return frames.sum(("y", "x")).rename(f"{self.device}:roi.sum")

    @Variable(title="Centre")
    def centre(self, run, image: "self#image"):
        total = float(image.sum())
        rows, columns = np.indices(image.shape)
        return np.array([(image.values * rows).sum(), (image.values * columns).sum()]) / total

    @Variable(title="Drift", units="px")
    def drift(self, run, centre: "self#centre", run_no: "meta#run_number"):
        return float(np.hypot(*(centre - np.array(REFERENCE[self.device]))))


REFERENCE = {"HED_OPT_IC1/CAM/NEAR": (12, 16), "HED_OPT_IC1/CAM/FAR": (10, 12)}
near = OpticsCamera(device="HED_OPT_IC1/CAM/NEAR", roi=(slice(4, 20), slice(6, 28)), title="Near field")
far = OpticsCamera(device="HED_OPT_IC1/CAM/FAR", title="Far field", sep=" / ")


@Variable(title="Pointing")
def pointing(run, centres: "var#*.centre"):
    return xr.DataArray([centres[name] for name in sorted(centres)], dims=("camera", "axis"), coords={"camera": sorted(centres)})


@Variable(title="Cameras opened")
def n_opened(run, near: "var#near.roi_sum", far: "var#far.roi_sum", _: "var#*.image"):
    return len(opened)


@Variable(title="Report")
def report(run, p: "var#pointing", v: "var#velocity" = None, *, near: "var#near.roi_sum", far: "var#far.roi_sum"):
    return f"{p.sizes['camera']} cameras, " + ("dark" if v is None else f"{float(np.nanmax(v)):.3f} km/s")
