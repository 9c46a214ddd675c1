//! Which partition may this user use, and which is best? Pure.
//!
//! What is not known is not held against a partition: Slurm itself has the last word.

use std::{collections::BTreeMap, fmt};

use crate::{
    partition_facts::{NodesOf, Only, Partition},
    person::Person,
};

/// What a job asks for, as far as partitions have a say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Time limit.
    pub minutes: u32,
    /// Nodes.
    pub nodes: Option<u32>,
    /// CPUs of one node.
    pub cpus: Option<u32>,
    /// MiB of one node.
    pub mem_mib: Option<u64>,
    /// GPUs are needed.
    pub gpus: bool,
    /// Account, if one is named.
    pub account: Option<String>,
    /// QOS, if one is named.
    pub qos: Option<String>,
    /// It goes into a reservation.
    pub reserved: bool,
    /// Somebody has named the partition: it need not be one that may be chosen unasked.
    pub named: bool,
}

/// May it be used?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As far as is known.
    Usable {
        /// Idle nodes.
        idle: u32,
    },
    /// No.
    No(WhyNot),
}

/// Why a partition cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// It takes no jobs, or starts none.
    State(String),
    /// The site keeps it out of sight.
    Hidden,
    /// Only with a reservation.
    NeedsReservation,
    /// Only root.
    RootOnly,
    /// The user is in none of these groups.
    Groups(Vec<String>),
    /// The job's account may not use it.
    Account {
        /// The job's.
        account: Option<String>,
        /// One of the user's that may.
        instead: Option<String>,
    },
    /// The job's QOS may not use it.
    Qos {
        /// The job's.
        qos: Option<String>,
        /// One of the user's that may.
        instead: Option<String>,
    },
    /// Its longest time is shorter.
    Time {
        /// Minutes.
        longest: u32,
    },
    /// It has fewer nodes, or gives fewer to a job.
    Nodes {
        /// How many.
        most: u32,
    },
    /// Its nodes have fewer CPUs.
    Cpus {
        /// How many.
        most: u32,
    },
    /// Its nodes have less memory.
    Memory {
        /// MiB.
        most: u64,
    },
    /// Its nodes have no GPUs.
    Gpus,
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |f: &mut fmt::Formatter<'_>, what: &str, is: &Option<String>, instead: &Option<String>| {
            match is {
                Some(is) => write!(f, "{what} {is} may not use it")?,
                None => write!(f, "no {what} of yours may use it")?,
            }
            match instead {
                Some(instead) => write!(f, "; {what} {instead} may"),
                None => Ok(()),
            }
        };
        match self {
            WhyNot::State(state) => write!(f, "it is {state}"),
            WhyNot::Hidden => f.write_str("it is hidden by the site"),
            WhyNot::NeedsReservation => f.write_str("it takes jobs with a reservation only"),
            WhyNot::RootOnly => f.write_str("it takes jobs of root only"),
            WhyNot::Groups(groups) => write!(f, "it is for the group {} only", groups.join(", ")),
            WhyNot::Account { account, instead } => of(f, "account", account, instead),
            WhyNot::Qos { qos, instead } => of(f, "QOS", qos, instead),
            WhyNot::Time { longest } => write!(f, "its time limit is {}", in_words(*longest)),
            WhyNot::Nodes { most } => write!(f, "a job has {most} node(s) there at most"),
            WhyNot::Cpus { most } => write!(f, "its nodes have {most} CPUs at most"),
            WhyNot::Memory { most } => write!(f, "its nodes have {most} MiB of memory at most"),
            WhyNot::Gpus => f.write_str("its nodes have no GPUs"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Usable { idle } => {
                write!(f, "usable, {idle} idle node{}", if *idle == 1 { "" } else { "s" })
            }
            Verdict::No(why) => why.fmt(f),
        }
    }
}

/// `1:30:00`, as Slurm writes it.
pub fn in_words(minutes: u32) -> String {
    let (days, hours, minutes) = (minutes / 1440, minutes % 1440 / 60, minutes % 60);
    if days > 0 { format!("{days}-{hours:02}:{minutes:02}:00") } else { format!("{hours}:{minutes:02}:00") }
}

/// The partition for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// Slurm would have taken it without being told.
    pub default: bool,
    /// Why this one.
    pub because: String,
}

/// What was chosen, and what is to be said of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionChoice {
    /// The best one, if any can be used.
    pub chosen: Option<Chosen>,
    /// All, in Slurm's order.
    pub considered: Vec<(String, Verdict)>,
    /// The default partition.
    pub default: Option<String>,
}

impl PartitionChoice {
    /// The partition that has to be named, since the one that Slurm would take cannot be used; why that one cannot.
    pub fn instead_of_default(&self) -> Option<(&Chosen, String)> {
        let chosen = self.chosen.as_ref().filter(|chosen| !chosen.default)?;
        let why = match &self.default {
            None => "Slurm has no default partition".to_owned(),
            Some(name) => match self.considered.iter().find(|(other, _)| other == name) {
                Some((_, verdict)) => format!("the default partition {name} cannot be used: {verdict}"),
                None => format!("the default partition {name} is not shown"),
            },
        };
        Some((chosen, why))
    }
}

