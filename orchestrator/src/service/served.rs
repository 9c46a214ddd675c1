//! One directory that a service processes: on a thread of its own, so that a file system that hangs, a broken file or a full
//! disk of one proposal never delays another.
//!
//! The thread becomes the owner of the directory and serves its requests. If another process has the directory, requests are
//! handed over to it. If something goes wrong, the thread begins anew after a pause, and the requests stay.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use amore_core::events::Event;
use amore_listener_db::ListenerDb;
use amore_model::{DatabaseDir, Proposal};
use amore_run_table::RunTable;
use serde::{Deserialize, Serialize};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    watch,
};

use super::{
    event_stream::EventStream,
    folders,
    happening::{DirectoryState, ServiceEvent, What},
    inbox::Inbox,
    lease::{Right, Standing},
    open::{self, NotServed},
    overview::{Overview, Seen},
};
use crate::api::listen;
use crate::{
    advice::{Advice, with_causes},
    clock,
    coordinate::{
        CoordinateError,
        abandoned::Asker,
        driver::{Driver, Order},
        hand_over::{HandedOver, hand_over, new_id},
        owner::{Claimant, Owner, TakenOwner},
        setup::Watcher,
    },
    dispatch::{shared::SharedWorkers, slurm::Slurm, worker_link::WorkerLink},
    signals::Signals,
};

/// How long to wait before a directory is tried again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A directory that was served for so long begins with the first pause again.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// How often to look whether another owner has ended, and what it tells of requests that it has.
const OWNER_POLL: Duration = Duration::from_millis(200);
/// How often to look whether the link to the socket is there.
const LINK_PERIOD: Duration = Duration::from_secs(30);

/// What a service does with a directory now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum State {
    /// It is being opened.
    Starting,
    /// This service is its owner.
    Serving {
        /// Its proposal.
        proposal: Proposal,
    },
    /// Another process is its owner; it gets the requests.
    Elsewhere {
        /// Description of the owner.
        by: String,
    },
    /// It cannot be served now, and is tried again.
    Failing {
        /// What went wrong.
        why: String,
    },
    /// The service has ended its work there.
    Stopped,
}

impl State {
    /// Whether its runs are processed, by whomever.
    pub fn is_served(&self) -> bool {
        matches!(self, State::Serving { .. } | State::Elsewhere { .. })
    }
}

/// What all directories of a service share.
#[derive(Debug)]
pub struct Shared {
    pub slurm: Slurm,
    pub workers: SharedWorkers,
    /// Number of processes on this host.
    pub processes: usize,
    /// The service's own settings.
    pub settings: ListenerDb,
    /// What happens, for those who watch.
    pub events: EventStream,
    /// What others see of its directories.
    pub overview: Overview,
    /// As whom the service takes directories.
    pub claimant: Claimant,
    /// Its right to serve.
    pub right: Right,
    /// The socket for all users of the host, if there is one.
    pub socket: watch::Receiver<Option<PathBuf>>,
}

/// Keeps a link to the socket for all users in the directory. The socket may be configured later, and a service of the directory
/// itself takes the link's place while it runs.
async fn keep_link(dir: DatabaseDir, shared: Arc<Shared>) {
    if shared.settings.path().parent() == Some(dir.path()) {
        return;
    }
    let mut socket = shared.socket.clone();
    let mut told = None;
    loop {
        let wanted = socket.borrow_and_update().clone();
        if let Some(wanted) = wanted {
            let own = dir.clone();
            let linked = tokio::task::spawn_blocking(move || listen::link(&own, &wanted)).await;
            let why = linked.ok().and_then(Result::err).map(|error| error.to_string());
            if let Some(error) = why.as_ref().filter(|_| why != told) {
                let directory = dir.path().display();
                tracing::warn!(%directory, error, "users of the directory do not find the service's socket in it");
            }
            told = why;
        }
        tokio::select! {
            changed = socket.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LINK_PERIOD) => {}
        }
    }
}

/// Gives requests to a directory.
#[derive(Clone, Debug)]
pub struct Giver(UnboundedSender<Order>);

impl Giver {
    /// Gives it a request. If its events end without a last one, it has to be given again.
    pub fn give(&self, order: Order) {
        let _ = self.0.send(order);
    }

