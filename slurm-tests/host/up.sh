#!/usr/bin/env bash
# up.sh DIR: the cluster of the tests without Docker, from Debian's packages, with all its files below DIR.
# As root. The same partitions, users and accounts as in containers; the three nodes are three slurmd on this machine.
# Environment: NETNS=1 gives each node a network of its own, which tests can cut; CGROUP=1 limits memory with cgroups;
# BASE_PORT (16900); AMORE_INSTALL_DIR (the tree of `make install`, copied to DIR/amore).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
started=$SECONDS
say() { printf 'host cluster: %s\n' "$*" >&2; }
[ "$(id -u)" = 0 ] || { say "this needs root"; exit 1; }
mkdir -p "${1:?up.sh DIR}"
dir=$(cd "$1" && pwd)
NETNS=${NETNS:-0}
CGROUP=${CGROUP:-0}
port=${BASE_PORT:-16900}
install_dir=${AMORE_INSTALL_DIR:-$root/target/cluster/amore}
address=127.0.0.1
[ "$NETNS" = 0 ] || address=10.78.0.1

if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    say "port $port is taken: another cluster is up (down.sh, or another BASE_PORT)"
    exit 1
fi

missing=()
wants() { command -v "$1" >/dev/null || missing+=("${@:2}"); }
wants slurmctld slurmctld slurm-wlm-basic-plugins
wants slurmd slurmd
wants slurmdbd slurmdbd slurm-wlm-mysql-plugin
wants sbatch slurm-client
wants munged munge
wants mariadbd mariadb-server-core
wants mariadb mariadb-client-core
wants ip iproute2
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing+=(postgresql postgresql-client)
/usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]} from Debian's packages"
    # Neither daemons that start by themselves nor a PostgreSQL cluster that nobody asked for.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod +x $policy
        trap 'rm -f $policy' EXIT
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
getent passwd mysql >/dev/null || useradd -r -d /nonexistent -s /usr/sbin/nologin mysql

mkdir -p "$dir"/{etc,log,run/postgres,state,spool,munge,db,postgres,gpfs/home,gpfs/exfel/exp}
chmod 755 "$dir" "$dir"/{etc,log,run,spool,gpfs,gpfs/home}
chmod 1777 "$dir/gpfs/exfel/exp"
chown slurm: "$dir"/{state,log,run}
chmod 1777 "$dir/log" "$dir/run"
chown munge: "$dir/munge"
chown mysql: "$dir/db"
chown postgres: "$dir/postgres" "$dir/run/postgres"
chmod 700 "$dir/postgres"
sh "$root/slurm-tests/cluster/users" "$dir/gpfs/home"
for user in alice bob carol; do install -d -o "$user" -g "$user" "$dir/gpfs/home/$user"; done
runuser -u alice -- test -x "$dir/gpfs" || { say "users cannot enter $dir: choose a directory that they can"; exit 1; }
[ -s "$dir/munge/key" ] || head -c 1024 /dev/urandom > "$dir/munge/key"
chown munge: "$dir/munge/key"
chmod 400 "$dir/munge/key"
printf '%s\n' "NETNS=$NETNS" "CONTROL_ADDRESS=$address" "POSTGRES_PORT=$((port + 3))" > "$dir/site.env"

if [ ! -x "$dir/env/bin/python" ] || ! "$dir/env/bin/python" -c 'import extra_data, yaml, requests' 2>/dev/null; then
    say "making the users' Python in $dir/env"
    rm -rf "$dir/env"
    /usr/bin/python3 -m venv "$dir/env"
    "$dir/env/bin/pip" install -q --disable-pip-version-check extra_data pyyaml requests
fi
rm -rf "$dir/amore"
if [ -x "$install_dir/bin/amore" ]; then cp -R "$install_dir" "$dir/amore"; else
    say "there is no amore in $install_dir: the cluster comes up without the product"
fi

