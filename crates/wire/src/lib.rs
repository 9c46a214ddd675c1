//! What crosses between processes, and nothing else: one JSON object a line, with a version.
//!
//! Two conversations, each in its own module, and the files by which the first is held with a Slurm job:
//! - [`task`]: coordinator ↔ worker (standard input and output of `amore-worker`);
//! - [`sheet`]: the same words for a worker in a Slurm job;
//! - [`host`]: worker ↔ context host and its forked children (Unix sockets, shared memory for values).
//!
//! These types are neither rows nor domain types; changing one is a change of protocol.

pub mod ended;
pub mod host;
pub mod sheet;
pub mod task;

/// Version of both conversations. A peer with another version is refused with both numbers.
pub const VERSION: u32 = 1;
