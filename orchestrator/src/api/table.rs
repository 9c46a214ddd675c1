//! `/v1/proposals/{p}/table`, `/runs` and `/variables`: the run table.

use std::collections::BTreeMap;

use amore_model::{Run, identifier};
use amore_run_table::{Cell, Page, PageRequest, RunRow, TableData};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use super::json::number;
use super::{
    Api,
    caller::{InDirectory, Read, WhichDirectory},
    extract::Parameters,
    json::{NumberOrText, ShownCell},
    problem::{Kind, Problem, ProblemBody},
    tables::{OpenTable, Version},
};

/// Runs on a page, if nothing is said.
const USUAL: usize = 100;
/// Runs on a page at most.
const MOST: usize = 1000;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(table)).routes(routes!(runs)).routes(routes!(variables))
}

/// Order of runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// The first run first.
    #[default]
    Ascending,
    /// The latest run first.
    Descending,
}

/// Which part of the table.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// The first run.
    from: Option<u32>,
    /// The last run.
    to: Option<u32>,
    /// Runs after this one, in the order of the answer: `next` of the page before.
    after: Option<u32>,
    /// Order of the runs.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// Number of runs, at most 1000 (default 100).
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only these variables: names, separated by commas.
    variables: Option<String>,
    /// Only variables with one of these tags, separated by commas.
    tags: Option<String>,
    /// Only runs in which one of these variables has an error.
    #[serde(default)]
    errors: bool,
}

fn words(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.into_iter().flat_map(|list| list.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

impl Which {
    fn request(&self, proposal: amore_model::Proposal) -> Result<PageRequest, Problem> {
        let limit = self.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::new(Kind::Invalid, format!("a page has 1 to {MOST} runs, not {limit}"))
                .at("query, limit"));
        }
        Ok(PageRequest {
            proposal,
            range: (Run(self.from.unwrap_or(0)), Run(self.to.unwrap_or(u32::MAX))),
            after: self.after.map(Run),
            latest_first: self.order == Order::Descending,
            limit,
            variables: self
                .variables
                .is_some()
                .then(|| words(self.variables.as_deref()).map(identifier).collect()),
            tags: words(self.tags.as_deref()).map(str::to_owned).collect(),
            with_error: self.errors,
        })
    }
}

/// A page of the table.
#[derive(Debug, Serialize, ToSchema)]
struct TablePage {
    /// The proposal.
    proposal: u32,
    /// Number of runs on all pages.
    total: usize,
    /// The `after` of the next page; `null`: this is the last one.
    next: Option<u32>,
    /// The variables, in the order of their declaration.
    columns: Vec<TableColumn>,
    /// The runs.
    rows: Vec<TableRow>,
}

/// A variable of the table.
#[derive(Debug, Serialize, ToSchema)]
struct TableColumn {
    /// Its name.
    name: String,
    /// Its title.
    title: String,
    /// Whether users edit it.
    user_editable: bool,
}

/// A run of the table.
#[derive(Debug, Serialize, ToSchema)]
struct TableRow {
    /// The run.
    run: u32,
    /// When it started, in seconds since 1970; a text if the table has one.
    #[schema(required)]
    start_time: Option<NumberOrText>,
    /// When it was added to the table, in seconds since 1970.
    added_at: Option<f64>,
    /// The users' comment.
    comment: Option<String>,
    /// Cells that are not empty, by variable. Each has a `kind`, and a `value` if it is shown as one.
    cells: BTreeMap<String, ShownCell>,
}

/// A cell in JSON.
pub fn cell_json(cell: &Cell) -> Value {
    json!(ShownCell::from(cell))
}

fn row(data: &TableData, row: RunRow) -> TableRow {
    let cells = data.columns.iter().zip(row.cells);
    TableRow {
        run: row.run.0,
        start_time: row.start_text.map(NumberOrText::Text).or_else(|| row.start_time.map(NumberOrText::from)),
        added_at: row.added_at.filter(|time| time.is_finite()),
        comment: row.comment,
        cells: cells
            .filter_map(|(column, cell)| Some((column.name.clone(), ShownCell::from(&cell?))))
            .collect(),
    }
}

/// What a client gets that may have the answer already.
enum Asked {
    Page(Box<Page>),
    /// It has this version.
    NotModified(Version),
}

/// Reads a page, unless the table has still the content of the answer that the client has.
async fn page_of(
    table: &OpenTable,
    place: &InDirectory<Read>,
    request: &PageRequest,
    known: Option<(Version, i64)>,
) -> Result<Asked, Problem> {
    let number = known.as_ref().map(|(_, number)| *number);
    let page = table.within(place.dir.path(), table.table().page(request, number)).await?;
    match (page, known) {
        (Some(page), _) => Ok(Asked::Page(Box::new(page))),
        (None, Some((version, _))) => Ok(Asked::NotModified(version)),
        (None, None) => Err(Problem::new(Kind::Internal, "the table gives no page")),
    }
}

