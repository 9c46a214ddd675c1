"""The results of `make demo` agree with the raw files, which are read with h5py and numpy alone.

AMORE_DEMO_DIR names the database directory (…/p001234/usr/Shared/amore). The proposal is found from it.
"""

import json
import os
import sqlite3
from pathlib import Path

import h5py
import numpy as np
import pytest

from expected import ANY_UNITS, Expected, Failure, Nothing, Value, expected

PROPOSAL = 1234
#: The last three are processed by the service, as they arrive.
RUNS = range(1, 24)
# The instruments deliver single precision; values computed from it differ by rounding.
RELATIVE = 2e-5


@pytest.fixture(scope="session")
def demo() -> Path:
    """The demo's database directory."""
    given = os.environ.get("AMORE_DEMO_DIR")
    if not given:
        if os.environ.get("CI") == "true":
            pytest.fail("AMORE_DEMO_DIR is not set: run `make demo` first")
        pytest.skip("AMORE_DEMO_DIR is not set: run `make demo` first")
    return Path(given).resolve()


def table_row(directory: Path, run: int) -> dict[str, dict]:
    """The row of a run by variable, including `start_time`."""
    connection = sqlite3.connect(f"file:{directory / 'runs.sqlite'}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    where = "WHERE proposal = ? AND run = ?"
    found = connection.execute(f"SELECT * FROM run_variables {where}", (PROPOSAL, run)).fetchall()
    rows = {row["name"]: dict(row) for row in found}
    info = connection.execute(f"SELECT start_time FROM run_info {where}", (PROPOSAL, run)).fetchone()
    connection.close()
    if info is not None:
        rows["start_time"] = {"value": info["start_time"], "summary_type": None, "attributes": None}
    return rows


def known_variables(directory: Path) -> dict[str, str]:
    """Variables of the table and their titles."""
    connection = sqlite3.connect(f"file:{directory / 'runs.sqlite'}?mode=ro", uri=True)
    titles = dict(connection.execute("SELECT name, title FROM variables").fetchall())
    connection.close()
    return titles


def cell(row: dict) -> object:
    """What the table shows: a number, a text, or a word that stands for a picture."""
    value = row["value"]
    if not isinstance(value, bytes):
        return value
    if value.startswith(b"\x89PNG\r\n\x1a\n"):
        return "<thumbnail>"
    if row["summary_type"] == "trendline":
        return "<sparkline>"
    if row["summary_type"] == "complex":
        return complex(np.frombuffer(value, "<c16")[0])
    return value


def close(found: object, wanted: object) -> bool:
    """Whether the values are equal; for numbers, up to rounding."""
    if isinstance(wanted, str) or isinstance(found, str):
        return found == wanted
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.shape != wanted.shape:
        return False
    return bool(np.allclose(found, wanted, rtol=RELATIVE, atol=1e-6, equal_nan=True))


def table_problems(row: dict | None, wanted: Expected) -> list[str]:
    """Differences between a row and the expected values."""
    if isinstance(wanted, Nothing):
        return [] if row is None else [f"has a row, with {cell(row)!r}"]
    if row is None:
        return ["has no row"]
    attributes = json.loads(row["attributes"] or "{}")
    if isinstance(wanted, Failure):
        said = f"{attributes.get('error_cls')}: {attributes.get('error')}"
        right = (
            row["value"] is None
            and attributes.get("error_cls") == wanted.error_class
            and wanted.words in said
        )
        return (
            []
            if right
            else [f"has {row['value']!r} and says {said!r}, not {wanted.error_class} {wanted.words!r}"]
        )
    problems = []
    found = cell(row)
    if wanted.summary == "DataFrame":
        right = isinstance(found, str) and found.startswith("DataFrame (")
    else:
        right = close(found, wanted.summary)
    if not right:
        problems.append(f"is {found!r} in the table, not {wanted.summary!r}")
    for key in ("units", "bold", "background"):
        if getattr(wanted, key) not in (ANY_UNITS, attributes.get(key)):
            problems.append(f"has {key} {attributes.get(key)!r}, not {getattr(wanted, key)!r}")
    return problems


def variable_of(group: h5py.Group) -> h5py.Dataset:
    """The one dataset of a DataArray's group that is not a dimension."""
    (dataset,) = [item for item in group.values() if not item.is_scale]
    return dataset


def file_problems(f: h5py.File, name: str, wanted: Expected) -> list[str]:
    """Differences between a run file and the expected values."""
    if not isinstance(wanted, Value):
        return [f"has {place}" for place in (name, f".reduced/{name}", f".preview/{name}") if place in f]
    if name not in f:
        return ["is not in the run file"]
    group = f[name]
    kind = group.attrs.get("_damnit_objtype")
    if wanted.data is None:
        return [] if kind == "image" and group["data"].ndim == 3 else ["is no figure"]
    if kind == "dataframe":
        return [] if bytes(group["data"][:4]) == b"PAR1" else ["is no table"]
    if kind == "dataset":
        return [
            f"has another {column!r}"
            for column, data in wanted.data.items()
            if not close(group[column][()], data)
        ]
    if kind == "dataarray":
        dataset = variable_of(group)
        dims = tuple(dim[0].name.rsplit("/", 1)[1] for dim in dataset.dims)
        if dims != (wanted.dims or dims):
            return [f"has dimensions {dims}, not {wanted.dims}"]
    else:
        dataset = group["data"]
    data = dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()]
    return [] if close(data, wanted.data) else [f"is {data!r} in the run file, not {wanted.data!r}"]


