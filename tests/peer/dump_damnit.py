"""Write everything that DAMNIT's own API reads from a database directory to plain files.

    python dump_damnit.py DIRECTORY OUT

runs in an environment with DAMNIT 0.4, and writes OUT.json (a tree) and OUT.npz (the arrays that the tree refers to).
Exceptions of the API are part of the dump. What differs between any two calls (when something was added, and by which
program) is left out.
"""

import io
import json
import sqlite3
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from damnit.api import Damnit
from numpy.lib.recfunctions import repack_fields
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
NPY = b"\x93NUMPY"


class Encoder:
    """Converts values to JSON trees; arrays are collected separately."""

    def __init__(self):
        self.arrays = {}

    def array(self, values: np.ndarray):
        """An array of numbers, times or text, with type and shape."""
        kind = values.dtype.str if values.dtype.names is None else str(values.dtype)
        tree = {"is": "array", "dtype": kind, "shape": list(values.shape)}
        if values.dtype.kind in "mM":
            values = values.astype("i8")
        if values.dtype.kind in "OT":
            return tree | {"dtype": values.dtype.kind, "items": [self(item) for item in values.ravel()]}
        if values.dtype.names is not None:
            # An npz file cannot have fields out of order; their offsets are part of the name above.
            values = repack_fields(values, recurse=True)
        key = f"a{len(self.arrays)}"
        self.arrays[key] = values
        return tree | {"in": key}

    def coordinates(self, obj):
        """Coordinates of an xarray object, without their own coordinates."""
        return {
            str(name): self.variable(c) for name, c in sorted(obj.coords.items(), key=lambda c: str(c[0]))
        }

    def variable(self, obj):
        """Dimensions, attributes and content of an xarray variable."""
        return {"dims": list(obj.dims), "attrs": self(dict(obj.attrs)), "values": self.array(obj.values)}

    def frame(self, frame: pd.DataFrame):
        """A pandas table with the type of each column."""
        columns = [
            {"name": self(name), "dtype": str(frame[name].dtype), "values": [self(v) for v in frame[name]]}
            for name in frame.columns
        ]
        return {"is": "frame", "index": [self(v) for v in frame.index], "columns": columns}

    def __call__(self, value):
        """The tree of any value that the API returns."""
        if isinstance(value, np.generic):
            return {"is": "scalar", "of": self.array(np.asarray(value))}
        if value is None or isinstance(value, bool | str):
            return value
        if value is pd.NA or value is pd.NaT:
            return {"is": str(value)}
        if isinstance(value, int | float):
            return {"is": type(value).__name__, "repr": repr(value)}
        if isinstance(value, pd.Timestamp):
            return {"is": "Timestamp", "iso": value.isoformat(), "unit": value.unit}
        if isinstance(value, complex):
            return {"is": "complex", "repr": repr(value)}
        if isinstance(value, bytes):
            return self.blob(value)
        if isinstance(value, dict):
            return {"is": "dict", "items": {str(k): self(v) for k, v in value.items()}}
        if isinstance(value, list | tuple):
            return {"is": type(value).__name__, "items": [self(v) for v in value]}
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, xr.DataArray):
            tree = {"is": "DataArray", "name": self(value.name), "coords": self.coordinates(value)}
            return tree | self.variable(value)
        if isinstance(value, xr.Dataset):
            variables = {str(name): self.variable(v) for name, v in sorted(value.data_vars.items())}
            tree = {"is": "Dataset", "coords": self.coordinates(value), "variables": variables}
            return tree | {
                "dims": {str(k): v for k, v in value.sizes.items()},
                "attrs": self(dict(value.attrs)),
            }
        if isinstance(value, pd.Series):
            return {"is": "Series", "of": self.frame(value.to_frame())}
        if isinstance(value, pd.DataFrame):
            return self.frame(value)
        raise TypeError(f"the API returned a {type(value)}, which this dump does not know")

    def blob(self, value: bytes):
        """A picture by its pixels, an array by its content, anything else by its bytes."""
        if value.startswith(PNG):
            picture = Image.open(io.BytesIO(value))
            return {
                "is": "png",
                "size": list(picture.size),
                "rgba": self.array(np.asarray(picture.convert("RGBA"))),
            }
        if value.startswith(NPY):
            return {"is": "npy", "of": self.array(np.load(io.BytesIO(value), allow_pickle=False))}
        return {"is": "bytes", "hex": value.hex()}

    def attempt(self, call):
        """The tree of what a call returns or raises."""
        try:
            value = call()
        except Exception as exc:
            return {"is": "raised", "class": type(exc).__name__}
        return self(value)


