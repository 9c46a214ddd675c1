"""Where the detector stands."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Config:
    sdd: float = 7531.5962
    geometry: str = "agipd_mid_v12.geom"


def rings(q_range, mask):
    row, column = np.mgrid[:512, :128]
    radius = np.hypot(row - 256, column + 20)
    return [(radius >= low) & (radius < high) & mask for low, high in zip(q_range, q_range[1:])]
