"""Droplets in camera images."""

import numpy as np
import xarray as xr
from matplotlib.patches import Ellipse


def fit_droplets(images, threshold):
    """Centre, radius and volume in each train."""
    above = images.astype(float).where(images > threshold, 0.0)
    weight = above.sum(("y", "x"))
    rows, columns = np.arange(images.sizes["y"]), np.arange(images.sizes["x"])
    y = (above.sum("x") * rows).sum("y") / weight
    x = (above.sum("y") * columns).sum("x") / weight
    radius = np.sqrt((above > 0).sum(("y", "x")) / np.pi)
    centre = xr.concat([y, x], dim="axis").transpose("trainId", "axis").assign_coords(axis=["y", "x"])
    volume = 4 / 3 * np.pi * radius**3 * 1e-3
    volume.attrs["units"] = "mm³"
    return xr.Dataset({"center": centre, "radius": radius, "volume": volume}, attrs={"threshold": threshold})


def plot_ellipse(image, droplet, ax):
    ax.imshow(image)
    y, x = droplet.center.values
    ax.add_patch(Ellipse((x, y), 2 * float(droplet.radius), 2 * float(droplet.radius), fill=False, color="red"))
