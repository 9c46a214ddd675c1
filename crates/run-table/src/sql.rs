//! The SQL statements. Each starts with the name of the function that sends it, for SQLite's traces. Statements that depend on
//! variable names (the views) are in `views.rs`, multi-row inserts in `store.rs`.

pub(crate) const TABLES: &str = "-- open::inspect
SELECT name FROM sqlite_master WHERE type = 'table'";

pub(crate) const SCHEMA_COUNTER: &str = "-- views::ensure
PRAGMA schema_version";

pub(crate) const JOURNAL_MODE: &str = "-- open::leave_wal
PRAGMA journal_mode";

pub(crate) const LEAVE_WAL: &str = "-- open::leave_wal
PRAGMA journal_mode = DELETE";

pub(crate) const GET_SETTING: &str = "-- settings::get
SELECT value FROM metameta WHERE key = ?1";

pub(crate) const SET_SETTING: &str = "-- settings::set
INSERT INTO metameta (key, value) VALUES (?1, ?2)
ON CONFLICT (key) DO UPDATE SET value = excluded.value";

pub(crate) const DELETE_SETTING: &str = "-- settings::delete
DELETE FROM metameta WHERE key = ?1";

pub(crate) const LIST_SETTINGS: &str = "-- settings::list
SELECT key, value FROM metameta ORDER BY key";

pub(crate) const OWNER_TABLE_EXISTS: &str = "-- ownership::read_row
SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'amore_owner'";

pub(crate) const READ_OWNER: &str = "-- ownership::read_row
SELECT epoch, host, pid, token, user, address, until FROM amore_owner WHERE id = 1";

pub(crate) const WRITE_OWNER: &str = "-- ownership::acquire
INSERT INTO amore_owner (id, epoch, host, pid, token, user, address, until)
VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, host = excluded.host, pid = excluded.pid,
    token = excluded.token, user = excluded.user, address = excluded.address, until = excluded.until";

pub(crate) const RELEASE_OWNER: &str = "-- ownership::release
UPDATE amore_owner
SET host = NULL, pid = NULL, token = NULL, user = NULL, address = NULL, until = NULL WHERE id = 1";

