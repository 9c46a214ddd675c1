//! `/v1/proposals`: which proposals and directories the service has.

use std::collections::BTreeMap;

use amore_model::Proposal;
use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::Caller,
    problem::{Problem, ProblemBody},
};
use crate::service;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// The proposals of the service.
#[derive(Debug, Serialize, ToSchema)]
struct Proposals {
    /// Those that the caller may see, by their numbers.
    proposals: Vec<OneProposal>,
}

/// A proposal.
#[derive(Debug, Serialize, ToSchema)]
struct OneProposal {
    /// Its number.
    proposal: u32,
    /// Its database directories.
    directories: Vec<Directory>,
}

/// A database directory.
#[derive(Debug, Serialize, ToSchema)]
struct Directory {
    /// Its path, which `?directory=` takes.
    path: String,
    /// What the service does with it.
    state: DirectoryState,
    /// Why it cannot be served, or who serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What the caller may do there.
    right: &'static str,
}

/// What the service does with a directory.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum DirectoryState {
    /// It is being opened.
    Starting,
    /// Its runs are processed.
    Serving,
    /// Another process processes its runs.
    Elsewhere,
    /// It cannot be served now, and is tried again.
    Failing,
    /// The service has ended its work there.
    Stopped,
}

fn words(state: service::State) -> (DirectoryState, Option<String>) {
    match state {
        service::State::Starting => (DirectoryState::Starting, None),
        service::State::Serving { .. } => (DirectoryState::Serving, None),
        service::State::Elsewhere { by } => (DirectoryState::Elsewhere, Some(by)),
        service::State::Failing { why } => (DirectoryState::Failing, Some(why)),
        service::State::Stopped => (DirectoryState::Stopped, None),
    }
}

/// The proposals and directories that the caller may read.
#[utoipa::path(
    get,
    path = "/v1/proposals",
    tag = "proposals",
    security(("token" = ["read"])),
    responses(
        (status = 200, description = "The list.", body = Proposals),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<Proposals>, Problem> {
    let mut all: BTreeMap<Proposal, Vec<Directory>> = BTreeMap::new();
    for (path, seen) in api.overview().all() {
        let Some(proposal) = seen.proposal else { continue };
        // One file system that does not answer must not hide the others.
        let Ok(Some(right)) = caller.right_in(&api, proposal, &path).await else { continue };
        let (state, why) = words(seen.state);
        let path = path.display().to_string();
        all.entry(proposal).or_default().push(Directory { path, state, why, right: right.word() });
    }
    let proposals = all
        .into_iter()
        .map(|(proposal, directories)| OneProposal { proposal: proposal.0, directories })
        .collect();
    Ok(Json(Proposals { proposals }))
}