    /// Whether nobody takes requests any more: the directory is not served by this process, and will not be.
    pub fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

/// A directory that is served.
#[derive(Debug)]
pub struct Served {
    stop: UnboundedSender<()>,
    thread: JoinHandle<()>,
}

impl Served {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub fn start(
        dir: DatabaseDir,
        proposal: Option<Proposal>,
        shared: Arc<Shared>,
        inbox: Inbox,
    ) -> std::io::Result<Self> {
        let (orders, given) = unbounded_channel();
        let (stop, stopped) = unbounded_channel();
        let name =
            dir.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        if let Some(proposal) = proposal {
            inbox.serves(dir.path().to_owned(), proposal, Giver(orders.clone()));
        }
        let seen =
            Seen { proposal, state: State::Starting, since: clock::now(), giver: Giver(orders.clone()) };
        shared.overview.add(dir.path().to_owned(), seen);
        let serving = Serving {
            watching: None,
            listed_for: proposal,
            giver: Giver(orders),
            inbox,
            dir,
            shared,
            given,
            signals: Signals::from_channel(stopped),
            state: State::Starting,
            waiting: VecDeque::new(),
            stopping: false,
        };
        let thread = thread::Builder::new().name(format!("serve {name}")).spawn(move || {
            runtime.block_on(serving.run());
            // A system call that hangs must not keep the service from ending.
            runtime.shutdown_timeout(Duration::from_secs(1));
        })?;
        Ok(Served { stop, thread })
    }

    /// Tells it to stop: the first time gently, the second time at once.
    pub fn stop(&self) {
        let _ = self.stop.send(());
    }

    /// Whether its work has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Serving {
    /// Watches the folders of the proposal, once it is known.
    watching: Option<(Proposal, tokio::task::JoinHandle<()>)>,
    giver: Giver,
    /// The proposal for which the directory is listed; `None`: its own.
    listed_for: Option<Proposal>,
    inbox: Inbox,
    dir: DatabaseDir,
    shared: Arc<Shared>,
    given: UnboundedReceiver<Order>,
    signals: Signals,
    state: State,
    /// Orders that wait until the directory can be served.
    waiting: VecDeque<Order>,
    stopping: bool,
}

/// How a turn ended.
enum Turn {
    /// The service was told to stop.
    Stopped,
    /// Another process has the directory.
    Elsewhere { by: String },
}

impl Serving {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        while !self.stopping {
            let begun = tokio::time::Instant::now();
            match self.turn().await {
                Ok(Turn::Stopped) => break,
                // The owner may be the service that has taken over from this one: it knows the requests itself.
                Ok(Turn::Elsewhere { by }) if self.shared.right.confirm().await != Standing::Serving => {
                    self.tell(State::Failing { why: format!("{by} has it, and may be the service now") });
                }
                Ok(Turn::Elsewhere { by }) => {
                    self.tell(State::Elsewhere { by: by.clone() });
                    self.hand_over_to(&by).await;
                    pause = FIRST_PAUSE;
                    continue;
                }
                Err(error) => {
                    if begun.elapsed() > STABLE_AFTER {
                        pause = FIRST_PAUSE;
                    }
                    let why = with_causes(&error);
                    if self.state != (State::Failing { why: why.clone() }) {
                        let directory = self.dir.path().display();
                        tracing::error!(%directory, "the directory cannot be served, trying again: {why}");
                    }
                    self.tell(State::Failing { why });
                }
            }
            self.wait(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.tell(State::Stopped);
    }

    fn tell(&mut self, state: State) {
        if self.state != state {
            tracing::info!(directory = %self.dir.path().display(), ?state, "directory");
            let shown = match &state {
                State::Starting => None,
                State::Serving { .. } => Some(DirectoryState::Serving),
                State::Elsewhere { by } => Some(DirectoryState::Elsewhere { by: by.clone() }),
                State::Failing { why } => Some(DirectoryState::Failing { why: why.clone() }),
                State::Stopped => Some(DirectoryState::Stopped),
            };
            if let (Some(state), Some(proposal)) = (shown, self.proposal()) {
                let what = What::Service(ServiceEvent::DirectoryChanged { state });
                self.shared.events.publish(Some((self.dir.path(), proposal)), what);
            }
            match &state {
                State::Failing { why } => self.inbox.hindered(self.dir.path().to_owned(), Some(why.clone())),
                State::Serving { .. } | State::Elsewhere { .. } => {
                    self.inbox.hindered(self.dir.path().to_owned(), None);
                }
                State::Starting | State::Stopped => {}
            }
            self.shared.overview.change(&self.dir.path().to_owned(), |seen| {
                seen.state = state.clone();
                seen.since = clock::now();
            });
            self.state = state;
        }
    }

    /// Its proposal, once that is known.
    fn proposal(&self) -> Option<Proposal> {
        self.watching.as_ref().map(|(proposal, _)| *proposal).or(self.listed_for)
    }

    /// Publishes what the core of the directory reports.
    fn watcher(&self) -> impl FnOnce(Proposal) -> Watcher + use<> {
        let (dir, events) = (self.dir.path().to_owned(), self.shared.events.clone());
        move |proposal| {
            Watcher::new(move |activity| events.publish(Some((&dir, proposal)), What::Activity(activity)))
        }
    }

