//! The messages between processes, and nothing else: one JSON object per line, with a version.
//!
//! There are two protocols, each in its own module, and the files that carry the first one for a Slurm job:
//! - [`task`]: coordinator ↔ worker (standard input and output of `amore-worker`);
//! - [`manifest`]: the same messages for a worker in a Slurm job;
//! - [`host`]: worker ↔ context host and its forked children (Unix sockets, shared memory for values).
//!
//! These types are neither database rows nor domain types; changing one changes the protocol.

pub mod ended;
pub mod host;
pub mod manifest;
pub mod mymdc;
pub mod task;

/// Version of the messages of both protocols that do not request a sandbox.
///
/// New fields are added to messages under the same version, each with a default, and a reader ignores fields that it does
/// not know. So programs of two builds continue to work together while one of them is replaced. A change that a reader of
/// this version would misunderstand takes the next number.
pub const VERSION: u32 = 1;

/// Version of messages that request a sandbox. A reader of version 1 would ignore the request and execute user code without
/// the sandbox, so it must refuse these messages. All others stay at [`VERSION`].
pub const VERSION_WITH_SANDBOX: u32 = 2;

/// The newest version that is understood.
pub const NEWEST_VERSION: u32 = VERSION_WITH_SANDBOX;

/// The oldest version that is understood.
pub const OLDEST_VERSION: u32 = 1;

/// Whether messages of this version are understood. Those of a later version are not: they may mean something else.
pub fn is_understood(version: u32) -> bool {
    (OLDEST_VERSION..=NEWEST_VERSION).contains(&version)
}
