//! A world that answers the core at once, unless a scene says otherwise.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    time::Duration,
};

use amore_core::{
    Answer, Collected, ContextRead, Core, Effect, Fragment, Input, JobEvent, LeftOpen, Moment, NewJob,
    Prepared, Question, Refusal, RunKey, Setup, Survey,
    activity::{Activity, StoredCell},
    command::CommandSpec,
    events::{Event, Summary},
    history::HistoryKind,
    journal::Write,
    request::{Compute, Listener, Request, RequestNo, Runs},
    task_state::WorkerNo,
};
use amore_model::{
    Argument, DatabaseDir, JobId, JobSpec, JobState, MymdcField, PlanStamp, Problem, Proposal, Resources,
    Run, VariableSpec,
};
use amore_plan::Availability;
use amore_slurm::{
    JobEnd,
    job_status::JobStatus,
    refused::{RefusalKind, Refused},
    settings::SlurmSettings,
};
use amore_wire::{
    ended::Ended,
    task::{ContextSource, FromWorker, Outcome, Task, ToWorker},
};

pub const PROPOSAL: Proposal = Proposal(1234);

pub fn key(run: u32) -> RunKey {
    (PROPOSAL, Run(run))
}

/// A variable without dependencies, computed here.
pub fn variable(name: &str) -> VariableSpec {
    VariableSpec::new(name)
}

/// `cluster=True`.
pub fn in_job(name: &str) -> VariableSpec {
    VariableSpec { cluster: true, ..variable(name) }
}

/// Depends on another one.
pub fn with(mut variable: VariableSpec, on: &str) -> VariableSpec {
    variable.arguments.push(Argument {
        name: on.to_owned(),
        annotation: format!("var#{on}"),
        has_default: false,
    });
    variable
}

/// `job=SlurmJob(["program"])`.
pub fn with_command(name: &str) -> VariableSpec {
    let spec = JobSpec {
        command: vec!["program".to_owned()],
        resources: Resources::default(),
        check: true,
        defaults: BTreeMap::new(),
    };
    VariableSpec { job: Some(spec), ..variable(name) }
}

pub fn runs(numbers: impl IntoIterator<Item = u32>) -> Request {
    Request::Compute(Compute {
        runs: Runs::These(numbers.into_iter().map(Run).collect()),
        proposal: None,
        matches: Vec::new(),
        names: Vec::new(),
        mock: false,
        trigger: None,
    })
}

pub fn setup(slurm: Option<SlurmSettings>) -> Setup {
    let dir = DatabaseDir::at(PathBuf::from("/db"));
    Setup {
        processes: 2,
        slurm,
        why_no_slurm: "there is no Slurm here".to_owned(),
        epoch: 7,
        process: 99,
        watched: true,
        ..Setup::new(dir, PROPOSAL, PathBuf::from("/usr/bin/python3"))
    }
}

pub fn with_slurm() -> Setup {
    setup(Some(SlurmSettings::default()))
}

/// What a fragment holds.
struct Contents {
    names: Vec<String>,
    stamp: PlanStamp,
}

