//! Reading a file of lines as another process appends to it: also what requests of other processes need.

pub use amore_slurm_client::growing_lines::GrowingLines;
