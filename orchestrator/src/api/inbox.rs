//! `/v1/inbox`: the events about runs that the service has stored.

use amore_ledger::{ArrivalFilter, ArrivalRow, ArrivalState, Right};
use amore_model::{Proposal, Run};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{AtService, Caller, Process, Read},
    extract::{InPath, Parameters},
    problem::{Kind, Problem, ProblemBody},
    token_list::problem,
};
use crate::service::user_acts::{Act, Chosen, UserAct};

/// How many events one answer has at most.
const MOST: u32 = 1000;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(retry))
        .routes(routes!(drop_event))
}

/// Events of the inbox.
#[derive(Debug, Serialize, ToSchema)]
struct Events {
    /// The latest first.
    events: Vec<StoredEvent>,
    /// If there may be more: the value of `before` for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// An event about a run.
#[derive(Debug, Serialize, ToSchema)]
struct StoredEvent {
    /// Its number.
    event: i64,
    /// Its source: `kafka`, `http`, `command`, `folders`.
    source: String,
    /// The proposal, if the event was understood.
    proposal: Option<u32>,
    /// The run.
    run: Option<u32>,
    /// `raw` or `proc`.
    data: Option<String>,
    /// `open`, `done`, `failed` or `dropped`.
    state: &'static str,
    /// When it was received, in seconds since 1970.
    received: f64,
    /// When it was changed last, in seconds since 1970.
    changed: f64,
    /// The event as it was received.
    payload: String,
    /// What is known of it.
    #[schema(value_type = Object)]
    detail: serde_json::Value,
}

impl From<ArrivalRow> for StoredEvent {
    fn from(row: ArrivalRow) -> Self {
        let ArrivalRow { id, arrival, changed } = row;
        StoredEvent {
            event: id,
            source: arrival.source,
            proposal: arrival.proposal.map(|proposal| proposal.0),
            run: arrival.run.map(|run| run.0),
            data: arrival.data,
            state: arrival.state.word(),
            received: arrival.received,
            changed,
            payload: arrival.payload,
            detail: arrival.detail,
        }
    }
}

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only events in this state: `open`, `done`, `failed` or `dropped`.
    #[serde(default)]
    state: Option<String>,
    /// Only events about this proposal.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1)]
    proposal: Option<Proposal>,
    /// Only events about this run.
    #[serde(default)]
    #[param(value_type = Option<u32>)]
    run: Option<Run>,
    /// Only events from this source: `kafka`, `http`, `command`, `folders`.
    #[serde(default)]
    source: Option<String>,
    /// Only events with smaller numbers.
    #[serde(default)]
    before: Option<i64>,
    /// So many, up to 1000.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// The latest events, those that failed among them.
#[utoipa::path(
    get,
    path = "/v1/inbox",
    tag = "inbox",
    security(("token" = ["read"])),
    params(Page),
    responses(
        (status = 200, description = "Some events.", body = Events),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn list(
    State(api): State<Api>,
    place: AtService<Read>,
    Parameters(Page { state, proposal, run, source, before, limit }): Parameters<Page>,
) -> Result<Json<Events>, Problem> {
    let limit = limit.unwrap_or(100);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::new(Kind::Invalid, format!("limit must be from 1 to {MOST}")).at("query, limit"));
    }
    let scope = api.inbox_scope();
    let states = state.map(|word| word.parse::<ArrivalState>()).transpose();
    let states = states.map_err(|error| Problem::new(Kind::Invalid, error.to_string()).at("query, state"))?;
    let filter = ArrivalFilter { states: states.into_iter().collect(), proposal, run, source, before };
    let rows = api.ledger().with(async |ledger| ledger.arrivals(scope, &filter, limit).await);
    let rows = rows.await.map_err(|error| problem(&error))?;
    let next = (rows.len() == limit as usize).then(|| rows.last().map(|row| row.id)).flatten();
    let mut events = Vec::new();
    for row in rows {
        if may_see(&api, &place.caller, &row).await? {
            events.push(StoredEvent::from(row));
        }
    }
    Ok(Json(Events { events, next }))
}

/// Who may look at the service sees the events about the proposals that he may read, and those that are about none.
async fn may_see(api: &Api, caller: &Caller, row: &ArrivalRow) -> Result<bool, Problem> {
    if caller.right_at_service(api).await? == Some(Right::Admin) {
        return Ok(true);
    }
    match row.arrival.proposal {
        None => Ok(true),
        Some(proposal) => match caller {
            Caller::Holder(token) => Ok(token.proposals.include(proposal)),
            _ => Ok(caller.right_in_proposal(api, proposal).await? >= Some(Right::Read)),
        },
    }
}

/// The event of a path.
#[derive(Debug, Deserialize)]
struct OfEvent {
    id: i64,
}

/// One event.
#[utoipa::path(
    get,
    path = "/v1/inbox/{id}",
    tag = "inbox",
    security(("token" = ["read"])),
    params(("id" = i64, Path, description = "Its number.")),
    responses(
        (status = 200, description = "The event.", body = StoredEvent),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn show(
    State(api): State<Api>,
    place: AtService<Read>,
    InPath(OfEvent { id }): InPath<OfEvent>,
) -> Result<Json<StoredEvent>, Problem> {
    let scope = api.inbox_scope();
    let row = api.ledger().with(async |ledger| ledger.arrival(scope, id).await).await;
    match row.map_err(|error| problem(&error))? {
        Some(row) if may_see(&api, &place.caller, &row).await? => Ok(Json(row.into())),
        _ => Err(Problem::new(Kind::NotFound, format!("there is no event {id}"))),
    }
}

async fn act(api: &Api, by: String, act: Act, id: i64) -> Result<StatusCode, Problem> {
    let asked = UserAct { act, chosen: Chosen::Numbers(vec![id]) };
    let answers = api.inbox().act(asked, by).await.map_err(|error| {
        Problem::new(Kind::NotAvailable, format!("the inbox cannot be changed now: {error}")).retry_after(2)
    })?;
    let at = format!("event {id}");
    match answers.into_iter().find(|answer| answer.number == id) {
        Some(answer) => match answer.refused {
            None => Ok(StatusCode::NO_CONTENT),
            Some(why) => Err(Problem::new(Kind::Conflict, why).at(at)),
        },
        None => Err(Problem::new(Kind::NotFound, format!("there is no event {id}"))),
    }
}

/// Try an event again now: one that has failed, or waits.
#[utoipa::path(
    post,
    path = "/v1/inbox/{id}/retry",
    tag = "inbox",
    security(("token" = ["process"])),
    params(("id" = i64, Path, description = "Its number.")),
    responses(
        (status = 204, description = "It is open, and tried now."),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn retry(
    State(api): State<Api>,
    place: AtService<Process>,
    InPath(OfEvent { id }): InPath<OfEvent>,
) -> Result<StatusCode, Problem> {
    act(&api, place.caller.words(), Act::Retry, id).await
}

/// Do nothing more about an event.
#[utoipa::path(
    post,
    path = "/v1/inbox/{id}/drop",
    tag = "inbox",
    security(("token" = ["process"])),
    params(("id" = i64, Path, description = "Its number.")),
    responses(
        (status = 204, description = "It is dropped."),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn drop_event(
    State(api): State<Api>,
    place: AtService<Process>,
    InPath(OfEvent { id }): InPath<OfEvent>,
) -> Result<StatusCode, Problem> {
    act(&api, place.caller.words(), Act::Drop, id).await
}
