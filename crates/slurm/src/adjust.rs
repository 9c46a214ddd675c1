//! Adjusts the options of a job to what the site has. Pure: the time is a number.

use amore_model::Notice;

use crate::{
    clusters::Clusters,
    partition::{PartitionChoice, Usability, WhyNot},
    reservation::{Reservation, ReservationState, state_for},
    site_facts::{SiteFacts, needs_of},
    submission::JobOptions,
};

/// A message for the user about where jobs go. Each subject is mentioned once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The subject.
    pub about: String,
    /// The message.
    pub notice: Notice,
}

/// Adjusts the options of a job to what Slurm can do: removes reservations that are over or that the user may not use, and
/// names another partition if the user may not use the default one.
///
/// `facts` and `reservations` are `None` while Slurm does not answer; then nothing is changed. `now` is in seconds since 1970.
pub fn adjust(
    mut asked: JobOptions,
    facts: Option<&SiteFacts>,
    reservations: Option<&[Reservation]>,
    now: i64,
) -> (JobOptions, Vec<Remark>) {
    let mut remarks = Vec::new();
    let clusters = Clusters::of(asked.clusters.as_deref());
    if clusters.chosen_by_slurm() {
        remarks.push(Remark {
            about: "several clusters".to_owned(),
            notice: Notice::note(format!(
                "Slurm chooses the cluster ({}): Amore does not check partition and reservation",
                asked.clusters.as_deref().unwrap_or_default()
            )),
        });
        // The name of a node is only valid on one cluster; another would refuse the job because of it.
        asked.exclude.clear();
        return (asked, remarks);
    }
    if let Some(names) = &asked.reservation
        && let (Some(facts), Some(all)) = (facts, reservations)
    {
        let account = asked.account.as_deref();
        let (kept, left) = keep_usable(names, |name| state_for(all, name, &facts.user, account, now), now);
        remarks.extend(left);
        asked.reservation = kept;
        // A reservation that names a partition determines it.
        if let Some(kept) = &asked.reservation
            && let Some(own) = partition_of(all, kept)
            && asked.partition.as_deref() != Some(own)
        {
            asked.partition = None;
        }
    }
    if asked.reservation.is_none()
        && let Some(names) = &asked.partition
        && let Some(facts) = facts
        && names.split(',').all(|name| {
            facts.judge(name, &needs_of(&asked)) == Some(Usability::Unusable(WhyNot::NeedsReservation))
        })
    {
        remarks.push(Remark {
            about: format!("partition {names} without reservation"),
            notice: Notice::warning(format!(
                "the partition {names} only accepts jobs with a reservation, and none is set; jobs go to another partition\n  hint: \
                 amore-proto db-config slurm_reservation NAME, or slurm_partition NAME"
            )),
        });
        asked.partition = None;
    }
    if asked.raised_memory
        && let Some(mem) = asked.mem_mib
        && let Some(facts) = facts
        && let Some(most) = facts.most_memory(&asked)
    {
        asked.mem_mib = Some(mem.min(most));
    }
    let choice = facts.map_or_else(PartitionChoice::default, |facts| facts.choose(&needs_of(&asked)));
    if asked.reservation.is_none()
        && asked.partition.is_none()
        && let Some((chosen, why)) = choice.instead_of_default()
    {
        remarks.push(Remark {
            about: format!("partition {}: {why}", chosen.name),
            notice: Notice::note(format!(
                "jobs go to the partition {}: {why}; {}",
                chosen.name, chosen.because
            )),
        });
        asked.partition = Some(chosen.name.clone());
    }
    if !asked.exclude.is_empty() && !leaves_enough(&asked, facts) {
        asked.exclude.clear();
    }
    (asked, remarks)
}

/// The partition that is named by the first of these reservations that names one.
fn partition_of<'a>(all: &'a [Reservation], names: &str) -> Option<&'a str> {
    let mut named = names.split(',').filter_map(|name| all.iter().find(|one| one.name == name));
    named.find_map(|one| one.partition.as_deref())
}

