#!/usr/bin/env bash
# run.sh PREFIX [PYTEST-ARGUMENT…]: brings a real Slurm up, runs the tests of this directory on it, takes it down.
# PREFIX is a tree of `make install`; PYTEST (a Python with pytest) and SUITE (bookworm) come from the environment.
# With Docker the cluster is in containers; without, from Debian's packages on this machine, as root. Where neither is
# possible the tests are skipped, and it says so; with CI=true that is a failure. KEEP=1 leaves the cluster up; AGAIN=1 gives
# a single test that fails a second try.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
AMORE_INSTALL_DIR=$(cd "${1:?run.sh PREFIX}" && pwd)
export AMORE_INSTALL_DIR
shift
export SUITE=${SUITE:-bookworm}
say() { printf 'slurm-test: %s\n' "$*" >&2; }

has_docker() {
    docker info >/dev/null 2>&1 && { docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }
}

site=${AMORE_SLURM_SITE:-}
if [ -z "$site" ]; then
    if has_docker; then site=compose
    elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then site=host
    elif [ "${CI:-}" = true ]; then
        say "there is neither Docker with Compose nor root on a Debian: a change must be tested on a real Slurm"
        exit 1
    else
        say "SKIPPED: there is neither Docker with Compose nor root on a Debian, so there is no real Slurm to test on"
        exit 0
    fi
fi
export AMORE_SLURM_SITE=$site
case $site in
    compose)
        up() { "$here/cluster/up.sh" "$SUITE"; }
        down() { "$here/cluster/down.sh" "$SUITE"; }
        ;;
    host)
        export AMORE_SLURM_HOST_DIR=${AMORE_SLURM_HOST_DIR:-/tmp/amore-slurm}
        export NETNS=${NETNS:-1}
        up() { "$here/host/up.sh" "$AMORE_SLURM_HOST_DIR"; }
        down() { "$here/host/down.sh" "$AMORE_SLURM_HOST_DIR"; }
        ;;
    *)
        say "AMORE_SLURM_SITE is '$site'; there are compose and host"
        exit 2
        ;;
esac
[ "${KEEP:-0}" = 1 ] || trap down EXIT
up
pytest() { "${PYTEST:-python3}" -m pytest "$here" "$@"; }
if [ "${AGAIN:-0}" != 1 ]; then
    pytest "$@"
    exit
fi
# With AGAIN=1 a single test that fails is given a second try, on a new cluster, and is named: such a test shows a race, in
# the product or in itself, and wants to be mended; it must not keep a change waiting that has nothing to do with it.
list=$(mktemp)
if pytest "$@" -rfE | tee "$list"; then
    exit
fi
failed=$(grep -E '^(FAILED|ERROR) ' "$list" || true)
rm -f "$list"
if [ "$(printf '%s\n' "$failed" | grep -c .)" != 1 ]; then
    exit 1
fi
say "once more, on a new cluster: $failed"
down
up
pytest "$@" --last-failed --last-failed-no-failures none
say "FLAKY: it passed the second time, and is to be mended: $failed"
