//! The inbox of a service: events of all sources are stored here first, and then become requests for directories.
//!
//! The rules are in `amore_intake`. This is their driver: it stores, looks at folders, gives requests to directories, and
//! passes the results back. A store that does not answer delays the acceptance of new events, never their loss: whoever
//! sends one keeps it until it is accepted.
//!
//! Here is what sources and the service use; [`driver`] does the work.

mod driver;
mod end;
mod rows;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use amore_intake::{ArrivalNo, Change, Facts, Input, Last, SettleRule, Subject};
use amore_ledger::{Lease, Ledger, NewArrival};
use amore_listener_db::ListenerDb;
use amore_model::Proposal;
use tokio::sync::{
    mpsc::{UnboundedSender, unbounded_channel},
    oneshot,
};

pub(super) use self::rows::subject_of;
use self::{
    driver::Driver,
    rows::{failed_row, row},
};
use super::{
    event_stream::EventStream,
    official,
    served::Giver,
    user_acts::{Answer, UserAct},
};
use crate::clock::now;

/// How long a look may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(60);

/// An event about a run, as a source reports it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The source: `kafka`, `http`, `command`, `folders`.
    pub source: &'static str,
    /// Identifies the event at its source: the same event is stored once.
    pub source_id: Option<String>,
    /// What it is about.
    pub subject: Subject,
    /// No more files follow.
    pub is_complete: bool,
    /// The data are processed whether they have changed or not.
    pub is_forced: bool,
    /// The event as it was received.
    pub payload: String,
}

/// An event as it comes from a source that brings many.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// It is understood.
    Report(Report),
    /// It is not, and somebody has to look at it.
    NotUnderstood { source: &'static str, source_id: Option<String>, payload: String, why: String },
}

/// A message to the inbox.
enum Message {
    Accept(Box<NewArrival>, oneshot::Sender<Result<ArrivalNo, String>>),
    Input(Box<Input>),
    Directories(BTreeSet<PathBuf>),
    Serves(PathBuf, Proposal, Giver),
    Hindered(PathBuf, Option<String>),
    Rule(SettleRule),
    Static(bool),
    IsStatic(oneshot::Sender<bool>),
    Changed(Change, oneshot::Sender<bool>),
    Concerns(Proposal, oneshot::Sender<bool>),
    MayHaveFilled(Subject, PathBuf, oneshot::Sender<bool>),
    LastKnown(Subject, oneshot::Sender<Result<Option<Last>, String>>),
    Act(Wish),
}

/// What a user wants to be done with events.
#[derive(Debug)]
struct Wish {
    asked: UserAct,
    by: String,
    answer: oneshot::Sender<Result<Vec<Answer>, String>>,
}

/// The inbox, as sources use it.
#[derive(Clone, Debug)]
pub struct Inbox(UnboundedSender<Message>);

/// The inbox is closed: the service ends.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAccepted(String);

impl NotAccepted {
    fn ends() -> Self {
        NotAccepted("the service ends".to_owned())
    }
}

impl Inbox {
    /// Stores an event. When this returns, the event is not lost any more.
    ///
    /// # Errors
    /// It could not be stored. Whoever has it keeps it, and tries again.
    pub async fn accept(&self, report: Report) -> Result<ArrivalNo, NotAccepted> {
        self.store(row(report, now())).await
    }

    /// Stores an event about data that only this directory needs: it has processed them, and its table was made anew.
    ///
    /// # Errors
    /// It could not be stored. Whoever has it keeps it, and tries again.
    pub async fn accept_for(&self, report: Report, directory: &Path) -> Result<ArrivalNo, NotAccepted> {
        let only = [directory.display().to_string()].into();
        let detail = serde_json::to_value(Facts { only, ..Facts::default() }).unwrap_or_default();
        self.store(NewArrival { detail, ..row(report, now()) }).await
    }

