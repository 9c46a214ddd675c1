//! The inbox of a service: events of all sources are stored here first, and then become requests for directories.
//!
//! The rules are in `amore_intake`. This is their driver: it stores, looks at folders, gives requests to directories, and
//! passes the results back. A store that does not answer delays the acceptance of new events, never their loss: whoever
//! sends one keeps it until it is accepted.

mod acts;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use amore_core::{
    events::{Event, Summary},
    request::{Compute, Request, Trigger},
};
use amore_intake::{
    Arrival, ArrivalNo, ArrivedData, Change, DirectoryEnd, Effect, Facts, Input, Intake, Last, Looked,
    OpenArrival, SettleRule, Settled, Subject,
};
use amore_ledger::{ArrivalChange, ArrivalRow, ArrivalState, Lease, Ledger, LedgerError, NewArrival};
use amore_listener_db::ListenerDb;
use amore_model::{Proposal, Urgency};
use tokio::{
    sync::{
        Semaphore,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::sleep,
};

use super::{
    event_stream::EventStream,
    happening::{ServiceEvent, What},
    look, official,
    served::Giver,
    user_acts::{Answer, UserAct},
};
use crate::{clock::now, coordinate::driver::Order};

/// How many runs of one proposal are looked at side by side: a file system that hangs must not use up all threads.
const LOOKS_PER_PROPOSAL: usize = 2;
/// How long a look may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before the store is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

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

/// The directories of the service: those whose proposal is known, and how to give them requests.
#[derive(Debug, Default)]
struct Served {
    /// `None` until the list is read.
    all: Option<BTreeSet<PathBuf>>,
    known: BTreeMap<PathBuf, (Proposal, Giver)>,
}

impl Served {
    /// The directories of a proposal.
    ///
    /// # Errors
    /// None is known, and one whose proposal is not known yet may be its.
    fn of(&self, proposal: Proposal) -> Result<BTreeSet<PathBuf>, String> {
        let of_it = self.known.iter().filter(|(_, (of, _))| *of == proposal);
        let directories: BTreeSet<PathBuf> = of_it.map(|(dir, _)| dir.clone()).collect();
        let Some(all) = &self.all else { return Err("the list of databases is not read yet".to_owned()) };
        match all.iter().find(|dir| !self.known.contains_key(*dir)) {
            Some(unknown) if directories.is_empty() => {
                Err(format!("the proposal of {} is not known yet", unknown.display()))
            }
            _ => Ok(directories),
        }
    }
}

/// A message to the inbox.
enum Message {
    Accept(Box<NewArrival>, oneshot::Sender<Result<ArrivalNo, String>>),
    Input(Box<Input>),
    Directories(BTreeSet<PathBuf>),
    Serves(PathBuf, Proposal, Giver),
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
    let driver = Driver {
        intake: Intake::new(SettleRule::default()),
        store: Arc::new(store),
        served: Served::default(),
        looks: BTreeMap::new(),
        own: send.clone(),
        unwritten: VecDeque::new(),
        accepting: VecDeque::new(),
        wishes: VecDeque::new(),
        marker: None,
        events,
        unsettled: BTreeMap::new(),
        list,
        is_static: true,
    };
    tokio::spawn(driver.run(inbox));
    Inbox(send)
}

type Asked = (NewArrival, oneshot::Sender<Result<ArrivalNo, String>>);

struct Driver {
    intake: Intake,
    store: Arc<Store>,
    served: Served,
    looks: BTreeMap<Proposal, Arc<Semaphore>>,
    own: UnboundedSender<Message>,
    /// Changes that are not stored yet.
    unwritten: VecDeque<ArrivalChange>,
    /// Events that are not stored yet.
    accepting: VecDeque<Asked>,
    /// What users want to be done. It waits until all changes are stored.
    wishes: VecDeque<Wish>,
    marker: Option<String>,
    /// What happens, for those who watch.
    events: EventStream,
    /// What the events are about that are not settled.
    unsettled: BTreeMap<ArrivalNo, Subject>,
    /// The list of databases.
    list: ListenerDb,
    /// No databases are added to it for events.
    is_static: bool,
}

impl Driver {
    async fn run(mut self, mut inbox: UnboundedReceiver<Message>) {
        let open = loop {
            match self.store.ledger.open_arrivals(&self.store.lease.scope).await {
                Ok(rows) => break rows,
                Err(error) => {
                    tracing::error!(%error, "the inbox cannot be read; trying again");
                    sleep(STORE_PAUSE).await;
                }
            }
        };
        let open: Vec<OpenArrival> = open.into_iter().filter_map(opened).collect();
        if !open.is_empty() {
            tracing::info!(events = open.len(), "continuing with open events");
        }
        self.feed(Input::Started(open));
        loop {
            let wake = self
                .intake
                .next_wakeup()
                .map(|at| Duration::try_from_secs_f64(at - now()).unwrap_or_default());
            tokio::select! {
                message = inbox.recv() => {
                    let Some(message) = message else { return };
                    self.take(message);
                    // What has come meanwhile is stored in the same transaction.
                    while let Ok(message) = inbox.try_recv() {
                        self.take(message);
                    }
                }
                () = sleep(wake.unwrap_or(Duration::MAX / 4)), if wake.is_some() => self.feed(Input::Tick),
                () = std::future::ready(()), if !self.accepting.is_empty() => self.store_events().await,
                () = std::future::ready(()), if !self.unwritten.is_empty() => self.store_changes().await,
                () = std::future::ready(()), if self.unwritten.is_empty() && !self.wishes.is_empty() => {
                    if let Some(Wish { asked, by, answer }) = self.wishes.pop_front() {
                        let _ = answer.send(self.act(&asked, &by).await);
                    }
                }
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Accept(arrival, answer) => self.accepting.push_back((*arrival, answer)),
            Message::Input(input) => self.feed(*input),
            Message::Act(wish) => self.wishes.push_back(wish),
            Message::Directories(directories) => {
                self.served.known.retain(|dir, _| directories.contains(dir));
                self.served.all = Some(directories);
            }
            Message::Serves(directory, proposal, giver) => {
                self.served.known.insert(directory, (proposal, giver));
            }
            Message::Rule(rule) => {
                self.marker = rule.marker.clone();
                self.intake.set_rule(rule);
            }
            Message::Static(is_static) => {
                if self.is_static != is_static {
                    let words = if is_static {
                        "only listed databases are processed"
                    } else {
                        "official databases are added"
                    };
                    tracing::info!("{words}");
                }
                self.is_static = is_static;
            }
            Message::IsStatic(answer) => {
                let _ = answer.send(self.is_static);
            }
            Message::Changed(change, answer) => {
                let is_it =
                    |(arrival, _): &Asked| subject_of(arrival) == Some(change.subject) && !change.again;
                let _ = answer.send(self.accepting.iter().any(is_it) || self.intake.knows_of(&change));
                self.feed(Input::Changed(change.subject));
            }
            Message::MayHaveFilled(subject, directory, answer) => {
                let is_it = |(arrival, _): &Asked| subject_of(arrival) == Some(subject);
                let waits = self.accepting.iter().any(is_it);
                let _ = answer.send(waits || self.intake.may_have_filled(subject, &directory));
            }
            Message::Concerns(proposal, answer) => {
                let directories = self.served.of(proposal);
                // In dynamic mode, its official database may come with the event.
                let concerned = directories.map_or(true, |directories| !directories.is_empty());
                let _ = answer.send(concerned || !self.is_static);
            }
            Message::LastKnown(subject, answer) => {
                let store = Arc::clone(&self.store);
                tokio::spawn(async move {
                    let last = store.last_known(subject).await;
                    let _ = answer.send(last.map_err(|error| error.to_string()));
                });
            }
        }
    }

    fn feed(&mut self, input: Input) {
        match &input {
            Input::Started(open) => {
                self.unsettled.extend(open.iter().map(|one| (one.arrival.number, one.arrival.subject)));
            }
            Input::Arrived(arrival) | Input::Retried(OpenArrival { arrival, .. }) => {
                self.unsettled.insert(arrival.number, arrival.subject);
            }
            _ => {}
        }
        for effect in self.intake.on(now(), input) {
            match effect {
                Effect::Look { number, subject } => self.look(number, subject),
                Effect::Dispatch { number, subject, directory, urgency, generation } => {
                    self.dispatch((number, generation), subject, directory, urgency);
                }
                Effect::Write { number, state, facts } => {
                    let state = match state {
                        Settled::Open => ArrivalState::Open,
                        Settled::Done => ArrivalState::Done,
                        Settled::Failed => ArrivalState::Failed,
                        Settled::Dropped => ArrivalState::Dropped,
                    };
                    if state != ArrivalState::Open {
                        self.publish_settled(number, state, &facts);
                    }
                    let detail = serde_json::to_value(&facts).unwrap_or_default();
                    self.unwritten.push_back(ArrivalChange { id: number.0, state, detail, at: now() });
                }
            }
        }
    }

    fn publish_settled(&mut self, number: ArrivalNo, state: ArrivalState, facts: &Facts) {
        let Some(Subject { proposal, run, data }) = self.unsettled.remove(&number) else { return };
        let (state, why) = (state.word().to_owned(), facts.why.clone());
        let settled = ServiceEvent::EventSettled { proposal, run, data, arrival: number.0, state, why };
        self.events.publish(None, What::Service(settled));
    }

    fn beside(&self, work: impl Future<Output = Input> + Send + 'static) {
        let own = self.own.clone();
        tokio::spawn(async move {
            let _ = own.send(Message::Input(Box::new(work.await)));
        });
    }

    fn look(&mut self, number: ArrivalNo, subject: Subject) {
        let mut directories = match self.served.of(subject.proposal) {
            Ok(directories) => directories,
            Err(why) => {
                tracing::debug!(arrival = number.0, why, "an event waits");
                return self.beside(std::future::ready(Input::Unready(number)));
            }
        };
        let list = (!self.is_static).then(|| self.list.clone());
        let slots = self
            .looks
            .entry(subject.proposal)
            .or_insert_with(|| Arc::new(Semaphore::new(LOOKS_PER_PROPOSAL)));
        let (slots, store, marker) = (Arc::clone(slots), Arc::clone(&self.store), self.marker.clone());
        self.beside(async move {
            let looked = async {
                // Whatever looks at files of the proposal keeps it, also when nobody waits for the answer any more.
                let slot = Arc::new(slots.acquire_owned().await.map_err(|error| error.to_string())?);
                if let Some(list) = list {
                    let added =
                        official::added(&list, subject.proposal, &directories, Arc::clone(&slot)).await?;
                    directories.extend(added);
                }
                if directories.is_empty() {
                    return Ok(Looked { directories, folder: None, last: None });
                }
                let folder = tokio::task::spawn_blocking(move || {
                    let _slot = slot;
                    look::look(subject, marker.as_deref()).map_err(|error| error.to_string())
                });
                let folder = folder.await.map_err(|error| error.to_string())??;
                let last = store.last_known(subject).await.map_err(|error| error.to_string())?;
                Ok(Looked { directories, folder, last })
            };
            let looked = tokio::time::timeout(LOOK_PATIENCE, looked).await;
            let looked = looked.unwrap_or_else(|_| {
                Err(format!("the {} data of the run cannot be listed: no answer", subject.data.word()))
            });
            Input::Looked(number, looked)
        });
    }

    fn dispatch(
        &mut self,
        (number, generation): (ArrivalNo, u32),
        subject: Subject,
        directory: PathBuf,
        urgency: Urgency,
    ) {
        let Subject { proposal, run, data } = subject;
        let giver = self.served.known.get(&directory).map(|(_, giver)| giver.clone());
        let id = format!("{}#{}.{generation}", self.store.lease.scope, number.0);
        tracing::info!(arrival = number.0, %proposal, %run, data = data.word(), directory = %directory.display(), %urgency, "request");
        self.beside(async move {
            let Some(giver) = giver else { return Input::Ended(number, directory, DirectoryEnd::Lost) };
            let trigger = Trigger { id, data: data.run_data(), urgency };
            let request = Request::Compute(Compute::arrived(proposal, run, trigger));
            let (events, told) = unbounded_channel();
            giver.give(Order { request, events });
            let end = end_of(told).await;
            tracing::info!(arrival = number.0, %run, data = %data.word(), ?end, "request ended");
            Input::Ended(number, directory, end)
        });
    }

    /// Stores the events that have come, in one transaction.
    async fn store_events(&mut self) {
        let (rows, answers): (Vec<NewArrival>, Vec<_>) = self.accepting.drain(..).unzip();
        match self.store.ledger.accept(&self.store.lease, &rows).await {
            Ok(accepted) => {
                for ((arrival, answer), accepted) in rows.into_iter().zip(answers).zip(accepted) {
                    let _ = answer.send(Ok(ArrivalNo(accepted.id)));
                    if !accepted.known {
                        self.publish(accepted.id, &arrival);
                    }
                    let open = ArrivalRow { id: accepted.id, changed: arrival.received, arrival };
                    if !accepted.known
                        && open.arrival.state == ArrivalState::Open
                        && let Some(open) = opened(open)
                    {
                        self.feed(Input::Arrived(open.arrival));
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, events = rows.len(), "events cannot be stored");
                for answer in answers {
                    let _ = answer.send(Err(error.to_string()));
                }
            }
        }
    }

    fn publish(&self, number: i64, arrival: &NewArrival) {
        let source = arrival.source.clone();
        let event = match subject_of(arrival) {
            Some(Subject { proposal, run, data }) => {
                ServiceEvent::RunSeen { proposal, run, data, source, arrival: number }
            }
            None => {
                let why = arrival.detail.get("why").and_then(serde_json::Value::as_str).unwrap_or_default();
                ServiceEvent::NotUnderstood { source, why: why.to_owned() }
            }
        };
        self.events.publish(None, What::Service(event));
    }

    /// Stores what has changed. A change that can never be stored is logged and left out, so that it does not hold up others.
    async fn store_changes(&mut self) {
        let batch: Vec<ArrivalChange> = self.unwritten.iter().cloned().collect();
        let error = match self.store.ledger.change_arrivals(&self.store.lease, &batch).await {
            Ok(()) => {
                self.unwritten.drain(..batch.len());
                return;
            }
            Err(error) => error,
        };
        if !matches!(error, LedgerError::Misuse { .. }) {
            tracing::warn!(%error, "the inbox cannot be written; trying again");
            sleep(STORE_PAUSE).await;
            return;
        }
        for change in batch {
            match self.store.ledger.change_arrivals(&self.store.lease, std::slice::from_ref(&change)).await {
                Ok(()) => {}
                Err(LedgerError::Misuse { what }) => {
                    tracing::error!(event = change.id, state = %change.state, "a change is left out: {what}");
                }
                // The rest is tried again.
                Err(_) => return,
            }
            self.unwritten.pop_front();
        }
    }
}

impl Store {
    /// What became of these data last.
    async fn last_known(
        &self,
        Subject { proposal, run, data }: Subject,
    ) -> Result<Option<Last>, LedgerError> {
        let row = self.ledger.last_known(&self.lease.scope, proposal, run, data.word()).await?;
        Ok(row.and_then(|row| {
            let state = match row.arrival.state {
                ArrivalState::Open => Settled::Open,
                ArrivalState::Done => Settled::Done,
                ArrivalState::Failed => Settled::Failed,
                ArrivalState::Dropped => Settled::Dropped,
            };
            Last::of(ArrivalNo(row.id), row.changed, state, facts(row.arrival.detail))
        }))
    }
}

/// How a user has cancelled a request.
const CANCELLED: &str = "cancelled by amore cancel";

/// Waits for the last event of a request.
async fn end_of(mut told: UnboundedReceiver<Event>) -> DirectoryEnd {
    let mut problem = None;
    while let Some(event) = told.recv().await {
        match event {
            Event::RunEnded { problem: found, .. } => problem = found.or(problem),
            Event::Finished(summary) if summary.interrupted => return DirectoryEnd::Lost,
            Event::Finished(summary) if summary.runs == 0 && summary.runs_missing > 0 => {
                return DirectoryEnd::Refused { why: "the run has no data on disk".to_owned() };
            }
            Event::Finished(summary) if summary.is_cancelled(problem.as_deref()) => {
                return DirectoryEnd::Cancelled { words: CANCELLED.to_owned() };
            }
            Event::Finished(summary) if summary.runs_failed > 0 => {
                let why = problem.unwrap_or_else(|| "the run could not be processed".to_owned());
                return DirectoryEnd::Refused { why };
            }
            Event::Finished(summary) => return DirectoryEnd::Processed { words: words(&summary) },
            Event::Refused { message, .. } => return DirectoryEnd::Refused { why: message },
            _ => {}
        }
    }
    DirectoryEnd::Lost
}

fn words(summary: &Summary) -> String {
    let Summary { values, failed, skipped, .. } = summary;
    format!("{values} values, {failed} failed, {skipped} skipped")
}

fn row(report: Report, at: f64) -> NewArrival {
    let Subject { proposal, run, data } = report.subject;
    NewArrival {
        source: report.source.to_owned(),
        source_id: report.source_id,
        proposal: Some(proposal),
        run: Some(run),
        data: Some(data.word().to_owned()),
        received: at,
        payload: report.payload,
        complete: report.is_complete,
        forced: report.is_forced,
        state: ArrivalState::Open,
        detail: serde_json::json!({}),
    }
}

/// An event that was not understood.
fn failed_row(source: &str, source_id: Option<String>, payload: String, why: String) -> NewArrival {
    NewArrival {
        source: source.to_owned(),
        source_id,
        proposal: None,
        run: None,
        data: None,
        complete: false,
        forced: false,
        received: now(),
        payload,
        state: ArrivalState::Failed,
        detail: serde_json::json!({ "why": why }),
    }
}

/// What an event is about, if it was understood.
fn subject_of(arrival: &NewArrival) -> Option<Subject> {
    let data = ArrivedData::of_word(arrival.data.as_deref()?)?;
    Some(Subject { proposal: arrival.proposal?, run: arrival.run?, data })
}

fn facts(detail: serde_json::Value) -> Facts {
    serde_json::from_value(detail).unwrap_or_default()
}

/// An event that is open.
fn opened(row: ArrivalRow) -> Option<OpenArrival> {
    let ArrivalRow { id, arrival: stored, .. } = row;
    let facts = facts(stored.detail.clone());
    let arrival = Arrival {
        number: ArrivalNo(id),
        subject: subject_of(&stored)?,
        is_complete: stored.complete,
        is_forced: stored.forced,
        only: facts.only.clone(),
        received: stored.received,
    };
    Some(OpenArrival { arrival, facts })
}
