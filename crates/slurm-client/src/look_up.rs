//! Looking for the job of a token.

use amore_model::JobId;
use amore_slurm::{
    clusters::Clusters,
    submission::{Found, SlurmSilent},
    token::tokens_in,
};

use crate::{Slurm, users};

/// Scripts that are looked into for one token.
const SCRIPTS: usize = 20;

impl Slurm {
    /// Looks a token up on each of the clusters that it may have gone to.
    ///
    /// # Errors
    /// The controller of one of them does not answer, and no other has it.
    pub async fn find(&self, token: &str, name: &str, clusters: &Clusters) -> Result<Found, SlurmSilent> {
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

    /// Looks a token up: in the queue, in what accounting keeps, and where comments are not kept as they were given in the
    /// scripts of jobs of that name.
    async fn find_on(&self, token: &str, name: &str, cluster: Option<&str>) -> Result<Found, SlurmSilent> {
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
        // Without accounting the queue has to be enough.
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
            // The name of the sheet is in it.
            let sheet = format!("/{token}.json");
            if script.is_ok_and(|script| script.iter().any(|line| line.contains(&sheet))) {
                return Ok(Found::Job(JobId::on(cluster, number)));
            }
        }
        Ok(Found::Nothing)
    }
}
