#!/usr/bin/env bash
# record.sh [SUITE]: writes what the commands of a real Slurm print, with jobs in many states, into
# slurm-tests/recorded/VERSION-compose/. The cluster must be up, best a fresh one; it takes about two minutes.
# What Amore asks, exactly as it asks, is recorded by record-asked.sh afterwards.
# A file begins with the command, its user and its exit code; then come standard output and error.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
login=$(compose ps -q login)
version=$(docker exec "$login" sinfo --version | sed -E 's/.* ([0-9]+\.[0-9]+).*/\1/')
out=$root/slurm-tests/recorded/$version-compose
say "recording Slurm $version into $out"
docker exec -i "$login" bash -s <<'INSIDE'
set -uo pipefail
cd /gpfs
rm -rf /gpfs/recorded && mkdir -p /gpfs/recorded/sbatch
out=/gpfs/recorded

as() { local user=$1; shift; runuser -u "$user" -- env -C "/gpfs/home/$user" "$@"; }

# record FILE USER COMMAND…
record() {
    local file=$out/$1.txt user=$2 code=0
    shift 2
    as "$user" "$@" >/tmp/stdout 2>/tmp/stderr || code=$?
    { echo "# $user\$ ${*@Q}"; echo "# code $code"; cat /tmp/stdout; echo '# stderr'; cat /tmp/stderr; } > "$file"
}
# sbatch as SLURM's manual says: the number of the job, nothing if refused.
submit() { local user=$1; shift; as "$user" sbatch --parsable "$@" 2>/dev/null; }
install -d -o root -g root /root; mkdir -p /gpfs/home/root
wait_for() { # SECONDS STATE JOB
    for _ in $(seq $(($1 * 5))); do [ "$(squeue -a -h -t all -o %T -j "$3" 2>/dev/null | head -1)" = "$2" ] && return; sleep 0.2; done
    echo "record: job $3 is not $2" >&2
}

record scontrol-show-reservation-none root scontrol show reservation -o
# What needs time comes first: a job over its time limit, and a reservation that ends with a job waiting for it.
scontrol create reservation ReservationName=going Users=alice StartTime=now Duration=1 Nodes=n2 CoreCnt=1 >/dev/null
going=$(submit alice -J of-ended-reservation --reservation=going --begin=now+1hour --wrap true)
timeout=$(submit alice -p short -t 1 -J timeout -w n3 --wrap 'sleep 300')
completed=$(submit alice -J completed --comment=amore:0123abcd --wrap 'echo hello')
failed=$(submit bob -J failed --wrap 'exit 42')
killed=$(submit bob -J killed-itself --wrap 'kill -9 $$')
launch=$(submit alice -J no-directory -o /gpfs/nowhere/%j.out --wrap true)
oom=$(submit alice -J oom --mem=60 --wrap "exec python3 -c 'x = bytearray(300_000_000)'")
cancelled=$(submit carol -J cancelled --wrap 'sleep 300')
wait_for 20 RUNNING "$cancelled" && as carol scancel "$cancelled"
by_root=$(submit carol -J cancelled-by-root --wrap 'sleep 300')
wait_for 20 RUNNING "$by_root" && scancel "$by_root"
for job in $completed; do wait_for 20 COMPLETED "$job"; done
for job in $failed $killed $launch; do wait_for 20 FAILED "$job"; done
wait_for 30 OUT_OF_MEMORY "$oom"

scontrol create reservation ReservationName=active Users=alice,carol StartTime=now Duration=30 Nodes=n3 Flags=IGNORE_JOBS >/dev/null
scontrol create reservation ReservationName=later Accounts=physics StartTime=now+2hours Duration=60 Nodes=n1,n2 >/dev/null
submit alice -J in-reservation --reservation=active --wrap 'sleep 300' >/dev/null
submit alice -J before-reservation -A physics --reservation=later --wrap 'sleep 300' >/dev/null
submit alice -J big-in-reservation --reservation=active -c4 --wrap 'sleep 300' >/dev/null

preempted=$(submit alice -J preempted -p low --no-requeue -w n1 -c3 --wrap 'sleep 300')
wait_for 20 RUNNING "$preempted"
requeued=$(submit alice -J preempted-requeued -p low --requeue -w n2 -c3 --wrap 'sleep 300')
wait_for 20 RUNNING "$requeued"
high=$(submit carol -J preempts -p high -w n1 -c4 -t 60 --wrap 'sleep 300')
wait_for 20 PREEMPTED "$preempted"
high2=$(submit carol -J preempts -p high -w n2 -c1 -t 60 --wrap 'sleep 300')
high3=$(submit carol -J preempts -p high -w n2 -c2 -t 60 --comment='with a | bar' --wrap 'sleep 300')
wait_for 20 RUNNING "$high2"; wait_for 20 RUNNING "$high3"

