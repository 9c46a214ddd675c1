"""Frames that are brighter than the others: `find_hits.py PROPOSAL_PATH RUN SCRATCH --threshold=N`."""

import argparse
import time
from pathlib import Path

import h5py
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("proposal_path", type=Path)
parser.add_argument("run", type=int)
parser.add_argument("scratch", type=Path)
parser.add_argument("--threshold", type=float)
arguments = parser.parse_args()

print(f"run: {arguments.run}")
print(f"threshold: {arguments.threshold}")
files = sorted((arguments.proposal_path / "proc" / f"r{arguments.run:04}").glob("CORR-*.h5"))
print(f"modules: {len(files)}")
sums = []
for path in files:
    with h5py.File(path, "r") as f:
        (source,) = (s for s in f["INSTRUMENT"].values())
        images = next(iter(next(iter(source.values())).values()))["image"]
        sums.append(images["data"][:].mean(axis=(1, 2), dtype="f8"))
        train_ids = images["trainId"][:].reshape(-1)
score = np.sum(sums, axis=0)
score /= np.median(score)
print(f"frames: {len(score)}", flush=True)
time.sleep(0.3)
partial = arguments.scratch / f".hits_r{arguments.run:04}.h5"
with h5py.File(partial, "w") as f:
    f["score"] = score
    f["trainId"] = train_ids
partial.rename(arguments.scratch / f"hits_r{arguments.run:04}.h5")
