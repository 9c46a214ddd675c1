"""h5py, xarray/h5netcdf, netCDF-C and DAMNIT can read the files that we write: fresh, merged, and with separate array files.
"""

import json

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from damnit.api import Damnit
from damnit.backend.db import DamnitDB
from damnit.backend.extract_data import add_to_db, load_reduced_data

from conftest import array, netcdf, plain, value

RNG = np.random.default_rng(7)

PLAIN = {
    **{f"n_{kind.replace('>', 'b')}": (RNG.random((5, 7)) * 100).astype(kind)
       for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">f8", ">i2")},
    "n_c8": (RNG.random(9) + 1j * RNG.random(9)).astype("c8"),
    "n_c16": RNG.random((2, 3)) + 1j,
    "n_bool": RNG.random(20) > 0.5,
    "n_bytes": np.array([b"ab", b"cde", b""], "S5"),
    "n_empty": np.zeros((0, 3)),
    "n_scalar": np.array(3.5, "f4"),
    "n_int": np.array(-7),
    "n_cplx": np.array(1 + 2j),
    "n_true": np.array(True),
    "n_cube": RNG.random((3, 4, 5, 6)),
}


def dataset() -> xr.Dataset:
    return xr.Dataset(
        {
            "flux": (("trainId", "x"), RNG.random((200, 30)).astype("f4"), {"units": "μJ", "gain": np.float64(2.5)}),
            "counts": (("trainId",), RNG.integers(0, 1000, 200).astype("i8")),
            "scalar": ((), np.float64(4.5)),
        },
        coords={"trainId": np.arange(1000, 1200, dtype="u8"), "extra": ("trainId", RNG.random(200))},
        attrs={"note": "hello"},
    )


def dataarray(shape=(200, 30)) -> xr.Dataset:
    data = RNG.random(shape).astype("f4")
    return xr.Dataset(
        {"SPB_XTD9.flux": (("trainId", "dim_0"), data, {"units": "mJ"})},
        coords={"trainId": np.arange(shape[0], dtype="u8")},
    )


def same_dataset(found: xr.Dataset, expected: xr.Dataset):
    xr.testing.assert_equal(found, expected)
    for name in expected.variables:
        assert found[name].dtype == expected[name].dtype
        assert set(expected[name].attrs) <= set(found[name].attrs)


def check_netcdf(path, group, expected):
    """The same content, read with h5netcdf and with netCDF-C."""
    with xr.open_dataset(path, group=group, engine="h5netcdf") as found:
        same_dataset(found.load(), expected)
    with netCDF4.Dataset(path) as file:
        for name, variable in expected.variables.items():
            found = file[group].variables[name]
            assert found.dimensions == variable.dims
            np.testing.assert_array_equal(np.ma.filled(found[...], 0), variable.values)


def dimension_ids(path):
    ids = []
    with h5py.File(path) as f:
        def see(_, node):
            if isinstance(node, h5py.Dataset) and node.is_scale:
                ids.append(int(node.attrs["_Netcdf4Dimid"]))
        f.visititems(see)
    return ids


@pytest.mark.parametrize("large", [False, True])
def test_plain_values(driver, large):
    # A missing boolean could not be distinguished from a real one, so booleans are never in a separate file.
    names = [n for n in PLAIN if not large or (PLAIN[n].ndim and PLAIN[n].dtype != bool)]
    path = driver.write(*(value(n, plain(PLAIN[n], large=large)) for n in names))
    driver.merge(path)
    for file in (path, driver.run_file):
        with h5py.File(file) as f:
            for name in names:
                found = f[name]["data"]
                assert found.dtype == PLAIN[name].dtype and found.shape == PLAIN[name].shape
                np.testing.assert_array_equal(found[()], PLAIN[name])
                assert found.is_virtual == large
                assert found.chunks is None


def test_text(driver):
    driver.store(value("t", plain("Grüße\n'\"/")), value("ts", plain(["a", "", "ß"])))
    with h5py.File(driver.run_file) as f:
        assert f["t/data"].asstr()[()] == "Grüße\n'\"/"
        assert list(f["ts/data"].asstr()[()]) == ["a", "", "ß"]
        assert h5py.check_string_dtype(f["t/data"].dtype).encoding == "utf-8"
        assert f.attrs["provenance"] == "context.py"