/// Whether enough nodes are left without those that could not start an earlier job. If that is not known, no node is
/// excluded: Slurm would refuse a job that requests more nodes than there are.
fn leaves_enough(asked: &JobOptions, facts: Option<&SiteFacts>) -> bool {
    let (None, Some(facts)) = (&asked.reservation, facts) else { return false };
    let default =
        || facts.partitions.iter().find(|partition| partition.default).map(|found| found.name.as_str());
    let nodes = asked.partition.as_deref().or_else(default).and_then(|name| facts.nodes.get(name));
    let left_out = u32::try_from(asked.exclude.len()).unwrap_or(u32::MAX);
    let wanted = asked.nodes.unwrap_or(1).saturating_add(left_out);
    asked.constraint.is_none() && nodes.is_some_and(|nodes| nodes.in_service >= wanted)
}

/// Splits a list of reservations into those that Slurm will accept, and remarks about the others.
fn keep_usable(
    names: &str,
    state: impl Fn(&str) -> ReservationState,
    now: i64,
) -> (Option<String>, Vec<Remark>) {
    let mut kept = Vec::new();
    let mut remarks = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let found = state(name);
        if found.is_usable() {
            kept.push(name);
            continue;
        }
        let hint = found.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        remarks.push(Remark {
            about: format!("reservation {name}"),
            notice: Notice::warning(format!(
                "the reservation {name} {}; jobs go to a partition instead{hint}",
                found.words(now)
            )),
        });
    }
    ((!kept.is_empty()).then(|| kept.join(",")), remarks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition_facts::{parse_nodes, parse_partitions};

    #[test]
    fn a_node_is_left_out_only_where_there_are_others() {
        let text = "PartitionName=main Default=YES\nPartitionName=one Default=NO\n";
        let facts = SiteFacts {
            partitions: parse_partitions(text),
            nodes: parse_nodes(
                "main*|up|1-00:00:00|2|mixed|4|4000|(null)\nmain*|up|1-00:00:00|3|down*|4|4000|(null)\none|up|1|1|idle|4|4000|(null)\n",
            ),
            ..SiteFacts::default()
        };
        let asked = |partition: Option<&str>, nodes: &[&str]| JobOptions {
            partition: partition.map(str::to_owned),
            exclude: nodes.iter().map(|node| (*node).to_owned()).collect(),
            ..JobOptions::default()
        };
        assert!(leaves_enough(&asked(None, &["n1"]), Some(&facts)));
        assert!(!leaves_enough(&asked(None, &["n1", "n2"]), Some(&facts)));
        assert!(!leaves_enough(&asked(Some("one"), &["n1"]), Some(&facts)));
        assert!(!leaves_enough(&asked(None, &["n1"]), None));
        let in_reservation = JobOptions { reservation: Some("r".to_owned()), ..asked(None, &["n1"]) };
        assert!(!leaves_enough(&in_reservation, Some(&facts)));
    }

    #[test]
    fn reservations_that_nobody_can_use_are_left_out_and_named() {
        let stands = |name: &str| match name {
            "gone" => ReservationState::Unknown,
            "over" => ReservationState::Expired { ended: 400 },
            "soon" => ReservationState::NotStarted { starts: 2000 },
            _ => ReservationState::Active { until: None },
        };
        let (kept, remarks) = keep_usable("now, over,soon", stands, 1000);
        assert_eq!(kept.as_deref(), Some("now,soon"));
        assert_eq!(remarks.len(), 1);
        assert!(
            remarks[0].notice.to_string().starts_with(
                "warning: the reservation over ended 10 min ago; jobs go to a partition instead\n  hint: "
            ),
            "{}",
            remarks[0].notice
        );
        assert_eq!(keep_usable("gone", stands, 1000).0, None);
    }
}
