//! What users enter themselves: comments on runs, values of variables that they have declared, and comments on points in time.
//!
//! No ownership is needed: DAMNIT's graphical interface writes them whenever a user types, in a transaction of its own, and so
//! does this. Whoever has shown a value to a user can say so: the change is made only if it is still the one that was shown.

use amore_model::{Proposal, Run};
use serde::{Deserialize, Serialize};
use sqlx::{
    Row,
    sqlite::{SqliteConnection, SqliteRow},
};

use crate::{RunTable, RunTableError, SqlValue, sql, store::COMMENT, value::Stored, views};

/// The columns of a run in the view `runs`, before those of variables, and the comment. SQLite compares names of columns without
/// regard to case.
const COLUMNS_OF_RUNS: [&str; 5] = ["proposal", "run", "start_time", "added_at", COMMENT];
/// Titles of the columns that DAMNIT's graphical interface has besides those of variables.
const TITLES_OF_DAMNIT: [&str; 5] = ["Status", "Proposal", "Run", "Timestamp", "Comment"];
/// How much of a text is shown in an error.
const SHOWN: usize = 100;

/// What DAMNIT's graphical interface writes as the origin of a value that a user typed.
const TYPED: &str = "manual-input";

/// The type of a variable that users edit: DAMNIT's four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserType {
    /// True or false.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Text.
    String,
}

/// A text that is not a value of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not {}", quoted(.text), .wanted.description())]
pub struct NotOfType {
    text: String,
    wanted: UserType,
}

impl UserType {
    /// All of them.
    pub const ALL: [UserType; 4] = [UserType::Boolean, UserType::Integer, UserType::Number, UserType::String];

    /// Its word in the table.
    pub fn word(self) -> &'static str {
        match self {
            UserType::Boolean => "boolean",
            UserType::Integer => "integer",
            UserType::Number => "number",
            UserType::String => "string",
        }
    }

    /// The type with this word.
    pub fn of_word(word: &str) -> Option<Self> {
        UserType::ALL.into_iter().find(|one| one.word() == word)
    }

    fn description(self) -> &'static str {
        match self {
            UserType::Boolean => "true or false",
            UserType::Integer => "a whole number between -9223372036854775808 and 9223372036854775807",
            UserType::Number => "a finite number",
            UserType::String => "text",
        }
    }

    /// Reads a value that a user typed.
    ///
    /// # Errors
    /// It is not of this type.
    pub fn parse(self, text: &str) -> Result<UserValue, NotOfType> {
        let wrong = || NotOfType { text: text.to_owned(), wanted: self };
        let trimmed = text.trim();
        match self {
            UserType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => Ok(UserValue::Boolean(true)),
                "false" | "no" | "0" => Ok(UserValue::Boolean(false)),
                _ => Err(wrong()),
            },
            UserType::Integer => trimmed.parse().map(UserValue::Integer).map_err(|_| wrong()),
            UserType::Number => match trimmed.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(UserValue::Number(number)),
                _ => Err(wrong()),
            },
            UserType::String => Ok(UserValue::String(text.to_owned())),
        }
    }

    /// A value of this type with the content of another one: a whole number is a number, too.
    ///
    /// # Errors
    /// It is of another type.
    pub fn accept(self, value: UserValue) -> Result<UserValue, NotOfType> {
        match (self, value) {
            (UserType::Number, UserValue::Integer(number)) => Ok(UserValue::Number(number as f64)),
            (wanted, value) if value.is_of() == wanted => Ok(value),
            (wanted, value) => Err(NotOfType { text: value.to_string(), wanted }),
        }
    }
}

/// A value that a user entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UserValue {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Text.
    String(String),
}

impl UserValue {
    fn is_of(&self) -> UserType {
        match self {
            UserValue::Boolean(_) => UserType::Boolean,
            UserValue::Integer(_) => UserType::Integer,
            UserValue::Number(_) => UserType::Number,
            UserValue::String(_) => UserType::String,
        }
    }

    /// As it is in the table.
    fn stored(&self) -> SqlValue {
        match self {
            UserValue::Boolean(value) => SqlValue::Int(i64::from(*value)),
            UserValue::Integer(value) => SqlValue::Int(*value),
            UserValue::Number(value) => SqlValue::Real(*value),
            UserValue::String(value) => SqlValue::Text(value.clone()),
        }
    }

    /// What a cell of a variable of this type has. Other programs may have stored something else: it is shown as it is.
    fn of(stored: Stored, wanted: UserType) -> Option<Self> {
        Some(match (stored, wanted) {
            (Stored::Null, _) => return None,
            (Stored::Int(value), UserType::Boolean) => UserValue::Boolean(value != 0),
            (Stored::Int(value), UserType::Number) => UserValue::Number(value as f64),
            (Stored::Int(value), _) => UserValue::Integer(value),
            (Stored::Real(value), _) => UserValue::Number(value),
            (Stored::Text(value), _) => UserValue::String(value),
            (Stored::Blob(bytes), _) => UserValue::String(String::from_utf8_lossy(&bytes).into_owned()),
        })
    }
}

