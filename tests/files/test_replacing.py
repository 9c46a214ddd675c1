"""Replacing results: which one is kept, what readers see in the meantime, and what remains after a kill."""

import json
import os
import random
import signal
import subprocess
import time
from multiprocessing import Process, Queue

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

from conftest import Driver, array, netcdf, plain, value


def names(path):
    with h5py.File(path) as f:
        return {group: set(f[group]) for group in (".reduced", ".errors", ".preview", ".provenance")} | {
            "values": {name for name in f if not name.startswith(".")}
        }


def scalar(path, name):
    with h5py.File(path) as f:
        return f[name]["data"][()]


def left_over(directory):
    return sorted(p.name for p in directory.iterdir() if ".writing" in p.name or ".ready" in p.name)


def test_the_first_fragment_becomes_the_run_file(driver):
    path = driver.write(value("a", plain(np.array(1)), summary=array(np.int64(1))))
    report = driver.merge(path)
    assert os.stat(path).st_ino == os.stat(driver.run_file).st_ino
    assert report["stored"] == ["a"] and report["start_time"] == 1.0e9 and report["done"] == [path]
    again = driver.merge(path)
    assert (again["stored"], again["rows"], again["done"]) == (report["stored"], report["rows"], report["done"])
    assert os.stat(path).st_ino == os.stat(driver.run_file).st_ino


def test_results_replace_one_another(driver):
    driver.store(value("a", plain(np.array(1)), micros=1), value("b", plain(np.array(1)), micros=1))
    report = driver.store(value("a", plain(np.array(2)), micros=2), value("c", plain(np.array(3)), micros=2))
    assert report["stored"] == ["a", "c"]
    assert [scalar(driver.run_file, n) for n in "abc"] == [2, 1, 3]
    assert left_over(driver.dir) == []


def test_older_results_are_dropped(driver):
    driver.store(value("a", plain(np.array(2)), micros=2))
    report = driver.store(value("a", plain(np.array(1)), micros=1))
    assert report["older"] == ["a"] and report["stored"] == [] and report["rows"] == []
    assert scalar(driver.run_file, "a") == 2
    driver.store(value("a", plain(np.array(3)), epoch=0, micros=9))
    assert scalar(driver.run_file, "a") == 2
    driver.store(value("a", plain(np.array(4)), epoch=2, micros=0))
    assert scalar(driver.run_file, "a") == 4


def test_the_order_of_arrival_does_not_matter(driver):
    fragments = [driver.write(value("a", plain(np.array(n)), micros=n), value(f"v{n}", plain(np.array(n)), micros=n))
                 for n in range(5)]
    for seed in range(6):
        random.Random(seed).shuffle(fragments)
        driver.run_file.unlink(missing_ok=True)
        if seed % 2:
            driver.merge(*fragments)
        else:
            for fragment in fragments:
                driver.merge(fragment)
                driver.merge(fragment)
        assert scalar(driver.run_file, "a") == 4
        assert names(driver.run_file)["values"] == {"a", "v0", "v1", "v2", "v3", "v4", "start_time"}


@pytest.mark.parametrize("entry,rows", [
    ({"as": "nothing"}, 0),
    ({"as": "forget"}, 0),
    ({"as": "error", "class": "ValueError", "message": "no"}, 1),
    ({"as": "error", "class": "Skip", "message": "no"}, 1),
])
def test_no_stale_value_stays(driver, entry, rows):
    full = value("a", plain(np.arange(9), large=True), preview=plain(np.ones(3)), summary=array(np.int64(1)), micros=1)
    driver.store(full, value("b", plain(np.array(1))))
    report = driver.store({"name": "a", "micros": 2} | entry)
    found = names(driver.run_file)
    assert found["values"] == {"b", "start_time"} and found[".preview"] == set()
    assert found[".reduced"] == {"start_time"}
    assert found[".errors"] == ({"a"} if rows else set())
    assert found[".provenance"] == {"a", "b"}
    assert len(report["rows"]) == rows
    assert report["without_row"] == ([] if rows else ["a"])
    driver.store(full)
    assert "a" not in names(driver.run_file)["values"], "an older value must not come back"
    driver.store(full | {"micros": 3})
    found = names(driver.run_file)
    assert "a" in found["values"] and found[".errors"] == set()