@pytest.mark.parametrize("run", RUNS)
def test_values(demo, run):
    """Every variable of a run, in the table and in the run file."""
    wanted = expected(demo.parents[2], PROPOSAL, run)
    known = known_variables(demo)
    if "slow_data" not in known:  # declared only where pyarrow is installed
        del wanted["slow_data"]
    rows = table_row(demo, run)
    rows.pop("comment", None)
    problems = [f"{name} is not in the context file" for name in rows.keys() - wanted.keys()]
    with h5py.File(demo / "extracted_data" / f"p{PROPOSAL}_r{run}.h5") as f:
        for name, value in wanted.items():
            problems += [f"{name} {problem}" for problem in table_problems(rows.get(name), value)]
            problems += [f"{name} {problem}" for problem in file_problems(f, name, value)]
    assert not problems, "\n".join(problems)


def test_demo_is_whole(demo):
    """There are 23 runs with more than twenty variables, and no uncollected results."""
    assert len(known_variables(demo)) > 20
    files = sorted(path.name for path in (demo / "extracted_data").iterdir() if not path.name.startswith("."))
    assert files == sorted(f"p{PROPOSAL}_r{run}.h5" for run in RUNS)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (None, Value(1.0, 1.0)),
        ({"value": 1.1, "summary_type": None, "attributes": None}, Value(1.0, 1.0)),
        ({"value": 1.0, "summary_type": None, "attributes": None}, Value(1.0, 1.0, units="mm")),
        ({"value": 1.0, "summary_type": None, "attributes": None}, Nothing()),
        ({"value": 1.0, "summary_type": None, "attributes": None}, Failure("ValueError", "between")),
        ({"value": None, "summary_type": None, "attributes": '{"error": "x", "error_cls": "KeyError"}'},
         Failure("ValueError", "x")),
        ({"value": "1.0", "summary_type": None, "attributes": None}, Value(1.0, 1.0)),
        ({"value": b"1", "summary_type": None, "attributes": None}, Value(1.0, "<thumbnail>")),
    ],
)  # fmt: skip
def test_a_wrong_row_is_noticed(row, wanted):
    """The comparison notices a wrong row."""
    assert table_problems(row, wanted)


def test_a_wrong_file_is_noticed(tmp_path):
    """The comparison notices a wrong file."""
    with h5py.File(tmp_path / "p1234_r1.h5", "w") as f:
        f["line/data"] = np.array([1.0, 2.0])
        assert file_problems(f, "line", Value(np.array([1.0, 2.1]), 2.1))
        assert file_problems(f, "line", Value(np.array([1.0]), 1.0))
        assert file_problems(f, "line", Nothing())
        assert file_problems(f, "gone", Value(1.0, 1.0))
        assert not file_problems(f, "line", Value(np.array([1.0, 2.0]), 2.0))
