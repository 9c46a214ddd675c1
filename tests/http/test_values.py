"""Values of all types are shown as numpy and h5py read them, or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from http_service import Answer, HttpService
from PIL import Image

from conftest import pipe

CONTEXT = """
import xarray as xr

@Variable(title="Third")
def third(run):
    return np.longdouble(1) / 3

@Variable(title="Complex third")
def complex_third(run):
    return np.clongdouble(1 + 2j) / 3

@Variable(title="Extended", summary="max")
def extended(run):
    return np.arange(30, dtype=np.longdouble).reshape(5, 6) / 3

@Variable(title="Times")
def times(run):
    moments = np.datetime64("2026-01-01", "ns") + np.arange(1000)
    moments[::7] = np.datetime64("NaT")
    return xr.Dataset({"moment": ("x", moments), "lasted": ("x", moments - np.datetime64("2025-12-31T23:59:59", "ns"))})

@Variable(title="Gaps")
def gaps(run):
    return xr.DataArray([1.0, np.nan], dims="x", name="gaps", attrs={"limits": np.array([np.nan, np.inf])})
"""


@pytest.fixture
def values(database: pipe.Database, start: Callable[..., HttpService]) -> HttpService:
    """A service of a database with one run."""
    database.context(CONTEXT)
    database.amore("reprocess", "1")
    return start()


def store(service: HttpService, **arrays: Any) -> None:
    """Puts arrays into the run file, as h5py stores them."""
    with h5py.File(service.database.run_file(1), "r+") as file:
        for name, array in arrays.items():
            file[f"{name}/data"] = array


def ask(service: HttpService, name: str, query: str = "", **headers: str) -> Answer:
    """Asks for a value."""
    return service.local("GET", f"/v1/proposals/1234/runs/1/variables/{name}/value?{query}", **headers)


def read(service: HttpService, name: str, query: str = "") -> Any:
    """A value in JSON."""
    answer = ask(service, name, query)
    assert answer.status == 200, answer.body
    return answer.json()


def picture(service: HttpService, name: str, query: str = "") -> Any:
    """The pixels of a picture."""
    answer = ask(service, name, f"format=png&{query}")
    assert answer.status == 200, answer.body
    return np.asarray(Image.open(io.BytesIO(answer.body)))


def as_json(number: float) -> Any:
    """A number, or the text that stands for it."""
    if np.isnan(number):
        return "NaN"
    return float(number) if np.isfinite(number) else ("Infinity" if number > 0 else "-Infinity")


def test_long_doubles_are_rounded_to_double_precision(values: HttpService) -> None:
    one = np.longdouble(1)
    special = np.array(
        [one / 3, -one / 7, np.nan, np.inf, -np.inf, 0, one + np.finfo(float).eps / 2, one * 2**60 + 1]
        + [one * np.finfo(float).max * 4, np.nextafter(one, 2), one * 5e-324 / 2, one * 5e-324 * 0.75],
        dtype=np.longdouble,
    )
    with np.errstate(over="ignore", under="ignore"):
        rounded = special.astype(float)
        halved = (special / 2).astype(float)
    pairs = np.empty(len(special), dtype=np.clongdouble)
    pairs.real, pairs.imag = special, special / 2
    store(values, ld=special, swapped=special.astype(special.dtype.newbyteorder(">")), cld=pairs)
    assert read(values, "ld")["data"] == read(values, "swapped")["data"] == [as_json(number) for number in rounded]
    assert read(values, "cld")["data"] == [[as_json(real), as_json(half)] for real, half in zip(rounded, halved)]
    loaded = np.load(io.BytesIO(ask(values, "ld", "format=npy").body))
    np.testing.assert_array_equal(loaded, special)

    assert read(values, "third")["data"] == 1 / 3
    assert read(values, "complex_third")["data"] == [1 / 3, 2 / 3]
    expected = np.arange(30, dtype=np.longdouble).reshape(5, 6) / 3
    extremes = read(values, "extended", "points=4")["extremes"]
    assert extremes["min"] == [[0.0, 1.0], [4.0, 5.0]] and extremes["not_numbers"] == 0
    assert extremes["max"] == [[float(expected[1, 2]), float(expected[1, 5])], [float(expected[4, 2]), float(expected[4, 5])]]
    store(values, double=expected.astype(float))
    np.testing.assert_array_equal(picture(values, "extended"), picture(values, "double"))
    row = values.database.rows(1)
    assert row["third"] == 1 / 3 and row["extended"] == float(expected.max())
    assert np.frombuffer(row["complex_third"], dtype=complex)[0] == complex(1 / 3, 2 / 3)


@pytest.mark.parametrize("dtype", ["i1", "<u2", ">i4", "<i8", ">i8", "<u8", ">u8", "<f2", ">f4", "<f8", "?"])
def test_extremes_are_elements_as_they_are(values: HttpService, dtype: str) -> None:
    random = np.random.default_rng(1)
    content = random.integers(0, 256, 8 * 1000, dtype=np.uint8).tobytes()
    array = np.frombuffer(content, dtype=dtype)[:1000] if dtype != "?" else np.arange(1000) % 3 == 0
    store(values, many=array)
    with np.errstate(invalid="ignore"):
        data = read(values, "many", "points=1000")["data"]
        extremes = read(values, "many", "points=10")["extremes"]
        edges = extremes["edges"][0]
        missing = np.isnan(array)
        assert extremes["not_numbers"] == int(missing.sum())
        for side, find in (("min", np.nanargmin), ("max", np.nanargmax)):
            places = [first + int(find(array[first:last])) for first, last in zip(edges, edges[1:])]
            assert [repr(number) for number in extremes[side]] == [repr(data[place]) for place in places]
    if array.dtype.kind in "iu":
        assert data == array.tolist()


def test_times_are_exact_and_nat_is_no_number(values: HttpService) -> None:
    for name, moments in (("moment", 1767225600_000_000_000), ("lasted", 1_000_000_000)):
        with h5py.File(values.database.run_file(1)) as file:
            stored = file[f"times/{name}"][()]
        extremes = read(values, "times", f"array={name}&points=10")["extremes"]
        missing = np.iinfo(np.int64).min
        assert extremes["not_numbers"] == int((stored == missing).sum()) == 143
        buckets = [stored[first:last] for first, last in zip(extremes["edges"][0], extremes["edges"][0][1:])]
        assert extremes["min"] == [int(bucket[bucket != missing].min()) for bucket in buckets]
        assert extremes["max"] == [int(bucket[bucket != missing].max()) for bucket in buckets]
        assert extremes["min"][0] == moments + 1
        data = read(values, "times", f"array={name}")
        assert data["data"] == stored.tolist() and data["attributes"]["_FillValue"] == [missing]


def test_a_picture_of_times_shows_small_differences(values: HttpService) -> None:
    steps = np.arange(12).reshape(3, 4)
    store(values, small=steps.astype(float), large=steps + 1_700_000_000_000_000_001)
    np.testing.assert_array_equal(picture(values, "large"), picture(values, "small"))
    np.testing.assert_array_equal(picture(values, "large", "size=2"), picture(values, "small", "size=2"))


def test_one_very_large_integer_leaves_the_others_apart(values: HttpService) -> None:
    first, last = np.arange(16, dtype=np.uint64).reshape(4, 4), np.arange(16, dtype=np.uint64).reshape(4, 4)
    first[0, 0] = last[3, 3] = np.iinfo(np.uint64).max
    store(values, first=first, last=last, ends=np.array([[-(2**63), 2**63 - 1], [0, 1]]))
    gray = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17
    gray[0, 0] = 255
    np.testing.assert_array_equal(picture(values, "first", "range=0,15&colors=gray")[..., 0], gray)
    gray[0, 0] = 0
    np.testing.assert_array_equal(picture(values, "last", "range=0,15&colors=gray")[..., 0], gray)
    for name, low, high in (("first", 1, 2**64 - 1), ("last", 0, 2**64 - 1), ("ends", -(2**63), 2**63 - 1)):
        ends = ask(values, name, "format=png").headers["amore-range"].split(",")
        assert [float(end) for end in ends] == [float(low), float(high)], name
    # A range that begins between large numbers.
    store(values, near=np.array([[2**63, 2**63 + 1024], [2**63 + 2048, 0]], dtype=np.uint64))
    near = picture(values, "near", f"range={2**63},{2**63 + 2048}&colors=gray")[..., 0]
    np.testing.assert_array_equal(near, [[0, 128], [255, 0]])


def test_attributes_have_the_same_texts_as_elements(values: HttpService) -> None:
    gaps = read(values, "gaps")
    assert gaps["data"] == [1.0, "NaN"]
    assert gaps["attributes"] == {"_FillValue": ["NaN"], "limits": ["NaN", "Infinity"]}
    about = values.local("GET", "/v1/proposals/1234/runs/1/variables/gaps").json()
    assert about["value"]["arrays"][0]["attributes"]["_FillValue"] == ["NaN"]


def test_pictures_keep_their_ratio(values: HttpService) -> None:
    random = np.random.default_rng(2)
    rgb = random.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    rgba = np.dstack([rgb, np.full((300, 400), 255, dtype=np.uint8)])
    store(values, map=np.arange(120_000.0).reshape(300, 400), tall=np.ones((400, 300)), rgb=rgb, rgba=rgba)
    assert picture(values, "map", "size=100").shape == (75, 100, 4)
    assert picture(values, "tall", "size=100").shape == (100, 75, 4)
    assert picture(values, "map", "size=400").shape == (300, 400, 4)
    for name, whole in (("rgb", rgb), ("rgba", rgba)):
        np.testing.assert_array_equal(picture(values, name), whole)
        means = whole.reshape(75, 4, 100, 4, -1).mean(axis=(1, 3))
        np.testing.assert_allclose(picture(values, name, "size=100"), means, atol=0.5)
        for query in ("range=0,100", "colors=gray"):
            refused = ask(values, name, f"format=png&{query}")
            assert refused.status == 400 and "own colours" in refused.json()["detail"], refused.body
    assert picture(values, "rgb", "range=0,100&slice=:,:,0").shape == (300, 400, 4)


def test_each_form_has_its_own_version(values: HttpService) -> None:
    accepted = ["application/json", "application/x-npy", "image/png"]
    answers = [ask(values, "extended", Accept=accept) for accept in accepted]
    assert [answer.headers["content-type"] for answer in answers] == accepted
    assert len({answer.headers["etag"] for answer in answers}) == len(accepted)
    for answer, accept in zip(answers, accepted):
        assert answer.headers["vary"].lower() == "accept"
        for other in accepted:
            again = ask(values, "extended", Accept=other, **{"If-None-Match": answer.headers["etag"]})
            assert again.status == (304 if other == accept else 200)
            assert again.headers["vary"].lower() == "accept"


def test_what_has_no_elements_is_null(values: HttpService) -> None:
    store(values, empty=h5py.Empty("<f8"), empty_text=h5py.Empty(h5py.string_dtype()), none=np.zeros((0, 3)))
    with h5py.File(values.database.run_file(1), "r+") as file:
        file["none/data"].attrs["number"] = h5py.Empty("<f8")
        file["none/data"].attrs["text"] = h5py.Empty("S1")
    empty = read(values, "empty")
    assert (empty["data"], empty["shape"], empty["dtype"]) == (None, None, "<f8")
    assert read(values, "empty_text")["data"] is None
    for form in ("npy", "png", "file"):
        refused = ask(values, "empty", f"format={form}")
        assert refused.status == 406 and "h5py.Empty" in refused.json()["detail"], refused.body
    none = read(values, "none")
    assert none["data"] == [] and none["attributes"] == {"number": None, "text": ""}
    assert values.local("GET", "/v1/proposals/1234/runs/1/variables/empty").json()["value"]["arrays"][0]["empty"]


def test_bytes_that_are_no_text_are_not_shown_as_other_text(values: HttpService) -> None:
    units = np.array([b"5 m", b"5 \xb5m", b""])
    store(values, units=units)
    assert read(values, "units", "slice=::2")["data"] == ["5 m", ""]
    refused = ask(values, "units")
    assert refused.status == 406 and r'b"5 \xb5m"' in refused.json()["detail"]
    assert "format=npy" in refused.json()["detail"]
    np.testing.assert_array_equal(np.load(io.BytesIO(ask(values, "units", "format=npy").body)), units)
    with h5py.File(values.database.run_file(1), "r+") as file:
        texts = file.create_dataset("names/data", (2,), dtype=h5py.string_dtype())
        texts[:] = ["µm", b"\xb5m"]
        file["units/data"].attrs["unit"] = np.bytes_(b"\xb5m")
    assert read(values, "names", "slice=0")["data"] == "µm"
    assert ask(values, "names").status == 406
    assert read(values, "units", "slice=0")["attributes"] == {"unit": r"\xb5m"}


def test_types_that_numpy_does_not_have_are_not_shown_as_others(values: HttpService) -> None:
    brain = h5py.h5t.IEEE_F32LE.copy()
    brain.set_fields(15, 7, 8, 0, 7)
    brain.set_size(2)
    points = np.array([(1.0, 2.0)], dtype=[("x", "<f8"), ("y", "<f8")])
    colors = h5py.enum_dtype({"RED": 0, "GREEN": 1, "BLUE": 4}, basetype="i1")
    store(values, points=points)
    with h5py.File(values.database.run_file(1), "r+") as file:
        group = file.create_group("brain")
        h5py.h5d.create(group.id, b"data", brain, h5py.h5s.create_simple((2,)))
        file.create_dataset("enumeration/data", data=np.array([0, 4], dtype="i1"), dtype=colors)
    for name in ("brain", "points"):
        for form in ("json", "npy"):
            refused = ask(values, name, f"format={form}")
            assert refused.status == 406 and "h5py" in refused.json()["detail"], refused.body
    found = read(values, "enumeration")
    assert (found["data"], found["dtype"]) == ([0, 4], "|i1")
