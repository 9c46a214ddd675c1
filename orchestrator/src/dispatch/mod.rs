//! Gets tasks executed.

pub mod local;
pub mod prepare_command;
pub mod slurm;
