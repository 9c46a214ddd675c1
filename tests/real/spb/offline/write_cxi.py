"""Hits of a run in one file: `write_cxi.py RUN SCRATCH`."""

import sys
from pathlib import Path

import h5py
import numpy as np

run, scratch = int(sys.argv[1]), Path(sys.argv[2])
with h5py.File(scratch / f"hits_r{run:04}.h5", "r") as f:
    hits = f["score"][:] > 1.5
images = []
for path in sorted((scratch / f"vds_r{run:04}").glob("CORR-*.h5")):
    with h5py.File(path, "r") as f:
        (source,) = (s for s in f["INSTRUMENT"].values())
        images.append(next(iter(next(iter(source.values())).values()))["image/data"][:])
images = np.stack(images, axis=1)
with h5py.File(scratch / f"r{run:04}.cxi", "w") as f:
    f["entry_1/hits"] = images[hits].mean(axis=(2, 3))
    f["entry_1/white"] = images[~hits].mean(axis=0)
