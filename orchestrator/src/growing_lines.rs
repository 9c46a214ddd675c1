//! Reads a file of lines while another process appends to it. Also used for the requests of other processes.

pub use amore_slurm_client::growing_lines::GrowingLines;
