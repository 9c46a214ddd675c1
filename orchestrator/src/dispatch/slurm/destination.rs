//! Where a job would go, and why: `amore plan` shows this before the job exists.

use amore_model::{Notice, Resources};
use amore_slurm::settings::{PARTITION, RESERVATION};
use serde::{Serialize, Serializer};

use super::{
    Slurm,
    client::{JobOptions, SlurmUnavailable},
    clusters::Clusters,
    partition::{Usability, format_minutes},
    site_facts::{self, SiteFacts},
    sourced::{Resolved, Source},
};

/// Where a job would go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// The requested cluster or clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clusters: Option<String>,
    /// The reservation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
    /// The partition, even if it is Slurm's default and not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The requested account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The requested QOS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// The time limit.
    pub time_minutes: u32,
    /// Why it goes there, and which setting requests it.
    pub because: String,
    /// What differs from the request, or will not work.
    #[serde(serialize_with = "as_words")]
    pub remarks: Vec<Notice>,
}

impl Destination {
    /// `partition main, account xfel, at most 2:00:00: it is Slurm's default partition`.
    pub fn in_words(&self) -> String {
        let place = match (&self.reservation, &self.partition) {
            (Some(reservation), Some(partition)) => {
                format!("reservation {reservation}, partition {partition}")
            }
            (Some(reservation), None) => format!("reservation {reservation}"),
            (None, Some(partition)) => format!("partition {partition}"),
            (None, None) => "partition chosen by Slurm".to_owned(),
        };
        let mut words = vec![place];
        let named = [("cluster", &self.clusters), ("account", &self.account), ("QOS", &self.qos)];
        words.extend(named.iter().filter_map(|(what, name)| Some(format!("{what} {}", name.as_ref()?))));
        words.push(format!("at most {}", format_minutes(self.time_minutes)));
        format!("{}: {}", words.join(", "), self.because)
    }
}

/// Adjusts the options of a planned job as its submission would, and finds where the job goes. `resources` are those that
/// its variables request.
pub async fn find(
    slurm: &Slurm,
    asked: JobOptions,
    resources: &Resources,
    settings: &Resolved,
) -> (JobOptions, Destination) {
    let clusters = Clusters::of(asked.clusters.as_deref());
    let facts = if clusters.chosen_by_slurm() {
        Err(SlurmUnavailable("Slurm chooses the cluster for each job".to_owned()))
    } else {
        slurm.facts(clusters.only()).await
    };
    let first = asked.clone();
    let (settled, remarks) = slurm.adjust(asked).await;
    let mut found = Destination {
        clusters: settled.clusters.clone(),
        reservation: settled.reservation.clone(),
        partition: settled.partition.clone(),
        account: settled.account.clone(),
        qos: settled.qos.clone(),
        time_minutes: settled.time_minutes,
        because: String::new(),
        remarks: remarks.into_iter().map(|remark| remark.notice).collect(),
    };
    found.because = because(&first, &settled, &mut found, resources, settings, facts.as_deref());
    (settled, found)
}

fn because(
    first: &JobOptions,
    settled: &JobOptions,
    found: &mut Destination,
    resources: &Resources,
    settings: &Resolved,
    facts: Result<&SiteFacts, &SlurmUnavailable>,
) -> String {
    let reserved = found
        .reservation
        .is_some()
        .then(|| source(resources.reservation.is_some(), settings.source(RESERVATION)));
    let facts = match (facts, reserved.clone()) {
        (Ok(facts), _) => facts,
        (Err(_), Some(reserved)) => return reserved,
        (Err(SlurmUnavailable(words)), None) => return format!("not known yet ({words})"),
    };
    let wanted = site_facts::needs_of(settled);
    // If the requested partition was left out, there is already a remark about it.
    if let Some(names) = first.partition.as_ref().filter(|names| settled.partition.as_ref() == Some(names)) {
        for name in names.split(',') {
            match facts.judge(name, &wanted) {
                Some(Usability::Usable { .. }) => {}
                Some(verdict) => {
                    let words = format!("the partition {name} cannot be used: {verdict}");
                    found.remarks.push(Notice::warning(words));
                }
                None => {
                    let words = format!("the partition {name} does not exist: Slurm will refuse the job");
                    found.remarks.push(Notice::warning(words));
                }
            }
        }
        return reserved.unwrap_or_else(|| source(resources.partition.is_some(), settings.source(PARTITION)));
    }
    if let Some(reserved) = reserved {
        return reserved;
    }
    let choice = facts.choose(&wanted);
    match choice.chosen {
        Some(chosen) => {
            found.partition = Some(chosen.name);
            chosen.because
        }
        None => {
            let each: String =
                choice.considered.iter().map(|(name, verdict)| format!("\n  {name}: {verdict}")).collect();
            found.remarks.push(Notice::warning(format!("no partition can be used for this job{each}")));
            "no partition is set".to_owned()
        }
    }
}

/// Serializes remarks as text.
fn as_words<S: Serializer>(remarks: &[Notice], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(remarks.iter().map(Notice::to_string))
}

/// The variable or setting that requests it.
fn source(by_variable: bool, setting: Option<&Source>) -> String {
    match setting {
        _ if by_variable => "requested by the variable".to_owned(),
        Some(source) => format!("from {source}"),
        None => "from a setting".to_owned(),
    }
}
