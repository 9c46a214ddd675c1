//! What Slurm says of the site and of this user, remembered for a while; and what a job asks for, settled by it.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use amore_model::Notice;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    asked::SlurmSettings,
    client::{self, JobAsked, SlurmSilent},
    clusters::Clusters,
    partition::{self, PartitionChoice, Verdict, Wanted, WhyNot},
    partition_facts::{NodesOf, Partition, parse_nodes, parse_partitions},
    person::{ASSOCIATIONS, Person, parse_associations, parse_parents},
    reservation::{Reservation, Standing, parse_reservations, standing},
};

/// How long partitions, accounts and idle nodes are remembered.
const FRESH: Duration = Duration::from_secs(300);
/// How long reservations are: they come and go, and a burst of jobs asks once.
const RESERVATIONS_FRESH: Duration = Duration::from_secs(20);
/// How long accounting may take. Jobs wait for the answer, and can do without: a slurmdbd that hangs is silent for 45 s.
const ACCOUNTING_PATIENCE: Duration = Duration::from_secs(6);
/// How long it is remembered that Slurm did not answer.
const SILENT: Duration = Duration::from_secs(30);

/// What Slurm says of partitions, and of this user.
#[derive(Clone, Debug, Default)]
pub struct SiteFacts {
    /// All partitions.
    pub partitions: Vec<Partition>,
    /// Nodes, by partition.
    pub nodes: HashMap<String, NodesOf>,
    /// This user.
    pub person: Person,
    /// The name of the cluster.
    pub cluster: String,
    /// The controller's version.
    pub version: String,
    /// Why accounting is not known, if it is not.
    pub accounting_silent: Option<String>,
}

impl SiteFacts {
    /// Chooses a partition.
    pub fn choose(&self, wanted: &Wanted) -> PartitionChoice {
        partition::choose(&self.partitions, &self.nodes, &self.person, wanted)
    }

    /// Judges one partition; `None` if there is none of this name.
    pub fn judge(&self, name: &str, wanted: &Wanted) -> Option<Verdict> {
        let found = self.partitions.iter().find(|partition| partition.name == name)?;
        let wanted = Wanted { named: true, ..wanted.clone() };
        Some(partition::judge(found, self.nodes.get(name), &self.person, &wanted))
    }

