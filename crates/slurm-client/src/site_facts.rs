//! What Slurm says about the site and the user, cached for a while.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use amore_slurm::{
    adjust::{Remark, adjust},
    clusters::Clusters,
    commands::lines,
    reservation::{Reservation, parse_reservations},
    site_facts::{SiteAnswers, SiteFacts},
    submission::{JobOptions, SlurmUnavailable},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{Slurm, users};

/// How long partitions, accounts and idle nodes are cached.
const FRESH: Duration = Duration::from_secs(300);
/// How long reservations are cached: they change more often, and a burst of jobs should cause one query.
const RESERVATIONS_FRESH: Duration = Duration::from_secs(20);
/// Time limit for accounting. Jobs wait for the answer but do not depend on it: a hanging slurmdbd takes 45 s to fail.
const ACCOUNTING_PATIENCE: Duration = Duration::from_secs(6);
/// How long a failed query is cached.
const SILENT: Duration = Duration::from_secs(30);

/// An answer, and when it was received.
type Answer<T> = (Instant, Result<Arc<T>, SlurmUnavailable>);
/// By cluster; `None`: the default one.
pub(crate) type Remembered<T> = Mutex<BTreeMap<Option<String>, Arc<Mutex<Option<Answer<T>>>>>>;

/// Returns a cached answer, or asks. The cluster's entry is locked meanwhile, so that others wait for the same answer.
async fn remembered<T>(
    all: &Remembered<T>,
    cluster: Option<&str>,
    fresh: Duration,
    ask: impl Future<Output = Result<T, SlurmUnavailable>>,
) -> Result<Arc<T>, SlurmUnavailable> {
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
    /// Facts about a cluster's partitions and the user, at most five minutes old.
    ///
    /// # Errors
    /// The controller does not answer. It is no error if accounting does not answer.
    pub async fn facts(&self, cluster: Option<&str>) -> Result<Arc<SiteFacts>, SlurmUnavailable> {
        let (slurm, cluster) = (self.clone(), cluster.map(str::to_owned));
        self.aside(async move {
            let cluster = cluster.as_deref();
            remembered(&slurm.0.facts, cluster, FRESH, slurm.ask_facts(cluster)).await
        })
        .await
    }

    /// The last known facts about a cluster, without a query.
    pub fn known(&self, cluster: Option<&str>) -> Option<Arc<SiteFacts>> {
        let place = Arc::clone(self.0.facts.try_lock().ok()?.get(&cluster.map(str::to_owned))?);
        let place = place.try_lock().ok()?;
        place.as_ref().and_then(|(_, answer)| answer.clone().ok())
    }

    /// The most memory that a job can have on one node, in MiB, as far as is known without a query.
    pub fn most_memory(&self, asked: &JobOptions) -> Option<u64> {
        let clusters = Clusters::of(asked.clusters.as_deref());
        if clusters.chosen_by_slurm() { None } else { self.known(clusters.only())?.most_memory(asked) }
    }

    /// Starts a query for what the first job will need, in the background: accounting takes as long as starting Python.
    pub fn ask_ahead(&self, clusters: Clusters) {
        if !clusters.chosen_by_slurm() {
            let slurm = self.clone();
            tokio::spawn(async move { slurm.facts(clusters.only()).await });
        }
    }

    /// All reservations that a cluster shows, at most a few seconds old.
    ///
    /// # Errors
    /// The controller does not answer.
    pub async fn reservations(
        &self,
        cluster: Option<&str>,
    ) -> Result<Arc<Vec<Reservation>>, SlurmUnavailable> {
        let (slurm, cluster) = (self.clone(), cluster.map(str::to_owned));
        self.aside(async move {
            let cluster = cluster.as_deref();
            let ask = async {
                let text = slurm.text("scontrol", cluster, &["show", "reservation", "-o"]).await?;
                Ok(parse_reservations(&text))
            };
            remembered(&slurm.0.reservations, cluster, RESERVATIONS_FRESH, ask).await
        })
        .await
    }

    async fn text(
        &self,
        program: &str,
        cluster: Option<&str>,
        arguments: &[&str],
    ) -> Result<String, SlurmUnavailable> {
        Ok(lines(self, program, cluster, arguments).await?.join("\n"))
    }

    async fn ask_sacctmgr(&self, arguments: &[&str]) -> Result<String, SlurmUnavailable> {
        match timeout(ACCOUNTING_PATIENCE, self.text("sacctmgr", None, arguments)).await {
            Ok(answer) => answer,
            Err(_) => Err(SlurmUnavailable(format!("no answer after {} s", ACCOUNTING_PATIENCE.as_secs()))),
        }
    }

    async fn ask_facts(&self, cluster: Option<&str>) -> Result<SiteFacts, SlurmUnavailable> {
        let user = users::own_name();
        let mine = format!("user={user}");
        let associations = SiteAnswers::associations(&mine);
        let default = ["-nP", "show", "user", &user, "format=user,defaultaccount"];
        let (partitions, nodes, config, associations, default, parents) = tokio::join!(
            self.text("scontrol", cluster, &SiteAnswers::PARTITIONS),
            self.text("sinfo", cluster, &SiteAnswers::NODES),
            self.text("scontrol", cluster, &["show", "config"]),
            self.ask_sacctmgr(&associations),
            self.ask_sacctmgr(&default),
            self.ask_sacctmgr(&SiteAnswers::PARENTS),
        );
        let answers = SiteAnswers {
            partitions: partitions?,
            nodes: nodes.unwrap_or_default(),
            config: config.unwrap_or_default(),
            associations,
            default_account: default.unwrap_or_default(),
            parents: parents.unwrap_or_default(),
        };
        Ok(SiteFacts::of(answers, user, nix::unistd::geteuid().is_root(), users::groups()))
    }

    /// Adjusts the options of a job to what Slurm can do; see [`adjust`].
    pub async fn adjust(&self, asked: JobOptions) -> (JobOptions, Vec<Remark>) {
        let clusters = Clusters::of(asked.clusters.as_deref());
        if clusters.chosen_by_slurm() {
            return adjust(asked, None, None, now());
        }
        let facts = self.facts(clusters.only()).await;
        if let Err(SlurmUnavailable(words)) = &facts {
            tracing::debug!(words, "partitions are not known");
        }
        let reservations = match asked.reservation {
            Some(_) => self.reservations(clusters.only()).await.ok(),
            None => None,
        };
        adjust(asked, facts.ok().as_deref(), reservations.as_ref().map(|all| all.as_slice()), now())
    }
}

/// Now, in seconds since 1970.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
