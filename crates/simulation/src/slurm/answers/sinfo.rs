//! `sinfo`: the nodes of each partition, by state.

use std::collections::BTreeMap;

use crate::slurm::{
    cluster::Cluster,
    words::{Refusal, short_time},
};

pub(in crate::slurm) fn sinfo(cluster: &Cluster, argv: &[String]) -> Result<String, Refusal> {
    if argv != ["-h", "-a", "-o", "%P|%a|%l|%D|%T|%c|%m|%G"] {
        return Err(Refusal::not_known(format_args!("sinfo {}", argv.join(" "))));
    }
    let mut shown = String::new();
    for partition in &cluster.partitions {
        let mut kinds: BTreeMap<(u8, String, u32, u64), usize> = BTreeMap::new();
        for node in cluster.nodes_of(partition) {
            *kinds.entry((node.rank(), node.word(), node.spec.cpus, node.spec.memory_mib)).or_default() += 1;
        }
        let name = format!("{}{}", partition.name, if partition.default { "*" } else { "" });
        let up = if partition.up { "up" } else { "down" };
        let limit = short_time(u64::from(partition.max_minutes));
        for ((_, word, cpus, memory), count) in kinds {
            shown.push_str(&format!("{name}|{up}|{limit}|{count}|{word}|{cpus}|{memory}|(null)\n"));
        }
    }
    Ok(shown)
}
