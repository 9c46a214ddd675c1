"""Helpers around AGIPD, beside the context file."""

import re
from functools import lru_cache

import numpy as np
import xarray as xr
from extra_data.components import AGIPD1M

BINS = np.linspace(0, 1, 21)


def read_geometry(path):
    """Values of a geometry file; panels by their number."""
    geometry = {"panels": {}}
    for line in open(path):
        if found := re.match(r"(\w+) *= *([-.\d]+)", line):
            geometry[found[1]] = float(found[2])
        elif found := re.match(r"p(\d+)/corner_(\w) *= *([-\d]+)", line):
            geometry["panels"].setdefault(int(found[1]), {})[found[2]] = int(found[3])
    return geometry


@lru_cache(maxsize=1)
def agipd(run):
    return AGIPD1M(run, min_modules=2)


def frames(run):
    return agipd(run).get_array("image.data")


def mask(run):
    return agipd(run).get_array("image.mask")


def assemble(modules, geometry):
    """Modules in one image, gaps as NaN."""
    corners = np.array([[panel["y"], panel["x"]] for _, panel in sorted(geometry["panels"].items())])
    corners -= corners.min(axis=0)
    height, width = corners.max(axis=0) + modules.shape[1:]
    image = np.full((height, width), np.nan, dtype=np.float32)
    for (row, column), module in zip(corners, modules):
        image[row : row + module.shape[0], column : column + module.shape[1]] = module
    return image


def momentum_transfer(geometry, distance_mm, energy_kev):
    """In 1/nm, for each pixel of each module."""
    q = []
    for _, panel in sorted(geometry["panels"].items()):
        row, column = np.mgrid[:512, :128]
        radius = 1e3 * geometry["pixel"] * np.hypot(row + panel["y"], column + panel["x"])
        q.append(4 * np.pi * energy_kev / 1.2398 * np.sin(np.arctan(radius / distance_mm) / 2))
    return np.array(q)


def azimuthal(modules, q):
    """Mean over rings of equal q."""
    good = np.isfinite(modules)
    sums, _ = np.histogram(q[good], bins=BINS, weights=modules[good])
    counts, _ = np.histogram(q[good], bins=BINS)
    with np.errstate(invalid="ignore"):
        return xr.DataArray(sums / counts, dims="q", coords={"q": (BINS[1:] + BINS[:-1]) / 2})
