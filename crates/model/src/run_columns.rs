//! The columns that the run table has for every run. A variable must not have the name of one.

/// The comment of users on a run.
pub const COMMENT: &str = "comment";

/// The columns of a run in DAMNIT's view `runs`, before those of variables, and the comment. SQLite compares names of columns
/// without regard to case.
///
/// DAMNIT adds the values of variables to its own columns: with a value of one of these names, its `Damnit(…).table()` cannot
/// read the table.
pub const COLUMNS_OF_RUNS: [&str; 5] = ["proposal", "run", "start_time", "added_at", COMMENT];
