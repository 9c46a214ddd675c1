//! Gets tasks executed.

pub mod local;
pub mod prepare_command;
pub mod shared;
pub mod slurm;
pub mod submission;
pub mod worker_link;
