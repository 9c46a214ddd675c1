//! What users enter themselves: comments on runs, values of variables that they have declared, and comments on points in time.
//!
//! No ownership is needed: DAMNIT's graphical interface writes them whenever a user types, in a transaction of its own, and so
//! does this. Whoever has shown a value to a user can say so: the change is made only if it is still the one that was shown.

use amore_model::{COLUMNS_OF_RUNS, COMMENT, Proposal, Run};
use serde::{Deserialize, Serialize};
use sqlx::{
    Row,
    sqlite::{SqliteConnection, SqliteRow},
};

use crate::{NotChanged, RunTable, RunTableError, SqlValue, UserType, UserValue, sql, value::Stored, views};

/// Titles of the columns that DAMNIT's graphical interface has besides those of variables.
const TITLES_OF_DAMNIT: [&str; 5] = ["Status", "Proposal", "Run", "Timestamp", "Comment"];

/// What DAMNIT's graphical interface writes as the origin of a value that a user typed.
const TYPED: &str = "manual-input";

/// A variable that users edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserVariable {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its type.
    #[serde(rename = "type")]
    pub value_type: UserType,
    /// Its description.
    #[serde(default)]
    pub description: String,
}

/// A cell that users edit, as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct UserCell {
    /// Its value; `None`: it is empty.
    pub value: Option<UserValue>,
    /// Changes with each change of the cell.
    pub version: CellVersion,
}

/// Identifies the state of a cell: when it was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellVersion(Option<u64>);

impl CellVersion {
    /// Of a cell that was never written.
    pub const NEVER_WRITTEN: CellVersion = CellVersion(None);

    fn at(seconds: f64) -> Self {
        CellVersion(Some(seconds.to_bits()))
    }
}

impl std::fmt::Display for CellVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(bits) => write!(f, "{bits:016x}"),
            None => f.write_str("0"),
        }
    }
}

impl std::str::FromStr for CellVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "0" {
            Ok(CellVersion(None))
        } else {
            u64::from_str_radix(text, 16).map(|bits| CellVersion(Some(bits)))
        }
    }
}

/// A comment on a point in time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimeComment {
    /// Its number in this table.
    pub id: i64,
    /// Seconds since 1970.
    pub time: Option<f64>,
    /// The comment.
    pub comment: String,
}

/// A cell that users edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCellName<'a> {
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// The variable; `comment` is the comment on the run.
    pub variable: &'a str,
}

/// May a variable that users edit have this name?
pub fn is_user_variable_name(name: &str) -> bool {
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    first && letters.all(|c| c.is_alphanumeric() || c == '_') && name != COMMENT && name.len() <= 200
}

/// A variable of the table: its name, its title, and whether it is computed.
struct Present {
    name: String,
    title: String,
    is_computed: bool,
}

/// Why a variable cannot be added beside these.
///
/// Names are compared as SQLite compares columns of a view, titles without regard to case, because users cannot tell them apart
/// otherwise. DAMNIT's programs look columns up by title first and by name then, exactly: a title that is another one's name
/// would hide that one.
fn collision(new: &UserVariable, present: &[Present]) -> Option<NotChanged> {
    if let Some(name) = COLUMNS_OF_RUNS.into_iter().find(|column| column.eq_ignore_ascii_case(&new.name)) {
        return Some(NotChanged::NameOfColumn { name });
    }
    let taken = |text: &str, of: String| Some(NotChanged::TitleTaken { text: text.to_owned(), of });
    if TITLES_OF_DAMNIT.contains(&new.title.as_str()) {
        return taken(&new.title, "the title of a column that DAMNIT's table has for every run".to_owned());
    }
    if COLUMNS_OF_RUNS.contains(&new.title.as_str()) {
        return taken(&new.title, "the name of a column that the table has for every run".to_owned());
    }
    if let Some(Present { name, is_computed, .. }) =
        present.iter().find(|one| one.name.eq_ignore_ascii_case(&new.name))
    {
        return Some(NotChanged::NameTaken { name: name.clone(), is_computed: *is_computed });
    }
    for Present { name, title, .. } in present {
        if title.to_lowercase() == new.title.to_lowercase() {
            return taken(&new.title, format!("the title of the variable {name}"));
        }
        if *name == new.title {
            return taken(&new.title, "the name of another variable".to_owned());
        }
        if *title == new.name {
            return taken(&new.name, format!("the title of the variable {name}"));
        }
    }
    None
}

