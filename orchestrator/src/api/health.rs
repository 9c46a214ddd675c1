//! Whether the service lives, and whether it serves: for systemd, load balancers and monitoring. No token is needed.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    problem::{Kind, Problem, ProblemBody},
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz))
}

/// Whether the process answers at all.
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses((status = 200, description = "It does.", body = str, content_type = "text/plain")))]
async fn livez() -> &'static str {
    "alive\n"
}

/// What a service that is ready has.
#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    /// Number of directories that it serves.
    serving: usize,
    /// Number of all of its directories.
    directories: usize,
}

/// Whether the service takes new work: it has the right to serve, and its inbox is open. That a directory cannot be served does
/// not count: others are.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    security(()),
    responses(
        (status = 200, description = "It serves.", body = Ready),
        (status = 503, description = "It starts, waits as a stand-by, or ends.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn readyz(State(api): State<Api>) -> Result<(StatusCode, Json<Ready>), Problem> {
    if api.ends() {
        return Err(Problem::new(Kind::NotAvailable, "the service ends"));
    }
    let all = api.overview().all();
    let serving = all.values().filter(|seen| seen.state.is_served()).count();
    Ok((StatusCode::OK, Json(Ready { serving, directories: all.len() })))
}
