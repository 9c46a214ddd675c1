//! `scontrol`: the state of the controller, and what it manages.

use crate::{
    Moment,
    slurm::{
        Caller,
        cluster::Cluster,
        job::{Job, State},
        node::{Node, Reservation, Service, node_list},
        site::{PartitionSpec, Preempt},
        words::{Refusal, UNKNOWN_JOB, long_time},
    },
};

pub(in crate::slurm) fn scontrol(
    cluster: &Cluster,
    caller: &Caller,
    argv: &[String],
) -> Result<String, Refusal> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["ping"] => Ok("Slurmctld(primary) at slurmctld is UP".to_owned()),
        ["show", "config"] => Ok(config(cluster, caller)),
        ["-o", "show", "job", number] => match numbered(cluster, number) {
            Some(job) => Ok(job_line(cluster, caller, job)),
            None => Err(Refusal::new(format!("slurm_load_jobs error: {UNKNOWN_JOB}"))),
        },
        ["write", "batch_script", number, "-"] => match numbered(cluster, number) {
            Some(job) if caller.uid != 0 && caller.uid != job.uid => {
                Err(Refusal::new("job script retrieval failed: Access/permission denied"))
            }
            Some(job) => Ok(job.asked.script.clone()),
            None => Err(Refusal::new(format!("job script retrieval failed: {UNKNOWN_JOB}"))),
        },
        ["show", "reservation", "-o"] if cluster.reservations.is_empty() => {
            Ok("No reservations in the system".to_owned())
        }
        ["show", "reservation", "-o"] => {
            Ok(cluster.reservations.values().map(|one| reservation_line(cluster, caller, one)).collect())
        }
        ["show", "reservation", name, "-o"] => match cluster.reservations.get(*name) {
            Some(one) => Ok(reservation_line(cluster, caller, one)),
            // On standard output.
            None => Err(Refusal { stdout: format!("Reservation {name} not found"), ..Refusal::new("") }),
        },
        ["-a", "show", "partition", "-o"] => {
            Ok(cluster.partitions.iter().map(|one| partition_line(cluster, one)).collect())
        }
        ["-o", "show", "node"] | ["show", "node", "-o"] => {
            Ok(cluster.nodes.iter().map(|node| node_line(cluster, caller, node)).collect())
        }
        _ => Err(Refusal::not_known(format_args!("scontrol {}", words.join(" ")))),
    }
}

fn numbered<'a>(cluster: &'a Cluster, number: &str) -> Option<&'a Job> {
    cluster.numbered(number.parse().ok()?)
}

/// The relevant lines, of about two hundred.
fn config(cluster: &Cluster, caller: &Caller) -> String {
    let times = &cluster.times;
    let pairs = [
        ("ClusterName", cluster.name.clone()),
        ("KillWait", format!("{} sec", times.kill_wait.as_secs())),
        ("MessageTimeout", format!("{} sec", times.message_timeout.as_secs())),
        ("MinJobAge", format!("{} sec", times.min_job_age.as_secs())),
        ("SLURM_VERSION", cluster.version.clone()),
        ("SlurmdTimeout", format!("{} sec", times.slurmd_timeout.as_secs())),
    ];
    let mut shown = format!("Configuration data as of {}\n", super::printed(cluster.now, caller));
    for (name, value) in pairs {
        shown.push_str(&format!("{name:<23} = {value}\n"));
    }
    shown
}

