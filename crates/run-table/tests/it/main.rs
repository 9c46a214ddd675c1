//! The run table on real files.

mod open;
mod owner;
mod rights;
mod store;
mod support;