/// May this person use this partition for this job?
pub fn judge(partition: &Partition, nodes: Option<&NodesOf>, person: &Person, wanted: &Wanted) -> Verdict {
    let no = |why| Some(Verdict::No(why));
    let found = if let Some(state) = &partition.closed {
        no(WhyNot::State(state.clone()))
    } else if partition.root_only && !person.root {
        no(WhyNot::RootOnly)
    } else if partition.reserved_only && !wanted.reserved {
        no(WhyNot::NeedsReservation)
    } else if let Some(groups) =
        partition.groups.shuts_out(person.groups.iter().map(String::as_str)).filter(|_| !person.root)
    {
        no(WhyNot::Groups(groups.to_vec()))
    } else if partition.hidden && !wanted.named {
        no(WhyNot::Hidden)
    } else {
        let why = account_or_qos(partition, person, wanted);
        why.or_else(|| too_large(partition, nodes, wanted)).map(Verdict::No)
    };
    found.unwrap_or(Verdict::Usable { idle: nodes.map_or(0, |nodes| nodes.idle) })
}

fn account_or_qos(partition: &Partition, person: &Person, wanted: &Wanted) -> Option<WhyNot> {
    let may = |account: &str| {
        // Denials count only where nobody is listed (slurm.conf(5)).
        let listed = match &partition.accounts {
            Only::Everyone => !partition.denied_accounts.iter().any(|denied| denied == account),
            Only::These(list) => person.is_listed(account, list),
        };
        let bound = person.associations.as_ref().is_none_or(|associations| {
            let pair = (partition.name.clone(), account.to_owned());
            !associations.accounts.contains_key(account)
                || associations.free.contains(account)
                || associations.bound.contains(&pair)
        });
        listed && bound
    };
    let account = person.account(wanted.account.as_deref());
    if let Some(account) = account
        && !may(account)
    {
        let mine = person.associations.iter().flat_map(|associations| associations.accounts.keys());
        let instead = mine.into_iter().find(|other| may(other)).cloned();
        return Some(WhyNot::Account { account: Some(account.to_owned()), instead });
    }
    let may = |qos: &str| match &partition.qos {
        Only::Everyone => !partition.denied_qos.iter().any(|denied| denied == qos),
        Only::These(list) => list.iter().any(|allowed| allowed == qos),
    };
    if let Some(qos) = wanted.qos.as_deref().or_else(|| person.default_qos(account?))
        && !may(qos)
    {
        let mine = person.associations.as_ref().zip(account);
        let mine = mine.and_then(|(associations, account)| associations.accounts.get(account));
        let instead = mine.into_iter().flatten().find(|other| may(other)).cloned();
        return Some(WhyNot::Qos { qos: Some(qos.to_owned()), instead });
    }
    None
}

fn too_large(partition: &Partition, nodes: Option<&NodesOf>, wanted: &Wanted) -> Option<WhyNot> {
    if let Some(longest) = partition.max_minutes.filter(|longest| wanted.minutes > *longest) {
        return Some(WhyNot::Time { longest });
    }
    let most = [partition.max_nodes, partition.nodes].into_iter().flatten().min();
    if let Some(most) = most.filter(|most| wanted.nodes.unwrap_or(1) > *most) {
        return Some(WhyNot::Nodes { most });
    }
    if let (Some(wanted), Some(most)) = (wanted.cpus, nodes.and_then(|nodes| nodes.cpus))
        && wanted > most
    {
        return Some(WhyNot::Cpus { most });
    }
    if let (Some(wanted), Some(most)) = (wanted.mem_mib, nodes.and_then(|nodes| nodes.mem_mib))
        && wanted > most
    {
        return Some(WhyNot::Memory { most });
    }
    (wanted.gpus && nodes.is_some_and(|nodes| !nodes.gpus)).then_some(WhyNot::Gpus)
}

/// Chooses: the default partition if it can be used, else the one with most idle nodes, else the first by name.
pub fn choose(
    partitions: &[Partition],
    nodes: &BTreeMap<String, NodesOf>,
    person: &Person,
    wanted: &Wanted,
) -> PartitionChoice {
    let considered: Vec<(&Partition, Verdict)> = partitions
        .iter()
        .map(|partition| (partition, judge(partition, nodes.get(&partition.name), person, wanted)))
        .collect();
    let idle = |verdict: &Verdict| match verdict {
        Verdict::Usable { idle } => Some(*idle),
        Verdict::No(_) => None,
    };
    let usable: Vec<(&Partition, u32)> =
        considered.iter().filter_map(|(partition, verdict)| Some((*partition, idle(verdict)?))).collect();
    let best = usable
        .iter()
        .max_by(|(a, idle_a), (b, idle_b)| {
            (a.default, idle_a).cmp(&(b.default, idle_b)).then_with(|| b.name.cmp(&a.name))
        })
        .copied();
    let chosen = best.map(|(partition, idle)| Chosen {
        name: partition.name.clone(),
        default: partition.default,
        because: match (partition.default, usable.len()) {
            (true, _) => "it is Slurm's default, and you may use it".to_owned(),
            (false, 1) => "it is the only one that you may use for this".to_owned(),
            (false, some) => {
                let also = usable.iter().filter(|(_, other)| *other == idle).count();
                let rank = if also > 1 { "as many as any" } else { "the most" };
                format!("of {some} that you may use it has {rank} idle nodes ({idle})")
            }
        },
    });
    PartitionChoice {
        chosen,
        default: partitions
            .iter()
            .find(|partition| partition.default)
            .map(|partition| partition.name.clone()),
        considered: considered
            .into_iter()
            .map(|(partition, verdict)| (partition.name.clone(), verdict))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
