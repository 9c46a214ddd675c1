//! Asks the metadata catalogue MyMdC about runs. The token stays in this process.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use amore_core::RunKey;
use amore_model::{MymdcField, Proposal};
use amore_mymdc::{Answers, Client, Credentials, MymdcError, Patience};
use amore_wire::mymdc::{MymdcValue, MymdcValues};
use tokio::sync::{Mutex, Semaphore};

use crate::{
    advice::Advice,
    site::{self, SiteError},
};

/// So many runs are asked about at the same time.
const AT_ONCE: usize = 16;
/// For all requests about a run, and for reading the credentials, whatever hangs.
const IN_ALL: Duration = Duration::from_secs(60);

/// Why nothing could be asked, or was answered, about a run.
#[derive(Debug, thiserror::Error)]
enum NotAsked {
    #[error(transparent)]
    NoProposal(#[from] SiteError),
    #[error(transparent)]
    Mymdc(#[from] MymdcError),
    #[error("the credentials for MyMdC could not be read: {0}")]
    Stopped(#[from] tokio::task::JoinError),
    #[error("MyMdC and the file system with its credentials have not answered in {} s", IN_ALL.as_secs())]
    TimedOut,
}

impl NotAsked {
    fn class(&self) -> &'static str {
        match self {
            NotAsked::NoProposal(_) => "MymdcCredentialsError",
            NotAsked::Mymdc(error) => error.class(),
            NotAsked::Stopped(_) | NotAsked::TimedOut => "MymdcUnavailableError",
        }
    }
}

impl Advice for NotAsked {
    fn hint(&self) -> Option<String> {
        match self {
            NotAsked::NoProposal(error) => error.hint(),
            NotAsked::Mymdc(error) => Some(error.hint().to_owned()),
            NotAsked::Stopped(_) | NotAsked::TimedOut => Some("reprocess the run later".to_owned()),
        }
    }
}

/// Connections to MyMdC. Created with the first question.
#[derive(Debug)]
pub(super) struct Catalogue {
    turns: Semaphore,
    client: Mutex<Option<Client>>,
}

impl Catalogue {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Catalogue { turns: Semaphore::new(AT_ONCE), client: Mutex::new(None) })
    }

    /// A value or an error for each of these fields, after a limited time.
    pub(super) async fn ask(&self, key: RunKey, fields: BTreeSet<MymdcField>) -> MymdcValues {
        // It is never closed. Without a turn, there would only be more requests at once.
        let _turn = self.turns.acquire().await;
        let asked = tokio::time::timeout(IN_ALL, self.answers(key, &fields));
        match asked.await.unwrap_or(Err(NotAsked::TimedOut)) {
            Ok(answers) => answers.into_iter().map(|(field, answer)| (field, value(answer))).collect(),
            Err(why) => {
                let error = error(why.class(), &why.to_string(), why.hint());
                fields.into_iter().map(|field| (field, error.clone())).collect()
            }
        }
    }

    async fn answers(
        &self,
        (proposal, run): RunKey,
        fields: &BTreeSet<MymdcField>,
    ) -> Result<Answers, NotAsked> {
        // For each run: a new token is used at once.
        let credentials = tokio::task::spawn_blocking(move || credentials(proposal)).await??;
        let client = self.client().await?;
        Ok(client.ask(&credentials, proposal, run, fields).await)
    }

    async fn client(&self) -> Result<Client, NotAsked> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref() {
            return Ok(client.clone());
        }
        let client = tokio::task::spawn_blocking(|| Client::new(Patience::default())).await??;
        Ok(kept.insert(client).clone())
    }
}

fn credentials(proposal: Proposal) -> Result<Credentials, NotAsked> {
    let directory = site::find_proposal(proposal)?;
    Ok(Credentials::read(&Credentials::path_in(&directory))?)
}

fn value(answer: Result<String, MymdcError>) -> MymdcValue {
    match answer {
        Ok(json) => MymdcValue::Value { json },
        Err(why) => error(why.class(), &why.to_string(), Some(why.hint().to_owned())),
    }
}

/// The error of a variable has no hint of its own: the message says what to do.
fn error(class: &str, message: &str, hint: Option<String>) -> MymdcValue {
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    MymdcValue::Error { class: class.to_owned(), message: format!("{message}{hint}") }
}
