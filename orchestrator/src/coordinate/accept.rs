//! Taking a request: having its context file described beside everything else, planning its runs, putting their tasks in
//! line.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::Path,
    time::Instant,
};

use amore_model::{Notice, Proposal, Run, Urgency};
use amore_plan::{Availability, Dag, LeftOut, LeftOutReason, Place, Plan, Request, plan};
use amore_wire::task::ContextSource;

use super::{
    describe::{self, Described},
    events::{Event, Summary, count},
    hand_over::take_requests,
    memory::RequestDetail,
    session::{Listener, OpenRun, RequestRecord, Session},
    tasks::{Common, TaskRecord},
    tracker::TaskState,
};
use crate::{
    collect::{CollectedNotice, about_table},
    context_file,
    dispatch::slurm::{
        asked::SlurmSettings,
        client::{installed, switched_off},
        script, site_facts,
    },
    failure::{Exit, Failure},
    site::RunOnDisk,
    trigger::user_request::{ResolvedRuns, UserRequest, resolve},
};

/// A request that is not planned yet.
pub(super) struct Incoming<'a> {
    pub(super) request: UserRequest,
    pub(super) listener: Listener<'a>,
    /// Runs that were cancelled before they were planned.
    pub(super) left_out: BTreeSet<Run>,
    state: Description,
}

/// What is known of the context file of an incoming request. It is read when those before it are planned.
enum Description {
    Waits,
    Asked { id: String, context: ContextSource },
    Done { context: ContextSource, described: Box<Result<Described, Failure>> },
}

/// A request that can begin.
struct Planned {
    request: UserRequest,
    context: ContextSource,
    plans: Vec<((Proposal, Run), Plan)>,
    missing: Vec<Run>,
    /// The database knows no run, and none was named.
    none_known: bool,
    about_table: Vec<CollectedNotice>,
}

impl<'a> Session<'a> {
    /// Takes a request in. What is to be cancelled is cancelled at once; what is to be computed is planned when its context
    /// file is described and everything that came before it is planned.
    ///
    /// # Errors
    /// A request of this process that cannot be served. Another process is told.
    pub(super) fn take_in(
        &mut self,
        request: UserRequest,
        mut listener: Listener<'a>,
    ) -> Result<(), Failure> {
        let Some(named) = &request.cancel else {
            let left_out = BTreeSet::new();
            self.incoming.push_back(Incoming { request, listener, left_out, state: Description::Waits });
            return Ok(());
        };
        match self.cancel_run_or_job(named) {
            Ok(cancellation) => {
                let index = self.nothing_to_compute(&request, listener);
                self.await_cancellation(index, cancellation);
                Ok(())
            }
            Err(failure) => refuse(&mut listener, failure),
        }
    }

