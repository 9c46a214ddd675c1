//! Looks up the job of a token.

use amore_model::JobId;
use amore_slurm::{
    clusters::Clusters,
    submission::{Found, SlurmUnavailable},
    token::tokens_in,
};

use crate::{Slurm, users};

/// How many scripts are searched for one token.
const SCRIPTS: usize = 20;

impl Slurm {
    /// Looks up a token on each of the clusters that the job may have been submitted to.
    ///
    /// # Errors
    /// The controller of one cluster does not answer, and no other has the job.
    pub async fn find(
        &self,
        token: &str,
        name: &str,
        clusters: &Clusters,
    ) -> Result<Found, SlurmUnavailable> {
        let mut answer = Ok(Found::Nothing);
        for cluster in self.names(clusters).await? {
            match self.find_on(token, name, cluster.as_deref()).await {
                Ok(Found::Nothing) => {}
                Ok(found) => return Ok(found),
                Err(silent) => answer = Err(silent),
            }
        }
        answer
    }

    /// Looks up a token in the queue, in accounting and, where comments are not kept as given, in the scripts of jobs with
    /// that name.
    async fn find_on(
        &self,
        token: &str,
        name: &str,
        cluster: Option<&str>,
    ) -> Result<Found, SlurmUnavailable> {
        let me = users::uid();
        let is_it = |tokens: &[String]| tokens.iter().any(|other| other == token);
        for line in
            self.lines("squeue", cluster, &["-h", "-a", "-r", "-t", "all", "-u", &me, "-o", "%i|%k"]).await?
        {
            if let Some((job, text)) = line.split_once('|')
                && is_it(&tokens_in(text))
                && let Ok(number) = job.trim().parse()
            {
                return Ok(Found::Job(JobId::on(cluster, number)));
            }
        }
        // Without accounting, the queue has to be enough.
        for (number, tokens) in self.kept_tokens(cluster).await.unwrap_or_default() {
            if is_it(&tokens) {
                return Ok(Found::Job(JobId::on(cluster, number)));
            }
        }
        let named = self
            .lines("squeue", cluster, &["-h", "-a", "-r", "-t", "all", "-u", &me, "-o", "%i|%j|%k"])
            .await?;
        let candidates = named.iter().filter_map(|line| {
            let (job, rest) = line.split_once('|')?;
            let comment = rest.strip_prefix(name)?.strip_prefix('|')?;
            tokens_in(comment).is_empty().then(|| job.trim().parse::<u64>().ok())?
        });
        for number in candidates.take(SCRIPTS) {
            let script =
                self.lines("scontrol", cluster, &["write", "batch_script", &number.to_string(), "-"]).await;
            // The script contains the name of the manifest.
            let manifest = format!("/{token}.json");
            if script.is_ok_and(|script| script.iter().any(|line| line.contains(&manifest))) {
                return Ok(Found::Job(JobId::on(cluster, number)));
            }
        }
        Ok(Found::Nothing)
    }
}
