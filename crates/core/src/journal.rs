//! What the ledger is to keep, in the order in which it happened: noted here, written by the driver.
//!
//! Only requests with Slurm jobs are kept: those outlive this process. A request without jobs ends with the command that
//! made it, and what it has computed is in the run files.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amore_model::{
    JobId, PlanStamp, RunData, Urgency,
    planted::{Fault, is_on},
};
use amore_plan::{Place, PlannedTask};
use amore_slurm::submission::JobOptions;
use serde::{Deserialize, Serialize};

use crate::{
    history::HistoryLine,
    request::Request,
    task::{Common, RetryState, TaskRecord},
    task_state::{AttemptPlace, TaskState},
    tasks::RunKey,
};

/// What an attempt asked Slurm for, as the ledger keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttemptAsked {
    /// Time limit.
    pub time_minutes: u32,
    /// CPUs of the task.
    pub cpus: Option<u32>,
    /// Memory of the node in MiB.
    pub mem_mib: Option<u64>,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Nodes.
    pub nodes: Option<u32>,
    /// Features of the node.
    pub constraint: Option<String>,
    /// Tasks.
    pub ntasks: Option<u32>,
    /// Account.
    pub account: Option<String>,
    /// QOS.
    pub qos: Option<String>,
    /// Clusters, as the setting names them.
    pub clusters: Option<String>,
}

impl AttemptAsked {
    fn of(asked: &JobOptions) -> Self {
        AttemptAsked {
            time_minutes: asked.time_minutes,
            cpus: asked.cpus,
            mem_mib: asked.mem_mib,
            gpus: asked.gpus,
            nodes: asked.nodes,
            constraint: asked.constraint.clone(),
            ntasks: asked.ntasks,
            account: asked.account.clone(),
            qos: asked.qos.clone(),
            clusters: asked.clusters.clone(),
        }
    }
}

/// What a task is, as the ledger keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskSpec {
    /// As planned.
    pub planned: PlannedTask,
    /// Raw only, or all.
    pub data: RunData,
    /// Names to drop.
    pub forget: Vec<String>,
    /// The plan's stamp.
    pub stamp: PlanStamp,
}

/// What is known of a task, as the ledger keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskFacts {
    /// What earlier attempts have shown.
    #[serde(rename = "journey")]
    pub retry: RetryState,
    /// The number of the next or current attempt.
    pub attempt: u32,
    /// The current attempt's token, if it is in a Slurm job.
    pub token: Option<String>,
    /// Its job.
    pub job: Option<JobId>,
}

/// What was asked, as the ledger keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestDetail {
    /// The request.
    pub asked: Request,
    /// How urgent it is.
    #[serde(default)]
    pub urgency: Urgency,
    /// What its tasks have in common.
    pub common: Common,
}

/// The state of a task, in the ledger's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Other tasks must end first.
    Waiting,
    /// It can be started.
    Ready,
    /// Its job is being submitted, or may have been.
    Submitting,
    /// Slurm has its job.
    Submitted,
    /// A worker on the coordinator's host has it.
    Running,
    /// It is over.
    Ended,
}

impl Phase {
    /// Of a state.
    pub fn of(state: &TaskState) -> Phase {
        match state {
            TaskState::Waiting { .. } => Phase::Waiting,
            TaskState::Ready { .. } => Phase::Ready,
            TaskState::InProgress(attempt) => match &attempt.place {
                AttemptPlace::Here { .. } => Phase::Running,
                AttemptPlace::Job { job: None } => Phase::Submitting,
                AttemptPlace::Job { job: Some(_) } => Phase::Submitted,
            },
            TaskState::Ended { .. } => Phase::Ended,
        }
    }
}

/// A request with its tasks.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// Its id in the ledger.
    pub id: String,
    /// When it came (Unix time).
    pub created: f64,
    /// What was asked.
    pub detail: RequestDetail,
    /// Its tasks.
    pub tasks: Vec<NewTask>,
}

/// A task of a new request.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Its id.
    pub id: String,
    /// Its run.
    pub key: RunKey,
    /// Where it is computed.
    pub place: Place,
    /// What it is.
    pub spec: TaskSpec,
    /// Its state.
    pub facts: TaskFacts,
    /// Ids of tasks that it waits for.
    pub waits_for: Vec<String>,
}

