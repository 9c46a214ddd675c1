"""A detector-like array of 1 GiB: 256 trains, 16 modules of 512 × 128 pixels, float32.

Dark noise in whole ADU around a pedestal of each pixel, pixels in medium gain here and there. A block of 16
trains is made once and repeated, so that making the array is cheap.
"""

import numpy as np
import xarray as xr
from damnit_ctx import Variable

TRAINS = 256
BLOCK = 16


def images():
    rng = np.random.default_rng(1)
    pixels = (16, 512, 128)
    pedestal = rng.normal(0, 1.5, pixels).astype("f4")
    medium = rng.random(pixels) < 0.02
    block = rng.standard_normal((BLOCK, *pixels), dtype="f4")
    block *= 4
    block += pedestal
    block[:, medium] += 40
    np.rint(block, out=block)
    return np.tile(block, (TRAINS // BLOCK, 1, 1, 1))


@Variable(title="Images", data="raw")
def images_value(run):
    array = images()
    if not STORE:  # The benchmark inserts this constant above.
        return float(array[0].mean())
    return xr.DataArray(array, dims=["train", "module", "slow_scan", "fast_scan"], name="adu")
