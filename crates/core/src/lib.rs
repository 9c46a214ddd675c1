//! The coordinator's decisions for one database directory, as a synchronous core: [`Core::on`] takes an [`Input`] at a
//! [`Moment`] and gives [`Effect`]s.
//!
//! No I/O, no clock, no randomness, no environment, no process: the driver around it reads and does, and decides nothing.
//! The same inputs at the same moments give the same effects, in the same order.
//!
//! The way of a run: [`request`] → [`incoming`] (described, surveyed) → [`planning`] → [`begin`] → [`local`] or
//! [`in_jobs`] → [`job_over`] where a job ends early → [`finish`].

mod adopt;
mod after_command;
pub mod after_job;
mod after_refusal;
mod begin;
mod cancel;
pub mod command;
mod core;
pub mod describe;
mod effect;
pub mod events;
mod finish;
pub mod history;
mod in_jobs;
mod incoming;
mod input;
pub mod job_asked;
mod job_over;
mod jobs;
pub mod journal;
mod local;
mod moment;
mod planning;
pub mod problem_words;
mod queue;
mod refusal;
pub mod request;
mod results;
mod setup;
pub mod task;
pub mod task_state;
mod tasks;
mod uncollected;
mod worker_crashes;

pub use crate::{
    core::Core,
    effect::{Effect, Fragment, NewJob, Question},
    incoming::IncomingNo,
    input::{
        Answer, Collected, Input, JobEvent, LeftOpen, OpenRequest, OpenTask, Prepared, Survey, TableNotice,
    },
    local::NO_SPACE,
    moment::Moment,
    refusal::{Refusal, RefusalKind},
    results::TaskResults,
    setup::Setup,
    tasks::RunKey,
};