array=$(submit alice -J array --array=0-5%1 -t 30 --wrap 'sleep $((1 + SLURM_ARRAY_TASK_ID * 300))')
done_array=$(submit bob -J small-array --array=1,3 -t 5 --wrap 'true')
submit alice -J 'name with "quotes" and | bar' -t 30 -c2 --wrap 'sleep 300' >/dev/null
submit alice -J waits-for-resources -N2 -c4 -t 30 --wrap 'sleep 300' >/dev/null
held=$(submit bob -J held -H --wrap 'true')
submit bob -J after-held -d "afterok:$held" --wrap 'true' >/dev/null
submit bob -J after-failed -d "afterok:$failed" --wrap 'true' >/dev/null
submit bob -J begins-later --begin=now+2hours --wrap 'true' >/dev/null
submit bob -J partition-down -p down --wrap 'true' >/dev/null
submit bob -J wrong-account -p acctonly --wrap 'true' >/dev/null
submit bob -J wrong-group -p grponly --wrap 'true' >/dev/null
submit alice -J too-long -p short -t 30 --wrap 'true' >/dev/null
submit alice -J too-many-nodes -N 5 --wrap 'true' >/dev/null
submit alice -J express -q express -t 5 --wrap 'sleep 300' >/dev/null
running=$(submit carol -J runs -A physics -p high -t 45 --comment=amore:89abcdef --wrap 'sleep 300')
sleep 4

record squeue root squeue -h -r -t all -o '%i|%F|%K|%A|%T|%j|%u|%P|%v|%k|%V|%S|%e|%l|%L|%N|%r'
record squeue-arrays root squeue -h -t all -o '%i|%F|%K|%A|%T|%j|%u|%P|%v|%k|%V|%S|%e|%l|%L|%N|%r'
record squeue-as-bob bob squeue -h -r -t all -o '%i|%F|%K|%A|%T|%j|%u|%P|%v|%k|%V|%S|%e|%l|%L|%N|%r'
record squeue-all-as-bob bob squeue -a -h -r -t all -o '%i|%F|%K|%A|%T|%j|%u|%P|%v|%k|%V|%S|%e|%l|%L|%N|%r'
record squeue-job-unknown alice squeue -h -r -t all -o '%i|%T' -j 999999
record squeue-jobs-one-unknown alice squeue -h -r -t all -o '%i|%T' -j "$completed,999999"
record scontrol-show-partition root scontrol show partition -o
record scontrol-show-partition-as-bob bob scontrol show partition -o
record scontrol-show-partition-hidden bob scontrol show partition grponly -o
record scontrol-show-reservation root scontrol show reservation -o
record scontrol-show-reservation-as-bob bob scontrol show reservation -o
record scontrol-show-reservation-unknown alice scontrol show reservation nosuch -o
record scontrol-show-config alice scontrol show config
record scontrol-show-job root scontrol show job -o
record scontrol-show-job-unknown alice scontrol show job -o 999999
record scontrol-ping alice scontrol ping
record sinfo alice sinfo -h -o '%P|%a|%l|%D|%T|%c|%m|%G'
record sacctmgr-show-assoc alice sacctmgr -nP show assoc format=cluster,account,user,partition,qos,defaultqos,maxjobs,maxsubmit,maxwall,grpjobs
record sacctmgr-show-qos alice sacctmgr -nP show qos format=name,priority,maxwall,maxjobspu,maxsubmitpu
record sbatch-version alice sbatch --version

