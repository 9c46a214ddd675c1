"""A sandbox that only checks how it is called, and records its calls."""

# Format it with the file of its calls.
SANDBOX = """#!/bin/sh
if [ "$1" = --fork ]; then fork=yes; shift; fi
if [ "$1" != 1234 ] || [ "$2" != -- ]; then echo "not the contract: $*" >&2; exit 64; fi
shift 2
printf '%s\\n' "$*" >> {calls}
export SANDBOXED=yes
if [ -z "$fork" ]; then exec "$@"; fi
"$@"
"""
