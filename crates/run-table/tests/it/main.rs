//! The run table on real files.

mod open;
mod owner;
mod page;
mod rights;
mod store;
mod support;
mod user_values;
