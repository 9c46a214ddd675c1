#!/usr/bin/env bash
# control.sh DIR start|stop|kill|pause|unpause NAME: one part of the cluster that up.sh made below DIR.
#   NAME: munge db slurmdbd slurmctld postgres n1 n2 n3
# control.sh DIR node-kill|cut|join NODE: everything on a node ends; its link is cut (NETNS=1) or joined.
set -euo pipefail
dir=$(cd "${1:?control.sh DIR ACTION NAME}" && pwd)
action=${2:?}
name=${3:?}
# shellcheck disable=SC1091
. "$dir/site.env"
export SLURM_CONF=$dir/etc/slurm.conf
pgbin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)

pid_of() {
    if [ "$name" = postgres ]; then head -1 "$dir/postgres/postmaster.pid" 2>/dev/null || true
    else cat "$dir/run/$name.pid" 2>/dev/null || true; fi
}
alive() { [ -n "${1:-}" ] && kill -0 "$1" 2>/dev/null; }

# until_works SECONDS COMMAND…
until_works() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { echo "control.sh: $name does not answer ($*); see $dir/log" >&2; exit 1; }
        sleep 0.1
    done
}

start_munge() {
    runuser -u munge -- munged --force --socket="$dir/munge/socket" --key-file="$dir/munge/key" \
        --log-file="$dir/munge/log" --pid-file="$dir/munge/pid" --seed-file="$dir/munge/seed" >>"$dir/log/munge.log" 2>&1
    until_works 10 munge -S "$dir/munge/socket" -n
    cp "$dir/munge/pid" "$dir/run/munge.pid"
}

start_db() {
    if [ ! -d "$dir/db/mysql" ]; then
        mariadb-install-db --no-defaults --user=mysql --datadir="$dir/db" --auth-root-authentication-method=socket \
            --skip-test-db >"$dir/log/db-install.log" 2>&1
    fi
    setsid mariadbd --no-defaults --user=mysql --datadir="$dir/db" --socket="$dir/run/db.socket" --skip-networking \
        --pid-file="$dir/db/pid" --innodb-buffer-pool-size=128M --innodb-lock-wait-timeout=900 --max-allowed-packet=16M \
        --innodb-flush-log-at-trx-commit=0 --loose-innodb-snapshot-isolation=OFF >>"$dir/log/db.log" 2>&1 </dev/null &
    echo $! > "$dir/run/db.pid"
    until_works 60 mariadb --no-defaults -S "$dir/run/db.socket" -e 'select 1'
    mariadb --no-defaults -S "$dir/run/db.socket" -e "create database if not exists slurm_acct;
        create user if not exists slurm@localhost identified by 'slurm'; grant all on slurm_acct.* to slurm@localhost"
}

start_postgres() {
    if [ ! -s "$dir/postgres/PG_VERSION" ]; then
        runuser -u postgres -- "$pgbin/initdb" -D "$dir/postgres" -E UTF8 --locale=C.UTF-8 --auth-local=trust \
            --auth-host=scram-sha-256 >"$dir/log/postgres-init.log"
        echo 'host all all 10.78.0.0/24 scram-sha-256' >> "$dir/postgres/pg_hba.conf"
        printf '%s\n' "create role amore login createdb password 'amore'" 'create database amore owner amore' |
            runuser -u postgres -- "$pgbin/postgres" --single -D "$dir/postgres" postgres >>"$dir/log/postgres-init.log" 2>&1
    fi
    # After a kill its children need a moment to notice.
    local options="-c listen_addresses=$CONTROL_ADDRESS -c port=$POSTGRES_PORT -k $dir/run/postgres -c max_connections=200"
    for _ in $(seq 50); do
        runuser -u postgres -- "$pgbin/pg_ctl" -D "$dir/postgres" -w -s -l "$dir/log/postgres.log" -o "$options" start \
            </dev/null >/dev/null 2>&1 && return
        sleep 0.2
    done
    tail -5 "$dir/log/postgres.log" >&2
    exit 1
}

