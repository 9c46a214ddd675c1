//! Parts of a request, with errors of ours.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};

/// The JSON body of a request.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(body) = Json::from_request(request, state).await.map_err(|error| {
            let kind = match (&error, error.status()) {
                (JsonRejection::MissingJsonContentType(_), _) => Kind::NotJson,
                (_, StatusCode::PAYLOAD_TOO_LARGE) => Kind::TooLarge,
                _ => Kind::Invalid,
            };
            Problem::new(kind, error.body_text()).at("body")
        })?;
        Ok(Body(body))
    }
}

/// The query parameters of a request.
#[derive(Debug)]
pub struct Parameters<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(found) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::new(Kind::Invalid, error.body_text()).at("query"))?;
        Ok(Parameters(found))
    }
}

/// The variable parts of a request's path. `T` is a struct whose fields have the names in the route, so that a route may have
/// more of them than the handler wants.
#[derive(Debug)]
pub struct InPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(found) = Path::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::new(Kind::Invalid, error.body_text()).at("path"))?;
        Ok(InPath(found))
    }
}
