//! What partitions there are, and of what nodes: pure readers of Slurm's words.

use std::collections::BTreeMap;

use crate::amounts::minutes;

/// A list of names in a partition or reservation: everyone's, or some people's only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// `ALL`, or not said.
    #[default]
    Everyone,
    /// These.
    These(Vec<String>),
}

impl Only {
    fn of(text: &str) -> Self {
        match text {
            "" | "ALL" | "(null)" | "N/A" => Only::Everyone,
            list => Only::These(list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()),
        }
    }

    /// The list, if none of the names is in it.
    pub fn shuts_out<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> Option<&[String]> {
        match self {
            Only::Everyone => None,
            Only::These(list) if names.any(|name| list.iter().any(|listed| listed == name)) => None,
            Only::These(list) => Some(list),
        }
    }
}

/// A partition, as `scontrol -a show partition -o` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Slurm takes it where a job says nothing.
    pub default: bool,
    /// Its state if it is not up: `DOWN`, `DRAIN` or `INACTIVE`.
    pub closed: Option<String>,
    /// Not shown to users by Slurm's own commands.
    pub hidden: bool,
    /// Jobs need a reservation.
    pub reserved_only: bool,
    /// Only root submits here.
    pub root_only: bool,
    /// Unix groups.
    pub groups: Only,
    /// Accounts.
    pub accounts: Only,
    /// Accounts that may not, where accounts are not listed.
    pub denied_accounts: Vec<String>,
    /// QOS.
    pub qos: Only,
    /// QOS that may not, where QOS are not listed.
    pub denied_qos: Vec<String>,
    /// Longest time of a job; `None`: no limit.
    pub max_minutes: Option<u32>,
    /// Most nodes of a job; `None`: no limit.
    pub max_nodes: Option<u32>,
    /// Nodes it has.
    pub nodes: Option<u32>,
    /// Most memory of a job on a node, in MiB; `None`: no limit.
    pub max_mem_mib: Option<u64>,
}

/// `Key=Value` words of one line of `scontrol -o`. A value that holds spaces loses what follows the first.
pub fn words(line: &str) -> BTreeMap<&str, &str> {
    line.split_whitespace().filter_map(|word| word.split_once('=')).collect()
}

/// Reads `scontrol -a show partition -o`.
pub fn parse_partitions(text: &str) -> Vec<Partition> {
    text.lines()
        .filter_map(|line| {
            let words = words(line);
            let get = |key: &str| words.get(key).copied().unwrap_or_default();
            let yes = |key: &str| get(key) == "YES";
            let list = |key: &str| match Only::of(get(key)) {
                Only::Everyone => Vec::new(),
                Only::These(list) => list,
            };
            let name = get("PartitionName");
            (!name.is_empty()).then(|| Partition {
                name: name.to_owned(),
                default: yes("Default"),
                closed: Some(get("State").to_owned()).filter(|state| !matches!(state.as_str(), "" | "UP")),
                hidden: yes("Hidden"),
                reserved_only: yes("ReqResv"),
                root_only: yes("RootOnly"),
                groups: Only::of(get("AllowGroups")),
                accounts: Only::of(get("AllowAccounts")),
                denied_accounts: list("DenyAccounts"),
                qos: Only::of(get("AllowQos")),
                denied_qos: list("DenyQos"),
                max_minutes: minutes(get("MaxTime")),
                max_nodes: get("MaxNodes").parse().ok(),
                nodes: get("TotalNodes").parse().ok(),
                max_mem_mib: get("MaxMemPerNode").parse().ok().filter(|most| *most > 0),
            })
        })
        .collect()
}

/// What nodes of a partition are like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesOf {
    /// Idle ones.
    pub idle: u32,
    /// All that may take jobs, busy ones too.
    pub in_service: u32,
    /// CPUs of the largest.
    pub cpus: Option<u32>,
    /// MiB of the largest.
    pub mem_mib: Option<u64>,
    /// MiB of the largest of those that may take jobs.
    pub mem_in_service: Option<u64>,
    /// Some have GPUs.
    pub gpus: bool,
}

/// Reads `sinfo -h -a -o '%P|%a|%l|%D|%T|%c|%m|%G'`, by partition.
pub fn parse_nodes(text: &str) -> BTreeMap<String, NodesOf> {
    let mut found: BTreeMap<String, NodesOf> = BTreeMap::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let &[name, _, _, nodes, state, cpus, mem, gres, ..] = parts.as_slice() else { continue };
        let name = name.trim_end_matches('*');
        if name.is_empty() {
            continue;
        }
        let of = found.entry(name.to_owned()).or_default();
        // `idle~` is switched off to save power, and comes; `idle*` does not answer.
        if matches!(state, "idle" | "idle~" | "idle#" | "planned") {
            of.idle = of.idle.saturating_add(nodes.parse().unwrap_or(0));
        }
        let out = ["down", "drain", "fail", "maint", "unk"].iter().any(|word| state.starts_with(word));
        if !out && !state.ends_with('*') {
            of.in_service = of.in_service.saturating_add(nodes.parse().unwrap_or(0));
            of.mem_in_service = of.mem_in_service.max(mem.trim_end_matches('+').parse().ok());
        }
        of.gpus |= gres.split(',').any(|one| one.split(':').next() == Some("gpu"));
        // `4+`: some have more.
        of.cpus = of.cpus.max(cpus.trim_end_matches('+').parse().ok());
        of.mem_mib = of.mem_mib.max(mem.trim_end_matches('+').parse().ok());
    }
    found
}