/// A task has moved, or more is known of it.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Its id.
    pub task: String,
    /// Its state before.
    pub from: Phase,
    /// Its state.
    pub to: Phase,
    /// What is known of it now.
    pub facts: TaskFacts,
    /// The number of the submission that it is in.
    pub attempt: Option<u32>,
}

/// An attempt in a Slurm job, with all that is known of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttemptRecord {
    /// The task's id.
    pub task: String,
    /// The number of its submission.
    pub number: u32,
    /// Its token.
    pub token: String,
    /// The cluster; empty where none was named.
    pub cluster: String,
    /// The job's number.
    pub job_id: Option<u64>,
    /// Slurm's state, as last seen.
    pub slurm_state: Option<String>,
    /// Slurm's reason.
    pub slurm_reason: Option<String>,
    /// The partition.
    pub partition: Option<String>,
    /// The reservation.
    pub reservation: Option<String>,
    /// The nodes.
    pub nodes: Option<String>,
    /// What was asked for.
    pub asked: AttemptAsked,
    /// When it was submitted (Unix time).
    pub submitted: Option<f64>,
    /// When it started.
    pub started: Option<f64>,
    /// When it ended.
    pub ended: Option<f64>,
    /// How it ended.
    pub outcome: Option<String>,
}

/// What is written in one transaction. A task moves at most once in it.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Moves of tasks.
    pub moves: Vec<Moved>,
    /// Attempts, new or known.
    pub attempts: Vec<AttemptRecord>,
    /// Lines of the history.
    pub history: Vec<HistoryLine>,
}

impl Changes {
    /// Was this written before, as far as the ledger's tasks show? Asked after a write whose answer was lost: then its moves
    /// stand, and with them the rest, as a write is all or nothing. `phase`: where a task stands in the ledger.
    pub fn is_applied(&self, phase: impl Fn(&str) -> Option<Phase>) -> bool {
        let moved = |one: &&Moved| one.from != one.to;
        self.moves.iter().any(|one| moved(&one))
            && self.moves.iter().filter(moved).all(|one| phase(&one.task) == Some(one.to))
    }
}

/// One write to the ledger: all of it, or nothing.
#[derive(Clone, Debug)]
pub enum Write {
    /// A request that has come in.
    Request(Box<NewRequest>),
    /// What has happened.
    Changes(Box<Changes>),
    /// Nothing more comes of the request with this id.
    Finished(String),
}

/// The position of a write among all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteNo(u64);

/// Writes that are noted and not in the ledger yet.
#[derive(Debug, Default)]
pub struct Journal {
    pending: VecDeque<Write>,
    /// The number of the first of them.
    first: u64,
    /// So many of them the driver is writing.
    in_flight: usize,
    /// So many of them were given to the driver at some time. They may be written, even where no answer came: nothing is
    /// added to them.
    sealed: usize,
    /// Tasks that move in the last of them, if it is open for more.
    moved: BTreeSet<String>,
    /// Attempts in progress, by token.
    attempts: BTreeMap<String, AttemptRecord>,
}

impl Journal {
    /// Notes a request with its tasks.
    pub fn add_request(&mut self, request: NewRequest) {
        self.push(Write::Request(Box::new(request)));
    }

    /// Notes that nothing more comes of a request.
    pub fn finish_request(&mut self, id: String) {
        self.push(Write::Finished(id));
    }

    /// Notes that a task has moved, or that more is known of it.
    pub fn moved(&mut self, task: &TaskRecord, from: &TaskState) {
        let attempt = task.state().job_token().map(|_| task.retry.submissions);
        let moved = Moved {
            task: task.id.clone(),
            from: Phase::of(from),
            to: Phase::of(task.state()),
            facts: facts(task),
            attempt,
        };
        if self.moved.contains(&moved.task) {
            self.push(Write::Changes(Box::default()));
        }
        let id = moved.task.clone();
        self.changes().moves.push(moved);
        self.moved.insert(id);
    }