start_node() {
    local number=${name#n}
    mkdir -p "$dir/spool/$name"
    if [ "$NETNS" = 0 ]; then
        slurmd -N "$name"
        return
    fi
    if [ ! -e "/run/netns/amore-$name" ]; then
        ip netns add "amore-$name"
        ip link add "amv-$name" type veth peer name eth0 netns "amore-$name"
        ip link set "amv-$name" master amorebr0 up
        ip -n "amore-$name" addr add "10.78.0.$((10 + number))/24" dev eth0
        ip -n "amore-$name" link set eth0 up
        ip -n "amore-$name" link set lo up
    fi
    # Not `ip netns exec`, which mounts another /sys: slurmd would not find its cgroups.
    nsenter --net="/run/netns/amore-$name" unshare --uts sh -c "hostname $name; exec slurmd -N $name"
}

start() {
    if alive "$(pid_of)"; then return; fi
    case $name in
        munge) start_munge ;;
        db) start_db ;;
        postgres) start_postgres ;;
        slurmdbd)
            rm -f "$dir/run/slurmdbd.pid"
            # How a client of MariaDB is told of a socket elsewhere.
            MYSQL_UNIX_PORT="$dir/run/db.socket" slurmdbd
            until_works 60 sacctmgr -n list cluster
            ;;
        slurmctld)
            rm -f "$dir/run/slurmctld.pid"
            # 26.05 does not start again if it was killed before its first complete save, which takes minutes.
            if [ -e "$dir/state/job_state" ] && [ ! -e "$dir/state/assoc_usage" ]; then slurmctld -i; else slurmctld; fi
            until_works 60 scontrol ping
            ;;
        n[1-3]) start_node ;;
        *) echo "control.sh: there is no $name" >&2; exit 2 ;;
    esac
}

stop() {
    local pid
    pid=$(pid_of)
    alive "$pid" || return 0
    # SIGINT: PostgreSQL does not wait for its clients then.
    if [ "$name" = postgres ]; then kill -INT "$pid"; else kill -TERM "$pid"; fi
    for _ in $(seq 200); do
        alive "$pid" || return 0
        sleep 0.1
    done
    kill -KILL "$pid"
}

# The processes of the jobs on a node, and the daemons above them.
on_node() {
    local process pid found
    for process in /proc/[0-9]*; do
        found=$({ tr '\0' '\n' < "$process/environ"; } 2>/dev/null | grep -cxF -e "SLURMD_NODENAME=$name" -e "SLURM_CONF=$SLURM_CONF") || true
        [ "${found:-0}" = 2 ] || continue
        pid=${process#/proc/}
        parent=$(awk '/^PPid:/ {print $2}' "$process/status" 2>/dev/null) || continue
        case $(readlink "/proc/$parent/exe") in */slurmstepd*) echo "$parent" ;; esac
        echo "$pid"
    done | sort -u
}

# A service with its children: PostgreSQL answers by them.
family() { pid_of; pgrep -P "$(pid_of)" || true; }

case $action in
    start) start ;;
    stop) stop ;;
    kill)
        case $name in
            # The jobs of a node are no children of its slurmd; what it is just starting may be.
            n[1-3]) kill -KILL "$(pid_of)" ;;
            *) family | xargs -r kill -KILL ;;
        esac
        while alive "$(pid_of)"; do sleep 0.05; done
        ;;
    pause) family | xargs -r kill -STOP ;;
    unpause) family | xargs -r kill -CONT ;;
    node-kill)
        kill -KILL "$(pid_of)"
        on_node | xargs -r kill -KILL 2>/dev/null || true
        ;;
    cut) ip link set "amv-$name" down ;;
    join) ip link set "amv-$name" up ;;
    *) echo "control.sh: what is '$action'?" >&2; exit 2 ;;
esac