impl RunTable {
    /// The variables that users edit, in the order in which they were added.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn user_variables(&self) -> Result<Vec<UserVariable>, RunTableError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(sql::USER_VARIABLE_DEFINITIONS).fetch_all(&mut *connection).await;
        let read = rows.and_then(|rows| rows.iter().map(definition).collect::<Result<Vec<_>, _>>());
        Ok(read.map_err(|e| self.explain("read the variables", e))?.into_iter().flatten().collect())
    }

    /// Adds a variable that users edit.
    ///
    /// # Errors
    /// The name is taken or invalid; the table cannot be written.
    pub async fn add_user_variable(&self, variable: &UserVariable) -> Result<(), NotChanged> {
        const DOING: &str = "add a variable";
        let name = variable.name.clone();
        if !is_user_variable_name(&name) {
            return Err(NotChanged::BadName { name });
        }
        if variable.title.chars().any(char::is_control) {
            return Err(NotChanged::BadTitle);
        }
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        let done = async {
            if let Some(why) = collision(variable, &present(&mut transaction, &name).await?) {
                return Ok(Err(why));
            }
            // Values of a computed variable that is not declared any more would become the users'.
            if values_of(&mut transaction, &name).await? > 0 {
                return Ok(Err(NotChanged::NameTaken { name, is_computed: true }));
            }
            sqlx::query(sql::ADD_USER_VARIABLE)
                .bind(&variable.name)
                .bind(variable.value_type.word())
                .bind(&variable.title)
                .bind(&variable.description)
                .bind(None::<String>)
                .execute(&mut *transaction)
                .await?;
            views::rebuild(&mut transaction).await?;
            transaction.commit().await?;
            Ok(Ok(()))
        };
        done.await.map_err(|e| self.explain(DOING, e))?
    }

    /// Removes a variable that users edit.
    ///
    /// # Errors
    /// There is none of this name; it has values, and they are not to be removed; the table cannot be written.
    pub async fn remove_user_variable(&self, name: &str, with_values: bool) -> Result<(), NotChanged> {
        const DOING: &str = "remove a variable";
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        let name = name.to_owned();
        let done = async {
            let declared = declared(&mut transaction, &name).await?;
            if !matches!(declared, Declared::Edited(_)) {
                let is_computed = matches!(declared, Declared::Computed);
                return Ok(Err(NotChanged::NoSuchVariable { name, is_computed }));
            }
            let values = values_of(&mut transaction, &name).await?;
            if values > 0 && !with_values {
                return Ok(Err(NotChanged::HasValues { name, values }));
            }
            for statement in [sql::REMOVE_USER_VALUES, sql::REMOVE_USER_VARIABLE] {
                sqlx::query(statement).bind(&name).execute(&mut *transaction).await?;
            }
            views::rebuild(&mut transaction).await?;
            transaction.commit().await?;
            Ok(Ok(()))
        };
        done.await.map_err(|e| self.explain(DOING, e))?
    }

    /// A cell that users edit.
    ///
    /// # Errors
    /// There is no such run or variable; the table cannot be read.
    pub async fn user_cell(&self, cell: &UserCellName<'_>) -> Result<UserCell, NotChanged> {
        let mut connection = self.connection.lock().await;
        let read = async {
            let wanted = match find(&mut connection, cell).await? {
                Ok(wanted) => wanted,
                Err(why) => return Ok(Err(why)),
            };
            read_cell(&mut connection, cell, wanted).await.map(Ok)
        };
        read.await.map_err(|e| self.explain("read a value", e))?
    }

    /// Changes a cell that users edit; `None` empties it. `expected`: the version that the user has seen, if that matters.
    /// Gives the cell as it is now.
    ///
    /// # Errors
    /// It has another version ([`NotChanged::Conflict`]); there is no such run or variable; the value is of another type; the
    /// table cannot be written.
    pub async fn set_user_cell(
        &self,
        cell: &UserCellName<'_>,
        value: Option<UserValue>,
        expected: Option<CellVersion>,
        now: f64,
    ) -> Result<UserCell, NotChanged> {
        const DOING: &str = "store a value";
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        let done = async {
            let wanted = match find(&mut transaction, cell).await? {
                Ok(wanted) => wanted,
                Err(why) => return Ok(Err(why)),
            };
            let value = match value.map(|value| wanted.accept(value)).transpose() {
                Ok(value) => value,
                Err(source) => {
                    return Ok(Err(NotChanged::NotOfType { name: cell.variable.to_owned(), source }));
                }
            };
            let before = read_cell(&mut transaction, cell, wanted).await?;
            if expected.is_some_and(|version| version != before.version) {
                return Ok(Err(NotChanged::Conflict { now: Box::new(before) }));
            }
            // Its time is its version: two changes must not have the same one.
            let now = match before.version.0.map(f64::from_bits) {
                Some(last) if last >= now && last - now < 1.0 => last.next_up(),
                _ => now,
            };
            write_cell(&mut transaction, cell, value.as_ref(), now).await?;
            views::ensure(&mut transaction, None, [cell.variable].into_iter()).await?;
            transaction.commit().await?;
            Ok(Ok(UserCell { value, version: CellVersion::at(now) }))
        };
        done.await.map_err(|e| self.explain(DOING, e))?
    }

    /// The comments on points in time, earliest first.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn time_comments(&self) -> Result<Vec<TimeComment>, RunTableError> {
        let mut connection = self.connection.lock().await;
        let rows = sqlx::query(sql::TIME_COMMENTS).fetch_all(&mut *connection).await;
        let read = rows.and_then(|rows| rows.iter().map(time_comment).collect::<Result<Vec<_>, _>>());
        read.map_err(|e| self.explain("read the comments", e))
    }

    /// Adds a comment on a point in time. Gives its number.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn add_time_comment(&self, time: f64, comment: &str) -> Result<i64, RunTableError> {
        const DOING: &str = "add a comment";
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        let done = async {
            let query = sqlx::query(sql::ADD_TIME_COMMENT).bind(time).bind(comment);
            let id = query.execute(&mut *transaction).await?.last_insert_rowid();
            transaction.commit().await?;
            Ok(id)
        };
        done.await.map_err(|e| self.explain(DOING, e))
    }

    /// Changes a comment on a point in time; `None` removes it. `expected`: the text that the user has seen, if that matters.
    ///
    /// # Errors
    /// There is no such comment; it has another text; the table cannot be written.
    pub async fn change_time_comment(
        &self,
        id: i64,
        comment: Option<&str>,
        expected: Option<&str>,
    ) -> Result<(), NotChanged> {
        const DOING: &str = "change a comment";
        let mut connection = self.connection.lock().await;
        let mut transaction = self.begin(&mut connection, DOING).await?;
        let done = async {
            let row = sqlx::query(sql::TIME_COMMENT).bind(id).fetch_optional(&mut *transaction).await?;
            let Some(row) = row else { return Ok(Err(NotChanged::NoSuchComment { id })) };
            let TimeComment { comment: before, time, .. } = time_comment(&row)?;
            if expected.is_some_and(|text| text != before) {
                let version = time.map_or(CellVersion::NEVER_WRITTEN, CellVersion::at);
                let now = UserCell { value: Some(UserValue::String(before)), version };
                return Ok(Err(NotChanged::Conflict { now: Box::new(now) }));
            }
            match comment {
                Some(text) => {
                    sqlx::query(sql::CHANGE_TIME_COMMENT)
                        .bind(id)
                        .bind(text)
                        .execute(&mut *transaction)
                        .await?
                }
                None => sqlx::query(sql::REMOVE_TIME_COMMENT).bind(id).execute(&mut *transaction).await?,
            };
            transaction.commit().await?;
            Ok(Ok(()))
        };
        done.await.map_err(|e| self.explain(DOING, e))?
    }
}

