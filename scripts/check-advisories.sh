#!/usr/bin/env bash
# Compares Cargo.lock with RustSec's database of advisories (cargo deny check advisories).
# The database is a git repository (RustSec/advisory-db); no package registry has a copy. If it cannot be fetched, a
# clone below CARGO_HOME/advisory-dbs is used (made elsewhere by `cargo deny fetch db`, and copied), and this script prints
# its date. If there is none, the check is skipped with a message.
set -euo pipefail
cd "$(dirname "$0")/.."
databases=${CARGO_HOME:-$HOME/.cargo}/advisory-dbs
say() { printf 'advisories: %s\n' "$*" >&2; }
# The database was fetched above or is not available; the sources of all crates are needed too, and are fetched first.
check() {
    cargo fetch -q --locked
    cargo deny --locked --offline check advisories
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A fetch that hangs must not hold up the other checks.
if timeout 120 cargo deny --locked fetch db >"$log" 2>&1; then
    check
    exit
fi
why=$(grep -iE 'error|failed' "$log" | tail -n 1 | sed 's/^.*\[ERROR\] //' || true)
why=${why:-no answer within two minutes}
if compgen -G "$databases/*/crates" >/dev/null; then
    day=$(for copy in "$databases"/*/; do git -C "$copy" log -1 --format=%cs; done | sort | head -n 1)
    say "the database cannot be fetched ($why); using the copy of ${day:-an unknown day} in $databases"
    check
    exit
fi
say "SKIPPED, nothing was checked: the database cannot be fetched ($why), and there is no copy in $databases"
