"""The native core draws and reduces arrays as DAMNIT does.

Needs a Python with DAMNIT 0.4.0 (`AMORE_PEER_PYTHON`) and the built core, either as `context/damnit_ctx/_core.abi3.so` or at
the path in `AMORE_CORE`. Both sides run in DAMNIT's Python; this module evaluates the results.

Tolerance of thumbnails, per channel of 0 to 255: the mean absolute difference of all pixels is at most 0.5, and no mean over
a block of 5 x 5 pixels differs by more than 10. The former allows for rounding to the next of 256 colours; the latter for the
few pixels whose centre lies on the border of two source pixels, up to a rounding error. Trendlines must be equal.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LARGEST_MEAN = 0.5
LARGEST_BLOCK = 10.0


def compare(script):
    peer = os.environ.get("AMORE_PEER_PYTHON")
    if not peer or not Path(peer).is_file():
        pytest.fail("AMORE_PEER_PYTHON must name the Python of a venv with damnit==0.4.0", pytrace=False)
    core = Path(os.environ.get("AMORE_CORE", HERE.parents[1] / "context/damnit_ctx/_core.abi3.so"))
    if not core.is_file():
        hint = f"{core} is missing: copy amore-context's lib_core.so there or set AMORE_CORE"
        pytest.fail(hint, pytrace=False)
    ran = subprocess.run(
        [peer, str(HERE / script), str(core.resolve())], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_thumbnails_look_like_the_peers():
    differences = compare("thumbnail_differences.py")
    assert len(differences) > 200
    too_far = {
        name: found
        for name, found in differences.items()
        if found["mean"] > LARGEST_MEAN or found["block"] > LARGEST_BLOCK
    }
    assert not too_far, json.dumps(too_far, indent=1)


def test_trendlines_are_the_peers():
    equal = compare("trendline_differences.py")
    assert len(equal) > 300
    different = [name for name, same in equal.items() if not same]
    assert not different
