//! `/v1/proposals/{p}/runs/{r}/plan`, `/explain`, `/logs`, and `/v1/proposals/{p}/jobs`: the answers of Amore's own commands.
//!
//! The commands run in processes of their own, so that nothing that they do can delay the service.

use std::{ffi::OsString, io, time::Duration};

use amore_model::DatabaseDir;
use axum::{
    Json,
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::watch, time::Interval};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{InDirectory, LOOK_AGAIN, Needs, Process, Read, WhichDirectory, every},
    extract::{InPath, Parameters},
    problem::{Kind, Problem, ProblemBody},
    values::{unanswered, variable_name},
};
use crate::values::ask::Following;

/// How long a command may take that reads files and asks Slurm.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a command may take that executes the context file.
pub const CONTEXT_PATIENCE: Duration = Duration::from_secs(55);
/// The longest text that titles are matched with.
const LONGEST_MATCH: usize = 200;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(plan))
        .routes(routes!(explain))
        .routes(routes!(logs))
        .routes(routes!(jobs))
}

/// The run of a path.
#[derive(Debug, Deserialize)]
struct OfRun {
    r: u32,
}

/// An option of a command with its value, as one word: no value can be taken for another option.
pub fn option(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut word = OsString::from(format!("--{name}="));
    word.push(value);
    word
}

/// Runs a command of Amore in a directory. Returns what it printed, and its exit code.
///
/// # Errors
/// It failed, or did not answer.
pub async fn command(
    api: &Api,
    dir: &DatabaseDir,
    words: Vec<OsString>,
    input: &[u8],
    patience: Duration,
) -> Result<(Vec<u8>, i32), Problem> {
    command_or(Kind::Conflict, api, dir, words, input, patience).await
}

/// The same, with what it means that the command fails.
async fn command_or(
    kind: Kind,
    api: &Api,
    dir: &DatabaseDir,
    words: Vec<OsString>,
    input: &[u8],
    patience: Duration,
) -> Result<(Vec<u8>, i32), Problem> {
    let place = dir.path().display().to_string();
    let done = api.asking().command(dir.path(), "the answer", &words, input, patience).await;
    let done = done.map_err(|error| unanswered(&error, &place))?;
    match done.code {
        // 3: some runs do not exist; 4: the context file has errors.
        Some(code @ (0 | 3)) => Ok((done.output, code)),
        Some(4) if !done.output.is_empty() => Ok((done.output, 4)),
        Some(code) => Err(failed(if code == 2 { Kind::Invalid } else { kind }, &done.errors).at(place)),
        None => Err(Problem::new(Kind::Internal, "the command was ended by a signal").at(place)),
    }
}

/// What a command says about its failure.
fn failed(kind: Kind, said: &str) -> Problem {
    let said = said.split_once("error: ").map_or(said, |(_, said)| said);
    match said.split_once("\n  hint: ") {
        Some((what, hint)) => Problem::new(kind, what.trim()).hint(hint.trim()),
        None => Problem::new(kind, said.trim()),
    }
}

fn json(output: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(output).map_err(|error| {
        Problem::new(Kind::Internal, format!("the answer of a command is not JSON: {error}"))
    })
}

fn words<N: Needs>(command: &str, place: &InDirectory<N>) -> Vec<OsString> {
    vec![command.into(), "--json".into(), option("in", place.dir.path())]
}

/// Which data, and which variables.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Planned {
    /// Plan for the arrival of these data.
    #[serde(default)]
    #[param(inline)]
    data: Data,
    /// Only these variables and their dependencies: names, separated by commas.
    variables: Option<String>,
    /// Only variables with this text in their title.
    r#match: Option<String>,
}

/// Data of a run.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Data {
    /// Raw data.
    Raw,
    /// Calibrated data.
    Proc,
    /// Both.
    #[default]
    All,
}

/// What would be computed for a run, in which task, where and why. The context file is executed for that.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/runs/{r}/plan",
    tag = "runs",
    security(("token" = ["process"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("r" = u32, Path, description = "The run."),
        Planned,
        WhichDirectory,
    ),
    responses(
        (status = 200, description = "The plan, as `amore plan --json` prints it.", body = Object),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn plan(
    State(api): State<Api>,
    place: InDirectory<Process>,
    InPath(OfRun { r: run }): InPath<OfRun>,
    Parameters(planned): Parameters<Planned>,
) -> Result<Json<Value>, Problem> {
    let mut words = words("plan", &place);
    words.push(option("service", api.directory()));
    words.push(option("proposal", place.proposal.to_string()));
    words.push(option(
        "data",
        match planned.data {
            Data::Raw => "raw",
            Data::Proc => "proc",
            Data::All => "all",
        },
    ));
    for name in planned.variables.iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()) {
        words.push(option("var", variable_name(name)?));
    }
    if let Some(text) = &planned.r#match {
        if text.len() > LONGEST_MATCH || text.chars().any(char::is_control) {
            return Err(
                Problem::new(Kind::Invalid, "it is too long, or has control characters").at("query, match")
            );
        }
        words.push(option("match", text));
    }
    words.push(run.to_string().into());
    let (output, code) = command(&api, &place.dir, words, b"", CONTEXT_PATIENCE).await?;
    if code == 3 {
        return Err(Problem::new(
            Kind::NotFound,
            format!("there is no run {run} of proposal {}", place.proposal),
        ));
    }
    json(&output).map(Json)
}

/// Which variable is explained.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Explained {
    /// Only this variable.
    variable: Option<String>,
}

