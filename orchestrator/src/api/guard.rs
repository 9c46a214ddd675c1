//! What every request has to pass, before its route is known: the limits of its client, the name of the host, and the token.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Uri, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    Api,
    caller::{Caller, Peer},
    problem::{Kind, Problem},
    settings::HttpSettings,
};

/// The longest path with its query.
const LONGEST_PATH: usize = 4096;

/// Lets a request pass, with its [`Caller`], or answers it.
pub async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let response = answer(&api, request, next).await;
    api.metrics().http_call(&method, response.status().as_u16(), begun.elapsed());
    response
}

async fn answer(api: &Api, request: Request, next: Next) -> Response {
    let patience = api.settings().request_patience();
    let answered = tokio::time::timeout(patience, answer_in_time(api, request, next)).await;
    let problem = match answered {
        Ok(Ok(response)) => return response,
        Ok(Err(problem)) => problem,
        Err(_) => Problem::new(Kind::NoAnswer, format!("no answer within {} s", patience.as_secs_f64())),
    };
    problem.into_response()
}

async fn answer_in_time(api: &Api, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let admitted = admit(api, &parts).await;
    // The body is read in any case: a client that is still sending would not read why it is refused.
    let body = whole(&parts.headers, body, api.settings().max_body_bytes).await;
    parts.extensions.insert(admitted?);
    Ok(next.run(Request::from_parts(parts, Body::from(body?))).await)
}

/// The body of a request, if it is not too large.
async fn whole(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(Kind::TooLarge, format!("the body is larger than {most} bytes")).at("body");
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    to_bytes(body, most).await.map_err(|error| match announced {
        None => too_large(),
        Some(_) => Problem::new(Kind::Invalid, format!("the body cannot be read: {error}")).at("body"),
    })
}

async fn admit(api: &Api, request: &Parts) -> Result<Caller, Problem> {
    let settings = api.settings();
    let peer = request.extensions.get::<Peer>().cloned();
    let peer = peer.ok_or_else(|| Problem::new(Kind::Internal, "a connection without a peer"))?;
    for name in [header::HOST, header::AUTHORIZATION, header::ORIGIN] {
        only_one(&request.headers, &name)?;
    }
    let bearer = bearer(&request.headers)?;
    // Whoever has a token is known by it, and others by where they are.
    let client = match (&peer, bearer) {
        (_, Some(bearer)) if api.tokens().knows(bearer) => format!("token {}", &bearer[..22]),
        (Peer::Local { uid, .. }, _) => format!("uid {uid}"),
        (Peer::Remote { address }, _) => format!("address {address}"),
    };
    api.take_turn(&client, settings.requests_per_second)?;
    if path_length(&request.uri) > LONGEST_PATH {
        return Err(Problem::new(
            Kind::PathTooLong,
            format!("the path is longer than {LONGEST_PATH} characters"),
        ));
    }
    if matches!(peer, Peer::Remote { .. }) {
        let names = Names::of(&settings);
        names.check_host(&request.headers, &request.uri)?;
        names.check_origin(&request.headers)?;
    }
    let Some(bearer) = bearer else {
        return Ok(match peer {
            Peer::Local { uid, gid } => Caller::User { uid, gid },
            Peer::Remote { .. } => Caller::Unknown,
        });
    };
    match api.tokens().verify(bearer).await {
        Ok(Some(token)) => Ok(Caller::Holder(Box::new(token))),
        Ok(None) => {
            Err(Problem::new(Kind::NoToken, "the token is not valid: it is unknown, revoked or expired")
                .at("header Authorization")
                .hint("amore token list shows the tokens of the service, amore token new makes one"))
        }
        Err(error) => Err(Problem::of(Kind::NotAvailable, &error).retry_after(2)),
    }
}

/// Programs before the service may look at another one of two headers than the service does.
fn only_one(headers: &HeaderMap, name: &HeaderName) -> Result<(), Problem> {
    if headers.get_all(name).iter().count() > 1 {
        return Err(Problem::new(Kind::Invalid, "the request has this header more than once")
            .at(format!("header {name}"))
            .hint("send it once"));
    }
    Ok(())
}

fn path_length(uri: &Uri) -> usize {
    uri.path_and_query().map_or(0, |path| path.as_str().len())
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let words = value.to_str().ok().and_then(|value| value.split_once(' '));
    match words {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Problem::new(Kind::NoToken, "the header must be \"Authorization: Bearer TOKEN\"")
            .at("header Authorization")),
    }
}

