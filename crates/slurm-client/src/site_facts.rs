//! What Slurm says of the site and of this user, remembered for a while.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use amore_slurm::{
    clusters::Clusters,
    partition_facts::{parse_nodes, parse_partitions},
    person::{ASSOCIATIONS, Person, parse_associations, parse_parents},
    reservation::{Reservation, parse_reservations},
    settle::{Remark, settle},
    site_facts::{SiteFacts, of_config},
    submission::{JobAsked, SlurmSilent},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{Slurm, users};

/// How long partitions, accounts and idle nodes are remembered.
const FRESH: Duration = Duration::from_secs(300);
/// How long reservations are: they come and go, and a burst of jobs asks once.
const RESERVATIONS_FRESH: Duration = Duration::from_secs(20);
/// How long accounting may take. Jobs wait for the answer, and can do without: a slurmdbd that hangs is silent for 45 s.
const ACCOUNTING_PATIENCE: Duration = Duration::from_secs(6);
/// How long it is remembered that Slurm did not answer.
const SILENT: Duration = Duration::from_secs(30);

/// An answer, and when it was given.
type Answer<T> = (Instant, Result<Arc<T>, SlurmSilent>);
/// By cluster; `None`: the one that is asked by itself.
pub(crate) type Remembered<T> = Mutex<BTreeMap<Option<String>, Arc<Mutex<Option<Answer<T>>>>>>;

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

impl Slurm {
    /// Partitions of a cluster and this user, at most five minutes old.
    ///
    /// # Errors
    /// The controller does not answer. That accounting does not is a fact.
    pub async fn facts(&self, cluster: Option<&str>) -> Result<Arc<SiteFacts>, SlurmSilent> {
        remembered(&self.0.facts, cluster, FRESH, self.ask_facts(cluster)).await
    }

    /// What was heard of a cluster last, without asking it.
    pub fn known(&self, cluster: Option<&str>) -> Option<Arc<SiteFacts>> {
        let place = Arc::clone(self.0.facts.try_lock().ok()?.get(&cluster.map(str::to_owned))?);
        let place = place.try_lock().ok()?;
        place.as_ref().and_then(|(_, answer)| answer.clone().ok())
    }

    /// How much memory a job can have on one node, in MiB, as far as is known by now.
    pub fn most_memory(&self, asked: &JobAsked) -> Option<u64> {
        let clusters = Clusters::of(asked.clusters.as_deref());
        if clusters.leave_it_to_slurm() { None } else { self.known(clusters.only())?.most_memory(asked) }
    }

    /// Asks for what the first job will need, while the caller does something else: accounting takes as long as a Python to
    /// start.
    pub fn ask_ahead(&self, clusters: Clusters) {
        if !clusters.leave_it_to_slurm() {
            let slurm = self.clone();
            tokio::spawn(async move { slurm.facts(clusters.only()).await });
        }
    }

    /// All reservations that a cluster shows, some seconds old at most.
    ///
    /// # Errors
    /// The controller does not answer.
    pub async fn reservations(&self, cluster: Option<&str>) -> Result<Arc<Vec<Reservation>>, SlurmSilent> {
        let ask = async {
            let text = self.text("scontrol", cluster, &["show", "reservation", "-o"]).await?;
            Ok(parse_reservations(&text))
        };
        remembered(&self.0.reservations, cluster, RESERVATIONS_FRESH, ask).await
    }

    async fn text(
        &self,
        program: &str,
        cluster: Option<&str>,
        arguments: &[&str],
    ) -> Result<String, SlurmSilent> {
        Ok(self.lines(program, cluster, arguments).await?.join("\n"))
    }

    async fn ask_sacctmgr(&self, arguments: &[&str]) -> Result<String, SlurmSilent> {
        match timeout(ACCOUNTING_PATIENCE, self.text("sacctmgr", None, arguments)).await {
            Ok(answer) => answer,
            Err(_) => Err(SlurmSilent(format!("no answer after {} s", ACCOUNTING_PATIENCE.as_secs()))),
        }
    }

    async fn ask_facts(&self, cluster: Option<&str>) -> Result<SiteFacts, SlurmSilent> {
        let user = users::own_name();
        let mine = format!("user={user}");
        let associations = ["-nP", "show", "assoc", &mine, ASSOCIATIONS];
        let default = ["-nP", "show", "user", &user, "format=user,defaultaccount"];
        let (partitions, nodes, config, associations, default, parents) = tokio::join!(
            // -a: with those of other groups, to say why they are not it.
            self.text("scontrol", cluster, &["-a", "show", "partition", "-o"]),
            self.text("sinfo", cluster, &["-h", "-a", "-o", "%P|%a|%l|%D|%T|%c|%m|%G"]),
            self.text("scontrol", cluster, &["show", "config"]),
            self.ask_sacctmgr(&associations),
            self.ask_sacctmgr(&default),
            self.ask_sacctmgr(&["-nP", "show", "assoc", "user=", "format=cluster,account,user,parentname"]),
        );
        let config = config.unwrap_or_default();
        let cluster = of_config(&config, "ClusterName");
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
                groups: users::groups(),
                associations,
                default_account: default_account.filter(|name| !name.is_empty()).map(str::to_owned),
                parents: parse_parents(&parents.unwrap_or_default(), &cluster),
                user,
            },
            version: of_config(&config, "SLURM_VERSION"),
            cluster,
            accounting_silent,
        })
    }

    /// Makes of what a job asks for what Slurm can do; see [`settle`].
    pub async fn settle(&self, asked: JobAsked) -> (JobAsked, Vec<Remark>) {
        let clusters = Clusters::of(asked.clusters.as_deref());
        if clusters.leave_it_to_slurm() {
            return settle(asked, None, None, now());
        }
        let facts = self.facts(clusters.only()).await;
        if let Err(SlurmSilent(words)) = &facts {
            tracing::debug!(words, "partitions are not known");
        }
        let reservations = match asked.reservation {
            Some(_) => self.reservations(clusters.only()).await.ok(),
            None => None,
        };
        settle(asked, facts.ok().as_deref(), reservations.as_ref().map(|all| all.as_slice()), now())
    }
}

/// Now, in seconds since 1970.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