/// The run table, in pages. `If-None-Match` with the `ETag` of an earlier answer saves reading and sending what has not changed; a
/// new thumbnail is a change.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/table",
    tag = "table",
    security(("token" = ["read"])),
    params(("p" = u32, Path, description = "The proposal.", minimum = 1), Which, WhichDirectory),
    responses(
        (status = 200, description = "A page.", body = TablePage),
        (status = 304, description = "The client has it already."),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn table(
    State(api): State<Api>,
    place: InDirectory<Read>,
    Parameters(which): Parameters<Which>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = which.request(place.proposal)?;
    let table = api.tables().of(&api, &place.dir).await?;
    let asked = uri.to_string();
    let mut page = match page_of(&table, &place, &request, table.known(&asked, &headers)).await? {
        Asked::Page(page) => page,
        Asked::NotModified(version) => return Ok(version.not_modified()),
    };
    let number = page.version;
    let rows = std::mem::take(&mut page.data.rows);
    let shown = TablePage {
        proposal: place.proposal.0,
        total: page.total,
        next: page.next.map(|run| run.0),
        rows: rows.into_iter().map(|one| row(&page.data, one)).collect(),
        columns: page
            .data
            .columns
            .into_iter()
            .map(|column| TableColumn {
                name: column.name,
                title: column.title,
                user_editable: column.user_editable,
            })
            .collect(),
    };
    let (version, response) = Version::answer(&shown, &page.data.unread, &headers)?;
    table.remember(asked, number, version);
    Ok(response)
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
struct RunsPage {
    /// The proposal.
    proposal: u32,
    /// Number of runs on all pages.
    total: usize,
    /// The `after` of the next page; `null`: this is the last one.
    next: Option<u32>,
    /// The runs.
    runs: Vec<OneRun>,
}

/// A run.
#[derive(Debug, Serialize, ToSchema)]
struct OneRun {
    /// The run.
    run: u32,
    /// When it started, in seconds since 1970; a text if the table has one.
    #[schema(required)]
    start_time: Option<NumberOrText>,
    /// When it was added to the table, in seconds since 1970.
    added_at: Option<f64>,
    /// The users' comment.
    comment: Option<String>,
    /// How many variables have a value.
    values: usize,
    /// How many variables have an error.
    errors: usize,
    /// How many variables were skipped.
    skipped: usize,
}

/// The runs of the table, with how many values and errors they have.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/runs",
    tag = "table",
    security(("token" = ["read"])),
    params(("p" = u32, Path, description = "The proposal.", minimum = 1), Which, WhichDirectory),
    responses(
        (status = 200, description = "A page.", body = RunsPage),
        (status = 304, description = "The client has it already."),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn runs(
    State(api): State<Api>,
    place: InDirectory<Read>,
    Parameters(which): Parameters<Which>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = which.request(place.proposal)?;
    let table = api.tables().of(&api, &place.dir).await?;
    let asked = uri.to_string();
    let mut page = match page_of(&table, &place, &request, table.known(&asked, &headers)).await? {
        Asked::Page(page) => page,
        Asked::NotModified(version) => return Ok(version.not_modified()),
    };
    let number = page.version;
    let rows = std::mem::take(&mut page.data.rows);
    let one = |full: RunRow| {
        let (mut errors, mut skipped, mut values) = (0, 0, 0);
        for cell in full.cells.iter().flatten() {
            match cell {
                Cell::Error { class, .. } if class == "Skip" => skipped += 1,
                Cell::Error { .. } => errors += 1,
                _ => values += 1,
            }
        }
        let TableRow { run, start_time, added_at, comment, .. } = row(&page.data, full);
        OneRun { run, start_time, added_at, comment, values, errors, skipped }
    };
    let shown = RunsPage {
        proposal: place.proposal.0,
        total: page.total,
        next: page.next.map(|run| run.0),
        runs: rows.into_iter().map(one).collect(),
    };
    let (version, response) = Version::answer(&shown, &[], &headers)?;
    table.remember(asked, number, version);
    Ok(response)
}

/// The variables of the table.
#[derive(Debug, Serialize, ToSchema)]
struct Variables {
    /// In the order of their declaration.
    variables: Vec<Variable>,
}

/// A variable.
#[derive(Debug, Serialize, ToSchema)]
struct Variable {
    /// Its name.
    name: String,
    /// Its title.
    title: String,
    /// Its description.
    description: Option<String>,
    /// If users edit it: boolean, integer, number or string.
    r#type: Option<String>,
    /// Its tags.
    tags: Vec<String>,
}

/// The variables of the table, those of the context file and those that users edit.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/variables",
    tag = "table",
    security(("token" = ["read"])),
    params(("p" = u32, Path, description = "The proposal.", minimum = 1), WhichDirectory),
    responses(
        (status = 200, description = "The variables.", body = Variables),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn variables(State(api): State<Api>, place: InDirectory<Read>) -> Result<Json<Variables>, Problem> {
    let table = api.tables().of(&api, &place.dir).await?;
    let declared = table.within(place.dir.path(), table.table().variables()).await?;
    let variables = declared
        .into_iter()
        .map(|one| Variable {
            name: one.name,
            title: one.title,
            description: one.description,
            r#type: one.edited_as,
            tags: one.tags,
        })
        .collect();
    Ok(Json(Variables { variables }))
}
