//! Nodes, and reservations of them.

use super::site::NodeSpec;
use crate::Moment;

/// Actual state of a node, whatever the controller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Reachable.
    Well,
    /// Cut off from the network since then; its jobs continue.
    Cut(Moment),
    /// Switched off since then.
    Dead(Moment),
}

/// Administrative state of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// It accepts jobs.
    In,
    /// It finishes its jobs, and accepts no new ones.
    Drained(String),
    /// It runs no jobs.
    Down(String),
}

/// A node as its cluster knows it.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its resources.
    pub spec: NodeSpec,
    /// Its actual state.
    pub health: Health,
    /// Whether the controller has noticed that it does not respond.
    pub silent: bool,
    /// Its administrative state.
    pub service: Service,
    /// CPUs that are allocated to jobs.
    pub cpus_used: u32,
    /// Memory that is allocated to jobs.
    pub memory_used: u64,
}

impl Node {
    /// A healthy, idle node.
    pub fn new(spec: NodeSpec) -> Self {
        Node { spec, health: Health::Well, silent: false, service: Service::In, cpus_used: 0, memory_used: 0 }
    }

    /// Whether the controller would start jobs on it.
    pub fn takes_jobs(&self) -> bool {
        self.service == Service::In && !self.silent
    }

    /// Whether it receives messages.
    pub fn is_reachable(&self) -> bool {
        self.health == Health::Well
    }

    /// Whether it has enough free resources.
    pub fn fits(&self, cpus: u32, memory_mib: u64) -> bool {
        self.spec.cpus.saturating_sub(self.cpus_used) >= cpus
            && self.spec.memory_mib.saturating_sub(self.memory_used) >= memory_mib
    }

    /// The state as printed by `sinfo -o %T`.
    pub fn word(&self) -> String {
        let busy = self.cpus_used > 0;
        let word = match &self.service {
            Service::Down(_) => "down",
            Service::Drained(_) if busy => "draining",
            Service::Drained(_) => "drained",
            Service::In if !busy => "idle",
            Service::In if self.cpus_used < self.spec.cpus => "mixed",
            Service::In => "allocated",
        };
        format!("{word}{}", if self.silent { "*" } else { "" })
    }

    /// Its position in the order of sinfo: the busiest first.
    pub fn rank(&self) -> u8 {
        match (&self.service, self.cpus_used) {
            (Service::Down(_), _) => 3,
            (_, 0) => 2,
            (_, used) if used < self.spec.cpus => 0,
            _ => 1,
        }
    }
}

/// A reservation of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Name.
    pub name: String,
    /// Its nodes.
    pub nodes: Vec<String>,
    /// Users who may use it; if empty, see `accounts`.
    pub users: Vec<String>,
    /// Accounts that may use it. If both lists are empty, everybody may.
    pub accounts: Vec<String>,
    /// When it starts.
    pub start: Moment,
    /// When it ends.
    pub end: Moment,
}

impl Reservation {
    /// Whether it has started and not ended.
    pub fn is_active(&self, now: Moment) -> bool {
        self.start <= now && now < self.end
    }

    /// Whether this user may use it with this account.
    pub fn admits(&self, user: &str, account: &str) -> bool {
        (self.users.is_empty() && self.accounts.is_empty())
            || self.users.iter().any(|name| name == user)
            || self.accounts.iter().any(|name| name == account)
    }
}

/// Formats names that only differ in their number as Slurm does: `n1`, `n[1-3]`, `n[1,3]`.
pub fn node_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let split = |name: &'a str| {
        let at = name.find(|sign: char| sign.is_ascii_digit())?;
        Some((&name[..at], name[at..].parse::<u64>().ok()?))
    };
    let parts: Option<Vec<(&str, u64)>> = names.iter().map(|name| split(name)).collect();
    let Some(mut parts) = parts.filter(|parts| parts.len() > 1) else { return names.join(",") };
    parts.sort_unstable();
    let prefix = parts[0].0;
    if parts.iter().any(|(other, _)| *other != prefix) {
        return names.join(",");
    }
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for (_, number) in parts {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown: Vec<String> = ranges
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    format!("{prefix}[{}]", shown.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_nodes_are_as_short_as_slurms() {
        for (names, list) in [
            (vec!["n1"], "n1"),
            (vec!["n1", "n2", "n3"], "n[1-3]"),
            (vec!["n3", "n1"], "n[1,3]"),
            (vec!["n1", "gpu2"], "n1,gpu2"),
            (vec![], ""),
        ] {
            assert_eq!(node_list(names), list);
        }
    }
}
