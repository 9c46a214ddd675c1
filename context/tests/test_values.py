"""Values of every type, as they cross to the worker."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

HEAD = "import numpy as np\nfrom damnit_ctx import Cell, Variable\n"


def one(expression, setup="", decorator="@Variable"):
    return f"{HEAD}{setup}\n{decorator}\ndef v(run):\n    return {expression}\n"


def value(database, expression, setup="", decorator="@Variable"):
    child = database(one(expression, setup, decorator)).run("v")
    assert "v" in child.values, child.events
    assert [event["ev"] for event in child.events] == ["opened", "started", "value", "done"]
    return child.values["v"]


# Expression → what a reader finds. One context file holds them all: a host for each would take minutes.
# Padded, with the fields in another order than in memory, an array and a record in the record.
NESTED = {
    "names": ["b", "a", "c"],
    "formats": ["g", "?", [("x", "<i2", (2, 3)), ("y", "c8")]],
    "offsets": [16, 0, 32],
    "itemsize": 64,
}
PLAIN = {
    "1": np.int64(1),
    "2.5": np.float64(2.5),
    "True": np.bool_(True),
    "1 + 2j": np.complex128(1 + 2j),
    "'text ü'": "text ü",
    "''": "",
    "b'bytes'": np.bytes_(b"bytes"),
    "b''": np.array(b"", dtype="S1"),
    "[1, 2, 3]": np.array([1, 2, 3]),
    "[True, False]": np.array([True, False]),
    "[b'a', b'bc']": np.array([b"a", b"bc"]),
    "[]": np.array([]),
    "np.zeros((0, 3))": np.zeros((0, 3)),
    "np.float16(1.5)": np.float16(1.5),
    "np.arange(6, dtype='>i4').reshape(2, 3)": np.arange(6, dtype=">i4").reshape(2, 3),
    "np.arange(24.0).reshape(2, 3, 4)[::-1, :, ::2]": np.arange(24.0).reshape(2, 3, 4)[::-1, :, ::2],
    "np.arange(6).reshape(2, 3).T": np.arange(6).reshape(2, 3).T,
    "np.broadcast_to(np.arange(3), (4, 3))": np.broadcast_to(np.arange(3), (4, 3)),
    "np.longdouble(1) / 3": np.longdouble(1) / 3,
    "np.arange(6, dtype=np.clongdouble).reshape(2, 3) / 7": np.arange(6, dtype=np.clongdouble).reshape(2, 3) / 7,
    "np.array([(1, 2.5), (3, 4.5)], dtype='i4, >f8')": np.array([(1, 2.5), (3, 4.5)], dtype="i4, >f8"),
    "np.array([(1, 2.5)], dtype='i4, f8')[0]": np.array((1, 2.5), dtype="i4, f8"),
    "np.rec.array([(1, b'ab')], dtype=[('ä b', 'u1'), ('c', 'S3')])": np.array(
        [(1, b"ab")], dtype=[("ä b", "u1"), ("c", "S3")]
    ),
    f"np.ones(3, {NESTED})": np.ones(3, NESTED),
    "np.array([1j, 2], dtype='c8')": np.array([1j, 2], dtype="c8"),
}
REFUSED = {
    "{}": ("TypeError", "dict"),
    "['a', 'b']": ("TypeError", "list"),
    "object()": ("TypeError", "object"),
    "np.datetime64('2026-01-01')": ("TypeError", "datetime64"),
    "np.timedelta64(1, 's')": ("TypeError", "timedelta64"),
    "np.zeros(2, dtype=[('a', 'i4'), ('b', 'U3')])": ("TypeError", "ndarray"),
    "np.zeros(2, dtype=[('a', [('b', 'M8[s]')])])": ("TypeError", "ndarray"),
    "np.zeros(2, dtype=[])": ("TypeError", "ndarray"),
    "np.zeros(2, dtype=[('a', object)])": ("TypeError", "ndarray"),
    "Cell(1, summary_value=np.zeros((), dtype=[('a', 'i4')]))": ("TypeError", "summary_value"),
    "10**30": ("TypeError", "int"),
    "'a\\0b'": ("ValueError", "NUL"),
    "'a\\udc80'": ("UnicodeEncodeError", "surrogates"),
}


def test_plain_values_and_refusals(database):
    text = HEAD
    for index, expression in enumerate([*PLAIN, *REFUSED]):
        text += f"@Variable\ndef v{index}(run):\n    return {expression}\n"
    child = database(text).run(*(f"v{index}" for index in range(len(PLAIN) + len(REFUSED))))
    for index, expected in enumerate(PLAIN.values()):
        found = child.values[f"v{index}"].data
        if isinstance(expected, str):
            assert found == expected
        else:
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            np.testing.assert_array_equal(found, expected)
    for index, (class_name, word) in enumerate(REFUSED.values(), start=len(PLAIN)):
        event = child.of(f"v{index}")
        assert (event["ev"], event["class"]) == ("failed", class_name)
        assert word in event["message"]
    assert child.events[-1]["ev"] == "done"


def test_none_is_nothing_and_a_bare_summary_is_a_value(database):
    child = database(
        HEAD
        + "@Variable\ndef a(run):\n    return None\n@Variable\ndef b(run):\n    return Cell(None, summary_value=5)\n"
        "@Variable\ndef c(run):\n    return Cell(None)\n"
    ).run("a", "b", "c")
    assert child.of("a")["ev"] == child.of("c")["ev"] == "nothing"
    assert child.values["b"].summary == 5
    assert child.of("b").get("data") is None


def test_a_cell_says_how_it_is_shown(database):
    crossed = value(
        database,
        "Cell(np.arange(4), summary='max', bold=True, background='#ff8000', units='mm', preview=np.eye(3))",
    )
    assert crossed.summary == 3
    message = crossed.message
    assert message["summary_method"] == "max"
    assert (message["bold"], message["background"], message["units"]) == (True, [255, 128, 0], "mm")
    assert message["max_diff"] == 3.0
    np.testing.assert_array_equal(message["preview"]["layout"]["array"]["content"], np.eye(3))


@pytest.mark.parametrize(
    "arguments, word",
    [
        ("background='red'", "#ffcc00"),
        ("background=[1, 2]", "three"),
        ("background=[1, 2, 300]", "255"),
        ("background=5", "int"),
        ("units=5", "units"),
        ("preview='x'", "preview"),
        ("preview=np.zeros((2, 2, 2))", "dimensions"),
        ("summary_value=object()", "summary_value"),
    ],
)
def test_a_cell_refuses(arguments, word):
    from damnit_ctx import Cell

    with pytest.raises((TypeError, ValueError), match=word):
        eval(f"Cell(1, {arguments})", {"Cell": Cell, "np": np})


def test_default_summaries(database):
    kinds = {
        "line": "np.sin(np.arange(1000))",
        "image": "np.outer(np.arange(20), np.arange(30))",
        "cube": "np.zeros((4, 8, 8), dtype='f4')",
        "wrong": "np.zeros((4, 8, 8), dtype='f4')",
        "spread": "np.array([-128, 127], dtype='i1')",
        "nan": "np.full(3, np.nan)",
        "with_nan": "np.array([1.0, np.nan, 4.0])",
        "truth": "np.array([True, False])",
    }
    text = HEAD
    for name, expression in kinds.items():
        summary = "(summary='linspace')" if name == "wrong" else ""
        text += f"@Variable{summary}\ndef {name}(run):\n    return {expression}\n"
    child = database(text).run(*kinds)
    line = child.values["line"]
    assert line.message["summary_type"] == "trendline"
    assert line.summary.shape[0] == 2 and 100 < line.summary.shape[1] < 300
    image = child.values["image"].summary
    assert image.dtype == np.uint8 and image.tobytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert child.values["cube"].summary == child.values["wrong"].summary == "float32: (4, 8, 8)"
    assert "linspace of wrong failed" in child.text
    assert child.of("spread")["max_diff"] == 255
    assert child.of("nan")["max_diff"] == "nan"
    assert child.of("with_nan")["max_diff"] == 3
    assert child.of("truth")["max_diff"] is None


def netcdf(crossed):
    layout = crossed.message["data"]["layout"]
    assert layout["kind"] == "netcdf"
    return layout, {variable["name"]: variable for variable in layout["variables"]}


def attributes(pairs):
    found = {}
    for name, attr in pairs:
        if attr["type"] == "numbers":
            found[name] = np.frombuffer(bytes.fromhex(attr["hex"]), attr["dtype"]).reshape(attr["shape"])
        else:
            found[name] = attr["value"]
    return found


def test_dataarrays_cross_in_netcdf_form(database):
    setup = "import xarray as xr"
    layout, variables = netcdf(
        value(
            database,
            "xr.DataArray(np.ones((3, 2), 'f4'), dims=('t', 'x'), name='A/B:c', attrs={'units': 'mJ', 'n': 3, 'b': True,"
            " 'l': ['a', 'b']}, coords={'t': [1, 2, 3], 'when': ('t', np.array([0, 1, 2], 'M8[s]').astype('M8[ns]')),"
            " 'label': ('t', ['a', 'ü', 'c'])})",
            setup,
        )
    )
    assert layout["dims"] == [{"name": "t", "size": 3}, {"name": "x", "size": 2}]
    data = variables["A_B:c"]
    assert data["compress"] and not variables["t"]["compress"]
    attrs = attributes(data["attrs"])
    assert attrs["_FillValue"].shape == (1,) and np.isnan(attrs["_FillValue"][0])
    assert attrs["units"] == "mJ" and attrs["l"] == ["a", "b"] and attrs["coordinates"] == "label when"
    assert attrs["n"].shape == (1,) and attrs["b"].dtype == np.int8
    assert attributes(variables["when"]["attrs"])["units"].startswith("seconds since 1970")
    assert variables["label"]["array"]["content"].tolist() == ["a", "ü", "c"]
    np.testing.assert_array_equal(data["array"]["content"], np.ones((3, 2), "f4"))


def test_names_of_dataarrays(database):
    text = HEAD + (
        "import xarray as xr\n"
        "@Variable\ndef nameless(run):\n    return xr.DataArray([1, 2], dims='x')\n"
        "@Variable\ndef same(run):\n    return xr.DataArray([1, 2], dims='x', name='x', coords={'x': [3, 4]})\n"
        "@Variable\ndef truth(run):\n    return xr.DataArray([True, False], dims='x')\n"
        "@Variable\ndef levels(run):\n    import pandas as pd\n"
        "    i = pd.MultiIndex.from_product([[1, 2], [3]], names=('a', 'b'))\n"
        "    return xr.Dataset(coords=xr.Coordinates.from_pandas_multiindex(i, 'x'))\n"
        "@Variable\ndef attribute(run):\n    return xr.DataArray([1], attrs={'a': {}})\n"
        "@Variable\ndef dataset(run):\n"
        "    return xr.Dataset({'a': ('x', [1.0]), 'b': ((), 5)}, attrs={'note': 'n'})\n"
    )
    child = database(text).run("nameless", "same", "truth", "levels", "attribute", "dataset")
    assert list(netcdf(child.values["nameless"])[1]) == ["__xarray_dataarray_variable__"]
    layout, variables = netcdf(child.values["same"])
    assert attributes(layout["attrs"]) == {"__xarray_dataarray_name__": "x"}
    assert set(variables) == {"x", "__xarray_dataarray_variable__"}
    truth = netcdf(child.values["truth"])[1]["__xarray_dataarray_variable__"]
    assert truth["array"]["dtype"] == "|i1" and attributes(truth["attrs"]) == {"dtype": "bool"}
    assert set(netcdf(child.values["levels"])[1]) == {"a", "b"}  # and the tuples are made of them again
    text = netcdf(child.values["attribute"])[1]["__xarray_dataarray_variable__"]["attrs"]
    assert attributes(text) == {"a": "{}"}
    assert "attribute: attribute 'a' of the array (dict) is text in the file" in child.text
    assert attributes(netcdf(child.values["dataset"])[0]["attrs"]) == {"note": "n"}
    assert child.values["dataset"].summary == "Dataset (0.00MB)"


def test_matplotlib_figures(database):
    setup = "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt"
    crossed = value(database, "plt.subplots(figsize=(6, 4), dpi=100)[1]", setup)
    assert crossed.message["data"]["objtype"] == "image"
    assert crossed.data.shape == (400, 600, 4)
    assert crossed.summary.tobytes().startswith(b"\x89PNG")


def test_tables(database):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    child = database(one("pd.DataFrame({'a': [1, 2]})", "import pandas as pd")).run("v")
    frame = pandas.read_parquet(io.BytesIO(child.values["v"].data.tobytes()))
    assert frame["a"].tolist() == [1, 2]
    assert child.of("v")["data"]["objtype"] == "dataframe"


def test_tables_need_pyarrow(database):
    without = "import pandas as pd, sys\nsys.modules['pyarrow'] = None"
    event = database(one("pd.DataFrame({'a': [1, 2]})", without)).run("v").of("v")
    assert event["class"] == "ImportError" and "pyarrow" in event["message"]


def test_large_values_are_streamed(database):
    text = HEAD + (
        "import xarray as xr\n"
        "@Variable\ndef large(run):\n    return np.arange(3_000_000, dtype='i4').reshape(1000, 3000).T\n"
        "@Variable\ndef labelled(run):\n"
        "    return xr.DataArray(np.arange(900_000.0), dims='x', coords={'x': np.arange(900_000)})\n"
        "@Variable\ndef small(run):\n    return 7\n"
    )
    child = database(text).run("large", "labelled", "small")
    np.testing.assert_array_equal(child.values["large"].data, np.arange(3_000_000, dtype="i4").reshape(1000, 3000).T)
    variables = netcdf(child.values["labelled"])[1]
    np.testing.assert_array_equal(variables["x"]["array"]["content"], np.arange(900_000))
    assert child.chunks > 20
    assert child.values["small"].data == 7


def test_a_large_dataarray_is_not_copied(database):
    text = HEAD + (
        "import xarray as xr\n"
        "@Variable(summary='mean')\ndef holes(run):\n"
        "    a = np.ones((100, 1024, 512), 'f4')\n"
        "    a[:, 0] = np.nan\n"
        "    return xr.DataArray(a, dims=('t', 'y', 'x'))\n"
        "@Variable(summary='mean')\ndef large(run):\n"
        "    return xr.DataArray(np.ones((100, 1024, 512), 'f4'), dims=('t', 'y', 'x'))\n"  # 200 MiB
    )
    child = database(text).run("large")
    assert child.values["large"].summary == 1
    holes = database(text).run("holes")
    assert holes.values["holes"].summary == 1 and holes.values["holes"].summary.dtype == np.float32
    assert holes.exited["max_rss_kib"] < (200 + 150) * 1024
    # The array itself, the interpreter, the shared memory; a second copy would not fit.
    assert child.exited["max_rss_kib"] < (200 + 150) * 1024


def test_a_real_run(database, data_root):
    from runs import XGM_NAME, intensities

    text = one(
        f"run['{XGM_NAME}:output', 'data.intensityTD'].xarray().mean(axis=1)", decorator="@Variable(summary='mean')"
    )
    db = database(text, EXTRA_DATA_DATA_ROOT=str(data_root))
    child = db.run("v", mock=False)
    (variable,) = (each for each in netcdf(child.values["v"])[0]["variables"] if each["compress"])
    np.testing.assert_allclose(variable["array"]["content"], intensities().mean(axis=1), rtol=1e-5)
    assert child.events[0]["start_time"] > 1.4e9
    missing = db.run("v", mock=False, run=99)
    (event,) = missing.events
    assert event["ev"] == "cannot_start" and "r0099" in event["message"]


def test_libraries_stay_out_of_what_does_not_use_them(database):
    child = database(
        HEAD + "@Variable\ndef v(run):\n    import sys\n    return [n in sys.modules for n in NAMES]\n"
        "NAMES = ('x' 'array', 'pandas', 'matplotlib', 'plotly')\n"
    ).run("v")
    assert child.values["v"].data.tolist() == [False] * 4, sys.version
