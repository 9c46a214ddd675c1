#!/usr/bin/env python3
"""Checks the allowed dependencies between crates (from `cargo metadata`) and between modules (from the source).

The modules of the orchestrator depend on one another in one direction; files with pure rules do no I/O; only the files
named here may start programs or read the environment.

Prints one line for each forbidden dependency and for each exception that is no longer needed; then the exit code
is 1.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ORCHESTRATOR = REPOSITORY / "orchestrator/src"

#: Crate -> crates of ours that it may use.
OURS = {
    "amore-model": set(),
    "amore-plan": {"amore-model"},
    "amore-wire": {"amore-model"},
    "amore-shared-files": set(),
    "amore-results": {"amore-model", "amore-shared-files"},
    "amore-run-table": {"amore-model", "amore-shared-files"},
    "amore-intake": {"amore-model"},
    "amore-kafka": {"amore-intake", "amore-model"},
    "amore-ledger": {"amore-model"},
    "amore-listener-db": {"amore-model"},
    "amore-mymdc": {"amore-model"},
    "amore-simulation": {"amore-core", "amore-intake", "amore-model", "amore-plan", "amore-slurm", "amore-wire"},
    "amore-slurm": {"amore-model"},
    "amore-slurm-client": {"amore-model", "amore-slurm", "amore-wire"},
    "amore-core": {"amore-model", "amore-plan", "amore-slurm", "amore-wire"},
    "amore-context": {"amore-wire", "amore-model"},
    "amore-worker": {"amore-model", "amore-wire", "amore-results", "amore-shared-files"},
    "amore": {
        "amore-core",
        "amore-intake",
        "amore-kafka",
        "amore-ledger",
        "amore-listener-db",
        "amore-model",
        "amore-mymdc",
        "amore-plan",
        "amore-results",
        "amore-run-table",
        "amore-shared-files",
        "amore-slurm",
        "amore-slurm-client",
        "amore-wire",
    },
}

#: Library -> the only crates that may link it, and why.
ONLY_IN = {
    "hdf5-metno": ({"amore-results"}, "one crate links HDF5"),
    "hdf5-metno-sys": ({"amore-results"}, "one crate links HDF5"),
    "sqlx": ({"amore-run-table", "amore-ledger", "amore-listener-db"}, "one crate for each of the three stores speaks SQL"),
    "pyo3": ({"amore-context"}, "user code is never loaded into our programs"),
    "tokio": (
        {"amore", "amore-run-table", "amore-ledger", "amore-slurm-client"},
        "the model, the plan, the rules about Slurm and the worker do no asynchronous I/O",
    ),
    "tera": ({"amore-slurm", "amore"}, "one crate renders job scripts, and supervisor/conf.rs the configuration of Supervisor"),
    "rdkafka": ({"amore-kafka"}, "one crate links librdkafka and OpenSSL"),
    "reqwest": ({"amore-mymdc"}, "one crate asks the metadata catalogue, and only it sees the token"),
}

#: Crates that must stay pure, and where they are: no dependency that does I/O at all, and the same clippy.toml.
PURE = {
    "amore-core": "crates/core",
    "amore-intake": "crates/intake",
    "amore-model": "crates/model",
    "amore-plan": "crates/plan",
    "amore-simulation": "crates/simulation",
    "amore-slurm": "crates/slurm",
    "amore-wire": "crates/wire",
}
#: Pure crates that may use hash maps, whose order is random, and why.
HASHED = {"amore-plan": "a property test plans everything twice, and compares"}
# None of these does any I/O. amore-slurm renders a template (tera) and parses tables and the site's file (toml) from text.
# jiff computes with dates; without its features it knows neither the time nor any time zone of the machine.
HARMLESS = {
    "jiff",
    "rand_core",
    "rand_pcg",
    "serde",
    "serde_json",
    "shlex",
    "strsim",
    "tera",
    "thiserror",
    "toml",
    "unicode-ident",
    "unicode-normalization",
}

_NO_TERMINAL = "it works without a terminal, too: errors have types of their own, which the command line puts into words"

#: Library -> why a pure crate may only use it without default features and others.
BARE = {"jiff": "with its features it reads the clock and the database of time zones"}

#: Module of the orchestrator -> what it must not use, and why. A name that begins with `amore_` is a crate.
MODULES = {
    "advice": ({"cli"}, _NO_TERMINAL),
    "api": ({"cli"}, _NO_TERMINAL),
    "clock": ({"cli"}, _NO_TERMINAL),
    "context_file": ({"cli"}, _NO_TERMINAL),
    "database_dir": ({"cli"}, _NO_TERMINAL),
    "database_settings": ({"coordinate", "cli"}, "a stage knows nothing of those that call it"),
    "execution": ({"coordinate", "cli"}, "a stage knows nothing of those that call it"),
    "growing_lines": ({"coordinate", "cli"}, "a stage knows nothing of those that call it"),
    "run_files": ({"coordinate", "cli"}, "a stage knows nothing of those that call it"),
    "service": ({"cli"}, _NO_TERMINAL),
    "signals": ({"cli"}, _NO_TERMINAL),
    "site": ({"coordinate", "cli"}, _NO_TERMINAL),
    "supervisor": (
        {"collect", "coordinate", "dispatch", "trigger", "cli"},
        "it has the service started, whatever that does",
    ),
    "values": ({"coordinate", "cli"}, "it reads values for those that ask"),
    "trigger": ({"coordinate", "cli"}, "a stage knows nothing of those that call it"),
    "dispatch": ({"coordinate", "cli"}, "a stage knows nothing of those that call it"),
    "collect": ({"coordinate", "cli"}, "a stage knows nothing of those that call it"),
    "coordinate": ({"cli"}, _NO_TERMINAL),
    "cli": ({"amore_ledger", "amore_results"}, "the command line shows what the other modules give it"),
}

_RUN_FILES = "a thin command around one function of the crate; nothing in between would have anything to do"

#: (File, what it uses) -> why it may, though the rules above say that it may not.
EXCEPTIONS = {
    ("cli/export.rs", "amore_results"): _RUN_FILES,
    ("cli/verify.rs", "amore_results"): _RUN_FILES,
}

#: Files of crates that do I/O elsewhere, which hold rules only. (`clippy.toml` says the same for the crates in PURE.)
PURE_FILES = [
    "crates/kafka/src/triggers.rs",
    "crates/kafka/src/updates.rs",
    "worker/src/task_progress.rs",
]
#: What such a file has no business with: clock, chance, and whatever is outside of the process.
IMPURE = re.compile(
    r"\b(?:std::(?:env|fs|io|net|os|process|thread)|(?:Instant|SystemTime)::now|tokio|nix|tempfile|getrandom|rand)\b"
)

#: Function (with those whose names begin with it) -> the only files that may call it, and why.
ONLY_AT = {
    "Command::new": (
        {
            "orchestrator/src/cli/doctor/programs.rs",
            "orchestrator/src/cli/elsewhere.rs",
            "orchestrator/src/dispatch/local.rs",
            "orchestrator/src/dispatch/submission.rs",
            "orchestrator/src/supervisor/programs.rs",
            "orchestrator/src/values/ask.rs",
            "crates/slurm-client/src/command.rs",
            "worker/src/command.rs",
            "worker/src/guard.rs",
            "worker/src/hosts.rs",
            "worker/src/sandboxed.rs",
        },
        "these start other programs, with the environment and the limits that those need",
    ),
    "process::id": (
        {
            "crates/run-table/src/holders.rs",
            "crates/run-table/src/migrate.rs",
            "orchestrator/src/coordinate/hand_over.rs",
            "orchestrator/src/coordinate/owner.rs",
            "orchestrator/src/coordinate/setup.rs",
            "orchestrator/src/supervisor/files.rs",
            "worker/src/command.rs",
        },
        "a process's number tells it from others on one host only, and only while it lives",
    ),
    "env::var": (
        {
            "context/src/lib.rs",
            "orchestrator/src/cli/doctor/slurm.rs",
            "orchestrator/src/cli/elsewhere.rs",
            "orchestrator/src/coordinate/ledger_place.rs",
            "orchestrator/src/coordinate/owner.rs",
            "orchestrator/src/coordinate/setup.rs",
            "orchestrator/src/dispatch/local.rs",
            "orchestrator/src/dispatch/submission.rs",
            "orchestrator/src/execution.rs",
            "orchestrator/src/service/kafka/settings.rs",
            "orchestrator/src/service/log.rs",
            "orchestrator/src/service/notify.rs",
            "orchestrator/src/supervisor/files.rs",
            "orchestrator/src/supervisor/programs.rs",
            "crates/slurm-client/src/command.rs",
            "crates/slurm-client/src/environment.rs",
            "crates/slurm-client/src/site_file.rs",
            "crates/slurm-client/src/template.rs",
            "orchestrator/src/site.rs",
            "worker/src/command.rs",
            "worker/src/fragments.rs",
            "worker/src/hosts.rs",
            "worker/src/in_job.rs",
            "worker/src/job.rs",
            "worker/src/sandboxed.rs",
            "worker/src/slurm_environment.rs",
        },
        "read it where the program starts, and pass the value on",
    ),
}

#: What lives as long as the process, whoever uses it.
STATIC = re.compile(r"\bstatic\s+(?:mut\s+)?[A-Z_0-9]+\s*:|\bthread_local!|\b(?:LazyLock|OnceLock|OnceCell|LazyCell)\b")

#: File -> why it may have some. Others are given their state by their caller.
STATICS = {
    "crates/model/src/planted.rs": "which planted fault is on, in builds with the feature planted-faults only",
    "crates/results/src/compress.rs": "buffers of a thread, which hold nothing between two calls",
    "crates/slurm/src/refused.rs": "a table that is part of the program, parsed when it is first needed",
}


def crates() -> Iterator[str]:
    """Forbidden dependencies between crates."""
    answer = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"],
        check=True,
        capture_output=True,
        cwd=REPOSITORY,
    )
    for package in json.loads(answer.stdout)["packages"]:
        name = package["name"]
        if name not in OURS:
            yield f"{name}: not in the list of {sys.argv[0]}; add what it may depend on"
            continue
        for dependency in package["dependencies"]:
            if dependency["kind"] == "dev":
                continue
            other = dependency["name"]
            if other.startswith("amore") and other not in OURS[name]:
                yield f"{name} must not depend on {other}"
            if other in ONLY_IN and name not in ONLY_IN[other][0]:
                yield f"{name} must not depend on {other}: {ONLY_IN[other][1]}"
            if name in PURE and not other.startswith("amore") and other not in HARMLESS:
                yield f"{name} is pure and must not depend on {other}"
            if name in PURE and other in BARE and (dependency["uses_default_features"] or dependency["features"]):
                yield f"{name} is pure and must use {other} without features: {BARE[other]}"


def source(file: Path) -> str:
    """The source without comments: links to other modules in them are not dependencies."""
    return re.sub(r"//[^\n]*", "", file.read_text())


def without_tests(text: str) -> str:
    """The source without the tests at its end, which may use more than the code they test."""
    return text.partition("#[cfg(test)]\nmod ")[0]


def expanded(tree: str) -> Iterator[str]:
    """The paths of a `use` declaration: `a::{b, c::d}` is `a::b` and `a::c::d`."""
    before, brace, rest = tree.partition("{")
    if not brace:
        yield tree.strip().partition(" as ")[0]
        return
    depth, start = 0, 0
    inside = rest[: rest.rindex("}")]
    for place, letter in enumerate(inside + ","):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            if part := inside[start:place].strip():
                yield from (before.strip() + path for path in expanded(part))
            start = place + 1


def module_of(file: Path) -> list[str]:
    """`cli/doctor/slurm.rs` is cli::doctor::slurm."""
    parts = list(file.relative_to(ORCHESTRATOR).with_suffix("").parts)
    return parts[:-1] if parts[-1] in ("mod", "main") else parts


def used(file: Path) -> set[str]:
    """The orchestrator's top modules and our crates that a file uses."""
    text = source(file)
    declarations = re.compile(r"^\s*(?:pub(?:\([^)]*\))?\s+)?use\s+([\w:{},*\s]+);", re.MULTILINE)
    paths = [path for tree in declarations.findall(text) for path in expanded(re.sub(r"\s+", " ", tree))]
    # Paths within expressions and types.
    paths += re.findall(r"\b(?:crate|super|amore_\w+)(?:::\w+)+", declarations.sub("", text))
    found = set()
    for path in paths:
        words = [word.strip() for word in path.split("::")]
        if words[0] in ("self", "super"):
            # A test module within the file is one level deeper: its `super` is treated like that of the file, which is above it.
            here = module_of(file)
            while words and words[0] in ("self", "super"):
                here = here[:-1] if words[0] == "super" else here
                words = words[1:]
            words = ["crate", *here, *words]
        found.add(words[1] if words[0] == "crate" and len(words) > 1 else words[0])
    return found