    /// Notes the intent to submit a job. It may be submitted when the write with the number that this gives is done.
    pub fn intent(&mut self, task: &TaskRecord, token: &str, asked: &JobOptions, now: f64) -> WriteNo {
        let record = AttemptRecord {
            task: task.id.clone(),
            number: task.retry.submissions,
            token: token.to_owned(),
            partition: asked.partition.clone(),
            reservation: asked.reservation.clone(),
            asked: AttemptAsked::of(asked),
            submitted: Some(now),
            ..AttemptRecord::default()
        };
        self.attempts.insert(token.to_owned(), record.clone());
        self.changes().attempts.push(record);
        self.last()
    }

    /// Adds an attempt of an earlier owner.
    pub fn adopt_attempt(&mut self, record: AttemptRecord) {
        self.attempts.insert(record.token.clone(), record);
    }

    /// Notes what is known of an attempt by now.
    pub fn update_attempt(&mut self, token: &str, change: impl FnOnce(&mut AttemptRecord)) {
        let Some(record) = self.attempts.get_mut(token) else { return };
        change(record);
        let record = record.clone();
        let over = record.ended.is_some();
        let changes = self.changes();
        changes.attempts.retain(|other| other.token != record.token);
        changes.attempts.push(record);
        if over {
            self.attempts.remove(token);
        }
    }

    /// Has the job of this attempt begun, as far as is known?
    pub fn has_started(&self, token: &str) -> bool {
        self.attempts.get(token).is_some_and(|record| record.started.is_some())
    }

    /// Adds a line to a run's history.
    pub fn add_history(&mut self, line: HistoryLine) {
        self.changes().history.push(line);
    }

    /// What the driver is to write now: all that is noted, unless it is writing already.
    pub fn to_write(&mut self) -> Vec<Write> {
        if self.in_flight > 0 || self.pending.is_empty() {
            return Vec::new();
        }
        self.in_flight = self.pending.len();
        self.sealed = self.in_flight;
        self.moved.clear();
        self.pending.iter().cloned().collect()
    }

    /// The driver has written so many of what it was given. The rest is written again.
    pub fn written(&mut self, done: usize) {
        let done = done.min(self.in_flight);
        self.pending.drain(..done);
        self.first += done as u64;
        self.sealed -= done;
        self.in_flight = 0;
    }

    /// Is this write done?
    pub fn is_done(&self, write: WriteNo) -> bool {
        write.0 < self.first
    }

    /// Is everything written?
    pub fn is_written(&self) -> bool {
        self.pending.is_empty()
    }

    fn push(&mut self, write: Write) {
        self.moved.clear();
        self.pending.push_back(write);
    }

    /// The last write, if it may be added to.
    fn changes(&mut self) -> &mut Changes {
        let sealed = if is_on(Fault::UnansweredWriteChanged) { self.in_flight } else { self.sealed };
        let is_open = self.pending.len() > sealed && matches!(self.pending.back(), Some(Write::Changes(_)));
        if !is_open {
            self.push(Write::Changes(Box::default()));
        }
        match self.pending.back_mut() {
            Some(Write::Changes(changes)) => changes,
            _ => unreachable!("the last write is one of changes"),
        }
    }

    fn last(&self) -> WriteNo {
        WriteNo(self.first + (self.pending.len() as u64).saturating_sub(1))
    }
}

/// A task as a new request brings it into the ledger.
pub fn new_task(task: &TaskRecord, waits_for: Vec<String>) -> NewTask {
    NewTask {
        id: task.id.clone(),
        key: task.key(),
        place: task.planned.place,
        spec: TaskSpec {
            planned: task.planned.clone(),
            data: task.data,
            forget: task.forget.clone(),
            stamp: task.stamp,
        },
        facts: facts(task),
        waits_for,
    }
}

