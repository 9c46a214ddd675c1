"""Large arrays lie in files of their own, behind virtual datasets; are those files there?"""

from __future__ import annotations

import os
from typing import Any


def check(stored: Any) -> None:
    """HDF5 gives the fill value, and no error, for an array whose own file is missing or closed to us.

    Args:
        stored: a dataset of h5py.

    Raises:
        OSError: it is.
    """
    import h5py

    for source in stored.virtual_sources() if stored.is_virtual else ():
        path = os.path.join(os.path.dirname(os.path.abspath(stored.file.filename)), source.file_name)
        try:
            with open(path, "rb"), h5py.File(path, "r") as file:
                file[source.dset_name]
        except (OSError, KeyError) as error:
            raise OSError(f"{stored.name} lies in the array file {path}, which cannot be read: {error}") from None
