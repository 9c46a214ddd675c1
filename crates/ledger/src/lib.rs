//! The ledger: the coordinator's memory of requests, tasks, attempts and what happened, on SQLite or PostgreSQL.
//!
//! Promises of this crate, on both engines:
//!
//! * What a writing function has returned is on disk.
//! * Each writing function is one transaction ([`Ledger::prune`]: a few); a crash leaves all of it or nothing.
//! * Every write names a [`Lease`] and is refused with [`LedgerError::Deposed`] in its own transaction if another
//!   coordinator has taken over, so that a process that slept past its term cannot write. The database checks the
//!   epoch of every task once more by itself.
//! * A task only makes the moves of [`Phase::may_become`]; the database knows the same table and refuses any other.
//! * A move costs the same however many tasks there are.
//! * A SQLite ledger is used from one host at a time; nothing that is not a ledger is ever changed.
//!
//! A *scope* is the path of a proposal's database directory: one PostgreSQL serves many of them.
//! Time and randomness come in as arguments.

mod address;
mod attempt;
mod changes;
mod engine;
mod error;
mod event;
mod fact;
mod forget;
mod lease;
mod migrate;
mod open;
mod phase;
mod postgres;
mod request;
mod sqlite;
mod statement;
mod task;

pub use address::without_secret;
pub use amore_model::lease::{Claim, Holder, LeaseState};
pub use attempt::AttemptRow;
pub use changes::{Changes, TaskMove};
pub use error::{LedgerError, Mismatch};
pub use event::{EventRow, NewEvent};
pub use forget::Pruned;
pub use lease::{Acquired, Lease};
pub use migrate::SCHEMA_VERSION;
pub use open::{FILE_NAME, Ledger, OpenOptions};
pub use phase::{Phase, UnknownWord};
pub use request::{NewRequest, RequestRow};
pub use task::{Counts, NewTask, Place, TaskRow};