def test_fragments_of_damnit(driver, monkeypatch):
    import damnit
    monkeypatch.syspath_prepend(os.path.join(os.path.dirname(damnit.__file__), "ctxsupport"))
    from damnit_ctx import Cell
    from damnit_writing import save_fragment

    driver.store(value("a", plain(np.array(1)), micros=1), value("b", plain(np.array(1)), micros=1))

    def submitted(**variables):
        cells = {name: Cell(v, summary_value=float(np.mean(v))) for name, v in variables.items()}
        return str(save_fragment(driver.dir.parent, 1234, 42, cells, {"err": ValueError("no")}, "submit"))

    da = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("x", "y"), coords={"x": [1, 2]}, name="n")
    path = submitted(a=np.arange(3.0), new=da)
    report = driver.merge(path)
    os.unlink(path)
    assert set(report["stored"]) == {"a", "new", "err"}
    np.testing.assert_array_equal(scalar(driver.run_file, "a"), np.arange(3.0))
    with xr.open_dataset(driver.run_file, group="new", engine="h5netcdf") as found:
        xr.testing.assert_equal(found["n"].load(), da)
    with netCDF4.Dataset(driver.run_file) as f:
        assert f["new/n"].dimensions == ("x", "y")
    # A result of an older plan does not replace it, but one of a later plan does.
    driver.store(value("a", plain(np.array(1)), micros=5))
    assert scalar(driver.run_file, "a").shape == (3,)
    driver.store(value("a", plain(np.array(2)), micros=int(time.time() * 1e6) + 10**7))
    assert scalar(driver.run_file, "a") == 2
    # If the first fragment is DAMNIT's, the time at which it was written must still be recorded.
    driver.run_file.unlink()
    first = submitted(a=np.arange(3.0))
    driver.merge(first)
    assert names(driver.run_file)[".provenance"] == {"a", "err"}