/// The core, and what it wanted.
pub struct World {
    pub core: Core,
    pub now: Moment,
    variables: Vec<VariableSpec>,
    /// Tasks that the worker has.
    pub at_worker: Vec<Task>,
    /// Ids of tasks that the worker was told to stop.
    pub told_to_stop: Vec<String>,
    pub worker: WorkerNo,
    /// Jobs that were submitted, in order.
    pub submitted: Vec<NewJob>,
    /// Tokens of jobs that are to end.
    pub to_cancel: Vec<String>,
    /// Tokens of jobs that are adopted.
    pub adopted: Vec<String>,
    /// Tokens of jobs of which nothing more is wanted.
    pub forgotten: Vec<String>,
    /// How often the settings of Slurm were read.
    pub settings_reads: usize,
    /// What was told, and whom.
    pub told: Vec<(Listener, Event)>,
    /// What was published.
    pub published: Vec<Activity>,
    /// Writes that reached the ledger.
    pub written: Vec<Write>,
    /// The ledger does not answer.
    pub ledger_silent: bool,
    /// Why the ledger cannot be opened.
    pub ledger_refusal: Option<Refusal>,
    /// Why no jobs can be made.
    pub no_jobs: Option<Refusal>,
    /// What Python finds wrong with the context file.
    pub problems: Vec<Problem>,
    /// Nobody answers what the context file declares until [`World::describe`].
    pub hold_description: bool,
    /// Ids of descriptions that were asked for and not answered.
    pub to_describe: Vec<String>,
    /// Why results cannot be put into the run files.
    pub collect_problem: Option<String>,
    /// Nothing is collected until [`World::collect`].
    pub hold_collector: bool,
    held: VecDeque<Fragment>,
    fragments: BTreeMap<PathBuf, Contents>,
    /// Files that a search finds.
    pub waiting: Vec<Fragment>,
    /// What the run files have, whatever it is of.
    pub earlier_values: BTreeSet<String>,
    /// What comes of preparing commands.
    pub prepared: Option<Prepared>,
    pub log_tail: Option<String>,
    /// What the metadata catalogue is asked; the scene answers.
    pub to_mymdc: Vec<(RequestNo, RunKey, BTreeSet<MymdcField>)>,
    /// Commands that were to be prepared.
    pub commands: Vec<CommandSpec>,
    left_open: Option<LeftOpen>,
    pub log: Vec<String>,
    /// Every effect, in words, for comparing two lives.
    pub history: Vec<String>,
    next_fragment: u64,
}

impl World {
    pub fn new(setup: Setup, variables: Vec<VariableSpec>) -> Self {
        World {
            core: Core::new(setup),
            now: Moment { steady: Duration::ZERO, unix: 1.8e9 },
            variables,
            at_worker: Vec::new(),
            told_to_stop: Vec::new(),
            worker: WorkerNo(0),
            submitted: Vec::new(),
            to_cancel: Vec::new(),
            adopted: Vec::new(),
            told: Vec::new(),
            published: Vec::new(),
            written: Vec::new(),
            ledger_silent: false,
            ledger_refusal: None,
            no_jobs: None,
            problems: Vec::new(),
            hold_description: false,
            to_describe: Vec::new(),
            collect_problem: None,
            forgotten: Vec::new(),
            settings_reads: 0,
            hold_collector: false,
            held: VecDeque::new(),
            fragments: BTreeMap::new(),
            waiting: Vec::new(),
            earlier_values: BTreeSet::new(),
            prepared: None,
            log_tail: None,
            to_mymdc: Vec::new(),
            commands: Vec::new(),
            left_open: None,
            log: Vec::new(),
            history: Vec::new(),
            next_fragment: 0,
        }
    }

    /// Started, with this request of its own.
    pub fn serving(setup: Setup, variables: Vec<VariableSpec>, request: Request) -> Self {
        let mut world = World::new(setup, variables);
        world.start(None);
        world.give(Input::Request { listener: Listener::Here, request });
        world
    }

    /// The driver is ready. `left_open`: what the ledger has.
    pub fn start(&mut self, left_open: Option<LeftOpen>) {
        let ledger_exists = left_open.is_some();
        self.left_open = left_open;
        self.give(Input::Started { fragments: Vec::new(), ledger_exists });
    }

