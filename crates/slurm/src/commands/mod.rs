//! What is asked by Slurm's commands, and what their answers come to.
//!
//! Each function runs one or a few commands through [`Commands`], which a program implements by starting processes and a
//! simulation by a model of Slurm. Nothing here knows how a command is run: the decisions are the same in both.

mod accounting;
mod cancel;
mod look_up;
mod queue;
mod submit;

use std::time::Duration;

pub use accounting::{accounting, kept_tokens};
pub use cancel::cancel;
pub use look_up::find;
pub use queue::{exit_codes, known_clusters, names, queue, show};
pub use submit::submit;

use crate::{
    adjust::Remark,
    environment::SiteCommands,
    exchange::{Answer, Command},
    poll::{Question, Reply},
    printed,
    submission::{JobOptions, SlurmUnavailable},
};

/// What a command printed, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its exit code; `None`: a signal ended it.
    pub code: Option<i32>,
}

impl Output {
    /// Did it exit with 0?
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Its error messages, on one line.
    pub fn error_text(&self) -> String {
        printed::words_of(&self.stderr)
    }
}

/// Why there is no answer of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It began, and what it did is not known.
    Unknown(String),
    /// It did not begin: nothing was asked of Slurm.
    NotExecuted(String),
}

impl From<NoAnswer> for SlurmUnavailable {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::Unknown(words) | NoAnswer::NotExecuted(words) => SlurmUnavailable(words),
        }
    }
}

/// Runs Slurm's commands for one user, and knows what they need from outside.
pub trait Commands: Sync {
    /// Runs a command with these arguments; `input` is its standard input.
    fn run(
        &self,
        program: &str,
        arguments: &[String],
        input: Option<&str>,
    ) -> impl Future<Output = Result<Output, NoAnswer>> + Send;

    /// Waits.
    fn pause(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Adapts what a job asks for to what the site has; see [`adjust`](crate::adjust::adjust).
    fn adjust(&self, asked: JobOptions) -> impl Future<Output = (JobOptions, Vec<Remark>)> + Send;

    /// The text of a job's script.
    ///
    /// # Errors
    /// Why the template does not give one.
    fn script(&self, asked: &JobOptions) -> Result<String, String>;

    /// The user's number.
    fn uid(&self) -> String;

    /// The name of a user, if there is one with this number.
    fn user_name(&self, uid: u32) -> Option<String>;

    /// What the site's file says about Slurm's commands.
    fn site(&self) -> &SiteCommands;

    /// The fields that the installed sacct has said not to have.
    fn unknown_fields(&self) -> Vec<String>;

    /// The installed sacct has said not to have this field: it is not asked for again.
    fn note_unknown_field(&self, field: &str);
}

/// Runs what the poller wants run.
pub async fn perform<C: Commands>(commands: &C, command: Command) -> Answer {
    match command {
        Command::Submit { token, asked } => {
            let (asked, remarks) = commands.adjust(*asked).await;
            let result = submit(commands, &asked, &token).await;
            Answer::Submitted { token, result, remarks }
        }
        Command::LookUp { token, name, clusters } => {
            let result = find(commands, &token, &name, &clusters).await;
            Answer::LookedUp { token, result }
        }
        Command::Ask { cluster, question } => {
            let reply = ask(commands, cluster.as_deref(), question).await;
            Answer::Replied { cluster, reply }
        }
        Command::Cancel { job, token } => {
            let answer = cancel(commands, &job, &token).await;
            Answer::Cancelled { token, job, answer }
        }
    }
}

async fn ask<C: Commands>(commands: &C, cluster: Option<&str>, question: Question) -> Reply {
    match question {
        Question::Queue => Reply::Queue(queue(commands, cluster).await),
        Question::Accounting(jobs) => Reply::Accounting(accounting(commands, cluster, &jobs).await),
        Question::ExitCodes => Reply::ExitCodes(exit_codes(commands, cluster).await),
        Question::Job(job) => {
            let shown = show(commands, &job).await;
            Reply::Job(job, shown)
        }
    }
}

/// The lines that a command prints about a cluster. One cluster for each question: of several, some versions print whose
/// lines follow and some do not, and one that does not answer would cost the answers of the others.
///
/// # Errors
/// It is not there, does not answer, or fails.
pub async fn lines<C: Commands>(
    commands: &C,
    program: &str,
    cluster: Option<&str>,
    arguments: &[&str],
) -> Result<Vec<String>, SlurmUnavailable> {
    let output = commands.run(program, &on_cluster(cluster, arguments), None).await?;
    if !output.success() {
        return Err(SlurmUnavailable(output.error_text()));
    }
    Ok(printed::plain(&output.stdout).lines().map(str::to_owned).collect())
}

/// Arguments that ask a cluster. None is named where none is set: with `-M` every command needs slurmdbd.
fn on_cluster(cluster: Option<&str>, arguments: &[&str]) -> Vec<String> {
    let cluster = cluster.map(|name| ["-M", name]).into_iter().flatten();
    cluster.chain(arguments.iter().copied()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use amore_model::JobId;

    use super::*;

    #[test]
    fn a_cluster_is_named_to_slurm_only_where_one_is_set() {
        assert_eq!(on_cluster(None, &["-h"]), ["-h"]);
        assert_eq!(on_cluster(Some("lab"), &["-h"]), ["-M", "lab", "-h"]);
        assert_eq!(JobId::on(Some("lab"), 7).cluster_option(), " -M lab");
        assert_eq!(JobId::on(None, 7).cluster_option(), "");
    }
}
