//! `/v1/proposals/{p}/runs/{r}/variables/{name}`: a value, what is known about it, and its picture.

use std::io;

use amore_model::{Run, identifier};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{InDirectory, Read, WhichDirectory},
    extract::{InPath, Parameters},
    problem::{Kind, Problem, ProblemBody},
    table::{cell_json, number},
    tables::Version,
};
use crate::values::{
    ask::{Content, Unanswered},
    question::{Ask, AskedForm, Head, Question, Refused, Why},
};

/// Elements of an answer in JSON, if nothing is said.
const USUAL_POINTS: u64 = 10_000;
/// Elements of an answer in JSON at most.
const MOST_POINTS: u64 = 1_000_000;
/// Pixels of the longer side of a picture, if nothing is said.
const USUAL_SIZE: u64 = 1024;
/// Pixels of the longer side of a picture at most.
const MOST_SIZE: u64 = 4096;
/// Bytes of an array that are read for one answer.
const MOST_BYTES: u64 = 1 << 30;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(about)).routes(routes!(value)).routes(routes!(thumbnail))
}

/// Why there is no answer about a directory.
pub fn unanswered(error: &Unanswered, place: &str) -> Problem {
    let kind = match error {
        Unanswered::Busy | Unanswered::NotStarted { .. } => Kind::NotAvailable,
        Unanswered::Slow { .. } => Kind::NoAnswer,
        Unanswered::Ended { .. } => Kind::Internal,
    };
    Problem::new(kind, error.to_string()).at(place).retry_after(10)
}

/// The variable of a path.
#[derive(Debug, Deserialize)]
struct OfVariable {
    r: u32,
    name: String,
}

/// A name of a variable in Python's normal form.
///
/// # Errors
/// It cannot be one.
pub fn variable_name(given: &str) -> Result<String, Problem> {
    let name = identifier(given);
    let part = |part: &str| {
        let mut characters = part.chars();
        characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && characters.all(|c| c.is_alphanumeric() || c == '_' || c == '\u{b7}')
    };
    if name.len() <= 1000 && name.split('.').all(part) {
        Ok(name)
    } else {
        Err(Problem::new(Kind::Invalid, format!("{given:?} is not the name of a variable"))
            .hint("GET /v1/proposals/{p}/variables lists the names"))
    }
}

