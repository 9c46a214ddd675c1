//! What Slurm says about the site and the user.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    partition::{self, JobNeeds, PartitionChoice, Usability},
    partition_facts::{Partition, PartitionNodes, parse_nodes, parse_partitions},
    slurm_user::{ASSOCIATIONS, SlurmUser, parse_associations, parse_parents},
    submission::{JobOptions, SlurmUnavailable},
};

/// What Slurm's commands print about the site and a user.
#[derive(Clone, Debug)]
pub struct SiteAnswers {
    /// Of `scontrol` with [`SiteAnswers::PARTITIONS`].
    pub partitions: String,
    /// Of `sinfo` with [`SiteAnswers::NODES`].
    pub nodes: String,
    /// Of `scontrol show config`.
    pub config: String,
    /// Of `sacctmgr` with [`SiteAnswers::associations`].
    pub associations: Result<String, SlurmUnavailable>,
    /// Of `sacctmgr -nP show user NAME format=user,defaultaccount`.
    pub default_account: String,
    /// Of `sacctmgr` with [`SiteAnswers::PARENTS`].
    pub parents: String,
}

impl SiteAnswers {
    /// All partitions; -a: includes partitions of other groups, to explain why they cannot be used.
    pub const PARTITIONS: [&str; 4] = ["-a", "show", "partition", "-o"];
    /// All nodes, by partition and state.
    pub const NODES: [&str; 4] = ["-h", "-a", "-o", "%P|%a|%l|%D|%T|%c|%m|%G"];
    /// The account above each account.
    pub const PARENTS: [&str; 5] =
        ["-nP", "show", "assoc", "user=", "format=cluster,account,user,parentname"];

    /// The associations of a user, who is given as `user=NAME`.
    pub fn associations(user: &str) -> [&str; 5] {
        ["-nP", "show", "assoc", user, ASSOCIATIONS]
    }
}

/// What Slurm says about partitions and the user.
#[derive(Clone, Debug, Default)]
pub struct SiteFacts {
    /// All partitions.
    pub partitions: Vec<Partition>,
    /// Nodes, by partition.
    pub nodes: BTreeMap<String, PartitionNodes>,
    /// The user.
    pub user: SlurmUser,
    /// The name of the cluster.
    pub cluster: String,
    /// The controller's version.
    pub version: String,
    /// Why accounting is not available, if it is not.
    pub accounting_silent: Option<String>,
}

impl SiteFacts {
    /// From what was printed. `root`, `groups`: as the user database says of the user.
    pub fn of(answers: SiteAnswers, name: String, root: bool, groups: BTreeSet<String>) -> Self {
        let SiteAnswers { partitions, nodes, config, associations, default_account, parents } = answers;
        let cluster = of_config(&config, "ClusterName");
        let accounting_silent = associations.as_ref().err().map(|silent| silent.0.clone());
        let default = default_account.lines().next().and_then(|line| line.split('|').nth(1)).map(str::trim);
        // If accounting exists but is not used, it knows nobody.
        let associations = associations.ok().map(|text| parse_associations(&text, &cluster, &name));
        SiteFacts {
            partitions: parse_partitions(&partitions),
            nodes: parse_nodes(&nodes),
            user: SlurmUser {
                root,
                groups,
                associations,
                default_account: default.filter(|name| !name.is_empty()).map(str::to_owned),
                parents: parse_parents(&parents, &cluster),
                name,
            },
            version: of_config(&config, "SLURM_VERSION"),
            cluster,
            accounting_silent,
        }
    }

    /// Chooses a partition.
    pub fn choose(&self, needs: &JobNeeds) -> PartitionChoice {
        partition::choose(&self.partitions, &self.nodes, &self.user, needs)
    }

    /// Judges one partition; `None` if it does not exist.
    pub fn judge(&self, name: &str, needs: &JobNeeds) -> Option<Usability> {
        let found = self.partitions.iter().find(|partition| partition.name == name)?;
        let needs = JobNeeds { named: true, ..needs.clone() };
        Some(partition::judge(found, self.nodes.get(name), &self.user, &needs))
    }

