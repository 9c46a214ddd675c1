//! `/v1/proposals/{p}/settings`: the settings of a directory, as `amore db-config` shows and changes them.

use std::{collections::BTreeMap, time::Duration};

use amore_run_table::{KNOWN_SETTINGS, NotAsExpected, OpenOptions, RunTable, RunTableError, SettingValue};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{Admin, InDirectory, Read, WhichDirectory},
    extract::Body,
    json::{SettingChanges, SettingForm, setting},
    problem::{Kind, Problem, ProblemBody},
    tables::{Version, table_problem},
};
use crate::database_settings;

/// How long a table may be locked by others.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// Settings that are not changed through the API, and how they are.
const READ_ONLY: [(&str, &str); 3] = [
    // It decides who may use the directory through the API.
    ("proposal", "amore-proto proposal NUMBER, in the directory"),
    ("db_id", "amore new-id, in the directory"),
    ("data_format_version", "`amore migrate` upgrades a database"),
];
/// How many settings one request may change.
const MOST: usize = 100;
/// How many of them the log names.
const LOGGED: usize = 10;
/// The longest text of a setting.
const LONGEST: usize = 10_000;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show, change))
}

/// The settings of a directory.
#[derive(Debug, Serialize, ToSchema)]
struct Settings {
    /// Those that are set: numbers and texts, by their names.
    #[schema(value_type = BTreeMap<String, SettingForm>)]
    settings: BTreeMap<String, Value>,
    /// What the change leads to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// All that can be set.
    known: Vec<KnownSetting>,
}

/// A setting.
#[derive(Debug, Serialize, ToSchema)]
struct KnownSetting {
    /// Its name.
    key: &'static str,
    /// Its meaning.
    help: &'static str,
}

/// The version of settings: that of their content, so that it stays while runs are stored.
fn version(settings: &[(String, SettingValue)]) -> Version {
    let content: Vec<(&String, Value)> =
        settings.iter().map(|(key, value)| (key, setting(value.clone()))).collect();
    Version::new(hex::encode(Sha256::digest(json!(content).to_string())))
}

fn shown(settings: Vec<(String, SettingValue)>, notes: Vec<String>) -> Settings {
    Settings {
        settings: settings.into_iter().map(|(key, value)| (key, setting(value))).collect(),
        notes,
        known: KNOWN_SETTINGS.iter().map(|known| KnownSetting { key: known.key, help: known.help }).collect(),
    }
}

/// The settings of a directory, and what can be set.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/settings",
    tag = "settings",
    security(("token" = ["read"])),
    params(("p" = u32, Path, description = "The proposal.", minimum = 1), WhichDirectory),
    responses(
        (status = 200, description = "The settings.", body = Settings),
        (status = 304, description = "The client has them already."),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn show(
    State(api): State<Api>,
    place: InDirectory<Read>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let table = api.tables().of(&api, &place.dir).await?;
    let settings = table.within(place.dir.path(), table.table().settings()).await?;
    let version = version(&settings);
    let tag = [(header::ETAG, version.header())];
    if version.is_known(&headers) {
        return Ok(version.not_modified());
    }
    Ok((tag, Json(shown(settings, Vec::new()))).into_response())
}

/// A value of a change: `null` removes the setting.
fn wanted(key: &str, value: &Value) -> Result<Option<SettingValue>, Problem> {
    let wrong =
        |what: &str| Err(Problem::new(Kind::Invalid, format!("{key}: {what}")).at(format!("body, {key}")));
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.len() <= LONGEST && !text.contains('\0') => {
            Ok(Some(SettingValue::Text(text.clone())))
        }
        Value::String(_) => wrong("the text is too long, or has a NUL character"),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Some(SettingValue::Integer(whole))),
            (None, Some(real)) if real.is_finite() => Ok(Some(SettingValue::Real(real))),
            _ => wrong("the number is too large"),
        },
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            wrong("a setting is a text, a number, or null, which removes it")
        }
    }
}