impl std::fmt::Display for UserValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UserValue::Boolean(value) => value.fmt(f),
            UserValue::Integer(value) => value.fmt(f),
            UserValue::Number(value) => value.fmt(f),
            UserValue::String(value) => value.fmt(f),
        }
    }
}

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

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    /// Somebody else has changed it since it was shown.
    #[error("it was changed meanwhile: it is {} now", in_words(.now.value.as_ref()))]
    Conflict {
        /// As it is now.
        now: Box<UserCell>,
    },
    /// The table does not have the run.
    #[error("run {run} of proposal {proposal} is not in the table")]
    NoSuchRun {
        /// Its proposal.
        proposal: Proposal,
        /// The run.
        run: Run,
    },
    /// No variable of this name is edited by users.
    #[error("users do not edit a variable {name}{}", if *.is_computed { ": the context file computes it" } else { "" })]
    NoSuchVariable {
        /// The name.
        name: String,
        /// There is one that is computed.
        is_computed: bool,
    },
    /// There is no such comment.
    #[error("there is no comment {id}")]
    NoSuchComment {
        /// Its number.
        id: i64,
    },
    /// There is a variable of this name, or of one that differs in the case of its letters only: as columns of a view they would
    /// be the same.
    #[error("there is a variable {name} already{}", if *.is_computed { ", which is computed" } else { "" })]
    NameTaken {
        /// The name of that variable.
        name: String,
        /// It is computed.
        is_computed: bool,
    },
    /// The table has a column of this name for every run.
    #[error("{name} is a column that the table has for every run")]
    NameOfColumn {
        /// The name of the column.
        name: &'static str,
    },
    /// The title is that of another column, or a name is a title: programs find columns by both.
    #[error("{text:?} is {of} already")]
    TitleTaken {
        /// What is taken.
        text: String,
        /// By what.
        of: String,
    },
    /// Not a title for a variable.
    #[error("a title is one line of text without control characters")]
    BadTitle,
    /// Not a name for a variable.
    #[error("{name:?} is not a valid variable name")]
    BadName {
        /// The name.
        name: String,
    },
    /// The variable has values, which are lost with it.
    #[error("{name} has a value in {}", crate::user_values::runs_in_words(*.values))]
    HasValues {
        /// The name.
        name: String,
        /// In so many runs.
        values: u64,
    },
    /// The value is of another type.
    #[error("{name}: {source}")]
    NotOfType {
        /// The variable.
        name: String,
        /// Why.
        source: NotOfType,
    },
    /// The table cannot be read or written.
    #[error(transparent)]
    Table(#[from] RunTableError),
}

/// A text in an error, shortened: a comment may have thousands of lines.
fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() { format!("{shown:?}…") } else { format!("{shown:?}") }
}

fn in_words(value: Option<&UserValue>) -> String {
    match value {
        None => "empty".to_owned(),
        Some(UserValue::String(text)) => quoted(text),
        Some(value) => value.to_string(),
    }
}

fn runs_in_words(number: u64) -> String {
    if number == 1 { "1 run".to_owned() } else { format!("{number} runs") }
}

impl NotChanged {
    /// What a user can do about it, if known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            NotChanged::Conflict { .. } => "look at the new value, then change it",
            NotChanged::NoSuchRun { .. } => "`amore table` shows the runs; `amore reprocess RUN` adds one",
            NotChanged::NoSuchVariable { .. } => {
                "`amore variable list` shows the variables that users edit, `amore variable add` adds one"
            }
            NotChanged::NoSuchComment { .. } => "`amore comment --list` shows the comments",
            NotChanged::NameTaken { is_computed: false, .. } => {
                "remove it first, or choose another name; names that differ only in case are the same column"
            }
            NotChanged::NameTaken { .. } => {
                "choose another name; names that differ only in case are the same column"
            }
            NotChanged::NameOfColumn { .. } => "choose another name",
            NotChanged::TitleTaken { .. } => {
                "choose another one; `amore table --columns` lists the names and titles that are taken"
            }
            NotChanged::BadTitle => return None,
            NotChanged::BadName { .. } => {
                "a name consists of letters, digits and _, does not begin with a digit, and is not `comment`"
            }
            NotChanged::HasValues { .. } => "add --with-values to remove the values, too",
            NotChanged::NotOfType { .. } => return None,
            NotChanged::Table(error) => return error.hint(),
        };
        Some(hint.to_owned())
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
    fn what_users_type_is_read_as_damnit_reads_it() {
        let read = |wanted: UserType, text| wanted.parse(text).ok();
        for (text, value) in [("true", true), ("Yes", true), ("1", true), ("no", false), ("FALSE", false)] {
            assert_eq!(read(UserType::Boolean, text), Some(UserValue::Boolean(value)), "{text}");
        }
        assert_eq!(read(UserType::Boolean, "2"), None);
        assert_eq!(read(UserType::Integer, " -7 "), Some(UserValue::Integer(-7)));
        assert_eq!(read(UserType::Integer, "7.0"), None);
        assert_eq!(read(UserType::Integer, "9223372036854775808"), None);
        assert_eq!(read(UserType::Number, "85.4E7"), Some(UserValue::Number(85.4e7)));
        assert_eq!(read(UserType::Number, "nan"), None);
        assert_eq!(read(UserType::String, " a "), Some(UserValue::String(" a ".to_owned())));
    }

    #[test]
    fn a_whole_number_is_a_number_and_nothing_else_is_converted() {
        let accepted = UserType::Number.accept(UserValue::Integer(3));
        assert_eq!(accepted, Ok(UserValue::Number(3.0)));
        let refused = UserType::Integer.accept(UserValue::String("3".to_owned())).unwrap_err();
        assert!(refused.to_string().starts_with("\"3\" is not a whole number"), "{refused}");
        assert!(UserType::Boolean.accept(UserValue::Integer(1)).is_err());
    }

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