    /// From the beginning each time the directory is opened: its table may have been made anew.
    fn watch(&mut self, proposal: Proposal) {
        if let Some((_, before)) = self.watching.take() {
            before.abort();
        }
        self.inbox.serves(self.dir.path().to_owned(), proposal, self.giver.clone());
        self.shared.overview.change(&self.dir.path().to_owned(), |seen| seen.proposal = Some(proposal));
        let watching = folders::watch(self.dir.clone(), proposal, self.inbox.clone());
        let linking = keep_link(self.dir.clone(), Arc::clone(&self.shared));
        let both = async {
            tokio::join!(watching, linking);
        };
        self.watching = Some((proposal, tokio::spawn(both)));
    }

    /// Waits, and keeps the orders that come meanwhile.
    async fn wait(&mut self, pause: Duration) {
        let until = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                biased;
                () = self.signals.next() => {
                    self.stopping = true;
                    return;
                }
                Some(order) = self.given.recv() => self.waiting.push_back(order),
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    /// Serves the directory for as long as this process is its owner.
    async fn turn(&mut self) -> Result<Turn, NotServed> {
        let dir = self.dir.clone();
        let shared = Arc::clone(&self.shared);
        let watcher = self.watcher();
        let listed_for = self.listed_for;
        let opened = async {
            let table = RunTable::open(open::existing(dir.clone()).await?.path()).await?;
            let setup = open::setup(&dir, &table, &shared, watcher).await?;
            // Who may use a directory through the service follows from its proposal.
            if let Some(listed) = listed_for
                && listed != setup.proposal
            {
                return Err(NotServed::OtherProposal { own: setup.proposal, listed });
            }
            Ok::<_, NotServed>((setup, Owner::take_as(&dir, table, &shared.claimant).await?))
        };
        let (setup, taken) = tokio::select! {
            biased;
            () = self.signals.next() => return Ok(Turn::Stopped),
            opened = opened => opened?,
        };
        self.watch(setup.proposal);
        let owner = match taken {
            TakenOwner::Ours(owner) => owner,
            TakenOwner::Held { by } => return Ok(Turn::Elsewhere { by }),
        };
        self.tell(State::Serving { proposal: setup.proposal });
        let directory = self.dir.path().display().to_string();
        let mut log = |event: &Event| tracing::info!(directory, "{event:?}");
        let worker = WorkerLink::Shared(self.shared.workers.client());
        let driver = Driver::new(&setup, *owner, worker, &mut log);
        let early = std::mem::take(&mut self.waiting);
        driver.serve(early, &mut self.given, &mut self.signals).await?;
        Ok(Turn::Stopped)
    }

    /// Gives the requests to the owner, until it is gone.
    async fn hand_over_to(&mut self, by: &str) {
        let mut handed: Vec<Handed> = Vec::new();
        while !self.stopping {
            while let Some(order) = self.waiting.pop_front() {
                match Handed::over(self.dir.clone(), order).await {
                    Ok(one) => handed.push(one),
                    Err((order, error)) => {
                        tracing::warn!(%error, by, "a request could not be handed over; trying again");
                        self.waiting.push_front(order);
                        break;
                    }
                }
            }
            let dir = self.dir.clone();
            let news = tokio::task::spawn_blocking(move || {
                handed.retain_mut(|one| !one.pass_on());
                handed
            });
            handed = news.await.unwrap_or_default();
            match Owner::held_by(&dir).await {
                Ok(Some(now)) if now == by => self.wait(OWNER_POLL).await,
                // Another owner does not know the requests.
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!(%error, "the owner of the directory cannot be read");
                    break;
                }
            }
        }
        // What the owner has not finished is done here.
        self.waiting.extend(handed.into_iter().map(Handed::back));
    }
}

/// A request that another process has.
struct Handed {
    asked: HandedOver,
    order: Order,
}

impl Handed {
    async fn over(dir: DatabaseDir, order: Order) -> Result<Self, (Order, CoordinateError)> {
        let request = order.request.clone();
        let written = tokio::task::spawn_blocking(move || {
            hand_over(&dir, &new_id(SystemTime::now()), Asker::this_process(), &request)
        });
        match written.await.map_err(CoordinateError::from).and_then(|written| written) {
            Ok(asked) => Ok(Handed { asked, order }),
            Err(error) => Err((order, error)),
        }
    }

    /// Passes events on. Was the last one among them?
    fn pass_on(&mut self) -> bool {
        let is_done = self.asked.is_done();
        self.asked.show_alive(SystemTime::now());
        let mut ended = false;
        let news = self.asked.news().unwrap_or_else(|error| {
            let hint = Advice::hint(&error);
            vec![Event::Refused { message: with_causes(&error), hint, exit: 1 }]
        });
        for event in news {
            ended |= matches!(event, Event::Finished(_) | Event::Refused { .. });
            let _ = self.order.events.send(event);
        }
        if ended || is_done {
            self.asked.clean_up();
        }
        ended || is_done
    }

    fn back(self) -> Order {
        self.asked.clean_up();
        self.order
    }
}