def modules() -> Iterator[str]:
    """Forbidden dependencies between modules, and exceptions that are not needed."""
    needed = set()
    there = {file.stem for file in ORCHESTRATOR.iterdir()} - {"main"}
    yield from (f"orchestrator/src/{name}: no rule says what it may use; add it to MODULES" for name in there - set(MODULES))
    for name, (forbidden, why) in MODULES.items():
        files = [*(ORCHESTRATOR / name).rglob("*.rs"), *ORCHESTRATOR.glob(f"{name}.rs")]
        if not files:
            yield f"orchestrator/src/{name}: there is no such module; correct the rules of {sys.argv[0]}"
        for file in sorted(files):
            inside = str(file.relative_to(ORCHESTRATOR))
            for other in sorted(used(file) & forbidden):
                if (inside, other) in EXCEPTIONS:
                    needed.add((inside, other))
                else:
                    yield f"orchestrator/src/{inside} must not use {other}: {why}"
    for inside, other in sorted(set(EXCEPTIONS) - needed):
        yield f"orchestrator/src/{inside} does not use {other} any more: remove the exception from {sys.argv[0]}"


def rules() -> Iterator[str]:
    """Pure crates without clippy's list of forbidden calls, and forbidden calls in pure files of other crates."""
    lists = {f"{folder}/clippy.toml": REPOSITORY / folder / "clippy.toml" for folder in sorted(PURE.values())}
    texts = {name: file.read_text() if file.exists() else "" for name, file in lists.items()}
    for name, text in texts.items():
        if text != max(texts.values(), key=len):
            yield f"{name} is not the same as those of the other pure crates ({', '.join(texts)}): copy it"
    for crate in sorted(set(PURE) - set(HASHED)):
        for file in sorted((REPOSITORY / PURE[crate] / "src").rglob("*.rs")):
            if re.search(r"\bHash(?:Map|Set)\b", without_tests(source(file))):
                yield f"{file.relative_to(REPOSITORY)}: the order of a hash map is random; use a BTreeMap"
    for name in PURE_FILES:
        file = REPOSITORY / name
        if not file.exists():
            yield f"{name}: there is no such file; correct PURE_FILES of {sys.argv[0]}"
            continue
        for call in sorted(set(IMPURE.findall(without_tests(source(file))))):
            yield f"{name} holds rules only and must not use {call}: pass the value as an argument"


