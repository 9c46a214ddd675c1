//! `/v1/proposals/{p}/runs/{r}/user-values/{name}` and `/v1/proposals/{p}/user-variables`: what users enter themselves. The name
//! `comment` is the comment on the run.

use std::time::Duration;

use amore_model::Run;
use amore_run_table::{
    CellVersion, NotChanged, OpenOptions, RunTable, UserCell, UserCellName, UserType, UserValue, UserVariable,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{InDirectory, Process, Read, WhichDirectory},
    extract::{Body, InPath, Parameters},
    json::{Enterable, entered},
    problem::{Kind, Problem, ProblemBody},
    tables::{Version, table_problem},
    values::variable_name,
};
use crate::{
    clock::now,
    service::happening::{ServiceEvent, What},
};

/// How long a table may be locked by others.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// The longest text that is stored.
const LONGEST: usize = 100_000;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show, put)).routes(routes!(add, remove))
}

fn not_changed(error: &NotChanged) -> Problem {
    let kind = match error {
        NotChanged::Conflict { .. } => Kind::Changed,
        NotChanged::NoSuchRun { .. }
        | NotChanged::NoSuchVariable { .. }
        | NotChanged::NoSuchComment { .. } => Kind::NotFound,
        NotChanged::NameTaken { .. }
        | NotChanged::NameOfColumn { .. }
        | NotChanged::TitleTaken { .. }
        | NotChanged::HasValues { .. } => Kind::Conflict,
        NotChanged::BadName { .. } | NotChanged::BadTitle | NotChanged::NotOfType { .. } => Kind::Invalid,
        NotChanged::Table(error) => return table_problem(error),
    };
    let problem = Problem::new(kind, error.to_string());
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// The value of a path.
#[derive(Debug, Deserialize)]
struct OfValue {
    r: u32,
    name: String,
}

/// A value that users enter.
#[derive(Debug, Serialize, ToSchema)]
struct Entered {
    /// A truth value, a number or a text; `null`: it is empty.
    #[schema(value_type = Option<Enterable>, required)]
    value: Value,
}

/// A new value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"value": "good beam"}))]
struct NewValue {
    /// A truth value, a number or a text, by the variable's type; `null` empties it.
    #[schema(value_type = Option<Enterable>, required)]
    value: Value,
}

fn answer(cell: UserCell) -> Response {
    let value = cell.value.map_or(Value::Null, entered);
    ([(header::ETAG, Version::new(cell.version).header())], Json(Entered { value })).into_response()
}

/// A value that users enter; its name `comment` is the comment on the run.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/runs/{r}/user-values/{name}",
    tag = "user values",
    security(("token" = ["read"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("r" = u32, Path, description = "The run."),
        ("name" = String, Path, description = "The variable."),
        WhichDirectory,
    ),
    responses(
        (status = 200, description = "The value.", body = Entered),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn show(
    State(api): State<Api>,
    place: InDirectory<Read>,
    InPath(OfValue { r: run, name }): InPath<OfValue>,
) -> Result<Response, Problem> {
    let name = variable_name(&name)?;
    let table = api.tables().of(&api, &place.dir).await?;
    let cell = UserCellName { proposal: place.proposal, run: Run(run), variable: &name };
    let read = table.within(place.dir.path(), async { Ok(table.table().user_cell(&cell).await) }).await?;
    read.map(answer).map_err(|error| not_changed(&error))
}

/// The version that a change is based on; `None`: any.
fn expected(headers: &HeaderMap) -> Result<Option<CellVersion>, Problem> {
    let Some(given) = headers.get(header::IF_MATCH) else {
        return Err(Problem::new(Kind::NoVersion, "the header If-Match is missing").hint(
            "read the value first, and send the ETag of that answer as If-Match; * changes any version",
        ));
    };
    let given = given.to_str().unwrap_or_default().trim();
    if given == "*" {
        return Ok(None);
    }
    let version =
        given.strip_prefix('"').and_then(|given| given.strip_suffix('"')).and_then(|tag| tag.parse().ok());
    version
        .map(Some)
        .ok_or_else(|| Problem::new(Kind::Changed, "it never had this version").at("header If-Match"))
}

fn wanted(value: Value) -> Result<Option<UserValue>, Problem> {
    let wrong = |why: &str| Problem::new(Kind::Invalid, why).at("body, value");
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(value) => UserValue::Boolean(value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => UserValue::Integer(whole),
            (None, Some(real)) if real.is_finite() => UserValue::Number(real),
            _ => return Err(wrong("the number is too large")),
        },
        Value::String(text) if text.len() <= LONGEST && !text.contains('\0') => UserValue::String(text),
        Value::String(_) => return Err(wrong("the text is too long, or has a NUL character")),
        Value::Array(_) | Value::Object(_) => {
            return Err(wrong("a value is a truth value, a number, a text, or null, which empties it"));
        }
    }))
}

/// Opens the table of a directory for writing, and changes something.
async fn change<N, T: Send + 'static>(
    api: &Api,
    place: &InDirectory<N>,
    change: impl AsyncFnOnce(&RunTable) -> Result<T, NotChanged> + Send + 'static,
) -> Result<T, Problem> {
    let (path, runtime) = (place.dir.path().to_owned(), Handle::current());
    let done = api.on_disk(place.dir.path(), move || {
        runtime.block_on(async {
            let options = OpenOptions { read_only: false, busy_timeout: LOCK_PATIENCE, waits: None };
            let table = RunTable::open_with(&path, options).await?;
            let changed = change(&table).await?;
            table.close().await?;
            Ok(changed)
        })
    });
    done.await?.map_err(|error: NotChanged| not_changed(&error))
}

