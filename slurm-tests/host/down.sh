#!/usr/bin/env bash
# down.sh DIR: stops what up.sh started below DIR. WIPE=1 also removes DIR. Packages and users stay.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(cd "${1:?down.sh DIR}" && pwd)
[ -e "$dir/site.env" ] || { echo "host cluster: up.sh was not in $dir" >&2; exit 1; }
export SLURM_CONF=$dir/etc/slurm.conf
part() { "$here/control.sh" "$dir" "$@" || true; }
for name in slurmctld slurmdbd db; do part unpause $name 2>/dev/null; done
# Jobs outlive slurmd: cancel them while there is someone to do it.
timeout 5 squeue -h -o %A 2>/dev/null | sort -u | xargs -r timeout 10 scancel 2>/dev/null || true
for _ in $(seq 40); do
    [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break
    sleep 0.1
done
for name in n1 n2 n3; do part stop $name & done
wait
for name in slurmctld slurmdbd db postgres munge; do part stop $name; done
# What is left of jobs: step daemons, and processes that linuxproc lost sight of.
for process in /proc/[0-9]*; do
    grep -qzxF "SLURM_CONF=$SLURM_CONF" "$process/environ" 2>/dev/null || continue
    pid=${process#/proc/}
    case $(readlink "$process/exe" 2>/dev/null) in
        */slurmstepd*) kill -KILL "$pid" 2>/dev/null || true ;;
        *) if grep -qz '^SLURM_JOB_ID=' "$process/environ" 2>/dev/null; then kill -KILL "$pid" 2>/dev/null || true; fi ;;
    esac
done
for namespace in $(ip netns list 2>/dev/null | awk '/^amore-n/ {print $1}'); do ip netns del "$namespace"; done
if ip link show amorebr0 >/dev/null 2>&1; then ip link del amorebr0; fi
[ "$(readlink /etc/slurm/slurm.conf 2>/dev/null)" != "$SLURM_CONF" ] || rm -f /etc/slurm/slurm.conf
[ "${WIPE:-0}" = 0 ] || rm -rf "$dir"
echo "host cluster: $dir is down" >&2
