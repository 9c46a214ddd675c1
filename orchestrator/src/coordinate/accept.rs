//! Taking a request: reading the context file, planning its runs, putting their tasks in line.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Instant,
};

use amore_model::{JobId, Proposal, Run, Urgency};
use amore_plan::{Availability, Dag, Place, Plan, Request, plan};
use amore_wire::task::{ContextSource, FromWorker};

use super::{
    describe,
    events::{Event, Summary, count},
    hand_over::take_requests,
    memory::RequestDetail,
    session::{Listener, OpenRun, RequestRecord, Session},
    tasks::{Common, TaskRecord},
    tracker::TaskState,
};
use crate::{
    collect::{Notice, about_table},
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

impl<'a> Session<'a> {
    /// Plans a request and puts its tasks in line.
    pub(super) async fn accept(
        &mut self,
        request: &UserRequest,
        mut listener: Listener<'a>,
    ) -> Result<(), Failure> {
        if let Some(named) = &request.cancel {
            return self.accept_cancel(request, named, listener);
        }
        let context = context_file::read(&self.setup.dir.context_file()).map_err(|problem| {
            let failure = Failure::new(problem.message).exit(Exit::ContextFile);
            match problem.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        if let Some(settings) = &self.slurm
            && (settings.noncluster_job().is_some() || may_want_jobs(&context.text))
        {
            site_facts::ask_ahead(settings);
        }
        let (dag, about_table) = self.read_context(&context).await?;
        let known = self.owner.table().runs().await.map_err(|error| Failure::from_error(&error))?;
        let known: Vec<_> = known.into_iter().collect();
        let ResolvedRuns { runs, missing } = resolve(request, self.setup.proposal, &known)?;
        if runs.is_empty() && missing.is_empty() {
            let message = "note: this database has no runs yet: name those that you want, for instance 1-10";
            listener.tell(&Event::Notice { message: message.to_owned() });
        }

        let urgency = request.urgency(runs.len());
        let plans = self.plan_all(request, &dag, &runs).await?;
        let of_slurm = |plan: &Plan| plan.tasks.iter().any(|task| task.place == Place::Cluster);
        if plans.iter().any(|(_, plan)| of_slurm(plan)) {
            self.can_make_jobs()?;
        }
        let variables =
            plans.iter().map(|(_, plan)| plan.tasks.iter().map(|task| task.steps.len()).sum::<usize>()).sum();
        listener.tell(&Event::Planned { runs: runs.len(), variables, missing: missing.clone() });
        for notice in about_table {
            if !(notice.about_view && self.warned_of_view) {
                listener.tell(&Event::Notice { message: notice.message });
            }
            self.warned_of_view |= notice.about_view;
        }
        if let Some((_, plan)) = plans.first() {
            for notice in notices(plan) {
                listener.tell(&Event::Notice { message: notice });
            }
        }
        for message in self.left_behind.drain(..) {
            listener.tell(&Event::Notice { message });
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
        self.record_request(index, request).await?;
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

    /// Ends what is under way of a run, or in a job.
    fn accept_cancel(
        &mut self,
        request: &UserRequest,
        named: &JobId,
        mut listener: Listener<'a>,
    ) -> Result<(), Failure> {
        let words = self.cancel_run_or_job(named)?;
        listener.tell(&Event::Notice { message: words });
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
        });
        self.finish_if_done(index);
        Ok(())
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

    pub(super) async fn read_context(
        &mut self,
        context: &ContextSource,
    ) -> Result<(Dag, Vec<Notice>), Failure> {
        // Only called while no task runs, or by a request from elsewhere: other messages are kept in order.
        let checked = self.describe(context).await?;
        let Some(dag) = checked.dag else {
            return Err(crate::problem_words::refusal(&context.path, &checked.problems));
        };
        let changes = self.owner.update_variables(dag.variables()).await?;
        Ok((dag, about_table(&changes.refused, changes.truncated.as_ref())))
    }

    pub(super) async fn describe(&mut self, context: &ContextSource) -> Result<describe::Described, Failure> {
        let id = format!("describe-{}", self.requests.len());
        self.worker.send(&[describe::request(&id, context, &self.setup.python)]).await;
        loop {
            let message = tokio::select! {
                message = self.worker.next() => message?,
                () = super::session::told_to_stop() => {
                    return Err(Failure::new("stopped while the context file was being executed")
                        .exit(Exit::Interrupted));
                }
            };
            match message {
                Some(FromWorker::Described { id: answered, variables, problems }) if answered == id => {
                    return Ok(describe::complete(variables, problems));
                }
                Some(FromWorker::HostFailed { id: answered, message, hint }) if answered == id => {
                    let mut failure = Failure::new(message);
                    failure.hint = hint;
                    return Err(failure);
                }
                Some(other) => self.on_worker(other)?,
                None if self.interrupted => {
                    return Err(Failure::new("the worker ended while it read the context file"));
                }
                None => {
                    self.on_worker_lost().await?;
                    self.worker.send(&[describe::request(&id, context, &self.setup.python)]).await;
                }
            }
        }
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

    pub(super) async fn take_requests(&mut self) -> Result<(), Failure> {
        for taken in take_requests(&self.setup.dir) {
            let request = taken.request.clone();
            let before = self.requests.len();
            // The listener moves into the record; if there is none, the refusal goes to the events directly.
            let mut spare = taken.again()?;
            if let Err(failure) = self.accept(&request, Listener::Elsewhere(taken)).await
                && self.requests.len() == before
            {
                let exit = failure.exit as u8;
                spare.tell(&Event::Refused { message: failure.message, hint: failure.hint, exit });
            }
        }
        Ok(())
    }
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

/// What the user should know of a plan before it runs.
fn notices(plan: &Plan) -> Vec<String> {
    let mut notices: Vec<String> =
        plan.unmatched.iter().map(|text| format!("warning: no variable has {text:?} in its title")).collect();
    let without_slurm = plan
        .variables
        .iter()
        .filter(|variable| matches!(variable.place_reason, amore_plan::PlaceReason::NoSlurm { .. }))
        .count();
    if without_slurm > 0 {
        notices.push(format!(
            "note: {} with cluster=True; {}, so that they are computed on this machine",
            count(without_slurm, "variable"),
            why_no_slurm()
        ));
    }
    let commands = plan.tasks.iter().filter(|task| task.job.is_some() && task.place == Place::Local).count();
    if commands > 0 {
        notices.push(format!(
            "note: {} with a Slurm job of their own; {}, so that the commands are executed on this machine",
            count(commands, "variable"),
            why_no_slurm()
        ));
    }
    notices
}