type Change = (String, Option<SettingValue>);

/// The changes of a body.
fn changes(body: &Map<String, Value>) -> Result<Vec<Change>, Problem> {
    if body.len() > MOST {
        return Err(Problem::new(Kind::Invalid, format!("more than {MOST} settings")).at("body"));
    }
    let one = |(key, value): (&String, &Value)| {
        if let Some((_, how)) = READ_ONLY.iter().find(|(read_only, _)| read_only == key) {
            let problem = Problem::new(Kind::NotAllowed, format!("{key} cannot be changed through the API"));
            return Err(problem.at(format!("body, {key}")).hint(*how));
        }
        Ok((key.clone(), wanted(key, value)?))
    };
    body.iter().map(one).collect()
}

/// Refuses what `amore db-config` refuses. Returns what it would say about the others.
fn check(changes: &[Change]) -> Result<Vec<String>, Problem> {
    let mut notes = Vec::new();
    for (key, value) in changes {
        let told = match value {
            Some(value) => database_settings::check(key, value),
            None => database_settings::check_deletion(key).map(|()| None),
        };
        let told = told.map_err(|error| Problem::of(Kind::Invalid, &error).at(format!("body, {key}")))?;
        notes.extend(told.map(|notice| notice.message));
        if value.is_some() {
            notes.extend(database_settings::unknown(key).map(|notice| notice.message));
        }
    }
    Ok(notes)
}

/// Change settings: those in the body get their new values, `null` removes one, the others stay (JSON merge patch). Either all
/// are changed or none. With `If-Match` they are changed only if they are still that version.
#[utoipa::path(
    patch,
    path = "/v1/proposals/{p}/settings",
    tag = "settings",
    security(("token" = ["admin"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("If-Match" = Option<String>, Header, description = "The ETag of the settings that are changed; without it, any."),
        WhichDirectory,
    ),
    request_body(content = SettingChanges, content_type = "application/json"),
    responses(
        (status = 200, description = "The settings now.", body = Settings),
        (status = 412, description = "They were changed meanwhile.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn change(
    State(api): State<Api>,
    place: InDirectory<Admin>,
    headers: HeaderMap,
    Body(body): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    let changes = changes(&body)?;
    let (path, runtime) = (place.dir.path().to_owned(), Handle::current());
    let (wanted, base) = (changes.clone(), headers.contains_key(header::IF_MATCH).then_some(headers));
    let done = api.on_disk(place.dir.path(), move || {
        let notes = check(&wanted)?;
        let options = OpenOptions { read_only: false, busy_timeout: LOCK_PATIENCE, waits: None };
        let is_base = |present: &[(String, SettingValue)]| {
            base.as_ref().is_none_or(|headers| version(present).must_match(headers).is_ok())
        };
        let changed = runtime.block_on(async {
            let table = RunTable::open_with(&path, options).await?;
            let changed = table.change_settings(&wanted, is_base).await?;
            table.close().await?;
            Ok(changed)
        });
        match (changed.map_err(|error: RunTableError| table_problem(&error))?, &base) {
            (Ok(settings), _) => Ok((settings, notes)),
            (Err(NotAsExpected(present)), Some(headers)) => {
                Err(version(&present).must_match(headers).err().unwrap_or_else(other_version))
            }
            (Err(_), None) => Err(other_version()),
        }
    });
    let (settings, notes) = done.await??;
    let (by, directory) = (place.caller.words(), place.dir.path().display().to_string());
    let keys: Vec<&String> = changes.iter().map(|(key, _)| key).take(LOGGED).collect();
    tracing::info!(by, directory, number = changes.len(), ?keys, "settings were changed by HTTP");
    Ok(([(header::ETAG, version(&settings).header())], Json(shown(settings, notes))).into_response())
}

fn other_version() -> Problem {
    Problem::new(Kind::Changed, "the settings were changed meanwhile").at("header If-Match")
}