def test_format_is_old_enough(driver):
    driver.store(value("a", plain(np.arange(3))), value("d", netcdf(dataset())))
    with open(driver.run_file, "rb") as f:
        assert f.read(9) == b"\x89HDF\r\n\x1a\n\x00", "superblock version 0"
    with h5py.File(driver.run_file) as f:
        flux = f["d/flux"]
        assert (flux.compression, flux.compression_opts, flux.shuffle) == ("gzip", 1, True)
        assert np.isnan(flux.fillvalue)
        counts = f["d/counts"]
        assert counts.id.get_storage_size() < counts.size * 8 / 2, "it is compressed indeed"
        assert f["d/trainId"].chunks is None


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("rewritten", [False, True])
def test_netcdf(driver, large, rewritten):
    d, a = dataset(), dataarray()
    driver.store(
        value("ds", netcdf(d, large=large)),
        value("da", netcdf(a, "dataarray", large=large), preview=netcdf(dataarray((4, 5)), "dataarray")),
    )
    if rewritten:
        driver.store(value("more", netcdf(d)), value("one", plain(np.array(1))))
        driver.store(value("one", plain(np.array(2))))
        check_netcdf(driver.run_file, "more", d)
    check_netcdf(driver.run_file, "ds", d)
    check_netcdf(driver.run_file, "da", a)
    ids = dimension_ids(driver.run_file)
    assert len(ids) == len(set(ids)) and len(ids) >= 6
    assert driver.do("verify", file=str(driver.run_file)) == []


def test_netcdf_shapes(driver):
    """Dimensions without a variable, shared, or of length zero; a variable with the name of a dimension that it does not
    have.
    """
    cases = {
        "bare": xr.Dataset({"a": (("x", "y"), np.ones((2, 3)))}),
        "twice": xr.Dataset({"a": (("x",), np.ones(4)), "b": (("x",), np.zeros(4))}),
        "zero": xr.Dataset({"a": (("x", "y"), np.ones((0, 3)))}, coords={"x": np.zeros(0, "i8")}),
        "long": xr.Dataset({"a": (("x",), np.arange(500_000.0))}),
        "wide": xr.Dataset({"a": (("x", "y", "z"), RNG.random((3, 700, 211)))}),
    }
    driver.store(*(value(name, netcdf(d)) for name, d in cases.items()))
    driver.store(value("other", plain(np.array(1))))
    for name, d in cases.items():
        check_netcdf(driver.run_file, name, d)


def test_compressed_large_arrays_in_odd_pieces(driver):
    for shape in [(3, 1000, 400), (1_500_000,), (5, 7)]:
        for dtype in ["f4", "u2", "f8"]:
            data = (RNG.random(shape) * 50).astype(dtype)
            d = xr.Dataset({"a": ([f"d{i}" for i in range(data.ndim)], data)})
            driver.store(value("v", netcdf(d, large=True, piece=777_777)))
            check_netcdf(driver.run_file, "v", d)


def test_the_moved_directory_still_reads(driver, tmp_path):
    data = RNG.random((100, 100))
    driver.store(value("v", plain(data, large=True)))
    (tmp_path / "elsewhere").mkdir()
    driver.dir.rename(tmp_path / "elsewhere" / "extracted_data")
    with h5py.File(tmp_path / "elsewhere" / "extracted_data" / "p1234_r42.h5") as f:
        np.testing.assert_array_equal(f["v/data"][()], data)


def test_export_has_everything_inside(driver, tmp_path):
    d, data = dataset(), RNG.random((100, 100))
    driver.store(value("v", plain(data, large=True)), value("ds", netcdf(d, large=True)), value("e", plain("text")))
    out = tmp_path / "out.h5"
    assert driver.do("export", file=str(driver.run_file), to=str(out)) == {}
    with h5py.File(out) as f:
        assert not f["v/data"].is_virtual and not f["ds/flux"].is_virtual
        assert f["ds/flux"].compression == "gzip"
        np.testing.assert_array_equal(f["v/data"][()], data)
        assert f["e/data"].asstr()[()] == "text"
        assert set(f[".provenance"]) == {"v", "ds", "e"}
    check_netcdf(out, "ds", d)
    assert [p.name for p in tmp_path.iterdir() if "writing" in p.name] == []


def summaries():
    png = np.frombuffer(b"\x89PNG\r\n\x1a\n" + bytes(range(50)), "u1")
    return [
        value("mean", plain(np.arange(5.0)), summary=array(np.float32(2.5)), summary_method="mean", max_diff=4.0, units="μJ"),
        value("count", plain(np.array(5)), summary=array(np.int64(5)), bold=True, background=[255, 0, 7]),
        value("flag", plain(np.array(True)), summary=array(np.bool_(True))),
        value("cplx", plain(np.array(1 + 2j)), summary=array(np.complex128(1 + 2j))),
        value("word", plain("hi"), summary=array("hi")),
        value("image", plain(np.ones((30, 30))), summary=array(png), max_diff=0.0),
        value("line", plain(np.ones(30)), summary=array(RNG.random((2, 20))), summary_type="trendline"),
        value("vector", plain(np.ones(3)), summary=array(np.arange(4, dtype="i4"))),
        value("half", plain(np.ones(3)), summary=array(np.float16(0.25))),
        value("huge", plain(np.ones(3)), summary=array(np.uint32(4_000_000_000))),
        {"name": "bad", "as": "error", "class": "ValueError", "message": "no 'such' thing\nat all"},
        {"name": "skip", "as": "error", "class": "Skip", "message": "not now"},
        {"name": "none", "as": "nothing"},
    ]


