//! The ledger: the coordinator's persistent record of requests, tasks, attempts and events, in SQLite or PostgreSQL.
//!
//! Guarantees of this crate, for both engines:
//!
//! * When a writing function returns, its changes are on disk.
//! * Each writing function is one transaction ([`Ledger::prune`]: a few); after a crash all of it is there or nothing.
//! * Every write names a [`Lease`], and is refused with [`LedgerError::Deposed`] in its own transaction if another
//!   coordinator has taken over: a process that slept past its term cannot write. The database itself also checks the
//!   epoch of every task.
//! * A task only makes the moves of [`Phase::may_become`]; the database has the same table and refuses all others.
//! * The cost of a move does not depend on the number of tasks.
//! * A SQLite ledger is used from one host at a time; a file that is not a ledger is never changed.
//!
//! A *scope* is the path of a proposal's database directory; one PostgreSQL database serves many scopes.
//! Time and randomness are arguments.

mod address;
mod arrival;
mod arrival_list;
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
mod token;

pub use address::without_secret;
pub use amore_model::lease::{Claim, Holder, LeaseState};
pub use arrival::{Accepted, ArrivalChange, ArrivalRow, ArrivalState, NewArrival};
pub use arrival_list::{ArrivalCounts, ArrivalFilter};
pub use attempt::AttemptRow;
pub use changes::{Changes, PhaseChange};
pub use error::{LedgerError, Mismatch};
pub use event::{EventRow, NewEvent};
pub use forget::Pruned;
pub use lease::{Acquired, Lease};
pub use migrate::SCHEMA_VERSION;
pub use open::{FILE_NAME, Ledger, OpenOptions};
pub use phase::{Phase, UnknownWord};
pub use request::{NewRequest, RequestRow};
pub use task::{Counts, NewTask, Place, TaskRow};
pub use token::{ForProposals, Right, Token};
