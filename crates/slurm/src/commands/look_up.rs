//! Looking for the job of a token.

use amore_model::JobId;

use super::{Commands, accounting::kept_tokens, lines, queue::names};
use crate::{
    clusters::Clusters,
    submission::{Found, SlurmUnavailable},
    token::tokens_in,
};

/// Scripts that are looked into for one token.
const SCRIPTS: usize = 20;

/// Looks a token up on each of the clusters that it may have gone to.
///
/// # Errors
/// The controller of one of them does not answer, and no other has it.
pub async fn find<C: Commands>(
    commands: &C,
    token: &str,
    name: &str,
    clusters: &Clusters,
) -> Result<Found, SlurmUnavailable> {
    let mut answer = Ok(Found::Nothing);
    for cluster in names(commands, clusters).await? {
        match find_on(commands, token, name, cluster.as_deref()).await {
            Ok(Found::Nothing) => {}
            Ok(found) => return Ok(found),
            Err(silent) => answer = Err(silent),
        }
    }
    answer
}

/// Looks a token up: in the queue, in what accounting keeps, and where comments are not kept as they were given in the
/// scripts of jobs of that name.
async fn find_on<C: Commands>(
    commands: &C,
    token: &str,
    name: &str,
    cluster: Option<&str>,
) -> Result<Found, SlurmUnavailable> {
    let me = commands.uid();
    let is_it = |tokens: &[String]| tokens.iter().any(|other| other == token);
    let mine = |fields| ["-h", "-a", "-r", "-t", "all", "-u", me.as_str(), "-o", fields];
    for line in lines(commands, "squeue", cluster, &mine("%i|%k")).await? {
        if let Some((job, text)) = line.split_once('|')
            && is_it(&tokens_in(text))
            && let Ok(number) = job.trim().parse()
        {
            return Ok(Found::Job(JobId::on(cluster, number)));
        }
    }
    // Without accounting the queue has to be enough.
    for (number, tokens) in kept_tokens(commands, cluster).await.unwrap_or_default() {
        if is_it(&tokens) {
            return Ok(Found::Job(JobId::on(cluster, number)));
        }
    }
    let named = lines(commands, "squeue", cluster, &mine("%i|%j|%k")).await?;
    let candidates = named.iter().filter_map(|line| {
        let (job, rest) = line.split_once('|')?;
        let comment = rest.strip_prefix(name)?.strip_prefix('|')?;
        tokens_in(comment).is_empty().then(|| job.trim().parse::<u64>().ok())?
    });
    for number in candidates.take(SCRIPTS) {
        let script = ["write", "batch_script", &number.to_string(), "-"];
        let script = lines(commands, "scontrol", cluster, &script).await;
        // The script contains the name of the manifest.
        let manifest = format!("/{token}.json");
        if script.is_ok_and(|script| script.iter().any(|line| line.contains(&manifest))) {
            return Ok(Found::Job(JobId::on(cluster, number)));
        }
    }
    Ok(Found::Nothing)
}