    /// How much memory a job can have on one node, in MiB: of its partition, or of any where its reservation decides.
    pub fn most_memory(&self, asked: &JobAsked) -> Option<u64> {
        let of = |partition: &Partition| {
            let nodes = self.nodes.get(&partition.name)?;
            let most = nodes.mem_in_service.or(nodes.mem_mib)?;
            Some(partition.max_mem_mib.map_or(most, |limit| limit.min(most)))
        };
        let chosen = || self.choose(&Wanted { mem_mib: None, ..wanted(asked) }).chosen;
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

/// An answer, and when it was given.
type Answer<T> = (Instant, Result<Arc<T>, SlurmSilent>);
/// By cluster; `None`: the one that is asked by itself.
type Remembered<T> = LazyLock<Mutex<HashMap<Option<String>, Arc<Mutex<Option<Answer<T>>>>>>>;

static FACTS: Remembered<SiteFacts> = LazyLock::new(Mutex::default);
static RESERVATIONS: Remembered<Vec<Reservation>> = LazyLock::new(Mutex::default);

/// What was heard of a cluster is held while it is asked: others wait for the same answer.
async fn remembered<T>(
    all: &Remembered<T>,
    cluster: Option<&str>,
    fresh: Duration,
    ask: impl Future<Output = Result<T, SlurmSilent>>,
) -> Result<Arc<T>, SlurmSilent> {
    let place = Arc::clone(all.lock().await.entry(cluster.map(str::to_owned)).or_default());
    let mut place = place.lock().await;
    if let Some((since, answer)) = &*place {
        let fresh = if answer.is_ok() { fresh } else { SILENT };
        if since.elapsed() < fresh {
            return answer.clone();
        }
    }
    let answer = ask.await.map(Arc::new);
    *place = Some((Instant::now(), answer.clone()));
    answer
}

/// Partitions of a cluster and this user, at most five minutes old.
///
/// # Errors
/// The controller does not answer. That accounting does not is a fact.
pub async fn facts(cluster: Option<&str>) -> Result<Arc<SiteFacts>, SlurmSilent> {
    remembered(&FACTS, cluster, FRESH, ask_facts(cluster)).await
}

/// What was heard of a cluster last, without asking it.
fn known(cluster: Option<&str>) -> Option<Arc<SiteFacts>> {
    let place = Arc::clone(FACTS.try_lock().ok()?.get(&cluster.map(str::to_owned))?);
    let place = place.try_lock().ok()?;
    place.as_ref().and_then(|(_, answer)| answer.clone().ok())
}

/// How much memory a job can have on one node, in MiB, as far as is known by now.
pub fn most_memory(asked: &JobAsked) -> Option<u64> {
    let clusters = Clusters::of(asked.clusters.as_deref());
    if clusters.leave_it_to_slurm() { None } else { known(clusters.only())?.most_memory(asked) }
}

/// Asks for what the first job will need, while the caller does something else: accounting takes as long as a Python to
/// start.
pub fn ask_ahead(settings: &SlurmSettings) {
    let clusters = Clusters::of(settings.clusters.as_deref());
    if !clusters.leave_it_to_slurm() {
        tokio::spawn(async move { facts(clusters.only()).await });
    }
}

/// All reservations that a cluster shows, some seconds old at most.
///
/// # Errors
/// The controller does not answer.
pub async fn reservations(cluster: Option<&str>) -> Result<Arc<Vec<Reservation>>, SlurmSilent> {
    let ask = async {
        let text = text("scontrol", cluster, &["show", "reservation", "-o"]).await?;
        Ok(parse_reservations(&text))
    };
    remembered(&RESERVATIONS, cluster, RESERVATIONS_FRESH, ask).await
}

/// The partition for a job on a cluster. Nothing is chosen while Slurm does not answer.
pub async fn choose(cluster: Option<&str>, wanted: &Wanted) -> PartitionChoice {
    match facts(cluster).await {
        Ok(facts) => facts.choose(wanted),
        Err(SlurmSilent(words)) => {
            tracing::debug!(words, "partitions are not known");
            PartitionChoice::default()
        }
    }
}

async fn text(program: &str, cluster: Option<&str>, arguments: &[&str]) -> Result<String, SlurmSilent> {
    Ok(client::lines(program, cluster, arguments).await?.join("\n"))
}

async fn accounting(arguments: &[&str]) -> Result<String, SlurmSilent> {
    match timeout(ACCOUNTING_PATIENCE, text("sacctmgr", None, arguments)).await {
        Ok(answer) => answer,
        Err(_) => Err(SlurmSilent(format!("no answer after {} s", ACCOUNTING_PATIENCE.as_secs()))),
    }
}

async fn ask_facts(cluster: Option<&str>) -> Result<SiteFacts, SlurmSilent> {
    let user = user_name();
    let mine = format!("user={user}");
    let associations = ["-nP", "show", "assoc", &mine, ASSOCIATIONS];
    let default = ["-nP", "show", "user", &user, "format=user,defaultaccount"];
    let (partitions, nodes, config, associations, default, parents) = tokio::join!(
        // -a: with those of other groups, to say why they are not it.
        text("scontrol", cluster, &["-a", "show", "partition", "-o"]),
        text("sinfo", cluster, &["-h", "-a", "-o", "%P|%a|%l|%D|%T|%c|%m|%G"]),
        text("scontrol", cluster, &["show", "config"]),
        accounting(&associations),
        accounting(&default),
        accounting(&["-nP", "show", "assoc", "user=", "format=cluster,account,user,parentname"]),
    );
    let config = config.unwrap_or_default();
    let of_config = |key: &str| {
        let line = config.lines().find(|line| line.split('=').next().is_some_and(|name| name.trim() == key));
        line.and_then(|line| line.split_once('='))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let cluster = of_config("ClusterName");
    let accounting_silent = associations.as_ref().err().map(|silent| silent.0.clone());
    let default = default.unwrap_or_default();
    let default_account = default.lines().next().and_then(|line| line.split('|').nth(1)).map(str::trim);
    // Nobody at all is known where accounting is there, but not used.
    let associations = associations.ok().map(|text| parse_associations(&text, &cluster, &user));
    Ok(SiteFacts {
        partitions: parse_partitions(&partitions?),
        nodes: parse_nodes(&nodes.unwrap_or_default()),
        person: Person {
            root: nix::unistd::geteuid().is_root(),
            groups: groups(),
            associations,
            default_account: default_account.filter(|name| !name.is_empty()).map(str::to_owned),
            parents: parse_parents(&parents.unwrap_or_default(), &cluster),
            user,
        },
        version: of_config("SLURM_VERSION"),
        cluster,
        accounting_silent,
    })
}

fn user_name() -> String {
    let uid = nix::unistd::geteuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn groups() -> std::collections::BTreeSet<String> {
    let mut ids = nix::unistd::getgroups().unwrap_or_default();
    ids.push(nix::unistd::getegid());
    ids.into_iter()
        .filter_map(|id| nix::unistd::Group::from_gid(id).ok().flatten())
        .map(|group| group.name)
        .collect()
}

/// Now, in seconds since 1970.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// Something for the user about where jobs go. What it is about is said once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What it is about.
    pub about: String,
    /// What is said.
    pub notice: Notice,
}

/// What a partition must let a job have.
pub fn wanted(asked: &JobAsked) -> Wanted {
    Wanted {
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

/// Makes of what a job asks for what Slurm can do: a reservation that is over or not for this user is left out; where
/// the default partition is closed to him another one is named. While Slurm does not answer, nothing is changed.
pub async fn settle(mut asked: JobAsked) -> (JobAsked, Vec<Remark>) {
    let mut remarks = Vec::new();
    let clusters = Clusters::of(asked.clusters.as_deref());
    if clusters.leave_it_to_slurm() {
        remarks.push(Remark {
            about: "several clusters".to_owned(),
            notice: Notice::note(format!(
                "Slurm chooses the cluster ({}): partition and reservation are not looked at before",
                asked.clusters.as_deref().unwrap_or_default()
            )),
        });
        // A node has its name on one cluster only; on another the job would be refused for it.
        asked.exclude.clear();
        return (asked, remarks);
    }
    let cluster = clusters.only();
    if let Some(names) = &asked.reservation
        && let (Ok(facts), Ok(all)) = (facts(cluster).await, reservations(cluster).await)
    {
        let account = asked.account.as_deref();
        let (kept, left) =
            keep_usable(names, |name| standing(&all, name, &facts.person, account, now()), now());
        remarks.extend(left);
        asked.reservation = kept;
        // One that names its partition brings it along.
        if let Some(kept) = &asked.reservation
            && let Some(own) = partition_of(&all, kept)
            && asked.partition.as_deref() != Some(own)
        {
            asked.partition = None;
        }
    }
    if asked.reservation.is_none()
        && let Some(names) = &asked.partition
        && let Ok(facts) = facts(cluster).await
        && names
            .split(',')
            .all(|name| facts.judge(name, &wanted(&asked)) == Some(Verdict::No(WhyNot::NeedsReservation)))
    {
        remarks.push(Remark {
            about: format!("partition {names} without reservation"),
            notice: Notice::warning(format!("the partition {names} takes jobs with a reservation only, and there is none; jobs go to another\n  hint: \
                 amore-proto db-config slurm_reservation NAME, or slurm_partition NAME"
            )),
        });
        asked.partition = None;
    }
    if asked.raised_memory
        && let Some(mem) = asked.mem_mib
        && let Ok(facts) = facts(cluster).await
        && let Some(most) = facts.most_memory(&asked)
    {
        asked.mem_mib = Some(mem.min(most));
    }
    if asked.reservation.is_none()
        && asked.partition.is_none()
        && let Some((chosen, why)) = choose(cluster, &wanted(&asked)).await.instead_of_default()
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
    if !asked.exclude.is_empty() && !leaves_enough(&asked, facts(cluster).await.ok().as_deref()) {
        asked.exclude.clear();
    }
    (asked, remarks)
}

/// The partition that the first of these reservations names.
fn partition_of<'a>(all: &'a [Reservation], names: &str) -> Option<&'a str> {
    let mut named = names.split(',').filter_map(|name| all.iter().find(|one| one.name == name));
    named.find_map(|one| one.partition.as_deref())
}

/// Are there nodes beside those that could not start an earlier job? Where it is not known, none is left out: a job
/// that asks for what is not there would be refused.
fn leaves_enough(asked: &JobAsked, facts: Option<&SiteFacts>) -> bool {
    let (None, Some(facts)) = (&asked.reservation, facts) else { return false };
    let default =
        || facts.partitions.iter().find(|partition| partition.default).map(|found| found.name.as_str());
    let nodes = asked.partition.as_deref().or_else(default).and_then(|name| facts.nodes.get(name));
    let left_out = u32::try_from(asked.exclude.len()).unwrap_or(u32::MAX);
    let wanted = asked.nodes.unwrap_or(1).saturating_add(left_out);
    asked.constraint.is_none() && nodes.is_some_and(|nodes| nodes.in_service >= wanted)
}

/// Of a list of reservations those that Slurm will take, and what is to be said of the others.
fn keep_usable(names: &str, standing: impl Fn(&str) -> Standing, now: i64) -> (Option<String>, Vec<Remark>) {
    let mut kept = Vec::new();
    let mut remarks = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let found = standing(name);
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
        let asked = |partition: Option<&str>, nodes: &[&str]| JobAsked {
            partition: partition.map(str::to_owned),
            exclude: nodes.iter().map(|node| (*node).to_owned()).collect(),
            ..JobAsked::default()
        };
        assert!(leaves_enough(&asked(None, &["n1"]), Some(&facts)));
        assert!(!leaves_enough(&asked(None, &["n1", "n2"]), Some(&facts)));
        assert!(!leaves_enough(&asked(Some("one"), &["n1"]), Some(&facts)));
        assert!(!leaves_enough(&asked(None, &["n1"]), None));
        let in_reservation = JobAsked { reservation: Some("r".to_owned()), ..asked(None, &["n1"]) };
        assert!(!leaves_enough(&in_reservation, Some(&facts)));
    }

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
        let asked = |partition: Option<&str>, reservation: Option<&str>| JobAsked {
            partition: partition.map(str::to_owned),
            reservation: reservation.map(str::to_owned),
            mem_mib: Some(900_000),
            ..JobAsked::default()
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
        let open = Wanted::default();
        assert!(matches!(facts.judge("quiet", &open), Some(Verdict::Usable { .. })));
        assert!(facts.choose(&open).chosen.is_none());
        assert_eq!(facts.judge("closed", &open), Some(Verdict::No(WhyNot::NeedsReservation)));
        let reserved = Wanted { reserved: true, ..open };
        assert!(matches!(facts.judge("closed", &reserved), Some(Verdict::Usable { .. })));
    }

    #[test]
    fn reservations_that_nobody_can_use_are_left_out_and_named() {
        let stands = |name: &str| match name {
            "gone" => Standing::Unknown,
            "over" => Standing::Expired { ended: 400 },
            "soon" => Standing::NotStarted { starts: 2000 },
            _ => Standing::Active { until: None },
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
