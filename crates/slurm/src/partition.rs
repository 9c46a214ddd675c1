//! Which partitions a user may use for a job, and which one is best. Pure.
//!
//! Unknown facts never exclude a partition: Slurm makes the final decision.

use std::{collections::BTreeMap, fmt};

use crate::{
    partition_facts::{AllowList, Partition, PartitionNodes},
    slurm_user::SlurmUser,
};

/// What a job needs from a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobNeeds {
    /// Time limit in minutes.
    pub minutes: u32,
    /// Number of nodes.
    pub nodes: Option<u32>,
    /// CPUs on one node.
    pub cpus: Option<u32>,
    /// Memory on one node in MiB.
    pub mem_mib: Option<u64>,
    /// Whether it needs GPUs.
    pub gpus: bool,
    /// Account, if one is set.
    pub account: Option<String>,
    /// QOS, if one is set.
    pub qos: Option<String>,
    /// Whether it uses a reservation.
    pub reserved: bool,
    /// Whether the user named the partition; hidden partitions are only allowed then.
    pub named: bool,
}

/// Whether a partition can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usability {
    /// It can, as far as is known.
    Usable {
        /// Idle nodes.
        idle: u32,
    },
    /// It cannot.
    Unusable(WhyNot),
}

/// Why a partition cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// It accepts no jobs, or starts none.
    State(String),
    /// The site hides it.
    Hidden,
    /// It requires a reservation.
    NeedsReservation,
    /// It accepts jobs of root only.
    RootOnly,
    /// The user is in none of these groups.
    Groups(Vec<String>),
    /// The job's account may not use it.
    Account {
        /// The job's account.
        account: Option<String>,
        /// Another account of the user that may use it.
        instead: Option<String>,
    },
    /// The job's QOS may not be used in it.
    Qos {
        /// The job's QOS.
        qos: Option<String>,
        /// Another QOS of the user that may be used.
        instead: Option<String>,
    },
    /// Its time limit is shorter.
    Time {
        /// Its limit in minutes.
        longest: u32,
    },
    /// It has fewer nodes, or allows fewer per job.
    Nodes {
        /// How many it allows.
        most: u32,
    },
    /// Its nodes have fewer CPUs.
    Cpus {
        /// How many they have.
        most: u32,
    },
    /// Its nodes have less memory.
    Memory {
        /// In MiB.
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
            WhyNot::Hidden => f.write_str("the site hides it"),
            WhyNot::NeedsReservation => f.write_str("it only accepts jobs with a reservation"),
            WhyNot::RootOnly => f.write_str("it only accepts jobs of root"),
            WhyNot::Groups(groups) => write!(f, "it is restricted to the group {}", groups.join(", ")),
            WhyNot::Account { account, instead } => of(f, "account", account, instead),
            WhyNot::Qos { qos, instead } => of(f, "QOS", qos, instead),
            WhyNot::Time { longest } => write!(f, "its time limit is {}", format_minutes(*longest)),
            WhyNot::Nodes { most } => write!(f, "jobs there may use at most {most} node(s)"),
            WhyNot::Cpus { most } => write!(f, "its nodes have at most {most} CPUs"),
            WhyNot::Memory { most } => write!(f, "its nodes have at most {most} MiB of memory"),
            WhyNot::Gpus => f.write_str("its nodes have no GPUs"),
        }
    }
}

impl fmt::Display for Usability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Usability::Usable { idle } => {
                write!(f, "usable, {idle} idle node{}", if *idle == 1 { "" } else { "s" })
            }
            Usability::Unusable(why) => why.fmt(f),
        }
    }
}

/// Formats minutes as Slurm does, like `1:30:00`.
pub fn format_minutes(minutes: u32) -> String {
    let (days, hours, minutes) = (minutes / 1440, minutes % 1440 / 60, minutes % 60);
    if days > 0 { format!("{days}-{hours:02}:{minutes:02}:00") } else { format!("{hours}:{minutes:02}:00") }
}

/// The partition that was chosen for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// Whether it is Slurm's default partition.
    pub default: bool,
    /// Why it was chosen.
    pub because: String,
}

/// The result of [`choose`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionChoice {
    /// The best partition, if any can be used.
    pub chosen: Option<Chosen>,
    /// All partitions, in Slurm's order.
    pub considered: Vec<(String, Usability)>,
    /// Slurm's default partition.
    pub default: Option<String>,
}

impl PartitionChoice {
    /// The chosen partition and the reason, if it has to be named because Slurm's default partition cannot be used.
    pub fn instead_of_default(&self) -> Option<(&Chosen, String)> {
        let chosen = self.chosen.as_ref().filter(|chosen| !chosen.default)?;
        let why = match &self.default {
            None => "Slurm has no default partition".to_owned(),
            Some(name) => match self.considered.iter().find(|(other, _)| other == name) {
                Some((_, verdict)) => format!("the default partition {name} cannot be used: {verdict}"),
                None => format!("the default partition {name} is not listed"),
            },
        };
        Some((chosen, why))
    }
}

