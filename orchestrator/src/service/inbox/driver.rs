//! The driver of the rules in `amore_intake`: stores, looks, and gives requests to directories.

mod acts;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use amore_core::request::{Compute, Request, Trigger};
use amore_intake::{
    ArrivalNo, DirectoryEnd, Effect, Facts, Input, Intake, Looked, OpenArrival, SettleRule, Settled, Subject,
};
use amore_ledger::{ArrivalChange, ArrivalRow, ArrivalState, LedgerError, NewArrival};
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
    LOOK_PATIENCE, Message, Store, Wish,
    end::end_of,
    rows::{opened, subject_of},
};
use crate::{
    clock::now,
    coordinate::driver::Order,
    service::{
        event_stream::EventStream,
        happening::{ServiceEvent, What},
        look, official,
        served::Giver,
    },
};

/// How many runs of one proposal are looked at side by side: a file system that hangs must not use up all threads.
const LOOKS_PER_PROPOSAL: usize = 2;
/// How long to wait before the store is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

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
    /// None is known, and one whose proposal is not known yet may be its: which. `None`: the list of databases is not read yet.
    fn of(&self, proposal: Proposal) -> Result<BTreeSet<PathBuf>, Option<PathBuf>> {
        let of_it = self.known.iter().filter(|(_, (of, _))| *of == proposal);
        let directories: BTreeSet<PathBuf> = of_it.map(|(dir, _)| dir.clone()).collect();
        let Some(all) = &self.all else { return Err(None) };
        match all.iter().find(|dir| !self.known.contains_key(*dir)) {
            Some(unknown) if directories.is_empty() => Err(Some(unknown.clone())),
            _ => Ok(directories),
        }
    }
}

type Asked = (NewArrival, oneshot::Sender<Result<ArrivalNo, String>>);

/// Stores events, looks at folders, and gives requests to directories.
pub(super) struct Driver {
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
    /// `own`: the other end of what [`Driver::run`] reads.
    pub(super) fn new(
        store: Store,
        list: ListenerDb,
        events: EventStream,
        own: UnboundedSender<Message>,
    ) -> Self {
        Driver {
            intake: Intake::new(SettleRule::default()),
            store: Arc::new(store),
            served: Served::default(),
            looks: BTreeMap::new(),
            own,
            unwritten: VecDeque::new(),
            accepting: VecDeque::new(),
            wishes: VecDeque::new(),
            marker: None,
            events,
            unsettled: BTreeMap::new(),
            list,
            is_static: true,
        }
    }

    /// Works until the last [`super::Inbox`] is gone.
    pub(super) async fn run(mut self, mut inbox: UnboundedReceiver<Message>) {
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
                let gone = self.served.known.extract_if(.., |dir, _| !directories.contains(dir));
                let gone: Vec<PathBuf> = gone.map(|(dir, _)| dir).collect();
                gone.into_iter().for_each(|dir| self.feed(Input::Resumed(dir)));
                self.served.all = Some(directories);
            }
            Message::Serves(directory, proposal, giver) => {
                self.served.known.insert(directory, (proposal, giver));
            }
            Message::Hindered(directory, Some(why)) => self.feed(Input::Hindered(directory, why)),
            Message::Hindered(directory, None) => self.feed(Input::Resumed(directory)),
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
            Err(unknown) => {
                tracing::debug!(arrival = number.0, ?unknown, "an event waits until directories are known");
                return self.beside(std::future::ready(Input::Unready(number, unknown)));
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
        let own = self.own.clone();
        self.beside(async move {
            let Some(giver) = giver else { return Input::Ended(number, directory, DirectoryEnd::Lost) };
            let trigger = Trigger { id, data: data.run_data(), urgency };
            let request = Request::Compute(Compute::arrived(proposal, run, trigger));
            let (events, told) = unbounded_channel();
            giver.give(Order { request, events });
            let hindered = |why| {
                let _ = own.send(Message::Hindered(directory.clone(), why));
            };
            let end = end_of(told, hindered).await;
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