    /// Plans the requests whose context file is described, in order, and has the file of the next one described. One at a
    /// time: the next one finds a warm Python.
    pub(super) async fn accept_described(&mut self) -> Result<(), Failure> {
        while let Some(first) = self.incoming.front_mut() {
            match std::mem::replace(&mut first.state, Description::Waits) {
                Description::Waits => match read(&self.setup.dir.context_file()) {
                    Ok(context) => {
                        if let Some(settings) = &self.slurm
                            && (settings.noncluster_job().is_some() || may_want_jobs(&context.text))
                        {
                            site_facts::ask_ahead(settings);
                        }
                        let id = format!("describe-{}", self.descriptions);
                        self.descriptions += 1;
                        let asked = describe::request(&id, &context, &self.setup.python);
                        first.state = Description::Asked { id, context };
                        self.worker.send(&[asked]).await;
                        return Ok(());
                    }
                    Err(failure) => self.refuse_first(failure)?,
                },
                asked @ Description::Asked { .. } => {
                    first.state = asked;
                    return Ok(());
                }
                Description::Done { context, described } => {
                    match self.plan_first(context, *described).await {
                        Ok(planned) => self.begin_first(planned).await?,
                        Err(failure) => self.refuse_first(failure)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Is this the description that is being made?
    pub(super) fn is_described_as(&self, id: &str) -> bool {
        let first = self.incoming.front();
        first.is_some_and(|first| matches!(&first.state, Description::Asked { id: asked, .. } if asked == id))
    }

    pub(super) fn on_described(&mut self, id: &str, answer: Result<Described, Failure>) {
        if !self.is_described_as(id) {
            return;
        }
        if let Some(first) = self.incoming.front_mut()
            && let Description::Asked { context, .. } =
                std::mem::replace(&mut first.state, Description::Waits)
        {
            first.state = Description::Done { context, described: Box::new(answer) };
        }
    }

    /// The worker that was asked is gone.
    pub(super) async fn describe_again(&mut self) {
        if let Some(Incoming { state: Description::Asked { id, context }, .. }) = self.incoming.front() {
            let asked = describe::request(id, context, &self.setup.python);
            self.worker.send(&[asked]).await;
        }
    }

    fn refuse_first(&mut self, failure: Failure) -> Result<(), Failure> {
        match self.incoming.pop_front() {
            Some(mut incoming) => refuse(&mut incoming.listener, failure),
            None => Err(failure),
        }
    }

    /// Plans the first of the incoming requests.
    async fn plan_first(
        &mut self,
        context: ContextSource,
        described: Result<Described, Failure>,
    ) -> Result<Planned, Failure> {
        let Some(Incoming { request, left_out, .. }) = self.incoming.front() else {
            return Err(Failure::new("there is no request"));
        };
        let (request, left_out) = (request.clone(), left_out.clone());
        let checked = described?;
        let Some(dag) = checked.dag else {
            return Err(crate::problem_words::refusal(&context.path, &checked.problems));
        };
        let changes = self.owner.update_variables(dag.variables()).await?;
        let about_table = about_table(&changes.refused, changes.truncated.as_ref());
        let known = self.owner.table().runs().await.map_err(|error| Failure::from_error(&error))?;
        let known: Vec<_> = known.into_iter().collect();
        let ResolvedRuns { mut runs, mut missing } = resolve(&request, self.setup.proposal, &known)?;
        let none_known = runs.is_empty() && missing.is_empty();
        runs.retain(|(_, run, _)| !left_out.contains(run));
        missing.retain(|run| !left_out.contains(run));
        let plans = self.plan_all(&request, &dag, &runs).await?;
        let of_slurm = |plan: &Plan| plan.tasks.iter().any(|task| task.place == Place::Cluster);
        if plans.iter().any(|(_, plan)| of_slurm(plan)) {
            self.can_make_jobs()?;
        }
        Ok(Planned { request, context, plans, missing, none_known, about_table })
    }

    /// Puts the tasks of the first of the incoming requests in line.
    async fn begin_first(&mut self, planned: Planned) -> Result<(), Failure> {
        let Some(Incoming { mut listener, .. }) = self.incoming.pop_front() else { return Ok(()) };
        let Planned { request, context, plans, missing, none_known, about_table } = planned;
        if none_known {
            let message = "this database has no runs yet: name those that you want, for instance 1-10";
            listener.tell(&Event::Notice(Notice::note(message)));
        }
        let urgency = request.urgency(plans.len());
        let variables = plans
            .iter()
            .map(|(_, plan)| plan.tasks.iter().map(|task| task.own_steps().count()).sum::<usize>())
            .sum();
        listener.tell(&Event::Planned { runs: plans.len(), variables, missing: missing.clone() });
        for notice in about_table {
            if !(notice.about_view && self.warned_of_view) {
                listener.tell(&Event::Notice(notice.notice));
            }
            self.warned_of_view |= notice.about_view;
        }
        if let Some((_, plan)) = plans.first() {
            for notice in notices(plan) {
                listener.tell(&Event::Notice(notice));
            }
        }
        let asked_for_some = !request.matches.is_empty() || !request.names.is_empty();
        for notice in why_left_out(&plans, asked_for_some) {
            listener.tell(&Event::Notice(notice));
        }
        for notice in self.left_behind.drain(..) {
            listener.tell(&Event::Notice(notice));
        }
        let index = self.requests.len();
        let common = Common {
            dir: self.setup.dir.clone(),
            context,
            python: self.setup.python.clone(),
            mock: request.mock,
            limits: self.setup.limits,
        };
        let mut record = RequestRecord {
            listener,
            recorded: None,
            adopted: false,
            urgency,
            common,
            summary: Summary { runs_missing: missing.len(), ..Summary::default() },
            since: Instant::now(),
            open: BTreeMap::new(),
            told: HashSet::new(),
            finished: false,
            cut_short: false,
        };
        let mut ready = Vec::new();
        for ((proposal, run), plan) in plans {
            let stamp = self.owner.stamp();
            let records = TaskRecord::of_plan(&plan, index, (proposal, run), stamp, self.tasks.len());
            if records.is_empty() {
                record.summary.runs += 1;
                record.listener.tell(&Event::RunEnded { proposal, run, problem: None });
                continue;
            }
            record.open.insert((proposal, run), OpenRun { tasks: records.len(), ..OpenRun::default() });
            for task in records {
                let position = self.tasks.len();
                self.by_id.insert(task.id.clone(), position);
                self.by_run.entry((proposal, run)).or_default().push(position);
                if matches!(task.state, TaskState::Ready { .. }) {
                    ready.push(position);
                }
                self.tasks.push(task);
            }
        }
        self.requests.push(record);
        for position in ready {
            self.line_up(position);
        }
        if let Err(failure) = self.record_request(index, &request).await {
            match &mut self.requests[index].listener {
                Listener::Elsewhere(taken) => {
                    let message = format!("jobs are not remembered: {}", failure.message);
                    taken.tell(&Event::Notice(Notice::warning(message)));
                }
                Listener::Here(_) | Listener::Nobody => return Err(failure),
            }
        }
        self.finish_if_done(index);
        Ok(())
    }

    /// Can jobs be made at all? If not, nothing is begun and no value is touched.
    fn can_make_jobs(&self) -> Result<(), Failure> {
        let directory = self.setup.dir.path();
        script::check(directory).map_err(|error| {
            Failure::from_error(&error)
                .hint("see docs/slurm.md for what a template must have; `amore plan RUN --script` tries it")
        })?;
        if directory.as_os_str().as_encoded_bytes().contains(&b'\\') {
            return Err(Failure::new(format!(
                "Slurm cannot write logs into {}: a backslash in the name",
                directory.display()
            ))
            .hint("rename the directory, or compute here with --direct"));
        }
        Ok(())
    }

    /// A request without tasks: its end is told as that of any other.
    fn nothing_to_compute(&mut self, request: &UserRequest, listener: Listener<'a>) -> usize {
        let index = self.requests.len();
        self.requests.push(RequestRecord {
            listener,
            recorded: None,
            adopted: false,
            urgency: Urgency::Asked,
            common: Common {
                dir: self.setup.dir.clone(),
                context: ContextSource {
                    path: self.setup.dir.context_file(),
                    text: String::new(),
                    sha256: String::new(),
                    folders: Vec::new(),
                    directory: None,
                },
                python: self.setup.python.clone(),
                mock: request.mock,
                limits: self.setup.limits,
            },
            summary: Summary::default(),
            since: Instant::now(),
            open: BTreeMap::new(),
            told: HashSet::new(),
            finished: false,
            cut_short: false,
        });
        index
    }

    /// A request with Slurm jobs outlives this process: it goes into the ledger.
    async fn record_request(&mut self, index: usize, request: &UserRequest) -> Result<(), Failure> {
        let mine: Vec<usize> = (0..self.tasks.len()).filter(|at| self.tasks[*at].request == index).collect();
        if !mine.iter().any(|at| self.tasks[*at].planned.place == Place::Cluster) {
            return Ok(());
        }
        self.take_memory().await?;
        let ids: Vec<String> = self.tasks.iter().map(|task| task.id.clone()).collect();
        let id = format!("{}-{}", self.owner.stamp().micros, std::process::id());
        let RequestRecord { common, urgency, .. } = &self.requests[index];
        let detail = RequestDetail { asked: request.clone(), urgency: *urgency, common: common.clone() };
        let tasks: Vec<&TaskRecord> = mine.iter().map(|at| &self.tasks[*at]).collect();
        if let Some(memory) = &self.memory {
            memory.add_request(&id, &detail, &tasks, &ids).await?;
        }
        self.requests[index].recorded = Some(id);
        for at in mine {
            self.tasks[at].recorded = true;
            let names = self.tasks[at].planned.names();
            let place = match self.tasks[at].planned.place {
                Place::Local => "here",
                Place::Cluster => "in a Slurm job",
            };
            let message = format!("planned {place}: {}", names.join(", "));
            self.story(at, "planned", message);
        }
        Ok(())
    }

    /// One plan for each run. Runs that have the same data and the same stored names share the planning.
    pub(super) async fn plan_all(
        &self,
        request: &UserRequest,
        dag: &Dag,
        runs: &[(Proposal, Run, RunOnDisk)],
    ) -> Result<Vec<((Proposal, Run), Plan)>, Failure> {
        let stored = self.owner.stored_names().await?;
        let nothing = Vec::new();
        let parts = (self.setup.processes / runs.len().max(1)).max(1);
        let mut made: HashMap<(RunOnDisk, Vec<String>), Plan> = HashMap::new();
        let mut plans = Vec::with_capacity(runs.len());
        for (proposal, run, on_disk) in runs {
            let stored = stored.get(&(*proposal, *run)).unwrap_or(&nothing);
            let key = (*on_disk, stored.clone());
            if !made.contains_key(&key) {
                let wanted = Request {
                    selection: request.selection(),
                    availability: Availability { raw: on_disk.raw, proc: on_disk.proc },
                    cluster_available: self.slurm.is_some(),
                    noncluster_job: self.slurm.as_ref().and_then(SlurmSettings::noncluster_job),
                    parts,
                    stored: stored.clone(),
                };
                let planned = plan(dag, &wanted).map_err(|error| {
                    Failure::new(error.to_string()).hint("`amore table --columns` lists names and titles")
                })?;
                made.insert(key.clone(), planned);
            }
            plans.push(((*proposal, *run), made[&key].clone()));
        }
        Ok(plans)
    }

    pub(super) fn take_requests(&mut self) -> Result<(), Failure> {
        for taken in take_requests(&self.setup.dir) {
            self.take_in(taken.request.clone(), Listener::Elsewhere(taken))?;
        }
        Ok(())
    }
}

/// Tells a process that waits elsewhere why its request is not served. Our own ends with it.
fn refuse(listener: &mut Listener<'_>, failure: Failure) -> Result<(), Failure> {
    match listener {
        Listener::Elsewhere(taken) => {
            let exit = failure.exit as u8;
            taken.tell(&Event::Refused { message: failure.message, hint: failure.hint, exit });
            Ok(())
        }
        Listener::Here(_) | Listener::Nobody => Err(failure),
    }
}

fn read(path: &Path) -> Result<ContextSource, Failure> {
    context_file::read(path).map_err(|problem| {
        let failure = Failure::new(problem.message).exit(Exit::ContextFile);
        match problem.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// Are there variables that want jobs, as far as the text shows? A guess, for what only saves time.
fn may_want_jobs(text: &str) -> bool {
    text.contains("cluster") || text.contains("SlurmJob")
}

/// Why nothing goes to Slurm.
fn why_no_slurm() -> &'static str {
    if installed() {
        "no Slurm jobs are wanted"
    } else if switched_off() {
        "Slurm is switched off (AMORE_NO_SLURM)"
    } else {
        "there is no Slurm here (no sbatch on PATH)"
    }
}

/// Why nothing is computed for some runs, and what stays of raw data that are gone; of variables that were asked for, why not for others too. That some variables of a
/// file need data which a run has not is nothing to tell of.
fn why_left_out(plans: &[((Proposal, Run), Plan)], asked_for_some: bool) -> Vec<Notice> {
    let mut runs_by_why: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for ((_, run), plan) in plans {
        let nothing = plan.tasks.is_empty();
        let no_raw = plan.left_out.iter().any(|left| left.reason == LeftOutReason::NoRawData);
        if !nothing && !no_raw && (!asked_for_some || plan.left_out.is_empty()) {
            continue;
        }
        let names_by = |raw: bool| {
            let is_raw = |left: &&LeftOut| matches!(left.reason, LeftOutReason::NoRawData) == raw;
            plan.left_out.iter().filter(is_raw).map(|left| left.name.as_str()).collect::<Vec<_>>()
        };
        let mut why = Vec::new();
        for (names, what) in [(names_by(true), "raw"), (names_by(false), "proc")] {
            match names.as_slice() {
                [] => {}
                [only] => why.push(format!("{only} needs {what} data, which the run has not")),
                [first, second] => {
                    why.push(format!("{first} and {second} need {what} data, which the run has not"))
                }
                [first, ..] => why.push(format!(
                    "{first} and {} need {what} data, which the run has not",
                    count(names.len() - 1, "other variable")
                )),
            }
        }
        if why.is_empty() {
            why.push(if plan.unmatched.is_empty() {
                "the context file has no variables".to_owned()
            } else {
                "no variable matches".to_owned()
            });
        }
        let begin = if nothing { "nothing to compute" } else { "left out" };
        runs_by_why.entry(format!("{begin}: {}", why.join("; "))).or_default().push(*run);
    }
    let words = |(why, runs): (String, Vec<Run>)| match runs.as_slice() {
        [run] => Notice::note(format!("run {run}: {why}")),
        runs => Notice::note(format!("{}, run {} the first: {why}", count(runs.len(), "run"), runs[0])),
    };
    runs_by_why.into_iter().map(words).collect()
}

/// What the user should know of a plan before it runs.
fn notices(plan: &Plan) -> Vec<Notice> {
    let unmatched = |text| Notice::warning(format!("no variable has {text:?} in its title"));
    let mut notices: Vec<Notice> = plan.unmatched.iter().map(unmatched).collect();
    let without_slurm = plan
        .variables
        .iter()
        .filter(|variable| matches!(variable.place_reason, amore_plan::PlaceReason::NoSlurm { .. }))
        .count();
    if without_slurm > 0 {
        notices.push(Notice::note(format!(
            "{} with cluster=True; {}, so that they are computed on this machine",
            count(without_slurm, "variable"),
            why_no_slurm()
        )));
    }
    let commands = plan.tasks.iter().filter(|task| task.job.is_some() && task.place == Place::Local).count();
    if commands > 0 {
        notices.push(Notice::note(format!(
            "{} with a Slurm job of their own; {}, so that the commands are executed on this machine",
            count(commands, "variable"),
            why_no_slurm()
        )));
    }
    notices
}
