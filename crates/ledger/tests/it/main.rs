//! The ledger on real files and on a real PostgreSQL server: one suite for both.

mod arrivals;
mod bench;
mod child;
mod crash;
mod database;
mod files;
mod forget;
mod lease;
mod migrate;
mod model;
mod moves;
mod requests;
mod scale;
mod server;
mod tokens;
