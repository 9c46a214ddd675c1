//! The databases that the service processes runs for: the table `proposal_databases`.

use std::path::{Path, PathBuf};

use amore_model::Proposal;
use sqlx::{Connection, Row, sqlite::SqliteRow};

use crate::{ListenerDb, ListenerDbError, settings::stored, sql};

/// A database directory that is monitored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The proposal whose runs are processed.
    pub proposal: Proposal,
    /// The directory, as stored. DAMNIT may have stored a relative path.
    pub dir: PathBuf,
    /// Whether it is the proposal's own `usr/Shared/amore`.
    pub official: bool,
}

/// A row that is not a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableRow {
    /// Its columns `proposal` and `db_dir`.
    pub row: String,
    /// What is wrong.
    pub why: &'static str,
}

/// All rows of the table, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Databases {
    /// Databases.
    pub databases: Vec<Database>,
    /// What another program wrote and cannot be used.
    pub unusable: Vec<UnusableRow>,
}

impl Databases {
    /// The directories of a proposal.
    pub fn of(&self, proposal: Proposal) -> impl Iterator<Item = &Database> {
        self.databases.iter().filter(move |database| database.proposal == proposal)
    }
}

/// What adding did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// It was added.
    New,
    /// The same directory (perhaps by another path) was there already; nothing was changed.
    AlreadyThere(Database),
}

impl ListenerDb {
    /// All databases. Empty if there is no file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn databases(&self) -> Result<Databases, ListenerDbError> {
        let Some(mut connection) = self.read().await? else { return Ok(Databases::default()) };
        let failed = |error| self.explain(&self.path(), "read the databases", error);
        let rows = sqlx::query(sql::LIST_DATABASES).fetch_all(&mut connection).await.map_err(failed)?;
        let found = collect(&rows).map_err(failed)?;
        connection.close().await.map_err(failed)?;
        Ok(found)
    }

    /// Adds a database directory. A directory belongs to one proposal only, as in DAMNIT.
    ///
    /// # Errors
    /// The file cannot be written, or the path is not UTF-8.
    pub async fn add(&self, database: &Database) -> Result<Added, ListenerDbError> {
        let unusable = || ListenerDbError::UnusablePath { path: database.dir.clone() };
        let dir = database.dir.to_str().ok_or_else(unusable)?;
        let mut connection = self.write().await?;
        let failed = |error| self.explain(&self.path(), "add a database", error);
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let rows = sqlx::query(sql::LIST_DATABASES).fetch_all(&mut *transaction).await.map_err(failed)?;
        let before = collect(&rows).map_err(failed)?.databases;
        if let Some(there) = before.into_iter().find(|other| same_directory(&other.dir, &database.dir)) {
            return Ok(Added::AlreadyThere(there));
        }
        sqlx::query(sql::ADD_DATABASE)
            .bind(i64::from(database.proposal.0))
            .bind(dir)
            .bind(i64::from(database.official))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        Ok(Added::New)
    }

    /// Removes a database directory, given by any path that leads to it; `None` if it is not there. Its files stay.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn remove(&self, dir: &Path) -> Result<Option<Database>, ListenerDbError> {
        // Without a file there is nothing to remove, and none is created.
        let there = self.databases().await?.databases;
        let exact = there.iter().find(|other| other.dir == dir);
        let Some(found) = exact.or_else(|| there.iter().find(|other| same_directory(&other.dir, dir))) else {
            return Ok(None);
        };
        let mut connection = self.write().await?;
        let failed = |error| self.explain(&self.path(), "remove a database", error);
        let stored = found.dir.to_str().unwrap_or_default();
        let done =
            sqlx::query(sql::REMOVE_DATABASE).bind(stored).execute(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        // Zero: another process was faster.
        Ok((done.rows_affected() > 0).then(|| found.clone()))
    }
}

/// Whether two paths lead to the same directory. One that is gone is compared by name.
fn same_directory(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    a == b || matches!((real(a), real(b)), (Ok(a), Ok(b)) if a == b)
}

fn collect(rows: &[SqliteRow]) -> Result<Databases, sqlx::Error> {
    let mut found = Databases::default();
    for row in rows {
        let (proposal, dir, official) = (stored(row, 0)?, stored(row, 1)?, stored(row, 2)?);
        let number = proposal.to_string().trim().parse::<Proposal>().ok();
        // A path that is not text was not written by DAMNIT's own commands.
        let path = row.try_get::<String, _>(1).ok().filter(|path| !path.is_empty());
        match (number, path) {
            (Some(proposal), Some(path)) => found.databases.push(Database {
                proposal,
                dir: PathBuf::from(path),
                official: !matches!(official.to_string().as_str(), "0" | "(nothing)" | ""),
            }),
            (number, _) => found.unusable.push(UnusableRow {
                row: format!("proposal {proposal}, db_dir {dir}"),
                why: if number.is_none() { "the proposal is not a number" } else { "the path is not text" },
            }),
        }
    }
    Ok(found)
}
