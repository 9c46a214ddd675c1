//! Errors of the API, as RFC 9457 wants them: `application/problem+json`, with what is wrong, where, and what to do.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::advice::{Advice, with_causes};

/// What a client can do about an error: the same kind is handled in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is malformed. It has to be changed.
    Invalid,
    /// There is no valid token.
    NoToken,
    /// The token, or the user, may not do this.
    NotAllowed,
    /// It does not exist, or must not be seen.
    NotFound,
    /// This method is not for this path.
    NotAMethod,
    /// None of the forms that the client wants.
    NotAcceptable,
    /// It contradicts the present state.
    Conflict,
    /// It was changed meanwhile: read it again.
    Changed,
    /// The request must say which version it changes.
    NoVersion,
    /// The request, or what it asks for, is too large.
    TooLarge,
    /// The path is too long.
    PathTooLong,
    /// The body has another content type.
    NotJson,
    /// The content is well-formed, and wrong: a context file with errors.
    Rejected,
    /// Too many requests of this client. Later.
    TooMany,
    /// The service, a directory or the ledger is not available. Later.
    NotAvailable,
    /// A file system or a database does not answer in time. Later.
    NoAnswer,
    /// A bug.
    Internal,
}

impl Kind {
    fn status(self) -> StatusCode {
        match self {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::NoToken => StatusCode::UNAUTHORIZED,
            Kind::NotAllowed => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::NotAMethod => StatusCode::METHOD_NOT_ALLOWED,
            Kind::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Changed => StatusCode::PRECONDITION_FAILED,
            Kind::NoVersion => StatusCode::PRECONDITION_REQUIRED,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::PathTooLong => StatusCode::URI_TOO_LONG,
            Kind::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Kind::NotAvailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::NoAnswer => StatusCode::GATEWAY_TIMEOUT,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// After how many seconds it is worth to try again, if nothing else is known.
    fn usual_wait(self) -> Option<u64> {
        match self {
            Kind::TooMany => Some(1),
            Kind::NotAvailable => Some(2),
            Kind::NoAnswer => Some(10),
            _ => None,
        }
    }

    /// Its title, which is the same for all errors of the kind.
    fn title(self) -> &'static str {
        match self {
            Kind::Invalid => "the request is not valid",
            Kind::NoToken => "a valid token is required",
            Kind::NotAllowed => "not allowed",
            Kind::NotFound => "not found",
            Kind::NotAMethod => "this path does not have this method",
            Kind::NotAcceptable => "no acceptable form",
            Kind::Conflict => "it contradicts the present state",
            Kind::Changed => "it was changed meanwhile",
            Kind::NoVersion => "the request does not say which version it changes",
            Kind::TooLarge => "too large",
            Kind::PathTooLong => "the path is too long",
            Kind::NotJson => "the body is not of an accepted type",
            Kind::Rejected => "the content has errors",
            Kind::TooMany => "too many requests",
            Kind::NotAvailable => "not available now",
            Kind::NoAnswer => "no answer in time",
            Kind::Internal => "internal error",
        }
    }

    /// The last part of its URN.
    fn slug(self) -> String {
        let words = format!("{self:?}");
        let mut slug = String::new();
        for letter in words.chars() {
            if letter.is_ascii_uppercase() && !slug.is_empty() {
                slug.push('-');
            }
            slug.push(letter.to_ascii_lowercase());
        }
        slug
    }
}

/// An error of the API.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    body: ProblemBody,
    retry_after: Option<u64>,
}

/// An error, as a client sees it (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProblemBody {
    /// The kind of error: `urn:amore:problem:not-found`.
    pub r#type: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here.
    pub detail: String,
    /// Where: a parameter, a line of a file, a directory.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// What is wrong.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let body = ProblemBody {
            r#type: format!("urn:amore:problem:{}", kind.slug()),
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            place: None,
            hint: None,
        };
        Problem { kind, body, retry_after: None }
    }

    /// An error of another module, with its advice.
    pub fn of(kind: Kind, error: &(impl Advice + 'static)) -> Self {
        let hint = error.hint();
        let problem = Problem::new(kind, with_causes(error));
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }

    /// Whether something does not exist, or must not be seen.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, Kind::NotFound)
    }

    /// Where it is.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.body.place = Some(place.into());
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }

    /// After so many seconds it may work.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.kind == Kind::Internal {
            tracing::error!(problem = self.body.detail, "an error in the API");
        }
        let mut response = (self.kind.status(), Json(self.body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == Kind::NoToken {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after.or(self.kind.usual_wait()) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_type_and_the_status_of_its_kind() {
        let response = Problem::new(Kind::NotFound, "no run 7").at("run").into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(Problem::new(Kind::NotFound, "").body.r#type, "urn:amore:problem:not-found");
        assert!(Problem::new(Kind::NoToken, "").into_response().headers().contains_key("www-authenticate"));
    }

    #[test]
    fn whoever_may_try_again_is_told_when() {
        let after = |problem: Problem| problem.into_response().headers().get(header::RETRY_AFTER).cloned();
        for kind in [Kind::TooMany, Kind::NotAvailable, Kind::NoAnswer] {
            assert!(after(Problem::new(kind, "")).is_some(), "{kind:?}");
        }
        assert_eq!(after(Problem::new(Kind::NoAnswer, "").retry_after(3)).unwrap(), "3");
        assert!(after(Problem::new(Kind::Invalid, "")).is_none());
    }
}
