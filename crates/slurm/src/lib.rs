//! Rules for using Slurm: its terms, the options of a job, and how jobs are submitted and tracked.
//!
//! Pure: no process, file, clock, environment or randomness; time is an argument. This crate knows jobs, but not what they
//! compute. `amore-slurm-client` carries out what is decided here.
//!
//! - Terms: [`states`], [`reasons`], [`job_status`] (status of a job), [`job_end`], [`token`] (identifies an attempt).
//! - Output of commands: [`sbatch`], [`refused`], [`squeue`], [`sacct`], [`scontrol`], [`partition_facts`] and
//!   [`reservation`] (scontrol and sinfo), [`slurm_user`] (sacctmgr), [`job_log`]; [`printed`] and [`command_failure`] for all.
//! - Commands: [`commands`] asks by them, and decides what their answers mean.
//! - Options of a job: [`submission`], [`script`], [`environment`], [`clusters`], [`amounts`]; [`site_facts`],
//!   [`partition`] and [`adjust`] adjust them to what the site has.
//! - Settings: [`settings`] is the table of all settings, [`sourced`] knows where each value comes from, [`site_file`]
//!   reads the site's file.
//! - Tracking: [`poller`] is the state machine, [`exchange`] has its inputs and actions; [`tracked`] is one job,
//!   [`cancelling`] a job that is being cancelled, [`poll`] one query of a cluster, [`shared_queries`] those that several
//!   trackers have in common, [`worker`] what a worker reports about its job.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests need a start time, and read recorded output of real Slurms"
    )
)]

pub mod adjust;
pub mod amounts;
pub mod cancelling;
pub mod clusters;
pub mod command_failure;
pub mod commands;
pub mod environment;
pub mod exchange;
pub mod job_end;
pub mod job_log;
pub mod job_status;
pub mod partition;
pub mod partition_facts;
pub mod poll;
pub mod poller;
pub mod printed;
pub mod reasons;
#[cfg(test)]
mod recorded;
pub mod refused;
pub mod reservation;
pub mod sacct;
pub mod sbatch;
pub mod scontrol;
pub mod script;
pub mod settings;
pub mod shared_queries;
pub mod site_facts;
pub mod site_file;
pub mod slurm_user;
pub mod sourced;
pub mod squeue;
pub mod states;
pub mod submission;
pub mod token;
pub mod tracked;

pub use job_end::JobEnd;
