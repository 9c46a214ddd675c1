//! Who the user is to Slurm: groups, accounts, QOS and limits. Pure readers of its words.

use std::collections::{BTreeMap, BTreeSet};

use crate::amounts::minutes;

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
    /// The account of a job that names this one, or none.
    pub fn account<'a>(&'a self, named: Option<&'a str>) -> Option<&'a str> {
        named.or(self.default_account.as_deref())
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

    /// The QOS of a job in this account that names none, if that is known.
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
