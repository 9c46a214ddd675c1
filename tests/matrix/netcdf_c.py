"""Read netCDF variables of a run file with the netCDF-C library.

    python netcdf_c.py FILE OUT VARIABLE…

writes OUT.npz (contents) and OUT.json (an index), for variables given as paths. This is a separate process because netCDF4
and h5py each bring their own HDF5 library, and the two conflict.
"""

import json
import os
import sys
from pathlib import Path

import netCDF4
import numpy as np


def variables(group, way=""):
    """All variables below a group, by path."""
    for name, variable in group.variables.items():
        yield f"{way}/{name}", variable
    for name, child in group.groups.items():
        yield from variables(child, f"{way}/{name}")


def main() -> None:
    """Command line."""
    contents, keys, wanted = {}, {}, set(sys.argv[3:])
    dataset = netCDF4.Dataset(sys.argv[1])
    dataset.set_auto_maskandscale(False)
    for way, variable in variables(dataset):
        if way not in wanted:
            continue
        values = np.asarray(variable[...])
        if values.dtype == object:
            values = values.astype(str)
        keys[way] = f"v{len(contents)}"
        contents[keys[way]] = values
    out = Path(sys.argv[2])
    np.savez(out.with_suffix(".npz"), **contents)
    out.with_suffix(".json").write_text(json.dumps(keys), encoding="utf-8")
    # Not closed: the library crashes when it closes a file that contains half-precision numbers anywhere, and plain arrays
    # may be of that type.
    os._exit(0)


if __name__ == "__main__":
    main()
