"""The databases and commands of the end-to-end tests, for tests of the service."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# Loaded by its path: pytest has several files of this name.
_PIPE = Path(__file__).resolve().parents[1] / "pipe/conftest.py"
_spec = importlib.util.spec_from_file_location("pipe_conftest", _PIPE)
assert _spec is not None and _spec.loader is not None
pipe = importlib.util.module_from_spec(_spec)
sys.modules["pipe_conftest"] = pipe
_spec.loader.exec_module(pipe)

wait_for = pipe.wait_for