fn job_line(cluster: &Cluster, caller: &Caller, job: &Job) -> String {
    let asked = &job.asked;
    let at = |moment: Option<Moment>| {
        moment.map_or_else(|| "Unknown".to_owned(), |moment| super::printed(moment, caller))
    };
    let or_null = |names: &[String]| match names {
        [] => "(null)".to_owned(),
        names => names.join(","),
    };
    let eligible = if job.is_eligible(cluster.now) { Some(job.submitted) } else { job.not_before };
    let ran = job.started.map_or(0, |started| (job.ended.unwrap_or(cluster.now) - started).as_secs());
    let nodes = node_list(job.nodes.iter().map(String::as_str));
    let host = job.nodes.first().map_or_else(String::new, |first| format!(" BatchHost={first}"));
    let reservation = match asked.reservations.as_slice() {
        [] => String::new(),
        names => format!(" Reservation={}", names.join(",")),
    };
    let comment =
        if asked.comment.is_empty() { String::new() } else { format!(" Comment={} ", asked.comment) };
    let (cpus, mib) = (asked.cpus * asked.nodes, asked.memory_mib * u64::from(asked.nodes));
    let log = job.log();
    format!(
        "JobId={number} JobName={name} UserId={user}({uid}) GroupId={user}({uid}) MCS_label=N/A Priority={priority} Nice={nice} \
         Account={account} QOS={qos} JobState={state} Reason={reason} Dependency=(null) Requeue={requeue} Restarts={restarts} \
         BatchFlag=1 Reboot=0 ExitCode={exit} RunTime={run_time} TimeLimit={limit} TimeMin=N/A SubmitTime={submitted} \
         EligibleTime={eligible} AccrueTime={eligible} StartTime={start} EndTime={end} Deadline=N/A SuspendTime=None \
         SecsPreSuspend=0 LastSchedEval={submitted} Scheduler=Main Partition={partition} AllocNode:Sid=login:61 \
         ReqNodeList={required} ExcNodeList={excluded} NodeList={nodes}{host} NumNodes={wanted} NumCPUs={cpus} NumTasks={wanted} \
         CPUs/Task={per_node} ReqB:S:C:T=0:0:*:* TRES=cpu={cpus},mem={mib}M,node={wanted},billing={cpus} Socks/Node=* \
         NtasksPerN:B:S:C=0:0:*:* CoreSpec=* MinCPUsNode={per_node} MinMemoryNode={per_node_mib}M MinTmpDiskNode=0 \
         Features=(null) DelayBoot=00:00:00{reservation} OverSubscribe=OK Contiguous=0 Licenses=(null) Network=(null) \
         Command=(null) WorkDir={directory}{comment} StdErr={log} StdIn=/dev/null StdOut={log} Power= \n",
        number = job.number,
        name = asked.name,
        user = job.user,
        uid = job.uid,
        priority = u8::from(job.held.is_none() && job.state != State::ReservationDeleted),
        nice = asked.nice,
        account = asked.account,
        qos = asked.qos,
        state = job.state.word(),
        reason = job.reason.to_string().replace(' ', "_"),
        requeue = u8::from(asked.requeue),
        restarts = job.restarts,
        exit = job.exit,
        run_time = format_args!("{:02}:{:02}:{:02}", ran / 3600, ran / 60 % 60, ran % 60),
        limit = long_time(u64::from(asked.minutes)),
        submitted = at(Some(job.submitted)),
        eligible = at(eligible),
        start = at(job.started.or(job.not_before)),
        end = at(job.ended.or_else(|| job.limit())),
        partition = asked.partition,
        required = or_null(&asked.required),
        excluded = or_null(&asked.exclude),
        wanted = asked.nodes,
        per_node = asked.cpus,
        per_node_mib = asked.memory_mib,
        directory = asked.directory,
    )
}

fn reservation_line(cluster: &Cluster, caller: &Caller, one: &Reservation) -> String {
    let or_null = |names: &[String]| if names.is_empty() { "(null)".to_owned() } else { names.join(",") };
    let cores: u32 = cluster
        .nodes
        .iter()
        .filter(|node| one.nodes.contains(&node.spec.name))
        .map(|node| node.spec.cpus)
        .sum();
    format!(
        "ReservationName={name} StartTime={start} EndTime={end} Duration={duration} Nodes={nodes} NodeCnt={count} CoreCnt={cores} \
         Features=(null) PartitionName=(null) Flags=SPEC_NODES TRES=cpu={cores} Users={users} Groups=(null) Accounts={accounts} \
         Licenses=(null) State={state} BurstBuffer=(null) Watts=n/a MaxStartDelay=(null)\n",
        name = one.name,
        start = super::printed(one.start, caller),
        end = super::printed(one.end, caller),
        duration = long_time((one.end - one.start).as_secs() / 60),
        nodes = node_list(one.nodes.iter().map(String::as_str)),
        count = one.nodes.len(),
        users = or_null(&one.users),
        accounts = or_null(&one.accounts),
        state = if one.is_active(cluster.now) { "ACTIVE" } else { "INACTIVE" },
    )
}

