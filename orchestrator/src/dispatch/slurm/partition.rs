//! Which partition may this user use, and which is best? Pure: what Slurm said comes in as text.
//!
//! What is not known is not held against a partition: Slurm itself has the last word.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use super::asked::minutes;

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

    fn shuts_out<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> Option<&[String]> {
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
    /// `UP`, `DOWN`, `DRAIN`, `INACTIVE`.
    pub state: String,
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
}

/// `Key=Value` words of one line of `scontrol -o`. A value that holds spaces loses what follows the first.
pub fn words(line: &str) -> HashMap<&str, &str> {
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
                state: get("State").to_owned(),
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
            })
        })
        .collect()
}

/// What accounting says of a user on this cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Associations {
    /// Accounts, and the QOS that each gives.
    pub accounts: BTreeMap<String, BTreeSet<String>>,
    /// The QOS of a job that names none, by account.
    pub default_qos: BTreeMap<String, String>,
    /// Partition, where an association is bound to one, with its account.
    pub bound: BTreeSet<(String, String)>,
    /// Accounts without such a bond.
    pub free: BTreeSet<String>,
    /// The user's limits in each account.
    pub limits: BTreeMap<String, UserLimits>,
}

/// Limits of a user's jobs in an account. Those of QOS and of accounts above are not here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Jobs that run.
    pub jobs: Option<u32>,
    /// Jobs in the queue.
    pub submitted: Option<u32>,
    /// Minutes of one job.
    pub minutes: Option<u32>,
}

/// The columns of accounting that [`parse_associations`] reads.
pub const ASSOCIATIONS: &str =
    "format=cluster,account,user,partition,qos,defaultqos,maxjobs,maxsubmit,maxwall,grpjobs";

/// Reads `sacctmgr -nP show assoc` with [`ASSOCIATIONS`]: the user's lines for the cluster (an empty name is any).
pub fn parse_associations(text: &str, cluster: &str, user: &str) -> Associations {
    let mut found = Associations::default();
    for line in text.lines() {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let &[of, account, name, partition, qos, default, ref limits @ ..] = parts.as_slice() else {
            continue;
        };
        if name != user || account.is_empty() || (!cluster.is_empty() && of != cluster) {
            continue;
        }
        let names = qos.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
        found.accounts.entry(account.to_owned()).or_default().extend(names);
        if !default.is_empty() {
            found.default_qos.insert(account.to_owned(), default.to_owned());
        }
        let number = |at: usize| limits.get(at).and_then(|text| text.parse().ok());
        let minutes = limits.get(2).and_then(|text| minutes(text));
        found
            .limits
            .insert(account.to_owned(), UserLimits { jobs: number(0), submitted: number(1), minutes });
        if partition.is_empty() {
            found.free.insert(account.to_owned());
        } else {
            found.bound.insert((partition.to_owned(), account.to_owned()));
        }
    }
    found
}

/// Reads `sacctmgr -nP show assoc user= format=cluster,account,user,parentname`: the account above each.
pub fn parse_parents(text: &str, cluster: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let &[of, account, "", parent, ..] = parts.as_slice() else { return None };
            let here = cluster.is_empty() || of == cluster;
            (here && !account.is_empty() && !parent.is_empty())
                .then(|| (account.to_owned(), parent.to_owned()))
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
    /// Some have GPUs.
    pub gpus: bool,
}

/// Reads `sinfo -h -a -o '%P|%a|%l|%D|%T|%c|%m|%G'`, by partition.
pub fn parse_nodes(text: &str) -> HashMap<String, NodesOf> {
    let mut found: HashMap<String, NodesOf> = HashMap::new();
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
        }
        of.gpus |= gres.split(',').any(|one| one.split(':').next() == Some("gpu"));
        // `4+`: some have more.
        of.cpus = of.cpus.max(cpus.trim_end_matches('+').parse().ok());
        of.mem_mib = of.mem_mib.max(mem.trim_end_matches('+').parse().ok());
    }
    found
}

/// The user, as partitions see him.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Name.
    pub user: String,
    /// Root is not asked for groups.
    pub root: bool,
    /// Names of his Unix groups.
    pub groups: BTreeSet<String>,
    /// `None`: accounting is not there, or silent.
    pub associations: Option<Associations>,
    /// The account of a job that names none.
    pub default_account: Option<String>,
    /// The account above each account.
    pub parents: BTreeMap<String, String>,
}

impl Person {
    /// The account that a job will have.
    pub fn account<'a>(&'a self, wanted: &'a Wanted) -> Option<&'a str> {
        wanted.account.as_deref().or(self.default_account.as_deref())
    }

    /// Is the account in the list, or one above it? Reservations count these too, and partitions of newer Slurms.
    pub fn is_listed(&self, account: &str, list: &[String]) -> bool {
        let mut above = Some(account);
        // Bounded: what accounting says could be a circle.
        for _ in 0..=self.parents.len() {
            let Some(account) = above else { return false };
            if list.iter().any(|listed| listed == account) {
                return true;
            }
            above = self.parents.get(account).map(String::as_str);
        }
        false
    }

    /// The QOS that a job will have, if that is known.
    fn qos<'a>(&'a self, wanted: &'a Wanted) -> Option<&'a str> {
        if let Some(qos) = &wanted.qos {
            return Some(qos);
        }
        let associations = self.associations.as_ref()?;
        let account = self.account(wanted)?;
        let default = associations.default_qos.get(account).map(String::as_str);
        default.or_else(|| {
            let one = associations.accounts.get(account)?;
            if one.len() == 1 {
                one.first().map(String::as_str)
            } else {
                one.get("normal").map(String::as_str)
            }
        })
    }
}

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
    let state = || (!matches!(partition.state.as_str(), "UP" | "")).then_some(&partition.state);
    let found = if let Some(state) = state() {
        no(WhyNot::State(state.clone()))
    } else if partition.root_only && !person.root {
        no(WhyNot::RootOnly)
    } else if partition.reserved_only {
        no(WhyNot::NeedsReservation)
    } else if let Some(groups) =
        partition.groups.shuts_out(person.groups.iter().map(String::as_str)).filter(|_| !person.root)
    {
        no(WhyNot::Groups(groups.to_vec()))
    } else if partition.hidden {
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
    if let Some(account) = person.account(wanted)
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
    if let Some(qos) = person.qos(wanted)
        && !may(qos)
    {
        let mine = person.associations.as_ref().zip(person.account(wanted));
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
    nodes: &HashMap<String, NodesOf>,
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
