//! Getting tasks executed.

pub mod local;
pub mod slurm;