/// Judges whether this user may use this partition for this job.
pub fn judge(
    partition: &Partition,
    nodes: Option<&PartitionNodes>,
    user: &SlurmUser,
    needs: &JobNeeds,
) -> Usability {
    let no = |why| Some(Usability::Unusable(why));
    let found = if let Some(state) = &partition.closed {
        no(WhyNot::State(state.clone()))
    } else if partition.root_only && !user.root {
        no(WhyNot::RootOnly)
    } else if partition.reserved_only && !needs.reserved {
        no(WhyNot::NeedsReservation)
    } else if let Some(groups) =
        partition.groups.excluding(user.groups.iter().map(String::as_str)).filter(|_| !user.root)
    {
        no(WhyNot::Groups(groups.to_vec()))
    } else if partition.hidden && !needs.named {
        no(WhyNot::Hidden)
    } else {
        let why = account_or_qos(partition, user, needs);
        why.or_else(|| too_large(partition, nodes, needs)).map(Usability::Unusable)
    };
    found.unwrap_or(Usability::Usable { idle: nodes.map_or(0, |nodes| nodes.idle) })
}

fn account_or_qos(partition: &Partition, user: &SlurmUser, needs: &JobNeeds) -> Option<WhyNot> {
    let may = |account: &str| {
        // Denials only apply where no allowed accounts are listed (slurm.conf(5)).
        let listed = match &partition.accounts {
            AllowList::Everyone => !partition.denied_accounts.iter().any(|denied| denied == account),
            AllowList::These(list) => user.is_listed(account, list),
        };
        let bound = user.associations.as_ref().is_none_or(|associations| {
            let pair = (partition.name.clone(), account.to_owned());
            !associations.accounts.contains_key(account)
                || associations.free.contains(account)
                || associations.bound.contains(&pair)
        });
        listed && bound
    };
    let account = user.account(needs.account.as_deref());
    if let Some(account) = account
        && !may(account)
    {
        let mine = user.associations.iter().flat_map(|associations| associations.accounts.keys());
        let instead = mine.into_iter().find(|other| may(other)).cloned();
        return Some(WhyNot::Account { account: Some(account.to_owned()), instead });
    }
    let may = |qos: &str| match &partition.qos {
        AllowList::Everyone => !partition.denied_qos.iter().any(|denied| denied == qos),
        AllowList::These(list) => list.iter().any(|allowed| allowed == qos),
    };
    if let Some(qos) = needs.qos.as_deref().or_else(|| user.default_qos(account?))
        && !may(qos)
    {
        let mine = user.associations.as_ref().zip(account);
        let mine = mine.and_then(|(associations, account)| associations.accounts.get(account));
        let instead = mine.into_iter().flatten().find(|other| may(other)).cloned();
        return Some(WhyNot::Qos { qos: Some(qos.to_owned()), instead });
    }
    None
}

fn too_large(partition: &Partition, nodes: Option<&PartitionNodes>, needs: &JobNeeds) -> Option<WhyNot> {
    if let Some(longest) = partition.max_minutes.filter(|longest| needs.minutes > *longest) {
        return Some(WhyNot::Time { longest });
    }
    let most = [partition.max_nodes, partition.nodes].into_iter().flatten().min();
    if let Some(most) = most.filter(|most| needs.nodes.unwrap_or(1) > *most) {
        return Some(WhyNot::Nodes { most });
    }
    if let (Some(needs), Some(most)) = (needs.cpus, nodes.and_then(|nodes| nodes.cpus))
        && needs > most
    {
        return Some(WhyNot::Cpus { most });
    }
    if let (Some(needs), Some(most)) = (needs.mem_mib, nodes.and_then(|nodes| nodes.mem_mib))
        && needs > most
    {
        return Some(WhyNot::Memory { most });
    }
    (needs.gpus && nodes.is_some_and(|nodes| !nodes.gpus)).then_some(WhyNot::Gpus)
}

/// Chooses the default partition if it can be used, else the one with the most idle nodes, else the first by name.
pub fn choose(
    partitions: &[Partition],
    nodes: &BTreeMap<String, PartitionNodes>,
    user: &SlurmUser,
    needs: &JobNeeds,
) -> PartitionChoice {
    let considered: Vec<(&Partition, Usability)> = partitions
        .iter()
        .map(|partition| (partition, judge(partition, nodes.get(&partition.name), user, needs)))
        .collect();
    let idle = |verdict: &Usability| match verdict {
        Usability::Usable { idle } => Some(*idle),
        Usability::Unusable(_) => None,
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
            (true, _) => "it is Slurm's default partition".to_owned(),
            (false, 1) => "it is the only one that you may use for this job".to_owned(),
            (false, some) => {
                let also = usable.iter().filter(|(_, other)| *other == idle).count();
                let rank = if also > 1 { "as many as any" } else { "the most" };
                format!("of the {some} that you may use, it has {rank} idle nodes ({idle})")
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
