//! Takes runs through the stages: drives the core, as the owner of a directory.

pub mod abandoned;
pub mod describe;
pub mod driver;
pub use amore_core::events;
mod effects;
mod error;
pub mod hand_over;
mod keeper;
pub mod ledger_place;
mod ledger_reader;
mod ledger_writer;
pub mod ledgers;
mod listeners;
pub mod local_work_file;
mod logged;
mod mymdc;
pub mod owner;
mod questions;
#[cfg(test)]
mod recorded_rows;
pub mod remembered;
pub mod setup;
mod survey;

pub use error::CoordinateError;
pub use ledger_writer::user_name;
