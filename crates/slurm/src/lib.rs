//! Slurm, without asking it: its words, what a job asks for, and how jobs are submitted and followed.
//!
//! Pure: no process, file, clock, environment or randomness; time is an argument. It knows jobs, and not what they compute.
//! `amore-slurm-client` does what is decided here.
//!
//! - Words: [`states`], [`reasons`], [`seen`] (how a job stands), [`job_end`], [`token`] (which attempt a job is).
//! - Answers, by command: [`sbatch`], [`refused`], [`squeue`], [`sacct`], [`scontrol`], [`partition_facts`] and
//!   [`reservation`] (scontrol and sinfo), [`person`] (sacctmgr), [`job_log`]; [`printed`] and [`command_failure`] for all.
//! - What a job asks for: [`submission`], [`script`], [`handed_on`], [`clusters`], [`amounts`]; [`site_facts`],
//!   [`partition`] and [`settle`] judge it by what the site has.
//! - Settings: [`settings`] is the table of them, [`sourced`] says where each comes from, [`site_file`] reads the site's.
//! - How it goes: [`poller`] is the state machine, and [`exchange`] what goes in and out of it; [`tracked`] is one job,
//!   [`cancelling`] one whose end is wanted, [`poll`] one look at a cluster, [`worker`] what a worker says of its job.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests begin at some time, and read what real Slurms have printed"
    )
)]

pub mod amounts;
pub mod cancelling;
pub mod clusters;
pub mod command_failure;
pub mod exchange;
pub mod handed_on;
pub mod job_end;
pub mod job_log;
pub mod partition;
pub mod partition_facts;
pub mod person;
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
pub mod seen;
pub mod settings;
pub mod settle;
pub mod site_facts;
pub mod site_file;
pub mod sourced;
pub mod squeue;
pub mod states;
pub mod submission;
pub mod token;
pub mod tracked;
pub mod worker;

pub use job_end::JobEnd;
