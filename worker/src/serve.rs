//! The worker's main loop: reads requests from standard input and serves each in its own thread.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io::{self, BufRead},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use amore_model::{Problem, ProblemKind, Sandbox};
use amore_wire::{
    NEWEST_VERSION, VERSION,
    host::{FromChild, ToChild},
    is_understood,
    task::{AttemptId, ContextSource, FromWorker, Task, ToWorker},
};

use crate::{
    child::{ChildProcess, Death},
    crash_report,
    hosts::{Hosts, NoHost, Purpose},
    lines::Received,
    report::Report,
    run_task::run_task,
    sandboxed::Confinement,
};

/// Why a worker cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The coordinator has a version that this worker does not understand.
    #[error(
        "the coordinator's messages are of version {theirs}, and this worker knows version {NEWEST_VERSION}: install amore and \
         amore-worker from one build"
    )]
    Version {
        /// Its version.
        theirs: u32,
    },
    /// Not a message.
    #[error("not a message: {0}")]
    Message(#[from] serde_json::Error),
}

enum Event {
    Request(ToWorker),
    Broken(serde_json::Error),
    InputClosed,
    Ended { id: String },
}

/// Executes up to `most` tasks at once, each on a thread of its own; all if `None`. Serves until told to drain (then finishes its tasks) or until its input ends (then stops running tasks; finished
/// results are in fragments).
///
/// # Errors
/// The coordinator uses another protocol version.
pub fn serve(most: Option<u32>) -> Result<(), ServeError> {
    let report = Arc::new(Report::to_output());
    let hosts = Arc::new(Hosts::new(Purpose::ManyTasks, BTreeMap::new()));
    report.say(&FromWorker::Hello { version: VERSION, processes: most.unwrap_or(u32::MAX) });
    let (events, inbox) = channel();
    read_requests(events.clone());
    Serving {
        report,
        hosts,
        events,
        most: most.map_or(usize::MAX, |most| most as usize),
        waiting: VecDeque::new(),
        running: HashMap::new(),
        describing: HashMap::new(),
    }
    .run(&inbox)
}

fn read_requests(events: Sender<Event>) {
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let event = match serde_json::from_str(&line) {
                Ok(request) => Event::Request(request),
                Err(error) => Event::Broken(error),
            };
            if events.send(event).is_err() {
                return;
            }
        }
        let _ = events.send(Event::InputClosed);
    });
}

struct Serving {
    report: Arc<Report>,
    hosts: Arc<Hosts>,
    events: Sender<Event>,
    most: usize,
    waiting: VecDeque<Task>,
    running: HashMap<String, Arc<AtomicBool>>,
    /// Context files that are being executed: they take no place of a task.
    describing: HashMap<String, Arc<AtomicBool>>,
}

impl Serving {
    fn run(mut self, inbox: &Receiver<Event>) -> Result<(), ServeError> {
        let mut draining = false;
        while let Ok(event) = inbox.recv() {
            match event {
                Event::Request(ToWorker::Hello { version }) if !is_understood(version) => {
                    return Err(ServeError::Version { theirs: version });
                }
                Event::Request(ToWorker::Hello { .. }) => {}
                Event::Request(ToWorker::Describe { id, context, python, proposal, sandbox }) => {
                    let (report, hosts) = (Arc::clone(&self.report), Arc::clone(&self.hosts));
                    let cancelled = Arc::new(AtomicBool::new(false));
                    self.describing.insert(id.clone(), Arc::clone(&cancelled));
                    let ended = EndedOnDrop { id: id.clone(), events: self.events.clone() };
                    thread::spawn(move || {
                        let _ended = ended;
                        let confinement = match (sandbox, proposal) {
                            (None, _) => None,
                            (Some(sandbox), Some(proposal)) => Some(Confinement { sandbox, proposal }),
                            (Some(sandbox), None) => return without_proposal(&report, &id, &sandbox),
                        };
                        let asked = Asked { id, context, python, confinement };
                        describe(&hosts, &report, &asked, &cancelled);
                    });
                }
                Event::Request(ToWorker::Run(task)) => self.waiting.push_back(*task),
                Event::Request(ToWorker::Cancel { id }) => self.cancel(&id),
                Event::Request(ToWorker::Drain) => draining = true,
                Event::Broken(error) => return Err(error.into()),
                Event::InputClosed => {
                    if !draining {
                        self.waiting.clear();
                        for cancelled in self.running.values() {
                            cancelled.store(true, Ordering::Relaxed);
                        }
                    }
                    draining = true;
                }
                Event::Ended { id } => {
                    self.running.remove(&id);
                    self.describing.remove(&id);
                }
            }
            self.start_what_fits();
            if draining && self.running.is_empty() && self.waiting.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn cancel(&mut self, id: &str) {
        if let Some(cancelled) = self.running.get(id).or_else(|| self.describing.get(id)) {
            cancelled.store(true, Ordering::Relaxed);
        } else if let Some(position) = self.waiting.iter().position(|task| task.id == id)
            && let Some(task) = self.waiting.remove(position)
        {
            self.report.say(&FromWorker::TaskEnded {
                of: task.attempt_id(),
                problem: Some(CANCELLED.to_owned()),
                cut_short: None,
            });
        }
    }

    fn start_what_fits(&mut self) {
        while self.running.len() < self.most {
            let Some(task) = self.waiting.pop_front() else { return };
            let cancelled = Arc::new(AtomicBool::new(false));
            self.running.insert(task.id.clone(), Arc::clone(&cancelled));
            let (report, hosts, events) =
                (Arc::clone(&self.report), Arc::clone(&self.hosts), self.events.clone());
            thread::spawn(move || {
                // The slot is released even if this thread panics.
                let _ended = EndedOnDrop { id: task.id.clone(), events };
                run_task(&task, &hosts, &report, &cancelled, None);
            });
        }
    }
}

struct EndedOnDrop {
    id: String,
    events: Sender<Event>,
}

impl Drop for EndedOnDrop {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Ended { id: std::mem::take(&mut self.id) });
    }
}

