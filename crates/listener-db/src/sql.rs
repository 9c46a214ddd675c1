//! The SQL statements. Each starts with the name of the function that sends it, for SQLite's traces.

/// DAMNIT's schema, which it applies at each start.
pub(crate) const SCHEMA: &str = "-- open::create
CREATE TABLE IF NOT EXISTS proposal_databases(proposal, db_dir UNIQUE, official);
CREATE INDEX IF NOT EXISTS proposals ON proposal_databases (proposal);
CREATE TABLE IF NOT EXISTS settings(key PRIMARY KEY NOT NULL, value)";

pub(crate) const TABLES: &str = "-- open::check
SELECT name FROM sqlite_master WHERE type = 'table'";

pub(crate) const LIST_SETTINGS: &str = "-- settings::all
SELECT key, value FROM settings ORDER BY key";

pub(crate) const SET_SETTING: &str = "-- settings::set
INSERT INTO settings (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

pub(crate) const ADD_DEFAULT: &str = "-- settings::add_defaults
INSERT INTO settings (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING";

pub(crate) const DELETE_SETTING: &str = "-- settings::delete
DELETE FROM settings WHERE key = ?1";

pub(crate) const LIST_DATABASES: &str = "-- databases::list
SELECT proposal, db_dir, official FROM proposal_databases ORDER BY rowid";

pub(crate) const ADD_DATABASE: &str = "-- databases::add
INSERT INTO proposal_databases (proposal, db_dir, official) VALUES (?1, ?2, ?3)";

pub(crate) const REMOVE_DATABASE: &str = "-- databases::remove
DELETE FROM proposal_databases WHERE db_dir = ?1";
