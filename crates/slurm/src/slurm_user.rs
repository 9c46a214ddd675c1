//! The user as Slurm knows them: groups, accounts, QOS and limits.

use std::collections::{BTreeMap, BTreeSet};

use crate::amounts::minutes;

/// What accounting knows about a user on this cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Associations {
    /// Accounts, and the QOS that each allows.
    pub accounts: BTreeMap<String, BTreeSet<String>>,
    /// The default QOS of each account.
    pub default_qos: BTreeMap<String, String>,
    /// Pairs of partition and account, for associations that are limited to a partition.
    pub bound: BTreeSet<(String, String)>,
    /// Accounts whose associations are not limited to a partition.
    pub free: BTreeSet<String>,
    /// The user's limits in each account.
    pub limits: BTreeMap<String, UserLimits>,
}

/// Limits of a user's jobs in an account. Limits of QOS and of parent accounts are not included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Running jobs.
    pub jobs: Option<u32>,
    /// Jobs in the queue.
    pub submitted: Option<u32>,
    /// Time limit of one job, in minutes.
    pub minutes: Option<u32>,
}

/// The columns that [`parse_associations`] reads.
pub const ASSOCIATIONS: &str =
    "format=cluster,account,user,partition,qos,defaultqos,maxjobs,maxsubmit,maxwall,grpjobs";

/// Parses `sacctmgr -nP show assoc` with [`ASSOCIATIONS`]: the user's lines for the cluster (an empty name matches any).
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

/// Parses `sacctmgr -nP show assoc user= format=cluster,account,user,parentname`: the parent of each account.
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

/// The user, as far as partitions and reservations care.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlurmUser {
    /// Login name.
    pub name: String,
    /// Root is exempt from checks of groups.
    pub root: bool,
    /// Names of the user's Unix groups.
    pub groups: BTreeSet<String>,
    /// `None` if there is no accounting, or it does not answer.
    pub associations: Option<Associations>,
    /// The account of jobs that name none.
    pub default_account: Option<String>,
    /// The parent of each account.
    pub parents: BTreeMap<String, String>,
}

impl SlurmUser {
    /// The account of a job that names `named`, or none.
    pub fn account<'a>(&'a self, named: Option<&'a str>) -> Option<&'a str> {
        named.or(self.default_account.as_deref())
    }

    /// Whether the list contains the account or one of its parents. Reservations count parents too, and so do partitions in
    /// newer versions of Slurm.
    pub fn is_listed(&self, account: &str, list: &[String]) -> bool {
        let mut above = Some(account);
        // Bounded, in case the parents form a cycle.
        for _ in 0..=self.parents.len() {
            let Some(account) = above else { return false };
            if list.iter().any(|listed| listed == account) {
                return true;
            }
            above = self.parents.get(account).map(String::as_str);
        }
        false
    }

    /// The QOS of a job in this account that names none, if it is known.
    pub fn default_qos(&self, account: &str) -> Option<&str> {
        let associations = self.associations.as_ref()?;
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
