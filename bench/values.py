"""Compares the values of both sides. Times are only comparable if the work is the same, so this comes
first.

Data in the run files must be equal bit by bit. Numbers in the table may differ in the last digits, because
a mean may be summed in another order. For thumbnails, only their existence is compared: the two sides draw
them with different code, and the tests against DAMNIT compare their pixels.
"""

import io
import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from data import PROPOSAL

PNG = b"\x89PNG\r\n\x1a\n"
NPY = b"\x93NUMPY"
RELATIVE = 1e-6
ROWS_AT_ONCE = 16


class Differ(Exception):
    """The two sides computed different values; the message says which."""


class Missing(Exception):
    """A value is missing in the table, or is an error."""


def table(folder: Path) -> dict[tuple[int, str], object]:
    """Every value in a directory's run table, by run and variable. Raises Missing for an error."""
    try:
        connection = sqlite3.connect(f"file:{folder / 'runs.sqlite'}?mode=ro", uri=True)
        try:
            rows = connection.execute("SELECT run, name, value, attributes FROM run_variables").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Missing(f"{folder}: the run table cannot be read: {error}") from error
    found = {}
    for run, name, value, attributes in rows:
        if value is None:
            reason = json.loads(attributes or "{}").get("error", "no value")
            raise Missing(f"{folder}: run {run}, {name}: {reason}")
        found[int(run), name] = value
    return found


def check_numbers(folder: Path, wanted: Mapping[tuple[int, str], float]) -> None:
    """Check that the table contains exactly these numbers. Raises Missing or Differ."""
    found = table(folder)
    if found.keys() != wanted.keys():
        raise Missing(f"{folder}: {len(found)} values in the table, not the {len(wanted)} that are wanted")
    for key, value in wanted.items():
        if not _same_cell(found[key], value):
            raise Differ(f"{folder}: {key} is {found[key]!r} in the table, not {value!r}")


def check(ours: Path, peer: Path, runs: Sequence[int], variables: int) -> None:
    """Check that both directories contain the same: this many variables for each run. Raises Missing or
    Differ.
    """
    tables = table(ours), table(peer)
    for folder, found in zip((ours, peer), tables, strict=True):
        if len(found) != len(runs) * variables:
            raise Missing(
                f"{folder}: {len(found)} values in the table, not {len(runs)} runs × {variables} variables"
            )
    if tables[0].keys() != tables[1].keys():
        raise Differ(f"in one table only: {sorted(tables[0].keys() ^ tables[1].keys())[:10]}")
    for key, value in tables[0].items():
        if not _same_cell(value, tables[1][key]):
            raise Differ(f"{key}: {str(value)[:80]} in our table, {str(tables[1][key])[:80]} in DAMNIT's")
    for run in runs:
        name = Path("extracted_data", f"p{PROPOSAL}_r{run}.h5")
        for folder in (ours, peer):
            if not h5py.is_hdf5(folder / name):
                raise Missing(f"{folder}: {name} is not there, or not an HDF5 file")
        with h5py.File(ours / name) as of_ours, h5py.File(peer / name) as of_peer:
            _check_files(of_ours, of_peer)


def _same_cell(ours: object, peer: object) -> bool:
    if isinstance(ours, bytes) and isinstance(peer, bytes):
        for magic in (PNG, NPY):
            if ours.startswith(magic) or peer.startswith(magic):
                if not (ours.startswith(magic) and peer.startswith(magic)):
                    return False
                return magic == PNG or _same_line(ours, peer)
        return ours == peer
    # Both store bool as an integer.
    if isinstance(ours, int | float) and isinstance(peer, int | float):
        return type(ours) is type(peer) and math.isclose(ours, peer, rel_tol=RELATIVE)
    return ours == peer


def _same_line(ours: bytes, peer: bytes) -> bool:
    arrays = [np.load(io.BytesIO(blob), allow_pickle=False) for blob in (ours, peer)]
    return arrays[0].shape == arrays[1].shape and np.allclose(*arrays, rtol=RELATIVE, equal_nan=True)


def _check_files(ours: h5py.File, peer: h5py.File) -> None:
    datasets = dict(_datasets(ours)), dict(_datasets(peer))
    if datasets[0].keys() != datasets[1].keys():
        raise Differ(f"{ours.filename}: in one file only: {sorted(datasets[0].keys() ^ datasets[1].keys())}")
    for name, of_ours in datasets[0].items():
        of_peer = datasets[1][name]
        if of_ours.dtype != of_peer.dtype or of_ours.shape != of_peer.shape:
            kinds = [f"{dataset.dtype} {dataset.shape}" for dataset in (of_ours, of_peer)]
            raise Differ(f"{ours.filename}: {name} is {kinds[0]}, DAMNIT's {kinds[1]}")
        if not _same_data(of_ours, of_peer):
            raise Differ(f"{ours.filename}: {name} differs from DAMNIT's")


def _same_data(ours: h5py.Dataset, peer: h5py.Dataset) -> bool:
    if ours.ndim == 0:
        return _equal(ours[()], peer[()])
    return all(
        _equal(ours[at : at + ROWS_AT_ONCE], peer[at : at + ROWS_AT_ONCE])
        for at in range(0, len(ours), ROWS_AT_ONCE)
    )


def _equal(ours: object, peer: object) -> bool:
    a, b = np.asarray(ours), np.asarray(peer)
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _datasets(file: h5py.File) -> Iterable[tuple[str, h5py.Dataset]]:
    """The datasets of values, without summaries and placeholders of dimensions without coordinates."""
    for name, group in file.items():
        if name.startswith("."):
            continue
        for inner, dataset in group.items():
            placeholder = dataset.attrs.get("NAME", b"").startswith(b"This is a netCDF dimension")
            if isinstance(dataset, h5py.Dataset) and not placeholder and name != "start_time":
                yield f"/{name}/{inner}", dataset
