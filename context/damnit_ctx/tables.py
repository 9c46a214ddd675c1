"""Converts pandas tables to parquet and back."""

from __future__ import annotations

import io
from typing import Any, Optional

from .channel import Message
from .returned import NotAsReturned, Returned
from .tagged import NotHeld, given, held

# A table up to this size is read back when it is stored, to check that it is unchanged; of a larger one only this many
# rows, and properties that depend on all rows are checked separately.
_WHOLE_BYTES = 4 << 20
_SAMPLE_ROWS = 1000


def parquet(table: Any, returned: Returned) -> bytes:
    """A Series or DataFrame as the bytes of a parquet file.

    Raises:
        ImportError: the user's environment has no pyarrow.
        Exception: pandas' error for a table that parquet cannot store.
    """
    import pandas

    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ImportError(
            "tables (pandas Series and DataFrame) are saved as parquet, which needs pyarrow: "
            "pip install pyarrow, or return .to_numpy() or .to_xarray()"
        ) from None
    is_series = isinstance(table, pandas.Series)
    if type(table) is not (pandas.Series if is_series else pandas.DataFrame):
        returned.differ(f"it is a {type(table).__name__}, a table of a custom type")
    content = _written(table)
    if returned.differs is None:
        try:
            said = _said(table)
            returned.differ(_difference(table, said, content))
            returned.describe(is_a="series" if is_series else "dataframe", **said)
        except NotHeld as reason:
            returned.differ(f"a name or attribute of the table cannot be preserved: {reason}")
    return content


def _written(table: Any) -> bytes:
    import pandas

    is_series = isinstance(table, pandas.Series)
    try:
        return _bytes(table.to_frame(name=table.name) if is_series else table.copy(deep=False))
    except ValueError:
        if not is_series or isinstance(table.name, str):
            raise
        # Older versions require text as a name.
        return _bytes(table.to_frame(name=str(table.name)))


def _bytes(frame: Any) -> bytes:
    # pandas writes attributes as JSON; other attributes would make the table unwritable.
    frame.attrs = {}
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=None)
    return buffer.getvalue()


def _said(table: Any) -> Message:
    """Properties that parquet does not preserve."""
    said: Message = {"attrs": held(dict(table.attrs)), "flag": bool(table.flags.allows_duplicate_labels)}
    said["name"] = held(getattr(table, "name", None))
    freq = getattr(table.index, "freqstr", None)
    if freq is not None:
        said["freq"] = freq
    return said


def read(content: bytes, said: Message) -> Any:
    """The table.

    Raises:
        NotAsReturned: this environment cannot read it.
    """
    try:
        import pandas
        import pyarrow  # noqa: F401
    except ImportError:
        raise NotAsReturned("it is a table, and pyarrow is not available to read it") from None
    table = pandas.read_parquet(io.BytesIO(content), engine="pyarrow")
    if said["is_a"] == "series":
        table = table.iloc[:, 0]
        table.name = given(said["name"])
    table.attrs = given(said["attrs"])
    if "freq" in said:
        table.index.freq = said["freq"]
    return table if said["flag"] else table.set_flags(allows_duplicate_labels=False)


def _difference(table: Any, said: Message, content: bytes) -> Optional[str]:
    """How the table read back from parquet differs."""
    kind = "series" if table.ndim == 1 else "dataframe"
    columns = [table] if table.ndim == 1 else [table.iloc[:, at] for at in range(table.shape[1])]
    size = sum(column.memory_usage(index=False, deep=True) for column in columns)
    if size > _WHOLE_BYTES and len(table) > _SAMPLE_ROWS:
        # All rows matter for the types of objects in a column, and for categories.
        kinds = {getattr(column.dtype, "kind", "O") for column in columns}
        if not kinds <= set("biufcmM") or any(hasattr(column.dtype, "categories") for column in columns):
            if any(column.dtype == object and not _all_text(column) for column in columns):
                return "a column holds Python objects"
            if any(hasattr(column.dtype, "categories") for column in columns):
                return "a large table has categories"
        table = table.iloc[:_SAMPLE_ROWS]
        content = _written(table)
        said = {**said, **_said(table)}
    try:
        again = read(content, {"is_a": kind, **said})
    except Exception as error:
        return f"the table cannot be read back: {error}"
    return difference(table, again)


def _all_text(column: Any) -> bool:
    return all(type(item) is str for item in column)


def difference(table: Any, other: Any) -> Optional[str]:
    """How two Series or two DataFrames differ, including types."""
    if type(table) is not type(other) or table.shape != other.shape:
        return "it is read back as a different table"
    reason = _index_difference(table.index, other.index, "the index")
    if table.ndim == 1:
        columns = [(table, other)]
        if held(table.name) != held(other.name):
            reason = reason or "the series has a different name"
    else:
        reason = reason or _index_difference(table.columns, other.columns, "the row of column names")
        columns = [(table.iloc[:, at], other.iloc[:, at]) for at in range(table.shape[1])]
    for one, two in columns:
        reason = reason or _values_difference(one.array, two.array, f"column {one.name!r}")
    if held(dict(table.attrs)) != held(dict(other.attrs)):
        reason = reason or "the table has different attributes"
    return reason


def _index_difference(one: Any, two: Any, what: str) -> Optional[str]:
    if type(one) is not type(two) or one.dtype != two.dtype or len(one) != len(two):
        return f"{what} is read back as another type"
    try:
        if [held(name) for name in one.names] != [held(name) for name in two.names]:
            return f"{what} has different names"
    except NotHeld as error:
        return f"a name in {what} cannot be preserved: {error}"
    if getattr(one, "freqstr", None) != getattr(two, "freqstr", None):
        return f"{what} has a different frequency"
    if hasattr(one, "start"):
        return None if (one.start, one.stop, one.step) == (two.start, two.stop, two.step) else f"{what} differs"
    if hasattr(one, "levels"):
        for level, other in zip(one.levels, two.levels):
            reason = _index_difference(level, other, what)
            if reason is not None:
                return reason
        codes = zip(one.codes, two.codes)
        return None if all((here == there).all() for here, there in codes) else f"{what} differs"
    return _values_difference(one.array, two.array, what)


def _values_difference(one: Any, two: Any, what: str) -> Optional[str]:
    import numpy as np

    if type(one) is not type(two) or one.dtype != two.dtype:
        return f"{what} is read back as {two.dtype}"
    of_numpy = getattr(one.dtype, "numpy_dtype", one.dtype) if "Numpy" in type(one).__name__ else one.dtype
    if isinstance(of_numpy, np.dtype) and of_numpy.kind in "biufcmM":
        here, there = np.asarray(one), np.asarray(two)
        return None if here.dtype == there.dtype and here.tobytes() == there.tobytes() else f"{what} differs"
    if hasattr(one.dtype, "categories"):
        reason = _index_difference(one.dtype.categories, two.dtype.categories, what)
        same = one.dtype.ordered == two.dtype.ordered and (one.codes == two.codes).all()
        return reason or (None if same else f"{what} differs")
    if getattr(of_numpy, "kind", "O") != "O" or not isinstance(of_numpy, np.dtype):
        return None if one.equals(two) else f"{what} differs"
    try:
        same = [held(item) for item in one] == [held(item) for item in two]
    except NotHeld as error:
        return f"{what} holds Python objects: {error}"
    return None if same else f"{what} differs"
