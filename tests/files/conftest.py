"""Files written by the crate `amore-results`, read with the programs that users read them with.

The tests run in a Python that has h5py, xarray, h5netcdf, netCDF4 and DAMNIT: the current one, or the one named by
AMORE_PEER_PYTHON. The files are written by the example program `write_fragment`, which `make examples` builds, unless
AMORE_WRITE_FRAGMENT names another one.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from commands import TARGET


def dtype_name(array: np.ndarray) -> str:
    return "|b1" if array.dtype == bool else array.dtype.str


def array(values, **options) -> dict:
    """An array (or text) in the format of the driver."""
    if isinstance(values, str):
        return {"dtype": "str", "shape": [], "texts": [values]}
    if isinstance(values, list) and values and isinstance(values[0], str):
        return {"dtype": "str", "shape": [len(values)], "texts": values}
    values = np.asarray(values)
    return {"dtype": dtype_name(values), "shape": list(values.shape), "hex": values.tobytes().hex()} | options


def plain(values, objtype=None, **options) -> dict:
    return {"array": array(values, **options), "objtype": objtype}


def numbers(values) -> dict:
    """A numeric attribute in the format of the driver."""
    values = np.asarray(values)
    return {"dtype": dtype_name(values), "shape": list(values.shape), "hex": values.tobytes().hex()}


def netcdf(dataset, objtype="dataset", **options) -> dict:
    """A numeric xarray.Dataset in the format of the driver."""
    variables = []
    for name, variable in dataset.variables.items():
        is_data = name in dataset.data_vars
        attrs = {k: v if isinstance(v, str) else numbers(v) for k, v in variable.attrs.items()}
        beside = [str(c) for c in dataset.coords
                  if c not in dataset.dims and set(dataset[c].dims) <= set(variable.dims)]
        if is_data and beside:
            attrs["coordinates"] = " ".join(beside)
        if is_data and variable.dtype.kind == "f":
            attrs["_FillValue"] = numbers(np.full(1, np.nan, variable.dtype))
        variables.append({
            "name": name,
            "dims": list(variable.dims),
            "compress": is_data,
            "attrs": attrs,
            "array": array(variable.values, **(options if is_data else {})),
        })
    return {
        "dims": [{"name": str(name), "size": size} for name, size in dataset.sizes.items()],
        "variables": variables,
        "attrs": dict(dataset.attrs),
        "objtype": objtype,
    }


def value(name, data=None, **more) -> dict:
    return {"name": name, "as": "value", "data": data} | more


class Driver:
    """A running example program and its directory."""

    def __init__(self, program: str, directory: Path):
        self.dir = directory
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, what: str, **arguments):
        assert self.process.stdin is not None and self.process.stdout is not None
        command = {"do": what, "dir": str(self.dir)} | arguments
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the program died"
        return json.loads(line)

    def write(self, *entries, start_time=1.0e9, refused=()) -> str:
        answer = self.do("write", entries=entries, start_time=start_time)
        assert "failed" not in answer, answer
        assert sorted(answer["refused"]) == sorted(refused), answer
        return answer["path"]

    def merge(self, *fragments) -> dict:
        answer = self.do("merge", fragments=fragments)
        assert "failed" not in answer, answer
        return answer

    def store(self, *entries, **options) -> dict:
        """Write, merge and remove fragments, as a worker and the coordinator do."""
        path = self.write(*entries, **options)
        report = self.merge(path)
        for done in report["done"]:
            os.unlink(done)
        return report

    @property
    def run_file(self) -> Path:
        return self.dir / "p1234_r42.h5"

    def close(self):
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture(scope="session")
def program() -> str:
    if named := os.environ.get("AMORE_WRITE_FRAGMENT"):
        return named
    built = TARGET / "release" / "examples" / "write_fragment"
    if not built.is_file():
        pytest.fail(f"{built} is missing: run `make examples`, or set AMORE_WRITE_FRAGMENT", pytrace=False)
    return str(built)


@pytest.fixture
def driver(program, tmp_path):
    directory = tmp_path / "extracted_data"
    directory.mkdir()
    driver = Driver(program, directory)
    yield driver
    driver.close()
