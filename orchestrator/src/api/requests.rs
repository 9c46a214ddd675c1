//! Requests of users: reprocess and cancel. They are given to the directory's coordinator, as those of `amore reprocess` are.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use amore_core::{
    events::Event,
    request::{Compute, Request, Runs},
};
use amore_model::{JobId, Run, identifier};
use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{InDirectory, Process, Read, WhichDirectory},
    extract::{Body, InPath},
    problem::{Kind, Problem, ProblemBody},
};
use crate::{
    coordinate::{driver::Order, hand_over::new_id},
    service::{self, Giver},
};

/// How many requests are remembered; the oldest that have ended are forgotten first.
const REMEMBERED: usize = 1000;
/// How many events of each.
const EVENTS: usize = 200;
/// How many words one request may have.
const MOST_NAMES: usize = 1000;
/// How many of a request's runs or names the log has.
const LOGGED: usize = 5;
/// How much of a name.
const LONGEST_LOGGED: usize = 60;
/// How long to wait before a request is given again to a directory that was lost.
const PAUSE: Duration = Duration::from_secs(1);

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(reprocess)).routes(routes!(cancel)).routes(routes!(show))
}

/// Which runs to process, and which variables.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reprocess {
    /// Numbers of runs, or `"all"`.
    runs: WantedRuns,
    /// Only variables whose title contains one of these.
    #[serde(default, rename = "match")]
    matches: Vec<String>,
    /// Only these variables, by their names.
    #[serde(default)]
    variables: Vec<String>,
}

/// Runs of a request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a list of run numbers, such as [1, 2], or \"all\"")]
enum WantedRuns {
    /// These.
    These(BTreeSet<u32>),
    /// All that the database knows.
    All(All),
}

/// The word `all`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum All {
    /// All runs.
    All,
}

/// What to cancel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Cancel {
    /// The number of a run: all of its unfinished tasks. Or that of a Slurm job, `17@maxwell` if there are several clusters.
    #[schema(value_type = String, example = "42")]
    what: JobId,
}

/// A request that was accepted.
#[derive(Debug, Serialize, ToSchema)]
struct Accepted {
    /// Its id.
    id: String,
    /// The path at which its progress is shown.
    progress: String,
}

/// What has become of a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Progress {
    /// Its id.
    id: String,
    /// Whether it has ended.
    ended: bool,
    /// How many events there were. Only the last 200 are shown.
    count: u64,
    /// The last events, the oldest first, as `amore reprocess` writes them with `--json`.
    #[schema(value_type = Vec<Object>)]
    events: VecDeque<Value>,
}

#[derive(Clone, Debug)]
struct Known {
    dir: PathBuf,
    progress: Progress,
}

/// The requests of clients, as long as they are remembered.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<String, Known>>);

impl Requests {
    fn add(&self, id: &str, dir: PathBuf) -> Result<(), Problem> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            let oldest = all.iter().find(|(_, known)| known.progress.ended).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else {
                return Err(Problem::new(Kind::TooMany, format!("{REMEMBERED} requests have not ended"))
                    .retry_after(60));
            };
            all.remove(&oldest);
        }
        let progress = Progress { id: id.to_owned(), ended: false, count: 0, events: VecDeque::new() };
        all.insert(id.to_owned(), Known { dir, progress });
        Ok(())
    }

    fn tell(&self, id: &str, event: &Event) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Known { progress, .. }) = all.get_mut(id) else { return };
        progress.ended |= ends(event);
        progress.count += 1;
        if progress.events.len() >= EVENTS {
            progress.events.pop_front();
        }
        progress.events.push_back(serde_json::to_value(event).unwrap_or_default());
    }

    fn get(&self, id: &str) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

fn ends(event: &Event) -> bool {
    matches!(event, Event::Finished(_) | Event::Refused { .. })
}

/// Gives a request to its directory, and remembers what becomes of it. If the directory is lost before the end (another process
/// has taken it over, its file system failed), it is given again.
fn follow(requests: Arc<Requests>, id: String, giver: Giver, request: Request) {
    tokio::spawn(async move {
        loop {
            let (events, mut told) = unbounded_channel();
            giver.give(Order { request: request.clone(), events });
            while let Some(event) = told.recv().await {
                let is_last = ends(&event);
                requests.tell(&id, &event);
                if is_last {
                    return;
                }
            }
            if giver.is_gone() {
                let message = "the service does not serve this directory any more".to_owned();
                requests.tell(&id, &Event::Refused { message, hint: None, exit: 1 });
                return;
            }
            requests.tell(&id, &Event::note("the directory was lost before the end; trying again"));
            tokio::time::sleep(PAUSE).await;
        }
    });
}

/// A request for the log: one of all runs of a proposal, by their numbers, would fill it.
fn in_words(request: &Request) -> String {
    let Compute { runs, matches, names, .. } = match request {
        Request::Cancel(what) => return format!("cancel {what}"),
        Request::Compute(compute) => compute,
    };
    let mut words = match runs {
        Runs::All => "reprocess all runs".to_owned(),
        Runs::These(runs) => format!("reprocess {}", few(runs.len(), "runs", runs.iter())),
    };
    for (what, list) in [("variables", names), ("matches", matches)] {
        if !list.is_empty() {
            words.push_str(", ");
            words.push_str(&few(list.len(), what, list.iter().map(|word| cut(word))));
        }
    }
    words
}

