//! Leading runs through the stages: the owner of a proposal at work.

pub mod abandoned;
mod accept;
mod adopt;
mod after_command;
pub mod after_job;
mod after_refusal;
mod cancel;
pub mod describe;
pub mod events;
mod follow;
pub mod hand_over;
pub mod job_asked;
mod job_over;
mod job_variable;
pub mod jobs;
mod jobs_under_way;
mod keeper;
pub mod ledger_place;
pub mod memory;
pub mod owner;
pub mod queue;
#[cfg(test)]
mod recorded_rows;
pub mod remembered;
pub mod session;
pub mod tasks;
pub mod tracker;
mod worker_crashes;
