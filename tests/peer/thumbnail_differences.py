"""Draws the same arrays with DAMNIT's own code and with the native core, and prints how far they are apart.

Runs in the Python environment that has DAMNIT (numpy, matplotlib, Pillow and xarray come with it):

    python thumbnail_differences.py path/to/_core.abi3.so

Prints a JSON object: for each case, `mean`, the mean absolute difference of red, green and blue (0 to 255),
and `block`, the largest difference between the means of blocks of 5x5 pixels.
"""

import importlib.util
import io
import json
import sys
import warnings
from pathlib import Path

import damnit
import numpy as np
import xarray as xr
from PIL import Image

sys.path.insert(0, str(Path(damnit.__file__).parent / "ctxsupport"))
import damnit_writing

SHAPES = [
    *[(1, 1), (3, 5), (16, 16), (7, 99), (99, 99), (100, 100), (100, 20), (101, 60), (1, 150), (150, 150)],
    *[(150, 60), (120, 220), (200, 200), (299, 301), (300, 300), (300, 10), (100, 300), (256, 320)],
    *[(512, 1024), (1000, 7), (7, 1000), (600, 600), (1001, 1337), (3000, 40), (4500, 4300)],
]
DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "g"]


def load(path):
    spec = importlib.util.spec_from_file_location("_core", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wave(shape):
    """A smooth picture with a spot: its colours change over many pixels."""
    y, x = np.mgrid[0 : 1 : shape[0] * 1j, 0 : 1 : shape[1] * 1j]
    return np.sin(6 * x + 2 * y) * 50 + 300 * np.exp(-((x - 0.3) ** 2 + (y - 0.6) ** 2) * 200)


def arrays():
    random = np.random.default_rng(20240607)
    for shape in SHAPES:
        yield f"noise {shape}", random.normal(3.0, 2.0, shape)
        yield f"wave {shape}", wave(shape)
    for dtype in DTYPES:
        yield f"dtype {dtype}", random.integers(0, 100, (256, 320)).astype(dtype)
        yield f"dtype {dtype}, small", random.integers(0, 100, (16, 100)).astype(dtype)
    holes = random.normal(3.0, 2.0, (256, 320)).astype("f4")
    holes[random.random(holes.shape) < 0.1] = np.nan
    holes[40:90, 100:200] = np.nan
    yield "nan", holes
    infinite = holes.copy()
    infinite[200:210, 30:50] = np.inf
    infinite[100:110, 230:250] = -np.inf
    yield "inf", infinite
    yield "inf f2", infinite.astype("f2")
    yield "inf, few pixels", np.array([[np.inf, 1.0], [2.0, 3.0]])
    yield "all nan", np.full((30, 40), np.nan)
    yield "all inf", np.full((30, 40), np.inf)
    yield "constant", np.full((256, 320), 7.5)
    yield "constant zero", np.zeros((20, 20), "u2")
    yield "mostly constant", (np.arange(256 * 320).reshape(256, 320) % 500 == 0) * 1.0
    yield "gain bits", (random.poisson(3, (512, 1024)) + 1000).astype("u2")
    yield "poisson small", random.poisson(3, (128, 64)).astype("u2")
    yield "large integers", random.integers(2**62, 2**63 - 1, (128, 128))
    yield "fortran", np.asfortranarray(random.normal(3.0, 2.0, (256, 320)))
    yield "strided", random.normal(3.0, 2.0, (600, 700))[::-2, 5:-5:3]
    yield "broadcast", np.broadcast_to(np.arange(300.0), (200, 300))


def labelled_arrays():
    for name, array in arrays():
        yield name, xr.DataArray(array, dims=("y", "x"))
    random = np.random.default_rng(20240608)
    coordinates = {"none": None, "up": 1, "down": -1}
    for shape in [(1, 1), (1, 5), (4, 1), (3, 5), (200, 600), (256, 320)]:
        for y, y_sign in coordinates.items():
            for x, x_sign in coordinates.items():
                coords = {}
                if y_sign:
                    coords["y"] = np.arange(shape[0])[::y_sign] * 0.5 + 3
                if x_sign:
                    coords["x"] = np.arange(shape[1])[::x_sign] * 2.0 - 9
                values = random.normal(3.0, 2.0, shape)
                yield f"{shape} y {y}, x {x}", xr.DataArray(values, dims=("y", "x"), coords=coords)
    values = random.normal(3.0, 2.0, (5, 4))
    stamps = np.array("2026-01-01", "M8[ns]") + np.arange(5)[::-1] * np.timedelta64(1, "s")
    yield "times, strings", xr.DataArray(values, {"y": stamps, "x": list("dcba")}, ("y", "x"))
    yield "jumps", xr.DataArray(values, {"y": [3.0, 1.0, 4.0, 1.0, 6.0], "x": [4, 5, 0, 1]}, ("y", "x"))
    yield "bool", xr.DataArray(values > 3.0, dims=("y", "x"))


def runs_backwards(coordinate):
    """The rule of the documentation of `damnit_ctx._core.thumbnail`."""
    if coordinate.dtype.kind in "US" or len(coordinate) < 2:
        return False
    half_step = 0.5 * (coordinate[1] - coordinate[0])
    return bool(coordinate[0] - half_step > coordinate[-1] + half_step)


def ours(core, array):
    labelled = isinstance(array, xr.DataArray)
    flip_rows = labelled and not runs_backwards(array[array.dims[0]].values)
    flip_columns = labelled and runs_backwards(array[array.dims[1]].values)
    values = np.asarray(array)
    where = values.__array_interface__["data"][0], values.shape, values.strides, values.dtype.str
    return core.thumbnail(*where, flip_rows, flip_columns, labelled)


def theirs(array):
    # DAMNIT's preparation of a 2-D result before it draws it.
    return damnit_writing.generate_thumbnail(
        array.fillna(0) if isinstance(array, xr.DataArray) else np.nan_to_num(array)
    ).data


def pixels(png):
    image = Image.open(io.BytesIO(png))
    assert image.mode == "RGBA" and image.size == (300, 300), (image.mode, image.size)
    decoded = np.asarray(image).astype(float)
    assert (decoded[..., 3] == 255).all()
    return decoded[..., :3]


def main():
    core = load(sys.argv[1])
    differences = {}
    for kind, cases in [("array", arrays()), ("labelled", labelled_arrays())]:
        for name, array in cases:
            with warnings.catch_warnings():
                # Warnings of DAMNIT's drawing: empty slices, overflows, longdouble.
                warnings.simplefilter("ignore")
                difference = pixels(ours(core, array)) - pixels(theirs(array))
            blocks = difference.reshape(60, 5, 60, 5, 3).mean(axis=(1, 3))
            differences[f"{kind}: {name}"] = {
                "mean": float(np.abs(difference).mean()),
                "block": float(np.abs(blocks).max()),
            }
    json.dump(differences, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