fn partition_line(cluster: &Cluster, one: &PartitionSpec) -> String {
    let all = |names: &[String]| if names.is_empty() { "ALL".to_owned() } else { names.join(",") };
    let yes = |yes: bool| if yes { "YES" } else { "NO" };
    let nodes: Vec<&Node> = cluster.nodes_of(one).collect();
    let cpus: u32 = nodes.iter().map(|node| node.spec.cpus).sum();
    let memory: u64 = nodes.iter().map(|node| node.spec.memory_mib).sum();
    format!(
        "PartitionName={name} AllowGroups={groups} AllowAccounts={accounts} AllowQos=ALL AllocNodes=ALL Default={default} QoS=N/A \
         DefaultTime={default_time} DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden={hidden} MaxNodes=UNLIMITED \
         MaxTime={max_time} MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED Nodes={list} PriorityJobFactor=1 PriorityTier={tier} \
         RootOnly=NO ReqResv={reserved} OverSubscribe=NO OverTimeLimit=NONE PreemptMode={preempt} State={state} TotalCPUs={cpus} \
         TotalNodes={count} SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED \
         TRES=cpu={cpus},mem={memory}M,node={count},billing={cpus}\n",
        name = one.name,
        groups = all(&one.groups),
        accounts = all(&one.accounts),
        default = yes(one.default),
        default_time = long_time(u64::from(one.default_minutes)),
        hidden = yes(one.hidden),
        max_time = long_time(u64::from(one.max_minutes)),
        list = node_list(nodes.iter().map(|node| node.spec.name.as_str())),
        tier = one.tier,
        reserved = yes(one.reserved_only),
        preempt = match one.preempt {
            Preempt::Off => "OFF",
            Preempt::Requeue => "REQUEUE",
            Preempt::Cancel => "CANCEL",
        },
        state = if one.up { "UP" } else { "DOWN" },
        count = nodes.len(),
    )
}

fn node_line(cluster: &Cluster, caller: &Caller, node: &Node) -> String {
    let partitions: Vec<&str> = cluster
        .partitions
        .iter()
        .filter(|one| one.nodes.is_empty() || one.nodes.contains(&node.spec.name))
        .map(|one| one.name.as_str())
        .collect();
    let load = if node.cpus_used > 0 { "ALLOCATED" } else { "IDLE" };
    let state = match &node.service {
        Service::In if node.cpus_used > 0 && node.cpus_used < node.spec.cpus => "MIXED".to_owned(),
        Service::In => load.to_owned(),
        Service::Drained(_) => format!("{load}+DRAIN"),
        Service::Down(_) => "DOWN".to_owned(),
    };
    let silent = if node.silent { "*" } else { "" };
    let reason = match &node.service {
        Service::In => String::new(),
        Service::Drained(reason) | Service::Down(reason) => {
            format!("Reason={reason} [root@{}] ", super::printed(cluster.now, caller))
        }
    };
    let (name, cpus, memory) = (&node.spec.name, node.spec.cpus, node.spec.memory_mib);
    format!(
        "NodeName={name} Arch=x86_64 CoresPerSocket=1 CPUAlloc={used} CPUTot={cpus} CPULoad=0.00 AvailableFeatures=(null) \
         ActiveFeatures=(null) Gres=(null) NodeAddr={name} NodeHostName={name} Version={version} OS=Linux RealMemory={memory} \
         AllocMem={used_memory} Sockets={cpus} Boards=1 State={state}{silent} ThreadsPerCore=1 TmpDisk=0 Weight=1 Owner=N/A \
         MCS_label=N/A Partitions={partitions} CfgTRES=cpu={cpus},mem={memory}M,billing={cpus} {reason}\n",
        used = node.cpus_used,
        version = cluster.version,
        used_memory = node.memory_used,
        partitions = partitions.join(","),
    )
}