# Submissions: what sbatch says, and with which code.
try() { local name=$1; shift; record "sbatch/$name" "$@"; }
try accepted alice sbatch --wrap true
try accepted-parsable alice sbatch --parsable --comment=amore:feedbeef --wrap true
try accepted-parsable-cluster alice sbatch --parsable -M lab --wrap true
try test-only alice sbatch --test-only --wrap true
try test-only-refused alice sbatch --test-only -p nosuch --wrap true
try partition-of-a-group bob sbatch -p grponly --wrap true
try partition-of-an-account bob sbatch -p acctonly --wrap true
try partition-unknown alice sbatch -p nosuch --wrap true
try partition-down alice sbatch -p down --wrap true
try time-over-partition alice sbatch -p short -t 30 --wrap true
try nodes-too-many alice sbatch -N 9 --wrap true
try cpus-too-many alice sbatch -c 99 --wrap true
try memory-too-much alice sbatch --mem=900G --wrap true
try account-unknown alice sbatch -A nosuch --wrap true
try account-of-others alice sbatch -A chemistry --wrap true
try qos-unknown alice sbatch -q nosuch --wrap true
try qos-not-permitted bob sbatch -q express --wrap true
try qos-limit alice sbatch -q express -p down --array=0-9 --wrap true
try node-unknown alice sbatch -w n99 --wrap true
try feature-unknown alice sbatch -C nosuch --wrap true
try gres-unknown alice sbatch --gres=gpu:1 --wrap true
try limit-of-submitted-jobs bob sbatch -p down --array=0-99 --wrap true
try array-index-too-large alice sbatch --array=0-99999 --wrap true
try reservation-unknown alice sbatch --reservation=nosuch --wrap true
try reservation-not-permitted bob sbatch --reservation=active --wrap true
try reservation-not-begun alice sbatch -A physics --reservation=later --wrap true
try reservation-full alice sbatch --reservation=active -c4 --wrap true
try reservation-too-small alice sbatch --reservation=active -N 3 --wrap true
try uid-of-others alice sbatch --uid=bob --wrap true
try option-unknown alice sbatch --no-such-option --wrap true
try time-malformed alice sbatch -t soon --wrap true
try dependency-malformed alice sbatch -d afterok:x --wrap true
try script-missing alice sbatch /gpfs/home/alice/nosuch.sh
as alice sh -c 'echo true > no-interpreter.sh; : > empty.sh; printf "#!/bin/sh\r\ntrue\r\n" > crlf.sh
    printf "#!/bin/sh\n#SBATCH -J two words\ntrue\n" > directive.sh; { echo "#!/bin/sh"; head -c 5000000 /dev/zero | tr "\0" "#"; } > large.sh'
try script-without-interpreter alice sbatch no-interpreter.sh
try script-empty alice sbatch empty.sh
try script-crlf alice sbatch crlf.sh
try script-directive alice sbatch directive.sh
try script-too-large alice sbatch large.sh
try name-too-long alice sbatch -J "$(head -c 1025 /dev/zero | tr '\0' x)" --wrap true
try scancel-of-others bob scancel "$running"
try scancel-unknown alice scancel 999999
try delete-reservation-in-use root scontrol delete ReservationName=active
try create-reservation-as-user alice scontrol create reservation ReservationName=x Users=alice StartTime=now Duration=5 Nodes=n1

wait_for 90 TIMEOUT "$timeout"
wait_for 60 RESV_DEL_HOLD "$going"
sleep 3
record squeue-later root squeue -h -r -t all -o '%i|%F|%K|%A|%T|%j|%u|%P|%v|%k|%V|%S|%e|%l|%L|%N|%r'
record sacct root sacct -a -X -n -P -D -o JobID,JobIDRaw,JobName,User,State,ExitCode,Partition,Reservation,Submit,Start,End,Timelimit,NodeList,Reason,SubmitLine
record sacct-as-alice alice sacct -X -n -P -D -o JobID,JobIDRaw,JobName,User,State,ExitCode,Partition,Reservation,Submit,Start,End,Timelimit,NodeList,Reason,SubmitLine
# Jobs that may not begin yet are only shown by number, or not at all.
record sacct-of-held bob sacct -X -n -P -D -o JobID,JobName,State,Eligible,SubmitLine -j "$held,$failed"
record sacct-since bob sacct -X -n -P -D -o JobID,JobName,State,Eligible,SubmitLine -S now-1hour
record sacct-since-until bob sacct -X -n -P -D -o JobID,JobName,State,Eligible,SubmitLine -S now-1hour -E now+30days
record sacct-unknown alice sacct -X -n -P -j 999999
record scontrol-show-job-later root scontrol show job -o

squeue -a -h -o %A | sort -u | xargs -r scancel
for _ in $(seq 50); do [ -z "$(squeue -a -h)" ] && break; sleep 0.2; done
for name in active later going; do scontrol delete "ReservationName=$name" 2>/dev/null; done
rm -rf /gpfs/home/root
exit 0
INSIDE
rm -rf "$out"
mkdir -p "$(dirname "$out")"
docker cp -q "$login:/gpfs/recorded" "$out" 2>/dev/null || docker cp "$login:/gpfs/recorded" "$out"
docker exec "$login" rm -rf /gpfs/recorded
say "$(find "$out" -type f | wc -l) files, $(du -sh "$out" | cut -f1)"