def test_damaged_fragments_are_set_aside(driver):
    good = driver.write(value("good", plain(np.array(1))))
    cut = driver.write(value("cut", plain(np.arange(9999))))
    with open(cut, "r+b") as f:
        f.truncate(os.path.getsize(cut) // 2)
    empty = driver.dir / "p1234_r42.empty.ready.h5"
    empty.write_bytes(b"")
    foreign = driver.dir / "p1234_r42.foreign.ready.h5"
    foreign.write_bytes(b"%PDF-1.7" * 1000)
    slash = driver.dir / "p1234_r42.name.ready.h5"
    with h5py.File(slash, "w") as f:
        f["it's/data"] = 1
    scribbled = driver.write(value("s", plain(np.arange(9999)), summary=array("x")))
    with open(scribbled, "r+b") as f:
        f.seek(600)
        f.write(b"\xff" * 4000)
    report = driver.merge(cut, str(empty), str(foreign), str(slash), scribbled, good)
    assert report["done"] == [good]
    assert len(report["set_aside"]) == 5
    for path, reason in report["set_aside"]:
        assert path.endswith(".broken.h5") and os.path.exists(path)
        assert os.path.basename(path).split(".")[1] in reason or "it's" in reason, reason
    assert left_over(driver.dir) == [os.path.basename(good)]
    assert scalar(driver.run_file, "good") == 1


def test_a_damaged_run_file_is_not_touched(driver):
    driver.run_file.write_bytes(b"no HDF5")
    path = driver.write(value("a", plain(np.array(1))))
    assert "cannot be extended" in driver.do("merge", fragments=[path])["failed"]
    assert driver.run_file.read_bytes() == b"no HDF5"
    assert os.path.exists(path)


def test_missing_array_files_are_noticed(driver):
    path = driver.write(value("big", plain(np.ones(1000), large=True)))
    arrays = list((driver.dir / "arrays/p1234_r42").iterdir())
    assert len(arrays) == 1
    hidden = arrays[0].with_suffix(".hidden")
    arrays[0].rename(hidden)
    report = driver.merge(path)
    assert report["done"] == [] and "missing" in report["waiting"][0][1]
    assert os.path.exists(path) and not driver.run_file.exists()
    hidden.rename(arrays[0])
    assert driver.merge(path)["done"] == [path]
    os.unlink(path)
    arrays[0].rename(hidden)
    findings = driver.do("verify", file=str(driver.run_file))
    assert len(findings) == 1 and "/big/data reads as NaN" in findings[0]
    assert "missing" in driver.do("export", file=str(driver.run_file), to=str(driver.dir / "x"))["failed"]
    # Results can still be added to the rest of the run, and the array is readable again once its file is back.
    driver.store(value("b", plain(np.array(1))))
    hidden.rename(arrays[0])
    np.testing.assert_array_equal(scalar(driver.run_file, "big"), np.ones(1000))
    arrays[0].write_bytes(b"something else")
    assert "cannot be read from" in driver.do("verify", file=str(driver.run_file))[0]


def test_adding_to_a_large_run_does_not_copy_it(driver):
    driver.store(value("big", plain(np.ones(4_000_000), large=True)), value("small", plain(np.array(1))))
    before = list((driver.dir / "arrays/p1234_r42").iterdir())
    driver.store(value("small", plain(np.array(2)), micros=1))
    assert list((driver.dir / "arrays/p1234_r42").iterdir()) == before
    assert driver.run_file.stat().st_size < 100_000


def test_superseded_arrays_stay_for_a_while(driver):
    arrays = driver.dir / "arrays/p1234_r42"
    driver.store(value("big", plain(np.zeros(100), large=True), micros=1))
    (old,) = arrays.iterdir()
    os.utime(old, (1, 1))
    assert driver.do("sweep", grace=0) == []
    driver.store(value("big", plain(np.ones(100), large=True), micros=2))
    assert driver.do("sweep", grace=3600) == [], "superseded now, however old the file is"
    waiting = driver.write(value("x", plain(np.ones(5), large=True)))
    dead = driver.dir / "p1234_r42.0.writing.h5"
    dead.write_bytes(b"")
    other_run = driver.dir / "p1234_r421.0.writing.h5"
    other_run.write_bytes(b"")
    assert sorted(driver.do("sweep", grace=3600, later=4000)) == sorted([str(old), str(dead)])
    assert len(list(arrays.iterdir())) == 2
    assert driver.merge(waiting)["done"] == [waiting]
    assert other_run.exists()


def test_bad_names_and_values_cost_only_themselves(driver):
    bad = ["a/b", "../x", "a'b", 'a"b', "a\nb", "", "start_time", ".reduced", "a b"]
    path = driver.write(
        *(value(name, plain(np.array(1))) for name in bad),
        value("short", {"array": {"dtype": "<f8", "shape": [3], "hex": "00"}}),
        value("good", plain(np.array(1))),
        value("attr", netcdf(xr.Dataset({"a": ("x", np.ones(2), {"NAME": "mine"})}))),
        value("wide", netcdf(xr.Dataset({"a": ("x", np.ones(2), {"history": "x" * 100_000})}))),
        refused=[*bad, "short", "attr"],
    )
    driver.merge(path)
    assert names(driver.run_file)["values"] == {"good", "wide", "start_time"}


def test_files_belong_to_the_group(program, tmp_path):
    for mask, mode in [(0o002, 0o664), (0o007, 0o660), (0o022, 0o644)]:
        directory = tmp_path / oct(mask)
        directory.mkdir()
        old = os.umask(mask)
        driver = Driver(program, directory)
        os.umask(old)
        driver.store(value("a", plain(np.ones(9), large=True)), value("b", plain(np.array(1))))
        driver.store(value("b", plain(np.array(2))))
        driver.close()
        files = [p for p in directory.rglob("*") if p.is_file()]
        assert len(files) == 3
        assert {p.stat().st_mode & 0o777 for p in files} == {mode}
        assert all(not p.stat().st_mode & 0o002 for p in directory.rglob("*"))


def read_all(kind, path, group):
    if kind == "h5py":
        with h5py.File(path) as f:
            return np.asarray(f[group]["a"])
    if kind == "netcdf-c":
        with netCDF4.Dataset(path) as f:
            return np.ma.filled(f[group]["a"][...], np.nan)
    with xr.open_dataset(path, group=group, engine="h5netcdf") as f:
        return f["a"].values


def opened(kind, path, group):
    """An open file, and a function that reads from it."""
    if kind == "h5py":
        f = h5py.File(path)
        return f, lambda: np.asarray(f[group]["a"])
    if kind == "netcdf-c":
        f = netCDF4.Dataset(path)
        return f, lambda: np.ma.filled(f[group]["a"][...], np.nan)
    f = xr.open_dataset(path, group=group, engine="h5netcdf", cache=False)
    return f, lambda: f["a"].values


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", ["h5py", "h5netcdf", "netcdf-c"])
def test_a_reader_keeps_what_it_opened(driver, kind, large):
    """Replace and remove results while a reader has the file open: the reader keeps reading the old content, and we read the
    new.
    """
    def field(n):
        return netcdf(xr.Dataset({"a": (("x", "y"), np.full((500, 200), float(n)))}), large=large)

    driver.store(value("d", field(1), micros=1))
    file, read = opened(kind, driver.run_file, "d")
    # Nothing was read before the first replacement, so nothing can come from a cache.
    driver.store(value("d", field(2), micros=2))
    assert np.all(read() == 1), "the file that is open is as it was"
    assert np.all(read_all(kind, driver.run_file, "d") == 2)
    second, read_second = opened(kind, driver.run_file, "d")
    driver.store({"name": "d", "as": "nothing", "micros": 3})
    driver.do("sweep", grace=3600)
    assert np.all(read() == 1) and np.all(read_second() == 2)
    file.close()
    second.close()
    assert "d" not in names(driver.run_file)["values"]
    assert driver.do("verify", file=str(driver.run_file)) == []


def reading(path, stop, out):
    """Reads repeatedly, opening the file each time, and reports what was wrong."""
    count, wrong = 0, []
    while not os.path.exists(stop):
        try:
            with h5py.File(path) as f:
                small, big, group = int(f["small/data"][()]), f["big/data"][()], f["d/a"][...]
            if not (np.all(big == small) and np.all(group == small)):
                wrong.append((small, float(big.min()), float(big.max())))
        except FileNotFoundError:
            continue
        except Exception as error:
            wrong.append(repr(error))
        count += 1
    out.put((count, wrong))


def everything(n):
    return [
        value("small", plain(np.array(n)), micros=n),
        value("big", plain(np.full(200_000, float(n)), large=True), micros=n),
        value("d", netcdf(xr.Dataset({"a": (("x", "y"), np.full((50, 20), float(n)))})), micros=n),
    ]


def test_readers_never_see_a_mixture(driver, tmp_path):
    stop, out = tmp_path / "stop", Queue()
    reader = Process(target=reading, args=(driver.run_file, stop, out))
    reader.start()
    for n in range(1, 60):
        driver.store(*everything(n))
    stop.touch()
    count, wrong = out.get(timeout=60)
    reader.join()
    assert count > 0 and wrong == []


def test_killed_at_any_instant(program, tmp_path):
    """kill -9 while fragments are merged: the file is either old or new, never mixed, and merging can continue."""
    rng = random.Random(4)
    directory = tmp_path / "extracted_data"
    directory.mkdir()
    run_file = directory / "p1234_r42.h5"
    driver = Driver(program, directory)
    driver.store(*everything(1))
    last = 1
    # Aims at the moment at which the new file replaces the old one: a kill that came too early increases the delay, one that
    # came too late reduces it.
    delay = 0.006
    found = {"old": 0, "new": 0}
    for n in range(2, 40):
        path = driver.write(*everything(n))
        assert driver.process.stdin is not None
        command = {"do": "merge", "dir": str(directory), "fragments": [path]}
        driver.process.stdin.write(json.dumps(command) + "\n")
        driver.process.stdin.flush()
        time.sleep(delay * (0.5 + rng.random()))
        os.kill(driver.process.pid, signal.SIGKILL)
        assert driver.process.wait() == -signal.SIGKILL
        driver = Driver(program, directory)
        with h5py.File(run_file) as f:
            small = int(f["small/data"][()])
            assert small in (last, n)
            found["new" if small == n else "old"] += 1
            delay *= 0.8 if small == n else 1.25
            assert np.all(f["big/data"][()] == small) and np.all(f["d/a"][...] == small)
        assert driver.do("verify", file=str(run_file)) == []
        assert driver.merge(path)["done"] == [path]
        os.unlink(path)
        assert scalar(run_file, "small") == n
        last = n
    assert min(found.values()) > 3, f"the kills did not fall around the change: {found}"
    driver.do("sweep", grace=0)
    assert left_over(directory) == []
    assert len(list((directory / "arrays/p1234_r42").iterdir())) == 1
    driver.close()


def merging(program, directory, first, out):
    driver = Driver(program, directory)
    for n in range(first, first + 10):
        driver.store(value(f"v{n}", plain(np.array(n))))
    driver.close()
    out.put(True)


def test_two_merges_at_once_lose_nothing(program, tmp_path):
    directory, out = tmp_path / "extracted_data", Queue()
    directory.mkdir()
    workers = [Process(target=merging, args=(program, directory, 10 * i, out)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(out.get(timeout=5) for _ in workers)
    assert names(directory / "p1234_r42.h5")["values"] == {f"v{n}" for n in range(40)} | {"start_time"}


@pytest.fixture
def small_disk(tmp_path):
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", where]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield where
    subprocess.run(["umount", "-l", where], check=True)


def test_a_full_disk(program, small_disk):
    directory = small_disk / "extracted_data"
    directory.mkdir()
    driver = Driver(program, directory)
    driver.store(value("a", plain(np.ones(200_000)), micros=1))
    before = sorted(p.name for p in directory.rglob("*"))

    too_much = np.random.default_rng(1).random(1_000_000)
    source = small_disk.parent / "source"
    source.write_bytes(too_much.tobytes())
    huge = {"array": {"dtype": "<f8", "shape": [1_000_000], "bytes_file": str(source)}}
    answer = driver.do("write", entries=[value("b", huge)])
    assert "no space left" in answer["failed"]
    for compress in (False, True):
        large = {"variables": [{"name": "v", "dims": ["x"], "compress": compress, "array": huge["array"] | {"large": True}}],
                 "dims": [{"name": "x", "size": 1_000_000}]}
        assert "no space left" in driver.do("write", entries=[value("b", large)])["failed"]
    assert [n for n in sorted(p.name for p in directory.rglob("*")) if "writing" in n] == []

    path = driver.write(value("c", plain(np.ones(200_000)), micros=1))
    # The stored results and the new ones, together with their copy, need too much space.
    assert "no space left" in driver.do("merge", fragments=[path])["failed"]
    assert scalar(driver.run_file, "a").sum() == 200_000
    driver.store({"name": "a", "as": "forget", "micros": 2})
    driver.close()
    assert [name for name in before if name.endswith("42.h5")] == ["p1234_r42.h5"]
