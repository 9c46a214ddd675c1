"""The expected outcomes of the matrix's variables, for any Python."""

from collections.abc import Iterator
from pathlib import Path

import h5py

from declared import declared
from stored import StoredRun, error_problems

HERE = Path(__file__).parent
VALUES, BEYOND = HERE / "context_values.py", HERE / "context_beyond.py"

# Return values of the functions with dependencies.
DEPENDENT = {
    "after_transient": 46,
    "default_after_error": 7,
    "default_after_none": "nothing",
    "default_not_needed": 42,
    "meta": 12340001,
    "meta_path": "p001234",
    "told_scalar_int": "<class 'numpy.ndarray'> int64 ()",
    "told_scalar_float32": "<class 'numpy.ndarray'> float32 ()",
    "told_scalar_true": "<class 'numpy.ndarray'> bool ()",
    "told_scalar_complex": "<class 'numpy.ndarray'> complex128 ()",
    "told_text": "<class 'str'>  ",
    "told_list_int": "<class 'numpy.ndarray'> int64 (3,)",
    "told_line_uint16": "<class 'numpy.ndarray'> uint16 (30,)",
    "told_labelled_nameless": "<class 'xarray.core.dataarray.DataArray'> float32 (20,)",
    "told_dataset": "<class 'xarray.core.dataset.Dataset'>  ",
    "told_cell_number": "<class 'numpy.ndarray'> float64 ()",
    "told_cell_summary": "<class 'numpy.ndarray'> float32 (30,)",
    "told_cell_labelled": "<class 'xarray.core.dataarray.DataArray'> float32 (20,)",
    "told_masked": "<class 'numpy.ndarray'> float64 (3,)",
    "told_transposed": "<class 'numpy.ndarray'> float32 (20, 12)",
    "pair.one": 3.0,
    "pair.two": 6.0,
    "titled.one": 4.5,
    "titled.two": 9.0,
}
# Functions that cannot run: class of the error, and what its message must contain.
UNABLE = {
    "after_error": ("DependencyError", "error_value"),
    "after_two_errors": ("DependencyError", "error_key"),
    "after_after_error": ("DependencyError", "after_error"),
    "after_skip": ("Skip", "skip"),
    "after_source_error": ("Skip", "error_source"),
    "after_skip_and_error": ("DependencyError", "error_value"),
    "after_none": ("Skip", "none"),
    "after_refused": ("DependencyError", "refused_dict"),
    "after_transient_error": ("DependencyError", "transient_error"),
    "pair.broken": ("ValueError", "factor 2"),
    "titled.broken": ("ValueError", "factor 3"),
    "error_source": ("SourceNameError", "NO/SUCH/SOURCE"),
}
REFUSED_WITH_VALUE_ERROR = {"refused_background_text", "refused_background_range"}


def matrix_problems(
    stored: StoredRun, left_out: tuple[str, ...], only: tuple[str, ...] = ("",)
) -> Iterator[str]:
    """The problems in a run of the whole matrix.

    Variables whose names start with one of `left_out` need a library that the Python does not have. `only` contains the
    prefixes of the names to check.
    """
    for name, variable in declared(VALUES).items():
        if name.startswith(left_out) or not name.startswith(only) or name in UNABLE:
            continue
        if name.startswith("refused_"):
            error_class = "ValueError" if name in REFUSED_WITH_VALUE_ERROR else "TypeError"
            yield from failure_problems(stored, name, error_class, "")
        elif variable.transient:
            if name in stored.rows:
                yield f"{name}: is transient and has a row"
        elif not variable.needs_arguments:
            yield from stored.problems(name, variable.outcome())
    if only == ("",):
        yield from dependent_problems(stored)


def dependent_problems(stored: StoredRun) -> Iterator[str]:
    """Problems of variables that get values of others."""
    for name, value in DEPENDENT.items():
        row = stored.rows.get(name)
        if row is None or row["value"] != value:
            yield f"{name}: is {row and row['value']!r}, not {value!r}"
    for name, (error_class, words) in UNABLE.items():
        yield from failure_problems(stored, name, error_class, words)


def failure_problems(stored: StoredRun, name: str, error_class: str, words: str) -> Iterator[str]:
    """Problems of an error whose text is only partly fixed."""
    row = stored.rows.get(name)
    with h5py.File(stored.file) as f:
        for problem in error_problems(f, name, row, error_class, None):
            yield f"{name}: {problem}"
    if row is not None and words not in (row["attributes"] or ""):
        yield f"{name}: {row['attributes']} does not speak of {words}"