def dump(directory: Path) -> tuple[dict, dict]:
    """Tree and arrays of a directory."""
    encode = Encoder()
    db = Damnit(directory)
    runs = sorted(db.runs())
    tree = {
        "proposal": db.proposal,
        "runs": {str(run): dump_run(encode, db, run) for run in runs},
        "table": encode(db.table().sort_index(axis=1)),
        "titled columns": sorted(db.table(with_titles=True).columns),
        "database": dump_database(encode, directory / "runs.sqlite"),
    }
    return tree, encode.arrays


def dump_run(encode: Encoder, db: Damnit, run: int) -> dict:
    """All variables of a run."""
    variables = db[run]
    keys = variables.keys()
    dumped = {name: dump_variable(encode, variables[name]) for name in keys if variables_has(variables, name)}
    untitled = [name for name in keys if name not in dumped]
    return {"keys": keys, "titles": variables.titles(), "untitled": untitled, "variables": dumped}


def variables_has(variables, name: str) -> bool:
    """Whether it can be indexed. It cannot if the run file has a variable that the database does not have."""
    try:
        variables[name]
    except KeyError:
        return False
    return True


def dump_variable(encode: Encoder, data) -> dict:
    """Everything that the API provides about one variable."""

    def type_hint():
        hint = data.type_hint()
        return None if hint is None else hint.name

    return {
        "title": data.title,
        "units": data.units,
        "type_hint": encode.attempt(type_hint),
        "read": encode.attempt(lambda: data.read(deserialize_plotly=False)),
        "summary": encode.attempt(data.summary),
        "preview": encode.attempt(lambda: data.preview_data(deserialize_plotly=False)),
        "own preview": encode.attempt(
            lambda: data.preview_data(data_fallback=False, deserialize_plotly=False)
        ),
    }


def dump_database(encode: Encoder, path: Path) -> dict:
    """The stored rows, without what differs from call to call."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    values = {}
    columns = "value, typeof(value) AS storage, version, max_diff, summary_type, summary_method, attributes"
    for row in connection.execute(f"SELECT proposal, run, name, {columns} FROM run_variables"):
        row = dict(row)
        key = f"p{row.pop('proposal')} r{row.pop('run')} {row.pop('name')}"
        attributes = row.pop("attributes")
        values[key] = {column: encode(value) for column, value in row.items()}
        values[key]["attributes"] = None if attributes is None else encode(json.loads(attributes))
    variables = {
        row["name"]: {key: row[key] for key in ("type", "title", "description", "attributes")}
        for row in connection.execute("SELECT * FROM variables")
    }
    tags = connection.execute(
        "SELECT variable_name, name FROM variable_tags JOIN tags ON tags.id = tag_id ORDER BY 1, 2"
    )
    runs = connection.execute("SELECT proposal, run, start_time FROM run_info ORDER BY 1, 2")
    tree = {
        "run_variables": values,
        "variables": variables,
        "tags": [list(row) for row in tags],
        "run_info": [encode(tuple(row)) for row in runs],
        "columns of the view": sorted(d[0] for d in connection.execute("SELECT * FROM runs").description),
        "data_format_version": encode(
            connection.execute("SELECT value FROM metameta WHERE key='data_format_version'").fetchone()[0]
        ),
    }
    connection.close()
    return tree


def main() -> None:
    """Command line."""
    directory, out = Path(sys.argv[1]), Path(sys.argv[2])
    warnings.simplefilter("ignore")
    tree, arrays = dump(directory)
    np.savez(out.with_suffix(".npz"), **arrays)
    out.with_suffix(".json").write_text(json.dumps(tree, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
