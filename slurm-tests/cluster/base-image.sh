#!/usr/bin/env bash
# base-image.sh SUITE: prints the name of an image of Debian SUITE to build upon.
# That is debian:SUITE-slim where it is there or can be pulled. Where nothing can be pulled, one is made from Debian's
# packages with debootstrap (as root, half a minute, once) and gets a name of its own.
set -euo pipefail
suite=${1:?base-image.sh SUITE}
public=debian:$suite-slim
own=amore-base:$suite

say() { printf 'cluster: %s\n' "$*" >&2; }

# Several test suites may ask for it at the same time.
exec 9> "${TMPDIR:-/tmp}/amore-base-$suite.$(id -u).lock"
flock 9

for image in "$own" "$public"; do
    if docker image inspect "$image" >/dev/null 2>&1; then
        echo "$image"
        exit 0
    fi
done
say "pulling $public"
if timeout "${PULL_SECONDS:-60}" docker pull -q "$public" >&2 2>/dev/null; then
    echo "$public"
    exit 0
fi
[ "$(id -u)" = 0 ] || { say "it cannot be pulled, and making it here needs root"; exit 1; }
if ! command -v debootstrap >/dev/null; then
    say "installing debootstrap from Debian's packages"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
fi
say "it cannot be pulled: making $own with debootstrap"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# DEBIAN_MIRROR: another than debootstrap's own.
debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} \
    >"$root.log" 2>&1 || { tail -5 "$root.log" >&2; exit 1; }
rm -f "$root.log"
# What this machine trusts, the image trusts: pip inside fails behind a site's own proxy otherwise.
cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
chroot "$root" update-ca-certificates >/dev/null 2>&1
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/usr/share/{doc,man,info}/* "$root"/var/log/*
find "$root/usr/share/locale" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
tar -C "$root" -c . | docker import - "$own" >/dev/null
echo "$own"
