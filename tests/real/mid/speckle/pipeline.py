"""A small XPCS analysis: correlations between frames, on rings of the detector."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from extra_data.components import AGIPD1M

from . import setup


@dataclass
class Setup:
    config: setup.Config
    q_range: np.ndarray


def xpcs_offline(run, *, q_range, mask, transmission, calc_stats):
    """A dictionary of everything that was found; figures too."""
    frames = AGIPD1M(run).get_array("image.data").sel(module=0).stack(frame=("train", "pulse")).transpose("frame", ...)
    rings = setup.rings(q_range, mask)
    intensity = np.stack([frames.values[:, ring].mean(axis=1, dtype="f8") for ring in rings], axis=0)
    q = (q_range[1:] + q_range[:-1]) / 2
    normed = intensity / intensity.mean(axis=1, keepdims=True)
    raw = xr.DataArray(
        normed[:, :, None] * normed[:, None, :],
        dims=("q", "t1", "t2"),
        coords={"q": ("q", q, {"units": "px"}), "t1": np.arange(intensity.shape[1]) * 0.443},
        name="MID/AGIPD:ttcf.raw",
        attrs={"units": "", "transmission": transmission},
    )
    lags = np.arange(6)
    g2 = xr.DataArray(
        [[np.mean(line[: len(line) - lag] * line[lag:]) for lag in lags] for line in normed],
        dims=("q", "lag"),
        coords={"q": q, "lag": lags * 0.443},
        attrs={"units": "1"},
    )
    results = {
        "setup": Setup(setup.Config(), q_range),
        "TTCF_raw": raw,
        "TTCF_off": raw * 0.01 if calc_stats else None,
        "g2": g2,
        "SAXS": xr.DataArray(intensity.mean(axis=1), dims="q", coords={"q": q}, name="I(q)/saxs"),
        "figure_2d": draw_rings(rings),
        "figure_g2": draw_lines(g2),
    }
    if calc_stats:
        results["fig_outlier"] = draw_lines(raw.mean("t2").rename(t1="lag"))
    return results


def draw_rings(rings):
    fig, ax = plt.subplots(figsize=(3, 4))
    ax.imshow(sum((place + 1) * ring for place, ring in enumerate(rings)))
    return fig


def draw_lines(g2):
    fig, ax = plt.subplots(figsize=(4, 3))
    for line in g2:
        ax.plot(line.lag, line, label=f"{float(line.q):.0f}")
    ax.legend()
    return fig