pub(crate) const UPSERT_RUN: &str = "-- store::store
INSERT INTO run_info (proposal, run, start_time, added_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (proposal, run) DO UPDATE SET start_time =
CASE WHEN ?5 THEN coalesce(start_time, excluded.start_time) ELSE coalesce(excluded.start_time, start_time) END";

pub(crate) const USER_VARIABLES: &str = "-- store::store, variables::update
SELECT name FROM variables WHERE type IS NOT NULL";

pub(crate) const REMOVE_VALUES: &str = "-- store::store
DELETE FROM run_variables
WHERE proposal = ?1 AND run = ?2 AND name IN (SELECT value FROM json_each(?3))";

pub(crate) const VIEW_SQL: &str = "-- views::load
SELECT name, sql FROM sqlite_master WHERE type = 'view' AND name IN ('runs', 'max_diffs') ORDER BY name DESC";

pub(crate) const VIEW_COLUMN_NAMES: &str = "-- views::load
SELECT name FROM pragma_table_info('runs')";

pub(crate) const DECLARED_NAMES: &str = "-- views::all_names
SELECT name FROM variables ORDER BY rowid";

pub(crate) const STORED_NAMES: &str = "-- views::all_names
SELECT DISTINCT name FROM run_variables ORDER BY name";

pub(crate) const COMPUTED_VARIABLES: &str = "-- variables::computed
SELECT name, title, description FROM variables WHERE type IS NULL ORDER BY rowid";

pub(crate) const ALL_TAGS: &str = "-- variables::computed
SELECT variable_name, name FROM variable_tags JOIN tags ON id = tag_id ORDER BY variable_name, tag_id";

pub(crate) const UPSERT_VARIABLES: &str = "-- variables::update
INSERT INTO variables (name, type, title, description, attributes)
SELECT value ->> 0, NULL, value ->> 1, value ->> 2, NULL FROM json_each(?1) WHERE true
ON CONFLICT (name) DO UPDATE SET type = NULL, title = excluded.title, description = excluded.description,
    attributes = NULL";

pub(crate) const INSERT_TAGS: &str = "-- variables::update
INSERT OR IGNORE INTO tags (name) SELECT value ->> 1 FROM json_each(?1)";

pub(crate) const TAG_VARIABLES: &str = "-- variables::update
INSERT OR IGNORE INTO variable_tags (variable_name, tag_id)
SELECT pair.value ->> 0, tags.id FROM json_each(?1) AS pair JOIN tags ON tags.name = pair.value ->> 1";

pub(crate) const UNTAG_VARIABLES: &str = "-- variables::update
DELETE FROM variable_tags WHERE (variable_name, tag_id) IN (
    SELECT pair.value ->> 0, tags.id FROM json_each(?1) AS pair JOIN tags ON tags.name = pair.value ->> 1
)";

pub(crate) const DROP_VARIABLES: &str = "-- variables::drop_variables
DELETE FROM variables
WHERE type IS NULL
  AND name IN (SELECT value FROM json_each(?1))
  AND name NOT IN (SELECT DISTINCT name FROM run_variables WHERE name IN (SELECT value FROM json_each(?1)))
RETURNING name";

/// When a run was added, how many values it has, and when the last one of a context file was stored. A row without
/// provenance counts as one of a context file.
pub(crate) const PRESENCE: &str = "-- read::presence
SELECT
    (SELECT CAST(max(added_at) AS REAL) FROM run_info WHERE proposal = ?1 AND run = ?2),
    (SELECT count(*) FROM run_variables WHERE proposal = ?1 AND run = ?2),
    (SELECT CAST(max(timestamp) AS REAL) FROM run_variables
     WHERE proposal = ?1 AND run = ?2 AND name <> 'comment'
       AND name NOT IN (SELECT name FROM variables WHERE type IS NOT NULL)
       AND coalesce(provenance, '') IN ('', 'context.py'))";

/// Runs with values, whether or not `run_info` has them; one index step per run, however many values.
pub(crate) const RUNS_WITH_VALUES: &str = "-- read::runs
WITH RECURSIVE found (proposal, run) AS (
    SELECT * FROM (SELECT proposal, run FROM run_variables ORDER BY proposal, run LIMIT 1)
    UNION ALL
    SELECT next.proposal, next.run FROM found JOIN run_variables AS next ON next.rowid = (
        SELECT rowid FROM run_variables WHERE (proposal, run) > (found.proposal, found.run)
        ORDER BY proposal, run LIMIT 1
    )
)
SELECT proposal, run FROM found";

pub(crate) const RUNS: &str = "-- read::runs
SELECT proposal, run FROM run_info ORDER BY proposal, run";

pub(crate) const RUN_ROWS: &str = "-- read::table
SELECT proposal, run, start_time, added_at FROM run_info ORDER BY proposal, run";

pub(crate) const TITLES: &str = "-- read::table
SELECT name, title, type FROM variables ORDER BY rowid";

pub(crate) const CONTEXT_NAMES: &str = "-- read::context_names
SELECT CAST(proposal AS INTEGER), CAST(run AS INTEGER), name FROM run_variables
WHERE provenance LIKE '%.py' AND name NOT IN (SELECT name FROM variables WHERE type IS NOT NULL)
ORDER BY name";

pub(crate) const USER_VARIABLE_DEFINITIONS: &str = "-- variables::copy_user_variables_from
SELECT name, type, title, description, attributes FROM variables WHERE type IS NOT NULL";

pub(crate) const ADD_USER_VARIABLE: &str = "-- variables::copy_user_variables_from
INSERT OR IGNORE INTO variables (name, type, title, description, attributes) VALUES (?1, ?2, ?3, ?4, ?5)";

pub(crate) const TYPE_OF_VARIABLE: &str = "-- user_values::declared
SELECT type FROM variables WHERE name = ?1";

pub(crate) const COUNT_VALUES: &str = "-- user_values::values_of
SELECT count(*) FROM run_variables WHERE name = ?1 AND (value IS NOT NULL OR attributes IS NOT NULL)";

pub(crate) const REMOVE_USER_VALUES: &str = "-- user_values::remove_user_variable
DELETE FROM run_variables WHERE name = ?1";

pub(crate) const REMOVE_USER_VARIABLE: &str = "-- user_values::remove_user_variable
DELETE FROM variables WHERE name = ?1 AND type IS NOT NULL";

pub(crate) const RUN_EXISTS: &str = "-- user_values::find
SELECT 1 FROM run_info WHERE proposal = ?1 AND run = ?2";

pub(crate) const USER_CELL: &str = "-- user_values::read_cell
SELECT value, timestamp FROM run_variables WHERE proposal = ?1 AND run = ?2 AND name = ?3
ORDER BY version DESC LIMIT 1";

pub(crate) const SET_USER_CELL: &str = "-- user_values::write_cell
INSERT INTO run_variables (proposal, run, name, version, value, timestamp, max_diff, provenance, summary_type,
    summary_method, attributes)
VALUES (?1, ?2, ?3, 1, ?4, ?5, NULL, ?6, NULL, ?7, NULL)
ON CONFLICT (proposal, run, name, version) DO UPDATE SET value = excluded.value, timestamp = excluded.timestamp,
    max_diff = NULL, provenance = excluded.provenance, summary_type = NULL,
    summary_method = excluded.summary_method, attributes = NULL";

pub(crate) const TIME_COMMENTS: &str = "-- user_values::time_comments
SELECT rowid, timestamp, comment FROM time_comments ORDER BY timestamp, rowid";

pub(crate) const TIME_COMMENT: &str = "-- user_values::change_time_comment
SELECT rowid, timestamp, comment FROM time_comments WHERE rowid = ?1";

pub(crate) const ADD_TIME_COMMENT: &str = "-- user_values::add_time_comment
INSERT INTO time_comments (timestamp, comment) VALUES (?1, ?2)";

pub(crate) const CHANGE_TIME_COMMENT: &str = "-- user_values::change_time_comment
UPDATE time_comments SET comment = ?2 WHERE rowid = ?1";

pub(crate) const REMOVE_TIME_COMMENT: &str = "-- user_values::change_time_comment
DELETE FROM time_comments WHERE rowid = ?1";

/// Changes whenever another connection changes the file; comparable within one connection.
pub(crate) const DATA_VERSION: &str = "-- page::data_version
PRAGMA data_version";

pub(crate) const ALL_VARIABLES: &str = "-- page::variables
SELECT name, title, description, type FROM variables ORDER BY rowid";

/// Runs of a proposal in which a variable (one of a list in JSON, or any for `null`) has an error that is no skip.
pub(crate) const RUNS_WITH_ERROR: &str = "-- page::with_error
SELECT DISTINCT proposal, run FROM run_variables
WHERE proposal = ?1 AND value IS NULL AND summary_method IS NULL
  AND CASE WHEN json_valid(attributes) THEN attributes ->> 'error' IS NOT NULL
      AND coalesce(attributes ->> 'error_cls', '') <> 'Skip' ELSE false END
  AND (?2 = 'null' OR name IN (SELECT value FROM json_each(?2)))";

pub(crate) const ONE_VALUE: &str = "-- page::stored_cell
SELECT value, max_diff, summary_method, timestamp, provenance, attributes FROM run_variables
WHERE proposal = ?1 AND run = ?2 AND name = ?3 ORDER BY version DESC LIMIT 1";

pub(crate) const ONE_VALUE_OF_VERSION_1: &str = "-- page::stored_cell
SELECT value, max_diff, summary_method, timestamp, provenance, NULL FROM run_variables
WHERE proposal = ?1 AND run = ?2 AND name = ?3 ORDER BY version DESC LIMIT 1";
