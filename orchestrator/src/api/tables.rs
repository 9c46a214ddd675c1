//! Run tables that are open for reading, one per directory, and the versions of the answers that are made of them.
//!
//! The version of an answer is a hash of its content, and of the images and arrays that it only names: it stays as long as they
//! do, also when the service is started again or another one takes over. That whoever owns a directory renews its right in the
//! table changes no answer.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use amore_model::DatabaseDir;
use amore_run_table::{OpenOptions, RunTable, RunTableError};
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::{runtime::Handle, time::timeout};

use super::{
    Api,
    problem::{Kind, Problem},
};

/// How long a table may be locked by others.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How long a table may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many tables stay open.
const OPEN: usize = 500;
/// How many answers of a table are remembered.
const ANSWERS: usize = 200;

/// The open tables.
#[derive(Debug, Default)]
pub struct Tables(Mutex<BTreeMap<PathBuf, Arc<OpenTable>>>);

/// An open table.
#[derive(Debug)]
pub struct OpenTable {
    table: RunTable,
    /// The last answers, by their request.
    answers: Mutex<BTreeMap<String, Answered>>,
}

/// An answer that was given.
#[derive(Clone, Debug)]
struct Answered {
    /// The number of the table's content of which it was made.
    number: i64,
    version: Version,
}

/// The version of what a client has, or gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// The version with this text, which has no quotation marks.
    pub fn new(text: impl fmt::Display) -> Self {
        Version(format!("\"{text}\""))
    }

    /// The version of an answer with this content.
    pub fn of_content(content: &[u8]) -> Self {
        Version::new(hex::encode(&Sha256::digest(content)[..16]))
    }

    /// The answer with this content and version, or that the client has it already. The version also depends on `unread`: texts
    /// that stand for what the content only names.
    ///
    /// # Errors
    /// The content cannot be written as JSON.
    pub fn answer(
        content: &impl Serialize,
        unread: &[String],
        headers: &HeaderMap,
    ) -> Result<(Self, Response), Problem> {
        let body = serde_json::to_vec(content).map_err(|error| {
            Problem::new(Kind::Internal, format!("the answer cannot be written: {error}"))
        })?;
        let version = if unread.is_empty() {
            Version::of_content(&body)
        } else {
            // No text has a line feed, and the body has none either.
            Version::of_content(&[&body, unread.join("\n").as_bytes()].join(&b'\n'))
        };
        let response = if version.is_known(headers) {
            version.not_modified()
        } else {
            let tag = (header::ETAG, version.header());
            ([tag, (header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
                .into_response()
        };
        Ok((version, response))
    }

    /// That the client has this version already. (RFC 9110, 15.4.5: it has the ETag of the whole answer.)
    pub fn not_modified(&self) -> Response {
        (StatusCode::NOT_MODIFIED, [(header::ETAG, self.header())]).into_response()
    }

    /// Whether the client has it already.
    pub fn is_known(&self, headers: &HeaderMap) -> bool {
        listed(headers, header::IF_NONE_MATCH).any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.0)
    }

    /// Whether the client changes this version.
    ///
    /// # Errors
    /// It changes another one, or does not say which.
    pub fn must_match(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if !headers.contains_key(header::IF_MATCH) {
            return Err(Problem::new(Kind::NoVersion, "the header If-Match is missing")
                .hint("read it first, and send the ETag of that answer as If-Match; * changes any version"));
        }
        if listed(headers, header::IF_MATCH).any(|tag| tag == "*" || tag == self.0) {
            return Ok(());
        }
        Err(Problem::new(Kind::Changed, format!("its version is {} now", self.0))
            .at("header If-Match")
            .hint("read it again, and make the change to that"))
    }

    /// The value of the header ETag.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static("\"\""))
    }
}

fn listed(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// An error of a table.
pub fn table_problem(error: &RunTableError) -> Problem {
    let kind = match error {
        RunTableError::NotADatabaseDirectory { .. } | RunTableError::NoDirectory { .. } => Kind::NotFound,
        RunTableError::Busy { .. } => Kind::NoAnswer,
        RunTableError::ProtectedSetting { .. } => Kind::Conflict,
        _ => Kind::NotAvailable,
    };
    let problem = Problem::new(kind, error.to_string());
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

impl Tables {
    /// The table of a directory.
    ///
    /// # Errors
    /// It cannot be opened, or its file system does not answer.
    pub async fn of(&self, api: &Api, dir: &DatabaseDir) -> Result<Arc<OpenTable>, Problem> {
        let known = self.lock().get(dir.path()).cloned();
        let (path, runtime) = (dir.path().to_owned(), Handle::current());
        // Both look at files, which may hang.
        let table = api
            .on_disk(dir.path(), move || match known {
                Some(known) if known.table.is_in_place() => Ok(known),
                _ => {
                    let options = OpenOptions { read_only: true, busy_timeout: LOCK_PATIENCE, waits: None };
                    let table = runtime.block_on(RunTable::open_with(&path, options))?;
                    Ok(Arc::new(OpenTable { table, answers: Mutex::default() }))
                }
            })
            .await?
            .map_err(|error: RunTableError| table_problem(&error))?;
        let mut all = self.lock();
        if all.len() >= OPEN && !all.contains_key(dir.path()) {
            all.clear();
        }
        all.insert(dir.path().to_owned(), Arc::clone(&table));
        Ok(table)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Arc<OpenTable>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenTable {
    /// The table.
    pub fn table(&self) -> &RunTable {
        &self.table
    }

    /// Waits for something that is read of it.
    ///
    /// # Errors
    /// It cannot be read, or does not answer.
    pub async fn within<T>(
        &self,
        dir: &Path,
        reading: impl Future<Output = Result<T, RunTableError>>,
    ) -> Result<T, Problem> {
        match timeout(PATIENCE, reading).await {
            Ok(read) => read.map_err(|error| table_problem(&error)),
            Err(_) => Err(Problem::new(Kind::NoAnswer, "the run table does not answer")
                .at(dir.display().to_string())
                .retry_after(10)),
        }
    }

    /// The last answer to this request, if the client has it: its version, and the number of the content of which it was made.
    pub fn known(&self, request: &str, headers: &HeaderMap) -> Option<(Version, i64)> {
        let Answered { number, version } = self.answers().get(request).cloned()?;
        version.is_known(headers).then_some((version, number))
    }

    /// Remembers an answer that was made of the content with this number.
    pub fn remember(&self, request: String, number: i64, version: Version) {
        let mut answers = self.answers();
        if answers.len() >= ANSWERS {
            answers.clear();
        }
        answers.insert(request, Answered { number, version });
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Answered>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_client_says_what_it_has_and_what_it_changes() {
        let version = Version::new("a.7");
        assert!(version.is_known(&headers(header::IF_NONE_MATCH, "\"b.1\", W/\"a.7\"")));
        assert!(!version.is_known(&headers(header::IF_NONE_MATCH, "\"a.8\"")));
        assert!(version.must_match(&headers(header::IF_MATCH, "\"a.7\"")).is_ok());
        assert!(version.must_match(&headers(header::IF_MATCH, "*")).is_ok());
        for refused in
            [headers(header::IF_MATCH, "W/\"a.7\""), headers(header::IF_MATCH, "\"a.8\""), HeaderMap::new()]
        {
            assert!(version.must_match(&refused).is_err());
        }
    }
}