    /// The most memory that a job can have on one node, in MiB: in its partition, or in any if its reservation decides.
    pub fn most_memory(&self, asked: &JobOptions) -> Option<u64> {
        let of = |partition: &Partition| {
            let nodes = self.nodes.get(&partition.name)?;
            let most = nodes.mem_in_service.or(nodes.mem_mib)?;
            Some(partition.max_mem_mib.map_or(most, |limit| limit.min(most)))
        };
        let chosen = || self.choose(&JobNeeds { mem_mib: None, ..needs_of(asked) }).chosen;
        let names: Option<Vec<String>> = match (&asked.partition, &asked.reservation) {
            (Some(names), _) => Some(names.split(',').map(str::to_owned).collect()),
            (None, Some(_)) => None,
            (None, None) => Some(vec![chosen()?.name]),
        };
        let counts =
            |partition: &&Partition| names.as_ref().is_none_or(|names| names.contains(&partition.name));
        self.partitions.iter().filter(counts).filter_map(of).max()
    }
}

/// A value in the output of `scontrol show config`; empty if it is missing.
pub fn of_config(config: &str, key: &str) -> String {
    let line = config.lines().find(|line| line.split('=').next().is_some_and(|name| name.trim() == key));
    line.and_then(|line| line.split_once('=')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// What a job with these options needs from a partition.
pub fn needs_of(asked: &JobOptions) -> JobNeeds {
    JobNeeds {
        minutes: asked.time_minutes,
        nodes: asked.nodes,
        cpus: asked.cpus,
        mem_mib: asked.mem_mib,
        gpus: asked.gpus.is_some_and(|gpus| gpus > 0),
        account: asked.account.clone(),
        qos: asked.qos.clone(),
        reserved: asked.reservation.is_some(),
        named: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        partition::WhyNot,
        partition_facts::{parse_nodes, parse_partitions},
    };

    #[test]
    fn a_job_has_at_most_the_memory_of_the_largest_node_that_it_can_have() {
        let text = "PartitionName=main Default=YES MaxMemPerNode=UNLIMITED\nPartitionName=big Default=NO\nPartitionName=bound MaxMemPerNode=2000\n";
        let facts = SiteFacts {
            partitions: parse_partitions(text),
            nodes: parse_nodes(
                "main*|up|1-00:00:00|2|mixed|4|4000|(null)\nmain*|up|1-00:00:00|1|down|4|9000|(null)\nbig|up|1|1|idle|4|64000+|(null)\nbound|up|1|1|idle|4|8000|(null)\n",
            ),
            ..SiteFacts::default()
        };
        let asked = |partition: Option<&str>, reservation: Option<&str>| JobOptions {
            partition: partition.map(str::to_owned),
            reservation: reservation.map(str::to_owned),
            mem_mib: Some(900_000),
            ..JobOptions::default()
        };
        assert_eq!(facts.most_memory(&asked(None, None)), Some(4000));
        assert_eq!(facts.most_memory(&asked(Some("big"), None)), Some(64000));
        assert_eq!(facts.most_memory(&asked(Some("main,bound"), None)), Some(4000));
        assert_eq!(facts.most_memory(&asked(Some("bound"), None)), Some(2000));
        assert_eq!(facts.most_memory(&asked(None, Some("upex"))), Some(64000));
        assert_eq!(facts.most_memory(&asked(Some("nosuch"), None)), None);
    }

    #[test]
    fn hidden_is_no_reason_against_a_partition_that_is_named() {
        let facts = SiteFacts {
            partitions: parse_partitions(
                "PartitionName=quiet Hidden=YES State=UP\nPartitionName=closed ReqResv=YES State=UP\n",
            ),
            ..SiteFacts::default()
        };
        let open = JobNeeds::default();
        assert!(matches!(facts.judge("quiet", &open), Some(Usability::Usable { .. })));
        assert!(facts.choose(&open).chosen.is_none());
        assert_eq!(facts.judge("closed", &open), Some(Usability::Unusable(WhyNot::NeedsReservation)));
        let reserved = JobNeeds { reserved: true, ..open };
        assert!(matches!(facts.judge("closed", &reserved), Some(Usability::Usable { .. })));
    }
}