cat > "$dir/etc/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
DbdHost=localhost
DbdPort=$((port + 1))
SlurmUser=slurm
LogFile=$dir/log/slurmdbd.log
PidFile=$dir/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct
CONF
chown slurm: "$dir/etc/slurmdbd.conf"
chmod 600 "$dir/etc/slurmdbd.conf"
host=$(hostname -s)
if [ "$CGROUP" = 1 ]; then
    tracking='ProctrackType=proctrack/cgroup TaskPlugin=task/cgroup JobAcctGatherType=jobacct_gather/cgroup'
else
    tracking='ProctrackType=proctrack/linuxproc TaskPlugin=task/none JobAcctGatherType=jobacct_gather/linux'
fi
cgroup=v1
[ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ] || cgroup=v2
{
    printf '%s\n' "CgroupPlugin=cgroup/$cgroup" ConstrainRAMSpace=yes ConstrainSwapSpace=yes
    [ $cgroup = v1 ] || echo IgnoreSystemd=yes
} > "$dir/etc/cgroup.conf"
cp "$root"/slurm-tests/cluster/conf/{cluster,partitions}.conf "$dir/etc/"
{
    cat <<CONF
ClusterName=lab
SlurmctldHost=$host($address)
SlurmctldPort=$port
SlurmUser=slurm
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge/socket
StateSaveLocation=$dir/state
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdPidFile=$dir/run/%n.pid
SlurmdLogFile=$dir/log/%n.log
SlurmdSpoolDir=$dir/spool/%n
SrunPortRange=$((port + 100))-$((port + 199))
AccountingStorageHost=$address
AccountingStoragePort=$((port + 1))
# Not a password: the socket of munge towards slurmdbd.
AccountingStoragePass=$dir/munge/socket
${tracking// /$'\n'}
include $dir/etc/cluster.conf

CONF
    for i in 1 2 3; do
        if [ "$NETNS" = 1 ]; then where="NodeHostname=n$i NodeAddr=10.78.0.$((10 + i))"; else where="NodeHostname=$host NodeAddr=127.0.0.1"; fi
        echo "NodeName=n$i $where Port=$((port + 10 + i)) CPUs=4 RealMemory=4000 State=UNKNOWN"
    done
    echo "include $dir/etc/partitions.conf"
} > "$dir/etc/slurm.conf"
# For who logs in without SLURM_CONF.
if [ ! -e /etc/slurm/slurm.conf ]; then
    mkdir -p /etc/slurm
    ln -sfn "$dir/etc/slurm.conf" /etc/slurm/slurm.conf
fi

if [ "$NETNS" = 1 ] && ! ip link show amorebr0 >/dev/null 2>&1; then
    ip link add amorebr0 type bridge
    ip addr add 10.78.0.1/24 dev amorebr0
    ip link set amorebr0 up
fi
part() { "$here/control.sh" "$dir" start "$1"; }
export SLURM_CONF=$dir/etc/slurm.conf
began=$SECONDS
part munge
part postgres
part db
part slurmdbd
if [ ! -e "$dir/state/accounts-made" ]; then
    sacctmgr -i add cluster lab >/dev/null || true
    sacctmgr -i add qos express set Priority=100 MaxWall=10 MaxJobsPerUser=2 MaxSubmitJobsPerUser=4 >/dev/null || true
    sacctmgr -i load "$root/slurm-tests/cluster/accounts.cfg" > "$dir/log/accounts.log" 2>&1 || { cat "$dir/log/accounts.log" >&2; exit 1; }
    touch "$dir/state/accounts-made"
fi
part slurmctld
for node in n1 n2 n3; do part $node; done
until [ "$(sinfo -h -N -p main -o %T | grep -c '^idle$')" = 3 ]; do
    [ $((SECONDS - began)) -lt 90 ] || { say "no three idle nodes after 90 s; see $dir/log"; exit 1; }
    sleep 0.1
done
say "three idle nodes after $((SECONDS - began)) s, $((SECONDS - started)) s with preparation ($(sinfo --version)): export SLURM_CONF=$SLURM_CONF"
