#!/usr/bin/env python3
"""Which crate may depend on which: the house's directions, checked on `cargo metadata`.

Exit code 1 and one line for each dependency that is not allowed.
"""

from __future__ import annotations

import json
import subprocess
import sys

#: Crate -> crates of ours that it may use.
OURS = {
    "amore-model": set(),
    "amore-plan": {"amore-model"},
    "amore-wire": {"amore-model"},
    "amore-results": {"amore-model"},
    "amore-run-table": {"amore-model"},
    "amore-ledger": {"amore-model"},
    "amore-context": {"amore-wire", "amore-model"},
    "amore-worker": {"amore-model", "amore-wire", "amore-results"},
    "amore": {"amore-ledger", "amore-model", "amore-plan", "amore-wire", "amore-results", "amore-run-table"},
}

#: Library -> the only crates that may link it, and why.
ONLY_IN = {
    "hdf5-metno": ({"amore-results"}, "one crate links HDF5"),
    "hdf5-metno-sys": ({"amore-results"}, "one crate links HDF5"),
    "sqlx": ({"amore-run-table", "amore-ledger"}, "one crate for each of the two stores speaks SQL"),
    "pyo3": ({"amore-context"}, "user code is never loaded into our programs"),
    "tokio": ({"amore", "amore-run-table", "amore-ledger"}, "the model, the plan and the worker do no asynchronous I/O"),
}

#: Crates that must stay pure: no dependency that does I/O at all.
PURE = {"amore-model", "amore-plan"}
# None of these does any I/O.
HARMLESS = {"serde", "serde_json", "thiserror", "unicode-ident", "unicode-normalization"}


def main() -> int:
    """Compare the workspace with the rules."""
    answer = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"], check=True, capture_output=True
    )
    wrong = []
    for package in json.loads(answer.stdout)["packages"]:
        name = package["name"]
        if name not in OURS:
            wrong.append(f"{name}: not in the list of {sys.argv[0]}; say there what it may depend on")
            continue
        for dependency in package["dependencies"]:
            if dependency["kind"] == "dev":
                continue
            other = dependency["name"]
            if other.startswith("amore") and other not in OURS[name]:
                wrong.append(f"{name} must not depend on {other}")
            if other in ONLY_IN and name not in ONLY_IN[other][0]:
                wrong.append(f"{name} must not depend on {other}: {ONLY_IN[other][1]}")
            if name in PURE and not other.startswith("amore") and other not in HARMLESS:
                wrong.append(f"{name} is pure and must not depend on {other}")
    print("\n".join(wrong) if wrong else "directions between crates: as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