def edges() -> Iterator[str]:
    """Calls outside of the files that may make them, and files that no longer make them."""
    sources = [
        file
        for folder in ("context/src", "crates", "orchestrator/src", "worker/src")
        for file in (REPOSITORY / folder).rglob("*.rs")
        if not {"tests", "examples", "benches"} & set(file.relative_to(REPOSITORY).parts)
    ]
    texts = {str(file.relative_to(REPOSITORY)): without_tests(source(file)) for file in sorted(sources)}
    for call, (allowed, why) in ONLY_AT.items():
        found = {name for name, text in texts.items() if re.search(rf"\b{call}\w*\(", text)}
        yield from (f"{name} must not call {call}: {why}" for name in sorted(found - allowed))
        for name in sorted(allowed - found):
            yield f"{name} does not call {call} any more: remove it from the list in {sys.argv[0]}"
    found = {name for name, text in texts.items() if STATIC.search(text)}
    yield from (f"{name} must have no static: pass the value on" for name in sorted(found - STATICS.keys()))
    for name in sorted(STATICS.keys() - found):
        yield f"{name} has no static any more: remove it from the list in {sys.argv[0]}"


def main() -> int:
    """Checks the workspace."""
    wrong = [*crates(), *modules(), *rules(), *edges()]
    print("\n".join(wrong) if wrong else "directions between crates and modules: as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
