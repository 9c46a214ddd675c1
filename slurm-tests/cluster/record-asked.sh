#!/usr/bin/env bash
# record-asked.sh [SUITE]: what Amore asks of Slurm, exactly as it asks (crates/slurm, crates/slurm-client), and what is
# answered: with jobs in some states, and with daemons that are dead or hang. Written beside what record.sh writes, into
# slurm-tests/recorded/VERSION-compose/asked/. The cluster must be up and idle; it takes about five minutes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
login=$(compose ps -q login)
version=$(docker exec "$login" sinfo --version | sed -E 's/.* ([0-9]+\.[0-9]+).*/\1/')
out=$root/slurm-tests/recorded/$version-compose/asked
say "recording what Amore asks of Slurm $version into $out"
rm -rf "$out" && mkdir -p "$out"
answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT

# as_amore COMMAND…: as alice, with the environment that Amore gives.
as_amore() {
    local given=(PATH=/usr/bin:/bin HOME=/gpfs/home/alice USER=alice LOGNAME=alice SHELL=/bin/bash)
    [ "$1" = sbatch ] || given+=(SLURM_TIME_FORMAT=%s TZ=UTC)
    docker exec -i -u alice -w /gpfs/home/alice "$login" env -i "${given[@]}" "$@"
}
# record FILE COMMAND…: a script is on standard input, or nothing.
record() {
    local file=$out/$1.txt code=0
    shift
    as_amore "$@" >"$answers/stdout" 2>"$answers/stderr" || code=$?
    { echo "# alice\$ ${*@Q}"; echo "# code $code"; cat "$answers/stdout"; echo '# stderr'; cat "$answers/stderr"; } >"$file"
}
sbatch=(sbatch --parsable --export=ALL --open-mode=append --no-requeue --job-name=r1-p1234-damnit
    --chdir=/gpfs/home/alice --output=/gpfs/home/alice/r1-p1234-%j.out --time=5 --nodes=1 --ntasks=1)
submit() { as_amore "${sbatch[@]}" "$@"; }
wait_for() { # STATE JOB
    for _ in $(seq 100); do
        [ "$(as_amore squeue -a -h -t all -o %T -j "$2" </dev/null)" != "$1" ] || return 0
        sleep 0.2
    done
    say "job $2 is not $1"
}

alice=$(docker exec "$login" id -u alice)
queue() { record "$1" squeue -h -a -r -t all -u "$alice" -o '%i|%T|%N|%P|%v|%k|%r' </dev/null; }
accounting() {
    record "$1" sacct -X -n -P -j "$2" -o JobID,State,ExitCode,NodeList,Partition,Reservation,Reason,SubmitLine </dev/null
}

docker exec "$login" scontrol create reservation ReservationName=asked Users=alice StartTime=now Duration=30 Nodes=n3 >/dev/null
completed=$(submit --comment=amore:0123abcd <<<$'#!/bin/sh\ntrue')
failed=$(submit --comment=amore:0123abce <<<$'#!/bin/sh\nexit 42')
killed=$(submit --comment=amore:0123abcf <<<$'#!/bin/sh\nkill -9 $$')
launch=$(submit --output=/gpfs/nowhere/%j.out <<<$'#!/bin/sh\ntrue')
running=$(submit --comment=amore:0123abd0 --reservation=asked <<<$'#!/bin/sh\nsleep 300')
cancelled=$(submit <<<$'#!/bin/sh\nsleep 300')
waiting=$(submit --partition=down <<<$'#!/bin/sh\ntrue')
taken_back=$(submit --partition=down <<<$'#!/bin/sh\ntrue')
wait_for COMPLETED "$completed"; wait_for FAILED "$failed"; wait_for FAILED "$killed"; wait_for FAILED "$launch"
wait_for RUNNING "$running"; wait_for RUNNING "$cancelled"
record scancel scancel "$cancelled" </dev/null
as_amore scancel "$taken_back" </dev/null
wait_for CANCELLED "$cancelled"; wait_for CANCELLED "$taken_back"
sleep 5

queue squeue
record squeue-exit-codes squeue -h -a -r -t all -u "$alice" -O 'JobArrayID:|,exit_code:|' </dev/null
record squeue-tokens squeue -h -a -r -t all -u "$alice" -o '%i|%k' </dev/null
record squeue-token-of-job squeue -h -a -t all -j "$running" -o %k </dev/null
record squeue-state-of-job squeue -h -a -t all -j "$running" -o '%i|%T' </dev/null
record squeue-names squeue -h -a -r -t all -u "$alice" -o '%i|%j|%k' </dev/null
record scontrol-show-one-job scontrol -o show job "$running" </dev/null
record scontrol-script-of-job scontrol write batch_script "$running" - </dev/null
accounting sacct "$completed,$failed,$killed,$launch,$running,$cancelled,$waiting,$taken_back"
record sacct-tokens sacct -X -n -P -u "$alice" -S now-2days -o JobID,SubmitLine </dev/null
record scontrol-show-partition scontrol -a show partition -o </dev/null
record scontrol-show-reservation scontrol show reservation -o </dev/null
record sinfo sinfo -h -a -o '%P|%a|%l|%D|%T|%c|%m|%G' </dev/null
record sacctmgr-show-assoc sacctmgr -nP show assoc user=alice \
    format=cluster,account,user,partition,qos,defaultqos,maxjobs,maxsubmit,maxwall,grpjobs </dev/null
record sacctmgr-show-user sacctmgr -nP show user alice format=user,defaultaccount </dev/null
record sacctmgr-show-parents sacctmgr -nP show assoc user= format=cluster,account,user,parentname </dev/null

# All that asks the controller, while it does not answer.
silence() {
    record "$1/sbatch" "${sbatch[@]}" <<<$'#!/bin/sh\ntrue'
    queue "$1/squeue"
    record "$1/scancel" scancel "$waiting" </dev/null
    record "$1/scontrol-ping" scontrol ping </dev/null
    record "$1/scontrol-show-config" scontrol show config </dev/null
    record "$1/scontrol-show-partition" scontrol -a show partition -o </dev/null
    record "$1/scontrol-show-reservation" scontrol show reservation -o </dev/null
    record "$1/sinfo" sinfo -h -a -o '%P|%a|%l|%D|%T|%c|%m|%G' </dev/null
}
mkdir "$out/dead" "$out/hung" "$out/accounting-dead"
docker kill -s KILL "$(compose ps -q slurmctld)" >/dev/null
silence dead
docker start "$(compose ps -q -a slurmctld 2>/dev/null || compose ps -q slurmctld)" >/dev/null
for _ in $(seq 100); do as_amore scontrol ping </dev/null | grep -q ' is UP' && break; sleep 0.2; done
docker exec "$(compose ps -q slurmctld)" pkill -STOP slurmctld
silence hung
docker exec "$(compose ps -q slurmctld)" pkill -CONT slurmctld
docker kill -s KILL "$(compose ps -q slurmdbd)" >/dev/null
accounting accounting-dead/sacct "$completed"
record accounting-dead/sacctmgr-show-user sacctmgr -nP show user alice format=user,defaultaccount </dev/null
docker start "$(compose ps -q -a slurmdbd 2>/dev/null || compose ps -q slurmdbd)" >/dev/null

docker exec "$login" sh -c 'squeue -a -h -o %A | sort -u | xargs -r scancel; sleep 3; scontrol delete ReservationName=asked'
say "$(find "$out" -type f | wc -l) files"