def test_reduced_rows_are_what_damnit_reads(driver):
    driver.store(*summaries())
    ours = driver.do("reduced", file=str(driver.run_file))
    theirs = load_reduced_data(driver.run_file)
    assert theirs.pop("start_time").value == ours["start_time"] == 1.0e9
    assert ours["without_row"] == ["none"]
    rows = {row["name"]: row for row in ours["rows"]}
    assert set(rows) == set(theirs)
    for name, expected in theirs.items():
        row = DamnitDB._prepare_variable_row(None, 1234, 42, name, expected, "", 0.0)
        found = rows[name]
        want, got = row["value"], found["value"]
        if isinstance(want, bytes):
            got = bytes.fromhex(got)
            if want.startswith(b"\x93NUMPY"):
                import io
                np.testing.assert_array_equal(np.load(io.BytesIO(got)), np.load(io.BytesIO(want)))
                got = want
        assert got == want, name
        assert found["max_diff"] == row["max_diff"], name
        assert found["summary_type"] == row["summary_type"], name
        assert found["summary_method"] == row["summary_method"], name
        attributes = found["attributes"] and json.loads(found["attributes"])
        assert attributes == (row["attributes"] and json.loads(row["attributes"])), name


def test_damnit_reads_the_run(driver, monkeypatch):
    monkeypatch.chdir(driver.dir.parent)
    entries = summaries() + [
        value("grp.sub", plain(np.arange(3))),
        value("ds", netcdf(dataset())),
        value("da", netcdf(dataarray(), "dataarray"), preview=plain(np.ones((4, 4)))),
        value("img", plain(np.zeros((8, 9, 4), "u1"), "image")),
        value("big", plain(np.ones((50, 50)), large=True)),
        value("only_preview", None, preview=plain(np.arange(4)), summary=array("x")),
    ]
    driver.store(*entries[:9])
    driver.store(*entries[9:])
    db = DamnitDB(driver.dir.parent / "runs.sqlite", create=True)
    db.metameta["proposal"] = 1234
    add_to_db(load_reduced_data(driver.run_file), db, 1234, 42, "context.py")
    for entry in entries:
        db.conn.execute("INSERT INTO variables (name, title) VALUES (?, ?)", (entry["name"], entry["name"]))
    db.conn.commit()
    db.close()
    run = Damnit(driver.dir.parent)[42]
    assert set(run.keys()) == {e["name"] for e in entries if e["as"] == "value"} | {"start_time"}
    np.testing.assert_array_equal(run["mean"].read(), np.arange(5.0))
    assert run["mean"].units == "μJ" and run["mean"].summary() == 2.5
    assert run["word"].read() == "hi"
    assert run["cplx"].read() == 1 + 2j and run["cplx"].summary() == 1 + 2j
    assert run["flag"].read() == np.True_
    np.testing.assert_array_equal(run["grp.sub"].read(), np.arange(3))
    assert run["ds"].read().attrs == {"note": "hello"}
    assert run["ds"].type_hint().value == "dataset"
    da = run["da"].read()
    assert da.name == "SPB_XTD9.flux" and da.dims == ("trainId", "dim_0") and da.attrs == {"units": "mJ"}
    np.testing.assert_array_equal(run["da"].preview_data(), np.ones((4, 4)))
    assert run["img"].type_hint().value == "image"
    np.testing.assert_array_equal(run["big"].read(), np.ones((50, 50)))
    np.testing.assert_array_equal(run["only_preview"].preview_data(), np.arange(4))
    # DAMNIT opens a directory, and opens the run file for each read, so it finds new values.
    driver.store(
        value("mean", plain(np.full(3, 7.0)), micros=1),
        value("big", plain(np.zeros((5, 5)), large=True), micros=1),
        {"name": "word", "as": "nothing", "micros": 1},
    )
    np.testing.assert_array_equal(run["mean"].read(), np.full(3, 7.0))
    np.testing.assert_array_equal(run["big"].read(), np.zeros((5, 5)))
    assert "word" not in set(run.keys())