    /// Stores an event that cannot be understood, for somebody to look at.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn not_understood(
        &self,
        source: &'static str,
        source_id: Option<String>,
        payload: String,
        why: String,
    ) -> Result<(), NotAccepted> {
        self.accept_all(vec![Incoming::NotUnderstood { source, source_id, payload, why }]).await
    }

    /// Stores events, together if possible. When this returns, none of them is lost any more.
    ///
    /// # Errors
    /// At least one could not be stored. Whoever has them keeps all, and tries again.
    pub async fn accept_all(&self, incoming: Vec<Incoming>) -> Result<(), NotAccepted> {
        let rows = incoming.into_iter().map(|incoming| match incoming {
            Incoming::Report(report) => row(report, now()),
            Incoming::NotUnderstood { source, source_id, payload, why } => {
                tracing::warn!(source, why, "an event is not understood: see `amore inbox list`");
                failed_row(source, source_id, payload, why)
            }
        });
        let answers: Vec<_> = rows.map(|row| self.give(row)).collect::<Result<_, _>>()?;
        for answer in answers {
            answer.await.map_err(|_| NotAccepted::ends())?.map_err(NotAccepted)?;
        }
        Ok(())
    }

    /// Whether a database of this service belongs to the proposal, as far as that is known: in doubt, yes.
    ///
    /// # Errors
    /// The service ends.
    pub async fn concerns(&self, proposal: Proposal) -> Result<bool, NotAccepted> {
        let (send, answer) = oneshot::channel();
        self.0.send(Message::Concerns(proposal, send)).map_err(|_| NotAccepted::ends())?;
        answer.await.map_err(|_| NotAccepted::ends())
    }

    async fn store(&self, arrival: NewArrival) -> Result<ArrivalNo, NotAccepted> {
        self.give(arrival)?.await.map_err(|_| NotAccepted::ends())?.map_err(NotAccepted)
    }

    fn give(&self, arrival: NewArrival) -> Result<oneshot::Receiver<Result<ArrivalNo, String>>, NotAccepted> {
        let (send, answer) = oneshot::channel();
        self.0.send(Message::Accept(Box::new(arrival), send)).map_err(|_| NotAccepted::ends())?;
        Ok(answer)
    }

    /// The data of this kind of a run that are known last.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn last_known(&self, subject: Subject) -> Result<Option<Last>, String> {
        let (send, answer) = oneshot::channel();
        let _ = self.0.send(Message::LastKnown(subject, send));
        answer.await.map_err(|_| "the service ends".to_owned())?
    }

    /// Whether values of a directory may be those of these data, because they are being processed, or were so just now.
    pub async fn may_have_filled(&self, subject: Subject, directory: &Path) -> bool {
        let (send, answer) = oneshot::channel();
        let _ = self.0.send(Message::MayHaveFilled(subject, directory.to_owned(), send));
        answer.await.unwrap_or(true)
    }

    /// These data have changed. Whether that needs no event: it is known here, or will be looked at.
    pub async fn covers(&self, change: Change) -> bool {
        let (send, answer) = oneshot::channel();
        let _ = self.0.send(Message::Changed(change, send));
        answer.await.unwrap_or(false)
    }

    /// Does what a user wants to be done with events, and says what was done with each.
    ///
    /// # Errors
    /// The store does not answer, or the service ends. It can be asked again.
    pub async fn act(&self, asked: UserAct, by: String) -> Result<Vec<Answer>, NotAccepted> {
        let ends = || NotAccepted("the service ends".to_owned());
        let (answer, answered) = oneshot::channel();
        self.0.send(Message::Act(Wish { asked, by, answer })).map_err(|_| ends())?;
        answered.await.map_err(|_| ends())?.map_err(NotAccepted)
    }

    /// Whether the inbox is gone.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// From now on, the service has these directories.
    pub fn set_directories(&self, directories: BTreeSet<PathBuf>) {
        let _ = self.0.send(Message::Directories(directories));
    }

    /// A directory belongs to a proposal.
    pub fn serves(&self, directory: PathBuf, proposal: Proposal, giver: Giver) {
        let _ = self.0.send(Message::Serves(directory, proposal, giver));
    }

    /// Nothing can be done in a directory now, for this reason; `None`: it goes on.
    pub fn hindered(&self, directory: PathBuf, why: Option<String>) {
        let _ = self.0.send(Message::Hindered(directory, why));
    }

    /// From now on, the service has only the databases of its list, or also the official one of each proposal with an event.
    pub fn set_static(&self, is_static: bool) {
        let _ = self.0.send(Message::Static(is_static));
    }

    /// Whether official databases are added for events.
    pub async fn is_dynamic(&self) -> bool {
        let (send, answer) = oneshot::channel();
        let _ = self.0.send(Message::IsStatic(send));
        !answer.await.unwrap_or(true)
    }

    /// The official directory of a proposal, if an event adds it to the list of databases.
    ///
    /// # Errors
    /// The file system does not say whether there is one.
    pub async fn official(&self, proposal: Proposal) -> Result<Option<PathBuf>, String> {
        if !self.is_dynamic().await {
            return Ok(None);
        }
        let found = tokio::task::spawn_blocking(move || official::find(proposal));
        let found = tokio::time::timeout(LOOK_PATIENCE, found).await.map_err(|_| "no answer".to_owned())?;
        found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// From now on, data are complete by this rule.
    pub fn set_rule(&self, rule: SettleRule) {
        let _ = self.0.send(Message::Rule(rule));
    }
}

/// The store of the inbox: the ledger of the service, and the right to write to it.
#[derive(Clone, Debug)]
pub struct Store {
    pub ledger: Ledger,
    pub lease: Lease,
}

/// Starts the inbox.
pub fn start(store: Store, list: ListenerDb, events: EventStream) -> Inbox {
    let (send, inbox) = unbounded_channel();
    tokio::spawn(Driver::new(store, list, events, send.clone()).run(inbox));
    Inbox(send)
}