fn refused(refused: Refused, name: &str) -> Problem {
    let kind = match refused.why {
        Why::NoFile => Kind::NotFound,
        Why::Question => Kind::Invalid,
        Why::Form => Kind::NotAcceptable,
        Why::TooLarge => Kind::TooLarge,
        Why::File => Kind::Conflict,
    };
    let problem = Problem::new(kind, refused.message).at(name);
    match refused.hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn no_value(name: &str, run: u32) -> Problem {
    Problem::new(Kind::NotFound, format!("run {run} has no value of {name}"))
        .at(name)
        .hint("explain says why: GET /v1/proposals/{p}/runs/{r}/explain")
}

fn question(place: &InDirectory<Read>, run: u32, variable: &str, preview: bool, ask: Ask) -> Question {
    Question {
        extracted_data: place.dir.extracted_data(),
        proposal: place.proposal,
        run: Run(run),
        variable: variable.to_owned(),
        preview,
        ask,
    }
}

/// What is known about a variable of a run.
#[derive(Debug, Serialize, ToSchema)]
struct AboutValue {
    /// The run.
    run: u32,
    /// The variable.
    name: String,
    /// Its cell in the table: a `kind`, and a `value` if it is shown as one; `null` if it is empty.
    #[schema(value_type = Option<super::json::ShownCell>, required)]
    cell: Value,
    /// Units, and how the cell is shown.
    #[schema(value_type = Object)]
    attributes: Value,
    /// Largest difference within the value.
    #[schema(value_type = Option<super::json::Number>, required)]
    max_diff: Value,
    /// Name of the function that made the summary.
    summary_method: Option<String>,
    /// When it was stored in the table, in seconds since 1970.
    stored_at: Option<f64>,
    /// The stored value: its kind, and the type, shape, dimensions and attributes of its arrays; `null` if there is none.
    #[schema(value_type = Object, nullable)]
    value: Option<Value>,
    /// Where it comes from: context file, environment, host, times, and the traceback of an error.
    #[schema(value_type = Object, nullable)]
    provenance: Option<Value>,
    /// Why the stored value cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// What is known about a variable of a run: its summary or error, its stored value, and where it comes from.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/runs/{r}/variables/{name}",
    tag = "values",
    security(("token" = ["read"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("r" = u32, Path, description = "The run."),
        ("name" = String, Path, description = "The variable."),
        WhichDirectory,
    ),
    responses(
        (status = 200, description = "What is known.", body = AboutValue),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn about(
    State(api): State<Api>,
    place: InDirectory<Read>,
    InPath(OfVariable { r: run, name }): InPath<OfVariable>,
) -> Result<Json<AboutValue>, Problem> {
    let name = variable_name(&name)?;
    let dir = place.dir.path();
    let table = api.tables().of(&api, &place.dir).await?;
    let cell = table.within(dir, table.table().stored_cell(place.proposal, Run(run), &name)).await?;
    let question = question(&place, run, &name, false, Ask::Describe);
    let answer = api.asking().value(dir, &question).await;
    let (head, _) = answer.map_err(|error| unanswered(&error, &dir.display().to_string()))?;
    let (value, provenance, unreadable) = match head {
        Head::Described { description, provenance } => (description, provenance, None),
        Head::Refused(Refused { why: Why::NoFile, .. }) | Head::Nothing | Head::Content { .. } => {
            (None, None, None)
        }
        Head::Refused(refused) => (None, None, Some(refused.message)),
    };
    if cell.is_none() && value.is_none() && provenance.is_none() && unreadable.is_none() {
        return Err(no_value(&name, run));
    }
    let mut about = AboutValue {
        run,
        name,
        cell: Value::Null,
        attributes: Value::Object(serde_json::Map::new()),
        max_diff: Value::Null,
        summary_method: None,
        stored_at: None,
        value,
        provenance,
        unreadable,
    };
    if let Some(cell) = cell {
        about.cell = cell.cell.as_ref().map_or(Value::Null, cell_json);
        about.attributes = Value::Object(cell.attributes);
        about.max_diff = cell.max_diff.map_or(Value::Null, number);
        about.summary_method = cell.summary_method;
        about.stored_at = cell.stored_at.filter(|time| time.is_finite());
    }
    Ok(Json(about))
}

/// Form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Form {
    /// JSON.
    Json,
    /// A `.npy` file of numpy.
    Npy,
    /// A PNG image.
    Png,
    /// The file that is stored: parquet of a table, JSON of a figure.
    File,
}

/// Colours of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Colors {
    /// From dark blue to yellow.
    Viridis,
    /// From black to white.
    Gray,
}

/// Which part of a value, and in which form.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// The form; without it, the header `Accept` decides, and JSON is the usual one.
    #[param(inline)]
    format: Option<Form>,
    /// The array of a dataset, or a coordinate; not needed where there is only one array.
    array: Option<String>,
    /// Which part of the array, as numpy's slices: `0:100,::10,5`.
    slice: Option<String>,
    /// JSON: if more elements than this are selected, the smallest and the largest one of so many parts (default 10000).
    #[param(minimum = 1, maximum = 1_000_000)]
    points: Option<u64>,
    /// PNG: the numbers of the first and the last colour, `0,1.5`; default: the extremes of what is drawn. Not for pictures that
    /// have their own colours.
    range: Option<String>,
    /// PNG: the colours of numbers; default: `viridis`. Not for pictures that have their own colours.
    #[param(inline)]
    colors: Option<Colors>,
    /// PNG: pixels of the longer side at most (default 1024); each shows the mean of what it stands for.
    #[param(minimum = 1, maximum = 4096)]
    size: Option<u64>,
    /// What the function gave to be shown, instead of its value.
    #[serde(default)]
    preview: bool,
}

/// The form that a client accepts, in the order of what it prefers.
fn accepted(headers: &HeaderMap) -> Result<Form, Problem> {
    let values: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut wanted: Vec<(f32, Form)> = Vec::new();
    for entry in values.iter().flat_map(|value| value.split(',')) {
        let mut parts = entry.split(';').map(str::trim);
        let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "*/*" | "application/*" | "application/json" => Form::Json,
            "application/x-npy" | "application/octet-stream" => Form::Npy,
            "image/png" | "image/*" => Form::Png,
            "application/vnd.apache.parquet" => Form::File,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        if quality > 0.0 {
            wanted.push((quality, form));
        }
    }
    if values.is_empty() {
        return Ok(Form::Json);
    }
    // The first of those that are preferred equally.
    let best = wanted.into_iter().reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map(|(_, form)| form).ok_or_else(|| {
        Problem::new(
            Kind::NotAcceptable,
            "values are JSON, application/x-npy, image/png or application/vnd.apache.parquet",
        )
        .at("header Accept")
    })
}

fn range(text: &str) -> Result<(f64, f64), Problem> {
    let wrong = || {
        Problem::new(Kind::Invalid, format!("{text:?} is not a range of numbers"))
            .at("query, range")
            .hint("write two numbers, the smaller one first: 0,1.5")
    };
    let (low, high) = text.split_once(',').ok_or_else(wrong)?;
    match (low.trim().parse::<f64>(), high.trim().parse::<f64>()) {
        (Ok(low), Ok(high)) if low.is_finite() && high.is_finite() && low < high => Ok((low, high)),
        _ => Err(wrong()),
    }
}

impl Wanted {
    fn form(&self, headers: &HeaderMap) -> Result<AskedForm, Problem> {
        let within = |name: &str, given: Option<u64>, usual: u64, most: u64| match given.unwrap_or(usual) {
            number if (1..=most).contains(&number) => Ok(number),
            number => Err(Problem::new(Kind::Invalid, format!("{name} is from 1 to {most}, not {number}"))
                .at(format!("query, {name}"))),
        };
        Ok(match self.format.map_or_else(|| accepted(headers), Ok)? {
            Form::Json => {
                AskedForm::Json { points: within("points", self.points, USUAL_POINTS, MOST_POINTS)? }
            }
            Form::Npy => AskedForm::Npy,
            Form::Png => AskedForm::Png {
                range: self.range.as_deref().map(range).transpose()?,
                gray: self.colors.map(|colors| colors == Colors::Gray),
                size: within("size", self.size, USUAL_SIZE, MOST_SIZE)?,
            },
            Form::File => AskedForm::File,
        })
    }

    fn ask(&self, form: AskedForm) -> Ask {
        let slice = self.slice.clone().unwrap_or_default();
        Ask::Read { array: self.array.clone(), slice, form, bytes: MOST_BYTES }
    }
}

/// The version of a value in this form. Another form at the same path is another version, and so is what another version of this
/// program makes of the same file.
fn version_of(file: &str, form: &str) -> Version {
    Version::new(format!("{file}-{form}-{}", env!("CARGO_PKG_VERSION")))
}

/// A value, or a part of it: JSON with all its elements or with the extremes of parts, a `.npy` file, a picture, or the stored
/// file. Times and other encoded arrays are given as they are stored; `attributes` say how (by the CF conventions).
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/runs/{r}/variables/{name}/value",
    tag = "values",
    security(("token" = ["read"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("r" = u32, Path, description = "The run."),
        ("name" = String, Path, description = "The variable."),
        Wanted,
        WhichDirectory,
    ),
    responses(
        (status = 200, description = "The value.", content(
            (Object = "application/json"),
            (Vec<u8> = "application/x-npy"),
            (Vec<u8> = "image/png"),
            (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        (status = 304, description = "The client has it already."),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn value(
    State(api): State<Api>,
    place: InDirectory<Read>,
    InPath(OfVariable { r: run, name }): InPath<OfVariable>,
    Parameters(wanted): Parameters<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = variable_name(&name)?;
    let form = wanted.form(&headers)?;
    let form_name = form.name();
    let question = question(&place, run, &name, wanted.preview, wanted.ask(form));
    let answer = api.asking().value(place.dir.path(), &question).await;
    let place = place.dir.path().display().to_string();
    let (head, content) = answer.map_err(|error| unanswered(&error, &place))?;
    let (media_type, length, range, version) = match head {
        Head::Content { media_type, length, range, version } => (media_type, length, range, version),
        Head::Nothing | Head::Described { .. } => return Err(no_value(&name, run)),
        Head::Refused(why) => return Err(refused(why, &name)),
    };
    let version = version_of(&version, form_name);
    let mut about = HeaderMap::new();
    about.insert(header::ETAG, version.header());
    about.insert(header::VARY, HeaderValue::from_static("accept"));
    if version.is_known(&headers) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    about.insert(header::CONTENT_LENGTH, length.into());
    // Content of users must not be taken for a page.
    about.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(media_type) = HeaderValue::from_str(&media_type) {
        about.insert(header::CONTENT_TYPE, media_type);
    }
    if let Some((low, high)) = range
        && let Ok(range) = HeaderValue::from_str(&format!("{low},{high}"))
    {
        about.insert(HeaderName::from_static("amore-range"), range);
    }
    Ok((about, body(content)).into_response())
}

/// Passes the content on while it is read.
fn body(content: Option<Content>) -> Body {
    let pieces = stream::try_unfold(content, |content| async move {
        let Some(mut content) = content else { return Ok::<_, io::Error>(None) };
        Ok(content.next_piece().await?.map(|piece| (piece, Some(content))))
    });
    Body::from_stream(pieces)
}

/// What the table has of a value in place of a number or text: a PNG image, or a `.npy` file of a curve (two rows) or an array.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/runs/{r}/variables/{name}/thumbnail",
    tag = "values",
    security(("token" = ["read"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("r" = u32, Path, description = "The run."),
        ("name" = String, Path, description = "The variable."),
        WhichDirectory,
    ),
    responses(
        (status = 200, description = "The thumbnail.", content(
            (Vec<u8> = "image/png"),
            (Vec<u8> = "application/x-npy"),
        )),
        (status = 304, description = "The client has it already."),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn thumbnail(
    State(api): State<Api>,
    place: InDirectory<Read>,
    InPath(OfVariable { r: run, name }): InPath<OfVariable>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = variable_name(&name)?;
    let table = api.tables().of(&api, &place.dir).await?;
    let cell = table
        .within(place.dir.path(), table.table().stored_cell(place.proposal, Run(run), &name))
        .await?
        .ok_or_else(|| no_value(&name, run))?;
    let file = cell.file.ok_or_else(|| {
        Problem::new(Kind::NotFound, format!("{name} is shown as a number, a text or an error")).at(&name)
    })?;
    let version = Version::of_content(&file);
    let tag = [(header::ETAG, version.header())];
    if version.is_known(&headers) {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    let media_type = if file.starts_with(b"\x89PNG\r\n\x1a\n") { "image/png" } else { "application/x-npy" };
    let about = [(header::CONTENT_TYPE, media_type), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((tag, about, file).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_client_decides_about_the_form() {
        for (accept, form) in [
            ("*/*", Form::Json),
            ("image/png", Form::Png),
            ("text/html, image/png;q=0.5, application/x-npy; q=0.9", Form::Npy),
            ("application/json;q=0, image/*", Form::Png),
        ] {
            assert_eq!(accepted(&accepting(accept)).unwrap(), form, "{accept}");
        }
        assert_eq!(accepted(&HeaderMap::new()).unwrap(), Form::Json);
        assert!(accepted(&accepting("text/html")).is_err());
    }

    #[test]
    fn each_form_is_another_version() {
        let forms = ["json", "npy", "png", "file"].map(|form| version_of("1-2-3.4", form));
        let known = HeaderMap::from_iter([(header::IF_NONE_MATCH, forms[0].header())]);
        assert_eq!(forms.map(|form| form.is_known(&known)), [true, false, false, false]);
        assert_ne!(version_of("1-2-3.4", "npy"), version_of("1-2-3.5", "npy"));
    }

    #[test]
    fn names_and_ranges_are_checked() {
        assert_eq!(variable_name("grp.énergie").unwrap(), "grp.énergie");
        for wrong in ["", "-x", "a/b", "..", "a b", "1a", "a\0"] {
            assert!(variable_name(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(range("-1, 2.5").unwrap(), (-1.0, 2.5));
        for wrong in ["1", "2,1", "nan,1", "0,inf", "1,1"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