    /// Gives the core an input, and answers what it wants until it wants nothing more.
    pub fn give(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.core.on(self.now, input) {
                self.history.push(format!("{effect:?}"));
                inputs.extend(self.perform(effect));
            }
        }
    }

    /// Time passes.
    pub fn after(&mut self, seconds: f64) {
        self.now.steady += Duration::from_secs_f64(seconds);
        self.now.unix += seconds;
        self.give(Input::Tick);
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Tell { listener, event } => {
                self.told.push((listener, event));
                None
            }
            Effect::Publish(activity) => {
                self.published.push(activity);
                None
            }
            Effect::ReadContext { incoming } => {
                let context = ContextSource {
                    path: PathBuf::from("/db/context.py"),
                    folders: Vec::new(),
                    directory: None,
                    text: "cluster".to_owned(),
                    sha256: "00".to_owned(),
                };
                Some(Input::ContextRead {
                    incoming,
                    context: Ok(ContextRead::new(context, "python3".into())),
                })
            }
            Effect::Survey { incoming, compute, .. } => {
                let Runs::These(numbers) = compute.runs else { panic!("all runs") };
                let everything = Availability { raw: true, proc: true };
                let found = numbers.into_iter().map(|run| ((PROPOSAL, run), everything)).collect();
                let no_jobs = self.no_jobs.clone();
                let survey = Survey { runs: found, no_jobs, ..Survey::default() };
                Some(Input::Surveyed { incoming, survey: Ok(Box::new(survey)) })
            }
            Effect::OpenLedger { incoming } => {
                let opened = self.ledger_refusal.clone().map_or(Ok(()), Err);
                Some(Input::LedgerOpened { incoming, opened })
            }
            Effect::LoadLedger => {
                Some(Input::LedgerLoaded(Box::new(self.left_open.take().unwrap_or_default())))
            }
            Effect::WriteLedger(writes) => {
                let (done, silent) = if self.ledger_silent {
                    (0, Some("connection refused".to_owned()))
                } else {
                    self.written.extend(writes.iter().cloned());
                    (writes.len(), None)
                };
                Some(Input::LedgerWritten { done, silent })
            }
            Effect::ToWorker(messages) => {
                let mut answer = None;
                for message in messages {
                    match message {
                        ToWorker::Describe { id, .. } if self.hold_description => {
                            self.to_describe.push(id);
                        }
                        ToWorker::Describe { id, .. } => answer = Some(self.described(id)),
                        ToWorker::Run(task) => self.at_worker.push(*task),
                        ToWorker::Cancel { id } => self.told_to_stop.push(id),
                        ToWorker::Hello { .. } | ToWorker::Drain => {}
                    }
                }
                answer
            }
            Effect::ReplaceWorker(worker) => {
                self.worker = worker;
                self.at_worker.clear();
                None
            }
            Effect::Collect(fragment) => {
                self.held.push_back(fragment);
                if self.hold_collector { None } else { self.collected() }
            }
            Effect::Scan { key } => {
                let (found, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
                    .into_iter()
                    .partition(|fragment| key.is_none_or(|key| fragment.key == key));
                self.waiting = others;
                Some(Input::Scanned { key, fragments: found })
            }
            Effect::Submit(job) => {
                self.submitted.push(*job);
                None
            }
            Effect::Adopt { token, .. } => {
                self.adopted.push(token);
                None
            }
            Effect::Cancel { token } => {
                self.to_cancel.push(token);
                None
            }
            Effect::Ask { task, question } => {
                let answer = match question {
                    Question::EarlierValues { .. } => Answer::EarlierValues(self.earlier_values.clone()),
                    Question::LogTail { .. } => Answer::LogTail(self.log_tail.clone()),
                    Question::Command(spec) => {
                        self.commands.push(*spec);
                        Answer::Command(self.prepared.clone().expect("the scene has no commands"))
                    }
                };
                Some(Input::Answer { task, answer })
            }
            Effect::AskMymdc { request, key, fields } => {
                self.to_mymdc.push((request, key, fields));
                None
            }
            Effect::Log(message) => {
                self.log.push(message);
                None
            }
            Effect::Tidy => None,
            Effect::ReadSettings => {
                self.settings_reads += 1;
                None
            }
            Effect::Forget { token } => {
                self.forgotten.push(token);
                None
            }
            Effect::AskSite | Effect::HurryCollector => None,
        }
    }

    fn collected(&mut self) -> Option<Input> {
        let fragment = self.held.pop_front()?;
        let stored: Vec<(String, PlanStamp)> = match self.fragments.get(&fragment.path) {
            Some(contents) => contents.names.iter().map(|name| (name.clone(), contents.stamp)).collect(),
            None => Vec::new(),
        };
        let cells = stored.iter().map(|(name, _)| StoredCell::empty(name.as_str())).collect();
        Some(Input::Collected(Collected {
            key: fragment.key,
            fragments: 1,
            stored,
            cells,
            notices: Vec::new(),
            problem: self.collect_problem.clone(),
        }))
    }

    fn described(&self, id: String) -> Input {
        let (variables, problems) = (self.variables.clone(), self.problems.clone());
        let message = FromWorker::Described { id, variables, problems };
        Input::Worker { worker: self.worker, message }
    }

    /// The worker says what the context file declares, for all who have asked.
    pub fn describe(&mut self) {
        for id in std::mem::take(&mut self.to_describe) {
            let described = self.described(id);
            self.give(described);
        }
    }

    /// Everything that was held back is collected.
    pub fn collect(&mut self) {
        while let Some(input) = self.collected() {
            self.give(input);
        }
    }

    /// Writes a fragment with these variables of a task.
    pub fn fragment(&mut self, task: &Task, names: &[String]) -> Fragment {
        self.next_fragment += 1;
        let path = PathBuf::from(format!("/db/extracted_data/{}.ready.h5", self.next_fragment));
        self.fragments.insert(path.clone(), Contents { names: names.to_vec(), stamp: task.stamp });
        Fragment { key: (task.proposal, task.run), path }
    }

    /// What a worker says that computes all steps of a task.
    pub fn words_of(&mut self, task: &Task) -> Vec<FromWorker> {
        let of = || task.attempt_id();
        let names: Vec<String> = task.steps.iter().map(|step| step.name.clone()).collect();
        let mut words = vec![FromWorker::Started { of: of() }];
        for name in &names {
            words.push(FromWorker::VariableEnded {
                of: of(),
                name: name.clone(),
                outcome: Outcome::Value,
                seconds: 0.1,
            });
        }
        if !names.is_empty() || !task.forget.is_empty() {
            let Fragment { key: (proposal, run), path } = self.fragment(task, &names);
            words.push(FromWorker::Fragment { of: of(), proposal, run, path });
        }
        words.push(FromWorker::TaskEnded { of: of(), problem: None, cut_short: None });
        words
    }

    /// The worker here executes all that it has.
    pub fn execute(&mut self) {
        while !self.at_worker.is_empty() {
            let task = self.at_worker.remove(0);
            for message in self.words_of(&task) {
                self.worker_says(message);
            }
        }
    }

    pub fn worker_says(&mut self, message: FromWorker) {
        self.give(Input::Worker { worker: self.worker, message });
    }

    /// Slurm accepts the job with this token.
    pub fn accept(&mut self, token: &str, number: u64) -> JobId {
        let job = JobId::on(None, number);
        self.give(Input::Job(JobEvent::Accepted { token: token.to_owned(), job: job.clone() }));
        job
    }

    /// The job with this token computes all of its steps.
    pub fn job_done(&mut self, token: &str) {
        let task = self.task_of(token);
        for message in self.words_of(&task) {
            self.job_says(token, message);
        }
    }

    pub fn job_says(&mut self, token: &str, message: FromWorker) {
        self.give(Input::Job(JobEvent::Worker { token: token.to_owned(), message }));
    }

    pub fn job_ended(&mut self, token: &str, end: JobEnd) {
        self.give(Input::Job(JobEvent::Ended { token: token.to_owned(), end, job: None }));
    }

    pub fn refuse(&mut self, token: &str, about: RefusalKind, words: &str) {
        let why = Refused { words: words.to_owned(), kind: about, hint: "ask your site".to_owned() };
        self.give(Input::Job(JobEvent::Refused { token: token.to_owned(), why }));
    }

    pub fn token(&self, index: usize) -> String {
        self.submitted[index].token.clone()
    }

    /// The task of a job.
    pub fn task_of(&self, token: &str) -> Task {
        let job = self.submitted.iter().find(|job| job.token == token).expect("it was submitted");
        job.manifest.tasks[0].clone()
    }

    /// The job with this token begins with a variable of its task.
    pub fn begins(&mut self, token: &str, name: &str) {
        let of = self.task_of(token).attempt_id();
        self.job_says(token, FromWorker::VariableStarted { of, name: name.to_owned() });
    }

    /// The job with this token has computed a variable, and its fragment is there. Its worker does not live to say so.
    pub fn stores(&mut self, token: &str, name: &str) {
        let task = self.task_of(token);
        let of = task.attempt_id();
        let (name, seconds) = (name.to_owned(), 0.1);
        let stored = self.fragment(&task, std::slice::from_ref(&name));
        self.waiting.push(stored);
        self.job_says(token, FromWorker::VariableEnded { of, name, outcome: Outcome::Value, seconds });
    }

    /// The queue shows the job with this token.
    pub fn seen(&mut self, token: &str, state: JobState, reason: &str) {
        let seen = JobStatus {
            state,
            reason: reason.to_owned(),
            nodes: String::new(),
            partition: "main".to_owned(),
            reservation: String::new(),
            tokens: Vec::new(),
            end: None,
        };
        self.give(Input::Job(JobEvent::Changed { token: token.to_owned(), seen }));
    }

    /// Another process asks for something.
    pub fn ask(&mut self, number: u64, request: Request) -> Listener {
        let listener = Listener::Elsewhere(number);
        self.give(Input::Request { listener, request });
        listener
    }

    /// Names of the steps that a job is to execute.
    pub fn steps_of(&self, index: usize) -> Vec<String> {
        let task = self.task_of(&self.token(index));
        task.steps.iter().map(|step| step.name.clone()).collect()
    }

    /// The error that a task at the worker stores for a variable that is given up.
    pub fn error_of(&self, name: &str) -> Option<(String, String)> {
        let how = self.at_worker.iter().find_map(|task| task.give_up.get(name))?;
        match how {
            Ended::Error { class, message } => Some((class.clone(), message.clone())),
            _ => None,
        }
    }

    /// Lines of the histories of runs that reached the ledger.
    pub fn history_of(&self, kind: &HistoryKind) -> Vec<String> {
        let lines = |write: &Write| match write {
            Write::Changes(changes) => changes.history.clone(),
            _ => Vec::new(),
        };
        let lines = self.written.iter().flat_map(lines);
        lines.filter(|line| line.kind == *kind).map(|line| line.message).collect()
    }

    /// How the request of a listener ended.
    pub fn end_of(&self, listener: Listener) -> Option<&Event> {
        let is_end = |event: &Event| matches!(event, Event::Finished(_) | Event::Refused { .. });
        let mut of_listener = self.told.iter().filter(|(who, _)| *who == listener).map(|(_, event)| event);
        of_listener.rfind(|event| is_end(event))
    }

    /// The words that a listener was told, as a person reads them.
    pub fn words(&self, whom: Listener) -> Vec<String> {
        let is_notice =
            |(listener, event): &&(Listener, Event)| *listener == whom && matches!(event, Event::Notice(_));
        let words = |(_, event): &(Listener, Event)| match event {
            Event::Notice(notice) => notice.to_string(),
            _ => String::new(),
        };
        self.told.iter().filter(is_notice).map(words).collect()
    }

    /// How the command of this core ends; it must be at its end.
    pub fn summary(&self) -> Summary {
        assert!(self.core.has_ended(), "it has not ended");
        self.core.outcome().expect("it was served")
    }
}
