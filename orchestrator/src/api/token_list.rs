//! `/v1/tokens`: which tokens the service has. They are made by `amore token new` only.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{Admin, AtService},
    extract::InPath,
    problem::{Kind, Problem, ProblemBody},
    tokens::{ForProposals, Token, TokenError},
};
use crate::clock::now;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(revoke))
}

/// The tokens of a service.
#[derive(Debug, Serialize, ToSchema)]
struct TokenList {
    /// The oldest first, also those that are no longer valid.
    tokens: Vec<OneToken>,
}

/// A token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
struct OneToken {
    /// Its public part.
    id: String,
    /// What it is for.
    name: String,
    /// `read`, `process` or `admin`.
    right: &'static str,
    /// Its proposals; absent: all, and the service itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    proposals: Option<Vec<u32>>,
    /// When it was made, in seconds since 1970.
    made: f64,
    /// By whom.
    by: String,
    /// From when on it is void.
    expires: Option<f64>,
    /// When it was revoked.
    revoked: Option<f64>,
    /// Whether it can be used now.
    valid: bool,
}

impl From<Token> for OneToken {
    fn from(token: Token) -> Self {
        let valid = token.is_valid(now());
        OneToken {
            id: token.id,
            name: token.name,
            right: token.allows.word(),
            proposals: match token.proposals {
                ForProposals::All => None,
                ForProposals::These(these) => Some(these.into_iter().map(|proposal| proposal.0).collect()),
            },
            made: token.created,
            by: token.by_user,
            expires: token.expires,
            revoked: token.revoked,
            valid,
        }
    }
}

pub fn problem(error: &TokenError) -> Problem {
    match error {
        TokenError::Unknown { .. } => Problem::of(Kind::NotFound, error),
        _ => Problem::of(Kind::NotAvailable, error).retry_after(2),
    }
}

/// The tokens of the service.
#[utoipa::path(
    get,
    path = "/v1/tokens",
    tag = "tokens",
    security(("token" = ["admin"])),
    responses(
        (status = 200, description = "The list.", body = TokenList),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn list(State(api): State<Api>, _: AtService<Admin>) -> Result<Json<TokenList>, Problem> {
    let all = api.tokens().all().await.map_err(|error| problem(&error))?;
    Ok(Json(TokenList { tokens: all.into_iter().map(OneToken::from).collect() }))
}

/// The token of a path.
#[derive(Debug, Deserialize)]
struct OfToken {
    id: String,
}

/// Revoke a token.
#[utoipa::path(
    delete,
    path = "/v1/tokens/{id}",
    tag = "tokens",
    security(("token" = ["admin"])),
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 204, description = "It is not valid any more."),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn revoke(
    State(api): State<Api>,
    place: AtService<Admin>,
    InPath(OfToken { id }): InPath<OfToken>,
) -> Result<StatusCode, Problem> {
    api.tokens().revoke(&id).await.map_err(|error| problem(&error))?;
    tracing::info!(by = place.caller.words(), id, "a token was revoked by HTTP");
    Ok(StatusCode::NO_CONTENT)
}
