# Sourced by up.sh and down.sh: which cluster is meant, and Compose v1 or v2.
suite=${1:-${SUITE:-bookworm}}
case $suite in
    bookworm) net=10.77.22 ;; # Slurm 22.05
    trixie) net=10.77.24 ;;   # Slurm 24.11
    sid) net=10.77.26 ;;      # Slurm 26.05
    *)
        echo "cluster: no suite '$suite' (bookworm, trixie, sid)" >&2
        exit 2
        ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export SUITE=$suite
export COMPOSE_PROJECT_NAME=${AMORE_CLUSTER_PROJECT:-amore-$suite}
export AMORE_CLUSTER_NET=${AMORE_CLUSTER_NET:-$net}
export AMORE_INSTALL_DIR=${AMORE_INSTALL_DIR:-$root/target/cluster/amore}

say() { printf 'cluster: %s\n' "$*" >&2; }

if docker compose version >/dev/null 2>&1; then
    compose() { docker compose -f "$root/docker-compose.yml" "$@"; }
elif command -v docker-compose >/dev/null; then
    compose() { docker-compose -f "$root/docker-compose.yml" "$@"; }
else
    say "there is neither 'docker compose' nor docker-compose"
    exit 1
fi
