"""Creates more runs from the data of a few: `more_runs.py PROPOSAL-DIRECTORY HAVE WANTED`.

Of 50 runs, run 51 gets the files of run 1 (hard links), and so on. Then every run is opened once:
extra_data keeps an index next to it, and whoever opens a run first has the cost of creating it.
"""

import os
import sys
from pathlib import Path

from extra_data import RunDirectory


def main():
    """Link the files and open the runs."""
    raw, have, wanted = Path(sys.argv[1], "raw"), int(sys.argv[2]), int(sys.argv[3])
    for run in range(1, wanted + 1):
        folder = raw / f"r{run:04d}"
        if run > have:
            folder.mkdir(exist_ok=True)
            for file in (raw / f"r{(run - 1) % have + 1:04d}").glob("*.h5"):
                if not (folder / file.name).exists():
                    os.link(file, folder / file.name)
        RunDirectory(folder)


if __name__ == "__main__":
    main()