/// How a name is declared in the table's list.
pub(crate) enum Declared {
    No,
    Computed,
    Edited(UserType),
}

/// The variables that are declared, and those that only have values. One of this name may have rows without values.
async fn present(connection: &mut SqliteConnection, name: &str) -> Result<Vec<Present>, sqlx::Error> {
    let mut found: Vec<Present> = Vec::new();
    for row in sqlx::query(sql::TITLES).fetch_all(&mut *connection).await? {
        let Some(name) = Stored::get(&row, 0)?.text() else { continue };
        let title = Stored::get(&row, 1)?.text().unwrap_or_else(|| name.clone());
        found.push(Present { title, is_computed: Stored::get(&row, 2)? == Stored::Null, name });
    }
    for row in sqlx::query(sql::STORED_NAMES).fetch_all(connection).await? {
        let Some(stored) = Stored::get(&row, 0)?.text() else { continue };
        let is_known = stored == name || stored == COMMENT || found.iter().any(|one| one.name == stored);
        if !is_known {
            found.push(Present { title: stored.clone(), is_computed: true, name: stored });
        }
    }
    Ok(found)
}

pub(crate) async fn declared(connection: &mut SqliteConnection, name: &str) -> Result<Declared, sqlx::Error> {
    let row = sqlx::query(sql::TYPE_OF_VARIABLE).bind(name).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(Declared::No) };
    Ok(match Stored::get(&row, 0)?.text() {
        None => Declared::Computed,
        // A type of another version: its values are shown and entered as text.
        Some(word) => Declared::Edited(UserType::of_word(&word).unwrap_or(UserType::String)),
    })
}