/// Tells those who follow the events.
fn tell<N>(api: &Api, place: &InDirectory<N>, event: ServiceEvent) {
    api.events().publish(Some((place.dir.path(), place.proposal)), What::Service(event));
}

/// Change a value that users enter, if it is still the version of `If-Match` (`*`: whatever it is).
#[utoipa::path(
    put,
    path = "/v1/proposals/{p}/runs/{r}/user-values/{name}",
    tag = "user values",
    security(("token" = ["process"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("r" = u32, Path, description = "The run."),
        ("name" = String, Path, description = "The variable."),
        ("If-Match" = Option<String>, Header, description = "The ETag of the value that is changed."),
        WhichDirectory,
    ),
    request_body = NewValue,
    responses(
        (status = 200, description = "The value now.", body = Entered),
        (status = 412, description = "It was changed meanwhile.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn put(
    State(api): State<Api>,
    place: InDirectory<Process>,
    InPath(OfValue { r: run, name }): InPath<OfValue>,
    headers: HeaderMap,
    Body(NewValue { value }): Body<NewValue>,
) -> Result<Response, Problem> {
    let name = variable_name(&name)?;
    let (expected, value) = (expected(&headers)?, wanted(value)?);
    let (proposal, variable) = (place.proposal, name.clone());
    let changed = change(&api, &place, async move |table: &RunTable| {
        let cell = UserCellName { proposal, run: Run(run), variable: &variable };
        table.set_user_cell(&cell, value, expected, now()).await
    });
    let cell = changed.await?;
    tracing::info!(by = place.caller.words(), %proposal, run, name, "a value was entered by HTTP");
    tell(&api, &place, ServiceEvent::UserValueChanged { proposal, run: Run(run), name });
    Ok(answer(cell))
}

/// A variable that users edit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewVariable {
    /// Its name.
    name: String,
    /// Its title; default: the name.
    title: Option<String>,
    /// `boolean`, `integer`, `number` or `string`.
    #[schema(value_type = TypeWord)]
    r#type: String,
    /// Its description.
    #[serde(default)]
    description: String,
}

/// The type of a variable that users edit.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the words of UserType in the OpenAPI document")]
enum TypeWord {
    Boolean,
    Integer,
    Number,
    String,
}

/// Add a variable that users edit.
#[utoipa::path(
    post,
    path = "/v1/proposals/{p}/user-variables",
    tag = "user values",
    security(("token" = ["process"])),
    params(("p" = u32, Path, description = "The proposal.", minimum = 1), WhichDirectory),
    request_body = NewVariable,
    responses(
        (status = 201, description = "It is in the table."),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn add(
    State(api): State<Api>,
    place: InDirectory<Process>,
    Body(new): Body<NewVariable>,
) -> Result<StatusCode, Problem> {
    let name = variable_name(&new.name)?;
    let texts = [new.title.as_deref().unwrap_or_default(), &new.description];
    if texts.iter().any(|text| text.len() > LONGEST || text.contains('\0')) {
        return Err(Problem::new(Kind::Invalid, "a text is too long, or has a NUL character").at("body"));
    }
    let value_type = UserType::of_word(&new.r#type).ok_or_else(|| {
        Problem::new(Kind::Invalid, format!("there is no type {:?}", new.r#type))
            .at("body, type")
            .hint("types are boolean, integer, number and string")
    })?;
    let title = new.title.filter(|title| !title.is_empty()).unwrap_or_else(|| name.clone());
    let variable = UserVariable { name: name.clone(), title, value_type, description: new.description };
    change(&api, &place, async move |table: &RunTable| table.add_user_variable(&variable).await).await?;
    tell(&api, &place, ServiceEvent::UserVariablesChanged { proposal: place.proposal, name });
    Ok(StatusCode::CREATED)
}

/// Which variable is removed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Removed {
    /// The variable.
    name: String,
    /// Also if it has values, which are lost then.
    #[serde(default)]
    with_values: bool,
}

/// Remove a variable that users edit.
#[utoipa::path(
    delete,
    path = "/v1/proposals/{p}/user-variables",
    tag = "user values",
    security(("token" = ["admin"])),
    params(("p" = u32, Path, description = "The proposal.", minimum = 1), Removed, WhichDirectory),
    responses(
        (status = 204, description = "It is gone."),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn remove(
    State(api): State<Api>,
    place: InDirectory<super::caller::Admin>,
    Parameters(Removed { name, with_values }): Parameters<Removed>,
) -> Result<StatusCode, Problem> {
    let name = variable_name(&name)?;
    let variable = name.clone();
    let removed = async move |table: &RunTable| table.remove_user_variable(&variable, with_values).await;
    change(&api, &place, removed).await?;
    tell(&api, &place, ServiceEvent::UserVariablesChanged { proposal: place.proposal, name });
    Ok(StatusCode::NO_CONTENT)
}
