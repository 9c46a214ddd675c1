//! The coordinator's decisions for one database directory, as a synchronous core: [`Core::on`] takes an [`Input`] at a
//! [`Moment`] and gives [`Effect`]s.
//!
//! No I/O, no clock, no randomness, no environment, no process: the driver around it reads and does, and decides nothing.
//! The same inputs at the same moments give the same effects, in the same order.
//!
//! [`Core`] is made of types that each hold one thing (requests, tasks, jobs, the journal, …) behind their methods. The files in
//! `core/` decide what follows from an input; only they see these types together. The way of a run through them: `incoming` →
//! `begin` → `dispatch` (→ `submit`) → `worker` or `job_events` (→ `job_over` where a job ends early) → `collect` → `finish`.

pub mod activity;
mod after_command;
pub mod after_job;
mod after_refusal;
mod announced;
mod cancellations;
pub mod command;
mod commands;
mod core;
pub mod describe;
mod effect;
mod ending;
pub mod events;
pub mod history;
pub mod host_queue;
mod ids;
mod incoming;
mod input;
pub mod job_asked;
mod job_memory;
mod jobs;
pub mod journal;
mod ledger_access;
mod life;
pub mod local_work;
mod local_worker;
mod moment;
mod mymdc;
mod planning;
pub mod problem_words;
mod queue;
mod ready_tasks;
mod refusal;
pub mod request;
mod requests;
mod results;
mod setup;
mod slurm;
mod submissions;
mod table_notices;
pub mod task;
pub mod task_state;
mod tasks;
mod uncollected;
mod upkeep;
mod worker_crashes;

pub use crate::{
    core::Core,
    effect::{Effect, Fragment, NewJob, Question},
    incoming::IncomingNo,
    input::{
        Answer, Collected, ContextRead, Input, JobEvent, LeftOpen, OpenRequest, OpenTask, Prepared, Survey,
        TableNotice,
    },
    moment::Moment,
    refusal::{NO_SPACE, Refusal, RefusalKind},
    results::TaskResults,
    setup::Setup,
    tasks::RunKey,
};
