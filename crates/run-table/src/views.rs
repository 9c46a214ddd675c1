//! The views `runs` and `max_diffs`: one column per variable, for SQLite browsers and other programs.
//!
//! They are recreated only if a variable appears that they do not show. Their columns are read from the views themselves, so
//! that the cost of storing results does not depend on the number of runs.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteConnection};

use crate::sql;

/// Maximum number of variables in the views: SQLite supports 2000 columns, four of which belong to the run.
pub const VIEW_COLUMNS: usize = 1900;

/// Marks our views. DAMNIT's group by run alone, which mixes proposals.
const MARK: &str = "/* one column per variable, one row per proposal and run */";

/// There are more variables than columns in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewTruncated {
    /// Number of variables in the views `runs` and `max_diffs`.
    pub shown: usize,
    /// Number of all variables; all are in the table `run_variables`.
    pub of: usize,
}

impl std::fmt::Display for ViewTruncated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the views runs and max_diffs show {} of {} variables (SQLite allows no more columns); the others are \
             stored and readable as well, in the table run_variables",
            self.shown, self.of
        )
    }
}

/// Names that require no new view, for one state of the schema.
#[derive(Clone, Debug)]
pub(crate) struct KnownViews {
    /// SQLite's counter of schema changes.
    schema: i64,
    names: HashSet<String>,
}

/// Result of [`ensure`].
pub(crate) struct Ensured {
    /// To be remembered after the commit.
    pub(crate) known: KnownViews,
    /// To be reported to the user.
    pub(crate) truncated: Option<ViewTruncated>,
}

/// Ensures, within the caller's transaction, that the views have all possible columns.
pub(crate) async fn ensure(
    connection: &mut SqliteConnection,
    known: Option<KnownViews>,
    names: impl Iterator<Item = &str>,
) -> Result<Ensured, sqlx::Error> {
    let schema = schema_counter(connection).await?;
    let known = match known {
        Some(known) if known.schema == schema => Some(known),
        _ => load(connection).await?.map(|names| KnownViews { schema, names }),
    };
    if let Some(known) = known {
        let mut names = names;
        if names.all(|name| known.names.contains(name)) {
            return Ok(Ensured { known, truncated: None });
        }
    }
    let (all, truncated) = rebuild(connection).await?;
    let schema = schema_counter(connection).await?;
    Ok(Ensured { known: KnownViews { schema, names: all.into_iter().collect() }, truncated })
}

async fn schema_counter(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query(sql::SCHEMA_COUNTER).fetch_one(connection).await?.try_get(0)
}

/// The variables that our views show; `None` if the views are missing or not ours.
async fn load(connection: &mut SqliteConnection) -> Result<Option<HashSet<String>>, sqlx::Error> {
    let views = sqlx::query(sql::VIEW_SQL).fetch_all(&mut *connection).await?;
    let texts: Vec<String> = views.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>()?;
    if texts.len() != 2 || !texts.iter().all(|text| text.contains(MARK)) {
        return Ok(None);
    }
    let columns = sqlx::query(sql::VIEW_COLUMN_NAMES).fetch_all(connection).await?;
    // proposal, run, start_time, added_at, then the variables
    columns.iter().skip(4).map(|row| row.try_get(0)).collect::<Result<_, _>>().map(Some)
}

/// Recreates both views if they are outdated. Returns all variable names.
pub(crate) async fn rebuild(
    connection: &mut SqliteConnection,
) -> Result<(Vec<String>, Option<ViewTruncated>), sqlx::Error> {
    let names = all_names(connection).await?;
    let shown = &names[..names.len().min(VIEW_COLUMNS)];
    let wanted = [("runs", runs_view(shown)), ("max_diffs", max_diffs_view(shown))];
    let present = sqlx::query(sql::VIEW_SQL).fetch_all(&mut *connection).await?;
    let present: Vec<(String, String)> = present
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_, sqlx::Error>>()?;
    for (name, text) in wanted {
        if present.iter().any(|(other, present)| other == name && *present == text) {
            continue;
        }
        sqlx::raw_sql(AssertSqlSafe(format!("DROP VIEW IF EXISTS {name}; {text}")))
            .execute(&mut *connection)
            .await?;
    }
    let truncated =
        (shown.len() < names.len()).then_some(ViewTruncated { shown: shown.len(), of: names.len() });
    Ok((names, truncated))
}

/// Variables in the order of their declaration, then names that only have values, sorted.
async fn all_names(connection: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    let mut names: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for query in [sql::DECLARED_NAMES, sql::STORED_NAMES] {
        for row in sqlx::query(query).fetch_all(&mut *connection).await? {
            let name: String = row.try_get(0)?;
            // SQL text ends at a NUL. We store no such name, but other programs may.
            if !name.contains('\0') && seen.insert(name.clone()) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

fn runs_view(names: &[String]) -> String {
    format!(
        "CREATE VIEW runs AS {MARK} SELECT run_info.proposal, run_info.run, start_time, added_at{} \
         FROM run_info LEFT JOIN run_variables USING (proposal, run) GROUP BY run_info.proposal, run_info.run",
        columns(names, "value")
    )
}

fn max_diffs_view(names: &[String]) -> String {
    format!(
        "CREATE VIEW max_diffs AS {MARK} SELECT proposal, run{} FROM run_variables GROUP BY proposal, run",
        columns(names, "max_diff")
    )
}

fn columns(names: &[String], what: &str) -> String {
    let column = |name: &String| {
        format!(
            ", max(CASE WHEN name = '{}' THEN {what} END) AS \"{}\"",
            name.replace('\'', "''"),
            name.replace('"', "\"\"")
        )
    };
    names.iter().map(column).collect()
}
