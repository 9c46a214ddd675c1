#!/usr/bin/env bash
# up.sh [SUITE]: a Slurm cluster of three nodes with accounting, PostgreSQL and a login node, in containers.
# SUITE is bookworm (Slurm 22.05, the default), trixie (24.11) or sid (26.05). What is missing is built, and said.
# Environment: AMORE_INSTALL_DIR (the tree of `make install`, mounted at /opt/amore), AMORE_CLUSTER_PROJECT (the name in
# Docker), AMORE_CLUSTER_NET (three numbers of a /24 network), REBUILD=1 (build the image again).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
started=$SECONDS
docker info >/dev/null 2>&1 || { say "no Docker engine answers"; exit 1; }
image=amore-slurm:$suite
here=$root/slurm-tests/cluster
sources=$(cd "$here" && cat Dockerfile users accounts.cfg entry | sha256sum | cut -c1-16)
# Two clusters may be started at the same time.
exec 8> "${TMPDIR:-/tmp}/amore-cluster-$suite.$(id -u).lock"
flock 8
built_from=$(docker image inspect -f '{{index .Config.Labels "amore.sources"}}' "$image" 2>/dev/null || true)
if [ "${REBUILD:-0}" = 1 ] || [ "$built_from" != "$sources" ]; then
    base=$("$here/base-image.sh" "$suite")
    say "building the image $image upon $base (a few minutes the first time)"
    log=$(mktemp)
    if ! docker build -t "$image" --label "amore.sources=$sources" --build-arg "BASE=$base" "$here" >"$log" 2>&1; then
        tail -30 "$log" >&2
        say "the build failed; all of its output is in $log"
        exit 1
    fi
    rm -f "$log"
    say "built after $((SECONDS - started)) s"
fi
exec 8>&-
if [ ! -x "$AMORE_INSTALL_DIR/bin/amore" ]; then
    say "there is no amore in $AMORE_INSTALL_DIR: the cluster comes up without the product"
    mkdir -p "$AMORE_INSTALL_DIR"
fi
say "starting $COMPOSE_PROJECT_NAME"
began=$SECONDS
compose up -d --no-build >/dev/null 2>&1 || compose up -d --no-build
login=$(compose ps -q login)
idle() { docker exec "$login" timeout 5 sinfo -h -N -p main -o %T 2>/dev/null | grep -c '^idle$' || true; }
ledger() { docker exec -e PGPASSWORD=amore "$login" timeout 5 psql -h postgres -U amore -c 'select 1' amore >/dev/null 2>&1; }
until [ "$(idle)" = 3 ] && ledger; do
    dead=$(docker ps -aq --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter status=exited)
    if [ -n "$dead" ] || [ $((SECONDS - began)) -gt "${UP_SECONDS:-120}" ]; then
        compose ps >&2
        for id in ${dead:-$(compose ps -q)}; do docker logs --tail=15 "$id" >&2; done
        say "no three idle nodes and PostgreSQL after $((SECONDS - began)) s"
        exit 1
    fi
    sleep 0.2
done
if [ -e "$AMORE_INSTALL_DIR/bin/amore" ] && ! docker exec "$login" /opt/amore/bin/amore --version >/dev/null; then
    say "the amore of $AMORE_INSTALL_DIR does not run in this image (it was built with a newer C library?)"
    exit 1
fi
say "three idle nodes after $((SECONDS - began)) s ($(docker exec "$login" sinfo --version)); stop it with slurm-tests/cluster/down.sh $suite"