/// Under which names the service may be addressed. A page of another site that has its own name resolve to this host
/// ("DNS rebinding") sends that name.
struct Names<'a> {
    address: Option<SocketAddr>,
    hosts: &'a [String],
}

impl<'a> Names<'a> {
    fn of(settings: &'a HttpSettings) -> Self {
        Names { address: settings.address(), hosts: &settings.hosts }
    }

    fn include(&self, authority: &str) -> bool {
        let host = host_of(authority);
        if self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host)) {
            return true;
        }
        let is_local = self.address.is_some_and(|address| address.ip().is_loopback());
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            // A page has a name: an address cannot be rebound.
            Ok(ip) => !is_local || ip.is_loopback(),
            Err(_) if host.eq_ignore_ascii_case("localhost") => true,
            Err(_) => !is_local && self.hosts.is_empty(),
        }
    }

    fn check_host(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
        let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
        let of_uri = uri.authority().map(|authority| authority.as_str());
        // A request line with a complete URI names a host, too, and both count.
        let mut named = [("header Host", host), ("the URI of the request", of_uri)].into_iter();
        let wrong = match (host, of_uri) {
            (None, None) => Some("header Host"),
            _ => named.find(|(_, name)| name.is_some_and(|name| !self.include(name))).map(|(place, _)| place),
        };
        let Some(place) = wrong else { return Ok(()) };
        Err(Problem::new(Kind::NotAllowed, "the service is not addressed by one of its names")
            .at(place)
            .hint("[http] hosts in service.toml lists the names of the service"))
    }

    /// Pages of other sites must not use the service.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let authority =
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
        match authority {
            Some(authority) if self.include(authority) => Ok(()),
            _ => Err(Problem::new(Kind::NotAllowed, "a page of another site must not use the service")
                .at("header Origin")
                .hint("[http] hosts in service.toml lists the names of the service")),
        }
    }
}

/// The host of `host:port`.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn local(hosts: &[String]) -> Names<'_> {
        Names { address: Some("127.0.0.1:8711".parse().unwrap()), hosts }
    }

    #[test]
    fn a_name_that_was_rebound_to_localhost_is_refused() {
        let names = local(&[]);
        for good in ["localhost", "LOCALHOST:8711", "127.0.0.1:1", "[::1]", "[::1]:8711"] {
            assert!(names.include(good), "{good}");
        }
        for bad in ["evil.example", "evil.example:8711", "10.0.0.1", "localhost.evil.example", ""] {
            assert!(!names.include(bad), "{bad}");
        }
        let hosts = ["max-exfl.example".to_owned()];
        assert!(local(&hosts).include("max-exfl.example:443"));
    }

    #[test]
    fn on_other_addresses_any_name_is_good_unless_names_are_listed() {
        let open = Names { address: Some("0.0.0.0:8711".parse().unwrap()), hosts: &[] };
        assert!(open.include("max-exfl001") && open.include("131.169.1.1:8711"));
        let hosts = ["max-exfl".to_owned()];
        let listed = Names { hosts: &hosts, ..open };
        assert!(!listed.include("max-exfl001") && listed.include("max-exfl:1"));
        // No page of another site has them.
        assert!(
            listed.include("127.0.0.1:8711") && listed.include("131.169.1.1") && listed.include("localhost")
        );
    }

    fn with(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn each_place_that_names_a_host_must_name_the_service() {
        let names = local(&[]);
        let is_good = |host: &[&'static str], uri: &'static str| {
            names.check_host(&with(header::HOST, host), &Uri::from_static(uri)).is_ok()
        };
        assert!(is_good(&["localhost"], "/livez") && is_good(&[], "http://localhost:8711/livez"));
        assert!(is_good(&["localhost"], "http://127.0.0.1:8711/livez"));
        assert!(!is_good(&[], "/livez") && !is_good(&["evil.example"], "/livez"));
        assert!(!is_good(&["localhost"], "http://evil.example/livez"));
        assert!(!is_good(&["evil.example"], "http://localhost/livez"));
    }

    #[test]
    fn a_header_that_decides_is_there_once() {
        assert!(only_one(&with(header::HOST, &["a"]), &header::HOST).is_ok());
        assert!(only_one(&HeaderMap::new(), &header::HOST).is_ok());
        assert!(only_one(&with(header::HOST, &["a", "a"]), &header::HOST).is_err());
    }
}
