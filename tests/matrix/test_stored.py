"""The checks of stored values notice errors."""

import json

import h5py
import numpy as np
import pytest
import xarray as xr

import stored as stored_module
from commands import run
from declared import Cell, Skip, declared
from expecting import BEYOND, DEPENDENT, UNABLE, VALUES
from stored import StoredRun, summary_of


def row(value, **attributes):
    """A row of the table."""
    return {
        "value": value,
        "summary_type": None,
        "attributes": json.dumps(attributes) if attributes else None,
    }


@pytest.fixture
def stored(tmp_path) -> StoredRun:
    """A run with a number, a text, an error, and an image without a thumbnail."""
    path = tmp_path / "p1234_r1.h5"
    with h5py.File(path, "w") as f:
        f["number/data"] = np.float32(1.5)
        f["text/data"] = "words"
        f["image/data"] = np.zeros((3, 4))
        f[".errors/broken"] = "why"
    rows = {
        "number": row(1.5, units="mm"),
        "text": row("words"),
        "broken": row(None, error="why", error_cls="ValueError"),
        "image": row(5),
    }
    return StoredRun(path, rows)


def test_good_values_pass(stored):
    assert list(stored.problems("number", Cell(np.float32(1.5), units="mm"))) == []
    assert list(stored.problems("text", Cell("words"))) == []
    assert list(stored.problems("broken", ValueError("why"))) == []
    assert list(stored.problems("gone", Cell(None))) == []


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("number", Cell(np.float32(1.6), units="mm")),
        ("number", Cell(np.float64(1.5), units="mm")),
        ("number", Cell(np.array([1.5], "f4"), units="mm")),
        ("number", Cell(np.float32(1.5))),
        ("number", Cell(np.float32(1.5), units="m")),
        ("number", Cell(np.float32(1.5), units="mm", bold=True)),
        ("number", Cell(np.float32(1.5), units="mm", preview=np.zeros(3))),
        ("number", Cell(np.float32(1.5), units="mm", summary_value="other")),
        ("number", Cell(None)),
        ("number", ValueError("why")),
        ("text", Cell("other")),
        ("text", Cell(5)),
        ("broken", ValueError("why not")),
        ("broken", Skip("why")),
        ("broken", Cell(1)),
        ("image", Cell(np.zeros((3, 4)))),
        ("gone", Cell(1)),
        ("gone", ValueError("why")),
    ],
)
def test_wrong_values_are_noticed(stored, name, outcome):
    assert list(stored.problems(name, outcome))


def test_summaries_follow_the_rules():
    assert summary_of(Cell(np.array([1.0, 3.0]), summary="mean")) == 2.0
    assert summary_of(Cell(np.zeros((2, 3, 4), "u2"))) == "uint16: (2, 3, 4)"
    assert summary_of(Cell(np.zeros(3), summary_value="said")) == "said"


def test_matrix_is_told_apart():
    """Every variable of the matrix is checked either against its declaration or with an explicit expectation, and none twice.
    """
    values = declared(VALUES)
    by_hand = DEPENDENT.keys() | UNABLE.keys()
    asking = {name for name, variable in values.items() if variable.needs_arguments}
    assert asking - by_hand <= {"told_glob"}
    assert {name for name in by_hand if "." not in name} <= values.keys()
    assert len(values) > 280
    assert len(declared(BEYOND)) > 20


def test_netcdf_c_agrees_or_not(tmp_path, monkeypatch):
    """Values read with netCDF-C are compared, and missing ones are noticed."""
    path = tmp_path / "p1234_r1.h5"
    xr.Dataset({"a": ("x", [1.0, 2.0])}, coords={"x": ["p", "ü"]}).to_netcdf(
        path, group="v", engine="h5netcdf"
    )
    with h5py.File(path, "r+") as f:
        f["v"].attrs["_damnit_objtype"] = "dataset"
    assert list(stored_module.netcdf_c_problems(path, tmp_path / "good")) == []

    def tamper(command):
        """Reads as before, but changes one number and drops the other variable."""
        run(command)
        out = tmp_path / "bad"
        keys = json.loads(out.with_suffix(".json").read_text())
        np.savez(out.with_suffix(".npz"), **{keys["/v/a"]: np.array([1.0, 2.5])})
        out.with_suffix(".json").write_text(json.dumps({"/v/a": keys["/v/a"]}))

    monkeypatch.setattr(stored_module, "run", tamper)
    problems = list(stored_module.netcdf_c_problems(path, tmp_path / "bad"))
    assert [" ".join(p.split()[:4]) for p in problems] == [
        "netCDF-C reads /v/a as",
        "netCDF-C does not see",
    ]
