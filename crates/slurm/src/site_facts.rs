//! What Slurm says about the site and the user.

use std::collections::BTreeMap;

use crate::{
    partition::{self, JobNeeds, PartitionChoice, Usability},
    partition_facts::{Partition, PartitionNodes},
    slurm_user::SlurmUser,
    submission::JobOptions,
};

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
