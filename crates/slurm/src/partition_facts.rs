//! Parsers for partitions and their nodes.

use std::collections::BTreeMap;

use crate::amounts::minutes;

/// Who may use a partition: everyone, or the listed names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowList {
    /// `ALL`, or not given.
    #[default]
    Everyone,
    /// Only these.
    These(Vec<String>),
}

impl AllowList {
    fn of(text: &str) -> Self {
        match text {
            "" | "ALL" | "(null)" | "N/A" => AllowList::Everyone,
            list => {
                AllowList::These(list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
            }
        }
    }

    /// Returns the list if it contains none of the names.
    pub fn excluding<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> Option<&[String]> {
        match self {
            AllowList::Everyone => None,
            AllowList::These(list) if names.any(|name| list.iter().any(|listed| listed == name)) => None,
            AllowList::These(list) => Some(list),
        }
    }
}

/// A partition, as printed by `scontrol -a show partition -o`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Whether it is used for jobs that name none.
    pub default: bool,
    /// Its state if it is not up: `DOWN`, `DRAIN` or `INACTIVE`.
    pub closed: Option<String>,
    /// Whether Slurm's own commands hide it from users.
    pub hidden: bool,
    /// Whether jobs need a reservation.
    pub reserved_only: bool,
    /// Whether only root may submit to it.
    pub root_only: bool,
    /// Allowed Unix groups.
    pub groups: AllowList,
    /// Allowed accounts.
    pub accounts: AllowList,
    /// Denied accounts, where no allowed ones are listed.
    pub denied_accounts: Vec<String>,
    /// Allowed QOS.
    pub qos: AllowList,
    /// Denied QOS, where no allowed ones are listed.
    pub denied_qos: Vec<String>,
    /// Time limit of a job; `None`: no limit.
    pub max_minutes: Option<u32>,
    /// Largest number of nodes of a job; `None`: no limit.
    pub max_nodes: Option<u32>,
    /// Number of nodes.
    pub nodes: Option<u32>,
    /// Most memory of a job on one node, in MiB; `None`: no limit.
    pub max_mem_mib: Option<u64>,
}

/// The `Key=Value` pairs in one line of `scontrol -o`. A value that contains spaces is cut off at the first one.
pub fn words(line: &str) -> BTreeMap<&str, &str> {
    line.split_whitespace().filter_map(|word| word.split_once('=')).collect()
}

/// Parses `scontrol -a show partition -o`.
pub fn parse_partitions(text: &str) -> Vec<Partition> {
    text.lines()
        .filter_map(|line| {
            let words = words(line);
            let get = |key: &str| words.get(key).copied().unwrap_or_default();
            let yes = |key: &str| get(key) == "YES";
            let list = |key: &str| match AllowList::of(get(key)) {
                AllowList::Everyone => Vec::new(),
                AllowList::These(list) => list,
            };
            let name = get("PartitionName");
            (!name.is_empty()).then(|| Partition {
                name: name.to_owned(),
                default: yes("Default"),
                closed: Some(get("State").to_owned()).filter(|state| !matches!(state.as_str(), "" | "UP")),
                hidden: yes("Hidden"),
                reserved_only: yes("ReqResv"),
                root_only: yes("RootOnly"),
                groups: AllowList::of(get("AllowGroups")),
                accounts: AllowList::of(get("AllowAccounts")),
                denied_accounts: list("DenyAccounts"),
                qos: AllowList::of(get("AllowQos")),
                denied_qos: list("DenyQos"),
                max_minutes: minutes(get("MaxTime")),
                max_nodes: get("MaxNodes").parse().ok(),
                nodes: get("TotalNodes").parse().ok(),
                max_mem_mib: get("MaxMemPerNode").parse().ok().filter(|most| *most > 0),
            })
        })
        .collect()
}

/// The nodes of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionNodes {
    /// Number of idle nodes.
    pub idle: u32,
    /// Number of nodes that accept jobs, including busy ones.
    pub in_service: u32,
    /// CPUs of the largest node.
    pub cpus: Option<u32>,
    /// Memory of the largest node, in MiB.
    pub mem_mib: Option<u64>,
    /// Memory of the largest node that accepts jobs, in MiB.
    pub mem_in_service: Option<u64>,
    /// Whether some nodes have GPUs.
    pub gpus: bool,
}

/// Parses `sinfo -h -a -o '%P|%a|%l|%D|%T|%c|%m|%G'`, by partition.
pub fn parse_nodes(text: &str) -> BTreeMap<String, PartitionNodes> {
    let mut found: BTreeMap<String, PartitionNodes> = BTreeMap::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let &[name, _, _, nodes, state, cpus, mem, gres, ..] = parts.as_slice() else { continue };
        let name = name.trim_end_matches('*');
        if name.is_empty() {
            continue;
        }
        let of = found.entry(name.to_owned()).or_default();
        // `idle~` is powered down and will be powered up; `idle*` does not respond.
        if matches!(state, "idle" | "idle~" | "idle#" | "planned") {
            of.idle = of.idle.saturating_add(nodes.parse().unwrap_or(0));
        }
        let out = ["down", "drain", "fail", "maint", "unk"].iter().any(|word| state.starts_with(word));
        if !out && !state.ends_with('*') {
            of.in_service = of.in_service.saturating_add(nodes.parse().unwrap_or(0));
            of.mem_in_service = of.mem_in_service.max(mem.trim_end_matches('+').parse().ok());
        }
        of.gpus |= gres.split(',').any(|one| one.split(':').next() == Some("gpu"));
        // `4+`: some nodes have more.
        of.cpus = of.cpus.max(cpus.trim_end_matches('+').parse().ok());
        of.mem_mib = of.mem_mib.max(mem.trim_end_matches('+').parse().ok());
    }
    found
}