/// What happened to a run or to one of its variables, from the request to the value or error, or what it is waiting for.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/runs/{r}/explain",
    tag = "runs",
    security(("token" = ["read"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("r" = u32, Path, description = "The run."),
        Explained,
        WhichDirectory,
    ),
    responses(
        (status = 200, description = "The entries, as `amore explain --json` prints them.", body = Vec<Object>),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn explain(
    State(api): State<Api>,
    place: InDirectory<Read>,
    InPath(OfRun { r: run }): InPath<OfRun>,
    Parameters(Explained { variable }): Parameters<Explained>,
) -> Result<Json<Value>, Problem> {
    let mut words = words("explain", &place);
    words.push(option("proposal", place.proposal.to_string()));
    words.push(run.to_string().into());
    words.extend(variable.as_deref().map(variable_name).transpose()?.map(OsString::from));
    let (output, _) = command(&api, &place.dir, words, b"", PATIENCE).await?;
    json(&output).map(Json)
}

/// Which part of the logs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Logged {
    /// Only the last lines of each log.
    lines: Option<u32>,
    /// Go on with what is written to the logs, until the client has enough. Then the answer is text.
    #[serde(default)]
    follow: bool,
    /// The form of the answer.
    #[serde(default)]
    #[param(inline)]
    format: LogForm,
}

/// Form of logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LogForm {
    /// One text.
    #[default]
    Text,
    /// A list of logs with their lines, and the Slurm jobs that wrote them.
    Json,
}

/// What the variables of a run printed, and their tracebacks, on the service's host and in Slurm jobs.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/runs/{r}/logs",
    tag = "runs",
    security(("token" = ["read"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("r" = u32, Path, description = "The run."),
        Logged,
        WhichDirectory,
    ),
    responses(
        (status = 200, description = "The logs.", content((String = "text/plain"), (Vec<Object> = "application/json"))),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn logs(
    State(api): State<Api>,
    place: InDirectory<Read>,
    InPath(OfRun { r: run }): InPath<OfRun>,
    Parameters(Logged { lines, follow, format }): Parameters<Logged>,
) -> Result<Response, Problem> {
    let mut words =
        vec!["log".into(), option("in", place.dir.path()), option("proposal", place.proposal.to_string())];
    words.extend(lines.map(|lines| option("lines", lines.to_string())));
    words.push(run.to_string().into());
    let text =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    if follow {
        words.push("--follow".into());
        let following = api.asking().follow(place.dir.path(), "the log", &words).await;
        let following =
            following.map_err(|error| unanswered(&error, &place.dir.path().display().to_string()))?;
        let followed = Followed { following, ends: api.ending(), look_again: every(LOOK_AGAIN), api, place };
        let pieces = stream::try_unfold(followed, |mut followed| async move {
            let piece = followed.next_piece().await?;
            Ok::<_, io::Error>(piece.map(|piece| (piece, followed)))
        });
        return Ok((text, Body::from_stream(pieces)).into_response());
    }
    if format == LogForm::Json {
        words.push("--json".into());
    }
    // There is none, or only one that must not be shown.
    let answer = command_or(Kind::NotFound, &api, &place.dir, words, b"", PATIENCE).await;
    let (output, _) = answer.map_err(|problem| problem.hint("a run has logs once it has been processed"))?;
    Ok(match format {
        LogForm::Text => (text, output).into_response(),
        LogForm::Json => Json(json(&output)?).into_response(),
    })
}

/// A client that follows the logs of a run.
struct Followed {
    api: Api,
    place: InDirectory<Read>,
    following: Following,
    look_again: Interval,
    ends: watch::Receiver<bool>,
}

impl Followed {
    /// What was written since. `None`: the client has no right to it any more, or the service ends, which does not wait for those
    /// who follow.
    async fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let piece = tokio::select! {
                biased;
                _ = self.ends.wait_for(|ends| *ends) => return Ok(None),
                _ = self.look_again.tick() => None,
                piece = self.following.next_piece() => match piece? {
                    None => return Ok(None),
                    piece => piece,
                },
            };
            if !self.place.is_still_allowed(&self.api).await {
                return Ok(None);
            }
            if piece.is_some() {
                return Ok(piece);
            }
        }
    }
}

/// The unfinished tasks of the directory, with their Slurm jobs and why those wait.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/jobs",
    tag = "runs",
    security(("token" = ["read"])),
    params(("p" = u32, Path, description = "The proposal.", minimum = 1), WhichDirectory),
    responses(
        (status = 200, description = "The tasks, as `amore jobs --json` prints them.", body = Vec<Object>),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn jobs(State(api): State<Api>, place: InDirectory<Read>) -> Result<Json<Value>, Problem> {
    let (output, _) = command(&api, &place.dir, words("jobs", &place), b"", PATIENCE).await?;
    let mut tasks = json(&output)?;
    if let Some(tasks) = tasks.as_array_mut() {
        let own = Value::from(place.proposal.0);
        tasks.retain(|task| task.get("proposal") == Some(&own));
    }
    Ok(Json(tasks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_an_option_of_its_own() {
        assert_eq!(option("var", "--json"), OsString::from("--var=--json"));
    }
}
