"""Checks that the separate files of large arrays (virtual datasets) exist."""

from __future__ import annotations

import os
from typing import Any


def check(stored: Any) -> None:
    """HDF5 silently returns the fill value of an array whose file is missing or unreadable. This raises instead.

    Args:
        stored: an h5py dataset.

    Raises:
        OSError: the file is missing or unreadable.
    """
    import h5py

    for source in stored.virtual_sources() if stored.is_virtual else ():
        path = os.path.join(os.path.dirname(os.path.abspath(stored.file.filename)), source.file_name)
        try:
            with open(path, "rb"), h5py.File(path, "r") as file:
                file[source.dset_name]
        except (OSError, KeyError) as error:
            raise OSError(f"{stored.name} lies in the array file {path}, which cannot be read: {error}") from None