/// What the ledger keeps of a task beside what it is.
pub fn facts(task: &TaskRecord) -> TaskFacts {
    let retry = task.retry.clone();
    match task.state() {
        TaskState::Waiting { .. } | TaskState::Ended { .. } => {
            TaskFacts { retry, attempt: 1, token: None, job: None }
        }
        TaskState::Ready { attempt } => TaskFacts { retry, attempt: *attempt, token: None, job: None },
        TaskState::InProgress(attempt) => match &attempt.place {
            AttemptPlace::Here { .. } => TaskFacts { retry, attempt: attempt.number, token: None, job: None },
            AttemptPlace::Job { job } => TaskFacts {
                retry,
                attempt: attempt.number,
                token: Some(attempt.token.clone()),
                job: job.clone(),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::HistoryKind,
        request::RequestNo,
        task::tests::task,
        task_state::{TaskMove, WorkerNo},
    };

    fn line(message: &str) -> HistoryLine {
        let key = (amore_model::Proposal(1234), amore_model::Run(1));
        let message = message.to_owned();
        HistoryLine { key, task: None, at: 0.0, kind: HistoryKind::State, message }
    }

    fn messages(write: &Write) -> Vec<&str> {
        match write {
            Write::Changes(changes) => changes.history.iter().map(|line| line.message.as_str()).collect(),
            Write::Request(_) | Write::Finished(_) => Vec::new(),
        }
    }

    #[test]
    fn what_is_being_written_is_not_changed_and_what_failed_is_written_again() {
        let mut journal = Journal::default();
        journal.add_history(line("first"));
        assert_eq!(journal.to_write().len(), 1);
        journal.add_history(line("second"));
        assert!(journal.to_write().is_empty(), "the driver is writing");
        journal.written(0);
        let again = journal.to_write();
        assert_eq!(again.iter().map(messages).collect::<Vec<_>>(), [["first"], ["second"]]);
        journal.written(1);
        assert!(!journal.is_written());
        assert_eq!(journal.to_write().iter().map(messages).collect::<Vec<_>>(), [["second"]]);
        journal.written(1);
        assert!(journal.is_written() && journal.to_write().is_empty());
    }

    #[test]
    fn a_task_moves_once_in_a_write() {
        let mut journal = Journal::default();
        let mut record = task("a", RequestNo(0), 1, []);
        for wanted in [
            TaskMove::Start { token: "t".to_owned(), worker: WorkerNo(0) },
            TaskMove::WorkerLost,
            TaskMove::NothingLeft { problem: None },
        ] {
            let before = record.advance(wanted).unwrap();
            journal.moved(&record, &before);
        }
        let moves: Vec<Vec<(Phase, Phase)>> = journal
            .to_write()
            .iter()
            .map(|write| match write {
                Write::Changes(changes) => changes.moves.iter().map(|moved| (moved.from, moved.to)).collect(),
                Write::Request(_) | Write::Finished(_) => Vec::new(),
            })
            .collect();
        let one = |from, to| vec![(from, to)];
        let expected = [
            one(Phase::Ready, Phase::Running),
            one(Phase::Running, Phase::Ready),
            one(Phase::Ready, Phase::Ended),
        ];
        assert_eq!(moves, expected);
    }

    #[test]
    fn a_request_and_its_end_keep_their_place_among_the_changes() {
        let mut journal = Journal::default();
        journal.add_history(line("before"));
        journal.finish_request("1-2".to_owned());
        journal.add_history(line("after"));
        let writes = journal.to_write();
        assert_eq!(writes.iter().map(messages).collect::<Vec<_>>(), [vec!["before"], vec![], vec!["after"]]);
        assert!(matches!(&writes[1], Write::Finished(id) if id == "1-2"));
    }

    #[test]
    fn what_is_known_of_an_attempt_is_one_record_until_it_has_ended() {
        let mut journal = Journal::default();
        let record = AttemptRecord { token: "t".to_owned(), ..AttemptRecord::default() };
        journal.adopt_attempt(record.clone());
        assert!(!journal.has_started("t"));
        journal.update_attempt("t", |record| record.started = Some(1.0));
        journal.update_attempt("t", |record| record.ended = Some(2.0));
        journal.update_attempt("t", |record| record.job_id = Some(7));
        assert!(!journal.has_started("t"), "it has ended");
        let expected = AttemptRecord { started: Some(1.0), ended: Some(2.0), ..record };
        match journal.to_write().as_slice() {
            [Write::Changes(changes)] => assert_eq!(changes.attempts, [expected]),
            other => panic!("{other:?}"),
        }
    }
}