/// How many there are, and the first of them.
fn few<T: std::fmt::Display>(number: usize, what: &str, all: impl Iterator<Item = T>) -> String {
    let mut first: Vec<String> = all.take(LOGGED).map(|one| one.to_string()).collect();
    if number > first.len() {
        first.push("…".to_owned());
    }
    format!("{number} {what} ({})", first.join(", "))
}

/// The beginning of a word, without control characters.
fn cut(word: &str) -> String {
    let shown: String = word.chars().filter(|c| !c.is_control()).take(LONGEST_LOGGED).collect();
    if shown.len() < word.len() { shown + "…" } else { shown }
}

fn accept<N>(
    api: &Api,
    place: InDirectory<N>,
    request: Request,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let InDirectory { caller, proposal, dir, state, giver, .. } = place;
    if state == service::State::Stopped {
        return Err(Problem::new(Kind::NotAvailable, "the service ends its work in this directory"));
    }
    let id = new_id(SystemTime::now());
    let requests = api.requests();
    requests.add(&id, dir.path().to_owned())?;
    let asked = in_words(&request);
    tracing::info!(by = caller.words(), %proposal, directory = %dir.path().display(), id, asked, "request by HTTP");
    follow(Arc::clone(requests), id.clone(), giver, request);
    let progress = format!("{}/v1/proposals/{proposal}/requests/{id}", api.settings().base_path);
    Ok((StatusCode::ACCEPTED, Json(Accepted { id, progress })))
}

/// Compute variables of runs, as `amore reprocess` does. The answer comes at once; the progress is shown at another path. A
/// request that has not ended when the service ends is lost, apart from its jobs in Slurm; a trigger is not.
#[utoipa::path(
    post,
    path = "/v1/proposals/{p}/reprocess",
    tag = "requests",
    security(("token" = ["process"])),
    params(("p" = u32, Path, description = "The proposal.", minimum = 1), WhichDirectory),
    request_body = Reprocess,
    responses(
        (status = 202, description = "It was given to the directory.", body = Accepted),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn reprocess(
    State(api): State<Api>,
    place: InDirectory<Process>,
    Body(wanted): Body<Reprocess>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let Reprocess { runs, matches, variables } = wanted;
    if matches.len() + variables.len() > MOST_NAMES {
        return Err(
            Problem::new(Kind::Invalid, format!("more than {MOST_NAMES} variables are named")).at("body")
        );
    }
    let runs = match runs {
        WantedRuns::All(All::All) => Runs::All,
        WantedRuns::These(runs) if runs.is_empty() => {
            return Err(Problem::new(Kind::Invalid, "there is no run in the list")
                .at("body, runs")
                .hint("\"all\" means all runs of the database"));
        }
        WantedRuns::These(runs) => Runs::These(runs.into_iter().map(Run).collect()),
    };
    let compute = Compute {
        runs,
        proposal: Some(place.proposal),
        matches,
        names: variables.iter().map(|name| identifier(name)).collect(),
        mock: false,
        trigger: None,
    };
    accept(&api, place, Request::Compute(compute))
}

/// Cancel the unfinished tasks of a run, or a Slurm job. Stored results are kept.
#[utoipa::path(
    post,
    path = "/v1/proposals/{p}/cancel",
    tag = "requests",
    security(("token" = ["process"])),
    params(("p" = u32, Path, description = "The proposal.", minimum = 1), WhichDirectory),
    request_body = Cancel,
    responses(
        (status = 202, description = "It was given to the directory.", body = Accepted),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn cancel(
    State(api): State<Api>,
    place: InDirectory<Process>,
    Body(Cancel { what }): Body<Cancel>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    accept(&api, place, Request::Cancel(what))
}

/// The request of a path.
#[derive(Debug, Deserialize)]
struct OfRequest {
    id: String,
}

/// The progress of a request that was made by HTTP.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/requests/{id}",
    tag = "requests",
    security(("token" = ["read"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("id" = String, Path, description = "The id that the request was given."),
        WhichDirectory,
    ),
    responses(
        (status = 200, description = "Its progress.", body = Progress),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn show(
    State(api): State<Api>,
    place: InDirectory<Read>,
    InPath(OfRequest { id }): InPath<OfRequest>,
) -> Result<Json<Progress>, Problem> {
    match api.requests().get(&id) {
        Some(known) if known.dir == place.dir.path() => Ok(Json(known.progress)),
        _ => Err(Problem::new(Kind::NotFound, "the service knows no such request in this directory")
            .hint("it forgets requests when it ends, and the oldest of more than 1000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_the_number_of_runs_and_the_first_of_them() {
        let mut compute = Compute {
            runs: Runs::These((1..=99_999).map(Run).collect()),
            proposal: None,
            matches: Vec::new(),
            names: vec!["a".to_owned()],
            mock: false,
            trigger: None,
        };
        let words = in_words(&Request::Compute(compute.clone()));
        assert_eq!(words, "reprocess 99999 runs (1, 2, 3, 4, 5, …), 1 variables (a)");
        compute.matches = vec!["x\n".repeat(10_000); 1000];
        assert!(in_words(&Request::Compute(compute)).len() < 1000);
        assert_eq!(in_words(&Request::Cancel("42".parse().unwrap())), "cancel 42");
    }
}
