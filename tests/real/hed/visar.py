"""VISAR: fringes of an arm and the velocity that they mean."""

import sys

import numpy as np
import xarray as xr

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

SOURCES = {"KEPLER1": "HED_EXP_VISAR/EXP/ARM_1", "KEPLER2": "HED_EXP_VISAR/EXP/ARM_2"}
CALIBRATIONS = {}


def calibration(path):
    """Read once."""
    if path not in CALIBRATIONS:
        with open(path, "rb") as file:
            CALIBRATIONS[path] = tomllib.load(file)
    return CALIBRATIONS[path]


class Fringes:
    """Counts what it has found."""

    count = 0

    def __init__(self, trace):
        self.peaks = np.flatnonzero((trace[1:-1] > trace[:-2]) & (trace[1:-1] >= trace[2:])) + 1
        Fringes.count += len(self.peaks)


class VISAR:
    def __init__(self, run, arm, cal_file):
        self.arm = arm
        self.config = calibration(cal_file)[arm]
        images = run[f"{SOURCES[arm]}:daqOutput", "data.image.pixels"].ndarray()
        brightest = int(images.reshape(len(images), -1).max(axis=1).argmax())
        self.image = images[brightest] - np.median(images, axis=(1, 2))[brightest]
        self.trace = self.image.mean(axis=0)
        self.fringes = Fringes(self.trace)

    def shot(self):
        return xr.DataArray(
            self.trace,
            dims="time",
            coords={"time": ("time", self.time, {"units": "ns"})},
            name=f"{SOURCES[self.arm]}:shot",
            attrs={"arm": self.arm, "sensitivity": self.config["sensitivity"]},
        )

    @property
    def time(self):
        return np.arange(self.image.shape[1]) * self.config["sweep"] / self.image.shape[1]

    def plot(self):
        import matplotlib.pyplot as plt

        fig, ax = plt.subplots(figsize=(4, 3))
        ax.imshow(self.image, aspect="auto", extent=[0, self.config["sweep"], 0, 1])
        ax.set_title(f"{self.arm}: {len(self.fringes.peaks)} fringes")
        return fig

    @staticmethod
    def combine(one, two):
        mean = (one.trace * one.config["sensitivity"] + two.trace * two.config["sensitivity"]) / 2
        return xr.DataArray(mean / 100, dims="time", coords={"time": one.time}, attrs={"units": "km/s"})