/// Time limit for executing a context file to find its variables.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(300);

/// How often a description checks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// What is said of what was cancelled.
const CANCELLED: &str = "cancelled";

/// Maximum number of lost hosts for one description.
const DESCRIBE_ATTEMPTS: u32 = 3;

/// A sandbox cannot be started without a proposal.
fn without_proposal(report: &Report, id: &str, sandbox: &Sandbox) {
    report.say(&FromWorker::HostFailed {
        of: AttemptId::without_attempts(id),
        message: format!("the sandbox `{sandbox}` needs a proposal number, and none is known here"),
        hint: Some("work in a database directory, which has a proposal (amore proposal NUMBER)".to_owned()),
    });
}

/// A context file that is to be described.
struct Asked {
    id: String,
    context: ContextSource,
    python: PathBuf,
    confinement: Option<Confinement>,
}

fn describe(hosts: &Hosts, report: &Report, asked: &Asked, cancelled: &AtomicBool) {
    for attempt in 1..=DESCRIBE_ATTEMPTS {
        match describe_once(hosts, report, asked, cancelled, attempt == DESCRIBE_ATTEMPTS) {
            Answered::Yes => return,
            // This is not the fault of the context file.
            Answered::HostGone => {}
        }
    }
}

/// Whether the coordinator was sent an answer.
enum Answered {
    Yes,
    HostGone,
}

fn describe_once(
    hosts: &Hosts,
    report: &Report,
    Asked { id, context, python, confinement }: &Asked,
    cancelled: &AtomicBool,
    last: bool,
) -> Answered {
    let failed = |message: String, hint: Option<String>| {
        let of = AttemptId::without_attempts(id);
        report.say(&FromWorker::HostFailed { of, message, hint });
    };
    let host = match hosts.get(python, context, confinement.as_ref(), cancelled) {
        Ok(host) => host,
        Err(NoHost::Unusable(error)) => {
            failed(error.message, error.hint);
            return Answered::Yes;
        }
        Err(NoHost::Cancelled) => {
            failed(CANCELLED.to_owned(), None);
            return Answered::Yes;
        }
    };
    // As for an exception: Python itself was working.
    let blame_the_file = |message: String, child: &ChildProcess| {
        let mut problem = Problem::error(ProblemKind::Import, message);
        problem.hint = Some("move slow or crash-prone code into variables".to_owned());
        let frame = crash_report::fatal_traceback(&child.last_words())
            .and_then(|traceback| crash_report::innermost_frame(&traceback, &context.path));
        problem.line = frame.as_deref().and_then(crash_report::line_of_frame);
        let (variables, problems) = (Vec::new(), vec![problem]);
        report.say(&FromWorker::Described { id: id.clone(), variables, problems });
    };
    let answer = || -> io::Result<Answered> {
        let quiet = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
        let first = ToChild::Describe { context: context.clone() };
        let mut child = ChildProcess::fork(&host, &format!("describe.{id}"), &quiet, &first)?;
        let deadline = Instant::now() + DESCRIBE_TIMEOUT;
        let said = loop {
            match child.listen(Some(deadline.min(Instant::now() + CANCEL_POLL)))? {
                Received::TimedOut if cancelled.load(Ordering::Relaxed) => {
                    child.kill();
                    failed(CANCELLED.to_owned(), None);
                    return Ok(Answered::Yes);
                }
                Received::TimedOut if Instant::now() < deadline => {}
                said => break said,
            }
        };
        match said {
            Received::Message(FromChild::Described { variables, problems }) => {
                report.say(&FromWorker::Described { id: id.clone(), variables, problems });
            }
            Received::Message(FromChild::CannotStart { class, message, .. }) => {
                failed(format!("{class}: {message}"), None);
            }
            Received::Message(other) => failed(format!("unexpected answer: {other:?}"), None),
            Received::TimedOut => {
                child.ask_for_traceback();
                child.kill();
                let _ = child.death();
                let message =
                    format!("executing the file took longer than {} s: stopped", DESCRIBE_TIMEOUT.as_secs());
                blame_the_file(message, &child);
                return Ok(Answered::Yes);
            }
            Received::Closed => {
                let death = child.death();
                if death == Death::HostGone && !last {
                    return Ok(Answered::HostGone);
                }
                let (_, message) = death.in_words();
                let message = message.replace("of this variable ", "");
                blame_the_file(format!("executing the file ended its process: {message}"), &child);
                return Ok(Answered::Yes);
            }
        }
        let _ = child.death();
        Ok(Answered::Yes)
    };
    answer().unwrap_or_else(|error| {
        failed(format!("communication with the context host failed: {error}"), None);
        Answered::Yes
    })
}
