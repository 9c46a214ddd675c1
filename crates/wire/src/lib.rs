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

/// Version of both conversations.
///
/// A message gets new fields under the same version, each with a default, and a reader leaves out fields that it does not
/// know: so programs of two builds go on together while one of them is replaced. What a reader of this version would
/// misunderstand takes the next number.
pub const VERSION: u32 = 1;

/// The oldest version that is still understood.
pub const OLDEST_VERSION: u32 = 1;

/// Is this version understood? A later one is not: its messages may mean something else.
pub fn is_understood(version: u32) -> bool {
    (OLDEST_VERSION..=VERSION).contains(&version)
}
