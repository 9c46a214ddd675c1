"""Reduces the same lines with the package `fpcs`, as DAMNIT does, and with the native core.

Runs in the Python environment that has DAMNIT (numpy and fpcs come with it):

    python trendline_differences.py path/to/_core.abi3.so

Prints a JSON object: for each case, whether both give exactly the same points.
"""

import json
import sys

import fpcs
import numpy as np

from thumbnail_differences import load


def lines():
    random = np.random.default_rng(20240609)
    lengths = [0, 1, 2, 3, *range(118, 132), *range(238, 243), 359, 360, 361, 1000, 4321, 100_000]
    for n in lengths:
        even = np.arange(n, dtype=float)
        normal = random.normal(0.0, 1.0, n)
        yield f"random {n}", even, normal
        yield f"walk {n}", np.sort(random.normal(0.0, 1.0, n)), np.cumsum(normal)
        yield f"constant {n}", even, np.full(n, 2.5)
        yield f"rising {n}", even, even * 2.0
        yield f"falling {n}", even, -even
        yield f"few levels {n}", even, random.integers(0, 4, n).astype(float)
        steps = np.sort(random.integers(0, 50, n)).astype(float)
        yield f"repeated x {n}", steps, random.integers(0, 9, n).astype(float)
        holes = np.where(random.random(n) < 0.3, np.nan, normal)
        holes[n // 3 : n // 2] = np.nan
        yield f"nan {n}", even, holes
        yield f"infinite {n}", even, np.where(random.random(n) < 0.1, np.inf, normal)
        yield f"nan ends {n}", even, np.where((even < n // 7) | (even > n - n // 9), np.nan, normal)
        yield f"nan x {n}", np.where(random.random(n) < 0.1, np.nan, even), normal
        yield f"all nan {n}", even, np.full(n, np.nan)


def ours(core, x, y):
    line, points = core.trendline(x.ctypes.data, y.ctypes.data, x.size)
    return np.frombuffer(line, "<f8").reshape(2, points)


def theirs(x, y):
    # The window DAMNIT chooses.
    return np.vstack(fpcs.downsample(x, y, ratio=max(1, int(x.size / (0.8 * 150)))))


def main():
    core = load(sys.argv[1])
    equal = {name: bool(np.array_equal(ours(core, x, y), theirs(x, y))) for name, x, y in lines()}
    json.dump(equal, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
