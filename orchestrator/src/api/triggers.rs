//! Triggers: somebody says that data of a run have arrived. They are stored in the inbox before they are answered.

use amore_intake::{ArrivedData, Subject};
use amore_model::Run;
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{MayTell, WhichDirectory},
    extract::{Body, InPath},
    problem::{Kind, Problem, ProblemBody},
};
use crate::service::Report;

/// The longest key.
const LONGEST_KEY: usize = 200;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(trigger))
}

/// The run of a path.
#[derive(Debug, Deserialize)]
struct OfRun {
    r: Run,
}

/// What has arrived.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Trigger {
    /// `raw` or `proc`.
    #[schema(value_type = DataKind)]
    data: ArrivedData,
    /// Identifies this event: the same one is stored once, however often it is sent. Without a key each one is new.
    #[serde(default)]
    #[schema(max_length = 200)]
    key: Option<String>,
    /// No more files follow. Otherwise the data are taken when their files do not change any more.
    #[serde(default = "yes")]
    complete: bool,
    /// The data are processed again even if they have not changed.
    #[serde(default)]
    force: bool,
}

/// Which data.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the form of ArrivedData in the OpenAPI document")]
enum DataKind {
    Raw,
    Proc,
}

fn wrong_key(key: &str) -> Option<String> {
    if key.chars().count() > LONGEST_KEY {
        return Some(format!("the key is longer than {LONGEST_KEY} characters"));
    }
    // PostgreSQL stores no NUL, and logs have lines.
    key.chars().any(char::is_control).then(|| "the key has control characters".to_owned())
}

fn yes() -> bool {
    true
}

/// A trigger that was stored.
#[derive(Debug, Serialize, ToSchema)]
struct Stored {
    /// The number of the event in the inbox.
    event: i64,
}

/// Data of a run have arrived. When this is answered, the event is on disk: the run is processed even if the service is killed.
#[utoipa::path(
    post,
    path = "/v1/proposals/{p}/runs/{r}/triggers",
    tag = "triggers",
    security(("token" = ["process"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("r" = u32, Path, description = "The run.", minimum = 0, maximum = 99999),
        WhichDirectory,
    ),
    request_body = Trigger,
    responses(
        (status = 202, description = "It is stored.", body = Stored),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn trigger(
    State(api): State<Api>,
    MayTell { caller, proposal }: MayTell,
    InPath(OfRun { r: run }): InPath<OfRun>,
    Body(trigger): Body<Trigger>,
) -> Result<(StatusCode, Json<Stored>), Problem> {
    run.possible().map_err(|error| Problem::new(Kind::Invalid, error.to_string()).at("path"))?;
    if let Some(wrong) = trigger.key.as_deref().and_then(wrong_key) {
        return Err(Problem::new(Kind::Invalid, wrong).at("body, key"));
    }
    let subject = Subject { proposal, run, data: trigger.data };
    // A key is about this run: another client with the same key for another run means another event.
    let source_id =
        trigger.key.as_ref().map(|key| format!("p{proposal}/r{run}/{}/{key}", trigger.data.word()));
    tracing::info!(by = caller.words(), %proposal, %run, data = trigger.data.word(), "trigger by HTTP");
    let report = Report {
        source: "http",
        source_id,
        subject,
        is_complete: trigger.complete,
        is_forced: trigger.force,
        payload: serde_json::to_string(&trigger).unwrap_or_default(),
    };
    let event = api.inbox().accept(report).await.map_err(|error| {
        Problem::new(Kind::NotAvailable, format!("the event is not stored: {error}"))
            .hint("send it again with the same key")
            .retry_after(2)
    })?;
    Ok((StatusCode::ACCEPTED, Json(Stored { event: event.0 })))
}