/// In how many runs a variable has a value.
async fn values_of(connection: &mut SqliteConnection, name: &str) -> Result<u64, sqlx::Error> {
    let row = sqlx::query(sql::COUNT_VALUES).bind(name).fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)?.try_into().unwrap_or_default())
}

/// The type of a cell, if there is such a cell.
async fn find(
    connection: &mut SqliteConnection,
    cell: &UserCellName<'_>,
) -> Result<Result<UserType, NotChanged>, sqlx::Error> {
    let UserCellName { proposal, run, variable } = *cell;
    let wanted = if variable == COMMENT {
        UserType::String
    } else {
        match declared(connection, variable).await? {
            Declared::Edited(wanted) => wanted,
            other => {
                let is_computed = matches!(other, Declared::Computed);
                return Ok(Err(NotChanged::NoSuchVariable { name: variable.to_owned(), is_computed }));
            }
        }
    };
    let query = sqlx::query(sql::RUN_EXISTS).bind(i64::from(proposal.0)).bind(i64::from(run.0));
    let exists = query.fetch_optional(connection).await?.is_some();
    Ok(if exists { Ok(wanted) } else { Err(NotChanged::NoSuchRun { proposal, run }) })
}

async fn read_cell(
    connection: &mut SqliteConnection,
    cell: &UserCellName<'_>,
    wanted: UserType,
) -> Result<UserCell, sqlx::Error> {
    let query = sqlx::query(sql::USER_CELL)
        .bind(i64::from(cell.proposal.0))
        .bind(i64::from(cell.run.0))
        .bind(cell.variable);
    let Some(row) = query.fetch_optional(connection).await? else {
        return Ok(UserCell { value: None, version: CellVersion::NEVER_WRITTEN });
    };
    let version = Stored::get(&row, 1)?.number().map_or(CellVersion::NEVER_WRITTEN, CellVersion::at);
    Ok(UserCell { value: UserValue::of(Stored::get(&row, 0)?, wanted), version })
}

/// Writes a row as DAMNIT does. An empty cell keeps its row, with nothing in it.
async fn write_cell(
    connection: &mut SqliteConnection,
    cell: &UserCellName<'_>,
    value: Option<&UserValue>,
    now: f64,
) -> Result<(), sqlx::Error> {
    let provenance = if cell.variable == COMMENT { "" } else { TYPED };
    let query = sqlx::query(sql::SET_USER_CELL)
        .bind(i64::from(cell.proposal.0))
        .bind(i64::from(cell.run.0))
        .bind(cell.variable);
    let query = match value.map(UserValue::stored) {
        None => query.bind(None::<String>),
        Some(SqlValue::Int(number)) => query.bind(number),
        Some(SqlValue::Real(number)) => query.bind(number),
        Some(SqlValue::Text(text)) => query.bind(text),
        Some(SqlValue::Blob(bytes)) => query.bind(bytes),
    };
    let method = value.map(|_| "");
    query.bind(now).bind(provenance).bind(method).execute(connection).await.map(drop)
}

/// `None`: it is of another program and has no name.
fn definition(row: &SqliteRow) -> Result<Option<UserVariable>, sqlx::Error> {
    let Some(name) = Stored::get(row, 0)?.text() else { return Ok(None) };
    let word = Stored::get(row, 1)?.text().unwrap_or_default();
    Ok(Some(UserVariable {
        value_type: UserType::of_word(&word).unwrap_or(UserType::String),
        title: Stored::get(row, 2)?.text().unwrap_or_else(|| name.clone()),
        description: Stored::get(row, 3)?.text().unwrap_or_default(),
        name,
    }))
}

fn time_comment(row: &SqliteRow) -> Result<TimeComment, sqlx::Error> {
    Ok(TimeComment {
        id: row.try_get(0)?,
        time: Stored::get(row, 1)?.number(),
        comment: Stored::get(row, 2)?.text().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_back() {
        for version in [CellVersion::NEVER_WRITTEN, CellVersion::at(1.75e9)] {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        assert!("x".parse::<CellVersion>().is_err());
    }

    #[test]
    fn names_of_variables_are_pythons_and_not_comment() {
        for name in ["a", "_b2", "größe"] {
            assert!(is_user_variable_name(name), "{name}");
        }
        for name in ["", "2a", "a b", "a.b", "comment", "a\0"] {
            assert!(!is_user_variable_name(name), "{name}");
        }
    }
}
