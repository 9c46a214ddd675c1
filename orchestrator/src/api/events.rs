//! `/v1/events`: what happens, as server-sent events. A client that reconnects says which event it had last, and misses nothing.

use std::{convert::Infallible, time::Duration};

use amore_ledger::Right;
use amore_model::Proposal;
use axum::{
    extract::State,
    http::HeaderMap,
    response::{Sse, sse},
};
use futures_util::{Stream, stream};
use serde::Deserialize;
use tokio::{sync::watch, time::Interval};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{Caller, LOOK_AGAIN, every},
    extract::Parameters,
    problem::{Kind, Problem, ProblemBody},
};
use crate::service::{
    event_stream::{self, EventId, Next, Subscription},
    happening::Happening,
};

/// How often a quiet connection is shown to be alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only those of this proposal.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1)]
    proposal: Option<Proposal>,
    /// Continue after this event, as the header `Last-Event-ID` says it, which goes first.
    #[serde(default)]
    after: Option<String>,
}

/// What happens from now on, or after the event that the client had last: `id`, `event` (its name) and `data` (JSON). The event
/// `begin` comes first if the client has not had any, and `reset` says that events may have been missed: read the table again. The stream ends when the service ends or the token is
/// not valid any more.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "events",
    security(("token" = ["read"])),
    params(
        Wanted,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client had."),
    ),
    responses(
        (status = 200, description = "The events, without end.", body = str, content_type = "text/event-stream"),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn follow(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Parameters(Wanted { proposal, after }): Parameters<Wanted>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    let header = headers.get("last-event-id").map(|header| header.to_str().unwrap_or("?").to_owned());
    // A browser that gets an error never connects again: what it had last is unknown then, which `reset` says.
    let is_header = header.is_some();
    let last = header.or(after);
    // A client that is cut off before the first event has an id to continue after.
    let (from, begin) = match last.filter(|last| !last.is_empty()) {
        None => {
            let last = api.events().last();
            (event_stream::From::After(last.clone()), Some(own_event("begin", &last)))
        }
        Some(last) => {
            let last = match last.parse::<EventId>() {
                Err(_) if is_header => EventId { life: "".into(), number: 0 },
                parsed => parsed
                    .map_err(|error| Problem::new(Kind::Invalid, error.to_string()).at("query, after"))?,
            };
            (event_stream::From::After(last), None)
        }
    };
    let following = Following {
        subscription: api.events().subscribe(from),
        ends: api.ending(),
        api,
        caller,
        proposal,
        heartbeat: every(HEARTBEAT),
        look_again: every(LOOK_AGAIN),
        begin,
    };
    Ok(Sse::new(stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok(event), following))
    })))
}

/// A client that reads events.
struct Following {
    api: Api,
    caller: Caller,
    proposal: Option<Proposal>,
    subscription: Subscription,
    heartbeat: Interval,
    look_again: Interval,
    begin: Option<sse::Event>,
    ends: watch::Receiver<bool>,
}

impl Following {
    /// The next event that the client wants and may see. `None`: the stream ends.
    async fn next(&mut self) -> Option<sse::Event> {
        if let Some(begin) = self.begin.take() {
            return Some(begin);
        }
        loop {
            let next = tokio::select! {
                biased;
                () = ended(&mut self.ends) => return None,
                _ = self.look_again.tick() => {
                    if !self.api.still_knows(&self.caller).await {
                        return None;
                    }
                    continue;
                }
                _ = self.heartbeat.tick() => return Some(sse::Event::default().comment("alive")),
                next = self.subscription.next() => next,
            };
            // It may have waited, for the event or for the client.
            if !self.api.still_knows(&self.caller).await {
                return None;
            }
            match next {
                Next::Event(happening) if self.may_see(&happening).await => {
                    let data = serde_json::to_string(&*happening).ok()?;
                    let event = sse::Event::default().id(happening.id.to_string()).event(happening.name());
                    return Some(event.data(data));
                }
                Next::Event(_) => {}
                Next::Reset(id) => return Some(own_event("reset", &id)),
            }
        }
    }

    async fn may_see(&self, happening: &Happening) -> bool {
        if self.proposal.is_some() && happening.proposal != self.proposal {
            return false;
        }
        let right = match (happening.proposal, &happening.directory) {
            (Some(proposal), Some(dir)) => self.caller.right_in(&self.api, proposal, dir).await,
            (Some(proposal), None) => self.caller.right_in_proposal(&self.api, proposal).await,
            (None, _) => self.caller.right_at_service(&self.api).await,
        };
        right.is_ok_and(|right| right >= Some(Right::Read))
    }
}

/// An event about the stream itself.
fn own_event(name: &str, id: &EventId) -> sse::Event {
    let data = serde_json::json!({ "id": id, "event": name }).to_string();
    sse::Event::default().id(id.to_string()).event(name).data(data)
}

async fn ended(ends: &mut watch::Receiver<bool>) {
    // The reference to the value must not be kept while something else is waited for.
    let _ = ends.wait_for(|ends| *ends).await;
}
