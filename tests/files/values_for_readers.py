"""Arrays with names and attributes that may confuse readers. As a program, prints them as our package converts them:

    python values_for_readers.py >entries.json

This is a separate process because DAMNIT has a module with the name of our package.
"""

import datetime
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

DAY = np.datetime64("2026-03-12T08:00:00", "ns")


def array(values=(1, 2, 3), dtype="i2", **options):
    """A DataArray over x."""
    return xr.DataArray(np.array(values, dtype), dims="x", **options)


HARD = {
    "none": None,
    "dict": {"gain": (2, None)},
    "bytes": b"\xfe\xff",
    "nul": "a\0b",
    "square": np.eye(2),
    "nested": [[1], [2, 3]],
    "empty": [],
    "mixed": [1, "a"],
    "object": object(),
    "set": {1},
    "date": datetime.date(2026, 1, 1),
    "times": np.array([DAY]),
    "large": np.zeros(20_000),
    "texts": ["a"] * 5_000,
    "half": np.float16(1),
    "long": np.longdouble(1),
    "complex": 1j,
    "truth": np.array([True]),
    "integer": 10**30,
    "a/b": 1,
    "": 2,
    5: 3,
    "big": np.array([1], ">i4"),
    "fixed": np.array([b"a"]),
    "text": "ü",
    "NAME": "n",
    "CLASS": "c",
    "DIMENSION_LIST": [1],
    "REFERENCE_LIST": "r",
    "_Netcdf4Dimid": 77,
    "_Netcdf4Coordinates": [7],
    "_NCProperties": "p",
    "_damnit_objtype": "image",
    "_damnit_returned": "r",
}
#: As returned; and as other readers see it, if they see a different array.
VALUES = {
    "slash": array(name="A/B/C.value"),
    "seconds": array(dtype="f8", attrs={"units": "seconds"}),
    "tiny": array([0.1, 0.2], "f4", attrs={"units": "nanoseconds"}),
    "since": array(attrs={"units": "days since 2000-01-01"}),
    "nonsense": array(attrs={"units": "counts since start"}),
    "space": array(coords={"Height [mm]": ("x", [1, 2, 3])}, name="profile"),
    "scaled": array(attrs={"scale_factor": 2.0, "add_offset": 10.0}),
    "missing": array(attrs={"missing_value": np.int16(2)}),
    "filled": array(attrs={"_FillValue": np.int16(1)}),
    "filled_floats": array(dtype="f4", attrs={"_FillValue": 1.0, "missing_value": 2.0}),
    "unsigned": array([-1, 2], "i1", attrs={"_Unsigned": "true"}),
    "boolean": array([1, 0], "i1", attrs={"dtype": "bool"}),
    "coordinates": array(attrs={"coordinates": "nothing"}, coords={"y": ("x", [1, 2, 3])}),
    "valid": array(attrs={"valid_range": [2, 3]}),
    "hard": array(attrs=HARD),
    "bytes": xr.DataArray(np.array([b"a", b"bc"]), dims="x", attrs={"_Encoding": "utf-8"}),
    "times": xr.DataArray(DAY + np.arange(3), dims="x", attrs={"units": "odd", "calendar": "odd"}),
    "no_time": xr.DataArray(np.array([DAY, "NaT"], "M8[ns]"), dims="x"),
    "duration": xr.DataArray(np.array([1, 2], "m8[ns]"), dims="x"),
    "truth": array([True, False], "?"),
    "levels": xr.DataArray(np.eye(2), dims=("a", "b"), coords={"a": [1, 2], "b": [3, 4]}).stack(c=("a", "b")),
    "hinted": array(dtype="f8"),
    "number": array(name=5),
    "dataset": xr.Dataset(
        {"a/b": ("x", [1, 2], {"scale_factor": 3}), "c": 5}, {"y": ("x", [0.5, 1.5])}, HARD | {"coordinates": "q"}
    ),
}
VALUES["hinted"].encoding = {"dtype": "i1", "scale_factor": 0.1, "_FillValue": 3}
#: Only for these, numbers and types differ in the file: text has no width there, and tuples are represented by their levels.
OTHERS = {"levels": np.eye(2).ravel()}
SERIES = pd.Series([1.0, 2.0], name=0)


def main() -> None:
    """Print what the driver of the tests is to write."""
    context = Path(__file__).resolve().parents[2] / "context"
    sys.path[:0] = [str(context), str(context / "tests")]
    from through_a_file import entry_of

    values = {**VALUES, "series": SERIES}
    print(json.dumps([{"as": "value", "name": name, **entry_of(value)} for name, value in values.items()]))


if __name__ == "__main__":
    main()
