//! The run table: `runs.sqlite` in a proposal's database directory, in DAMNIT's schema (version 4).
//!
//! Guarantees of this crate:
//!
//! * When a writing function returns, its data are on disk: commits are synced.
//! * Each writing function is one transaction; a crash leaves all of it or nothing.
//! * Only the table's owner writes results ([`Ownership`]). Every such transaction checks the epoch, so that a process that was
//!   suspended past the end of its lease cannot write.
//! * A result never overwrites what users entered (comments, user-editable variables).
//! * Files that are not run tables are never changed, and an existing file is never replaced.
//!
//! Time and randomness are arguments.

mod error;
mod holders;
mod migrate;
mod not_changed;
mod open;
mod ownership;
mod page;
mod patience;
mod read;
mod settings;
mod sql;
mod store;
mod sync_directory;
mod user_value;
mod user_values;
mod value;
mod variables;
mod views;

pub use amore_model::{
    SettingValue,
    lease::{Claim, Holder, LeaseState},
};
pub use error::RunTableError;
pub use holders::LockHolder;
pub use migrate::SCHEMA_VERSION;
pub use not_changed::NotChanged;
pub use open::{FILE_NAME, OpenOptions, RunTable};
pub use ownership::{Acquired, Ownership};
pub use page::{DeclaredVariable, Page, PageRequest, StoredCell};
pub use read::{Cell, Column, Presence, RunRow, TableData, TableFilter};
pub use settings::{KNOWN_SETTINGS, KnownSetting, NotAsExpected, Settings, UnknownSetting, unknown_settings};
pub use store::{CellKind, CellUpdate, CellValue, Refused, RunUpdate, Stored};
pub use user_value::{NotOfType, UserType, UserValue};
pub use user_values::{
    CellVersion, TimeComment, UserCell, UserCellName, UserVariable, is_user_variable_name,
};
pub use value::SqlValue;
pub use variables::{VariableChanges, VariableRow};
pub use views::{VIEW_COLUMNS, ViewTruncated};
