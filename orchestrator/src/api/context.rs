//! `/v1/proposals/{p}/context`: the context file of a directory. It is user code, so nothing here executes it in the service: a
//! file is checked as `amore check` does it, in a process of the user's Python and in the sandbox of the service.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
};

use amore_model::{DatabaseDir, Problem as FileProblem, Severity};
use amore_shared_files::rights;
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use nix::libc;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Api,
    caller::{Admin, InDirectory, Read, WhichDirectory},
    problem::{Kind, Problem, ProblemBody},
    runs::{CONTEXT_PATIENCE, command, option},
    tables::Version,
};

/// The largest context file that is shown.
const LARGEST: u64 = 16 << 20;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show, put)).routes(routes!(check))
}

/// Why the file cannot be used through the API.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("there is no context file")]
    Missing,
    #[error("context.py is a symbolic link to a file of another user")]
    OthersFile,
    #[error("context.py is a symbolic link; change the file that it leads to")]
    Link,
    #[error("context.py is not a file")]
    NotAFile,
    #[error("context.py has more than {LARGEST} bytes")]
    TooLarge,
    #[error("there is a context file already")]
    Exists,
    #[error("the owner of context.py would lose it: its file system has no access control lists")]
    Owner,
    #[error("{doing} context.py: {source}")]
    Io { doing: &'static str, source: io::Error },
}

impl FileError {
    fn io(doing: &'static str) -> impl Fn(io::Error) -> FileError {
        move |source| FileError::Io { doing, source }
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        let kind = match &error {
            FileError::Missing => Kind::NotFound,
            FileError::OthersFile => Kind::NotAllowed,
            FileError::Link | FileError::NotAFile | FileError::TooLarge | FileError::Owner => Kind::Conflict,
            FileError::Exists => Kind::Changed,
            FileError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Kind::NotAllowed
            }
            FileError::Io { .. } => Kind::NotAvailable,
        };
        let problem = Problem::new(kind, error.to_string()).at("context.py");
        match error {
            FileError::Missing => problem.hint("PUT with If-None-Match: * creates it"),
            FileError::Exists => problem.hint("read it, and send its ETag as If-Match"),
            FileError::NotAFile | FileError::TooLarge | FileError::OthersFile => {
                problem.hint("look at it on the host")
            }
            FileError::Owner => problem.hint("change it on the host"),
            FileError::Link | FileError::Io { .. } => problem,
        }
    }
}

/// The content of the file. A link is followed only to a file of the user who made the link: otherwise he could have the service
/// show him what he may not read.
fn read(dir: &DatabaseDir) -> Result<Vec<u8>, FileError> {
    let path = dir.context_file();
    let mut file = match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FileError::Missing),
        Err(error) => return Err(FileError::io("cannot open")(error)),
    };
    let about = file.metadata().map_err(FileError::io("cannot look at"))?;
    let named = fs::symlink_metadata(&path).map_err(FileError::io("cannot look at"))?;
    if named.is_symlink() {
        if named.uid() != about.uid() {
            return Err(FileError::OthersFile);
        }
    } else if (named.dev(), named.ino()) != (about.dev(), about.ino()) {
        return Err(FileError::NotAFile);
    }
    if !about.is_file() {
        return Err(FileError::NotAFile);
    }
    let mut content = Vec::new();
    (&mut file).take(LARGEST + 1).read_to_end(&mut content).map_err(FileError::io("cannot read"))?;
    if content.len() as u64 > LARGEST { Err(FileError::TooLarge) } else { Ok(content) }
}

fn version(content: &[u8]) -> Version {
    Version::new(hex::encode(Sha256::digest(content)))
}

/// What a change is based on.
#[derive(Clone, Debug)]
enum Base {
    /// There must be no file.
    Nothing,
    /// The headers say which version.
    These(HeaderMap),
}

impl Base {
    fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(header::IF_MATCH)
            && headers.get(header::IF_NONE_MATCH) == Some(&HeaderValue::from_static("*"))
        {
            Base::Nothing
        } else {
            Base::These(headers.clone())
        }
    }

    fn check(&self, present: Result<Vec<u8>, FileError>) -> Result<(), Problem> {
        match (self, present) {
            (Base::Nothing, Err(FileError::Missing)) => Ok(()),
            (Base::Nothing, Ok(_)) => Err(FileError::Exists.into()),
            (Base::These(headers), Ok(content)) => version(&content).must_match(headers),
            (_, Err(error)) => Err(error.into()),
        }
    }
}

/// Replaces the file, if it is still what the change is based on. Readers see the old or the new one.
fn write(dir: &DatabaseDir, content: &[u8], base: &Base) -> Result<(), Problem> {
    let io = FileError::io;
    let path = dir.context_file();
    let own = dir.own_files();
    if !own.is_dir() {
        fs::create_dir_all(&own).map_err(io("cannot lock"))?;
    }
    // One change at a time. Editors do not know of this lock: between the check and the renaming below is the time of one call.
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(own.join("context.lock"))
        .map_err(io("cannot lock"))?;
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive)
        .map_err(|(_, errno)| FileError::Io { doing: "cannot lock", source: errno.into() })?;
    let before = match fs::symlink_metadata(&path) {
        Ok(before) if before.is_symlink() => return Err(FileError::Link.into()),
        Ok(before) => Some(before),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(io("cannot look at")(error).into()),
    };
    let folder = dir.path();
    let mut draft = tempfile::Builder::new()
        .prefix(".context.")
        .suffix(".py.new")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(io("cannot write"))?;
    draft.write_all(content).map_err(io("cannot write"))?;
    if before.is_some() {
        let rights = rights::hand_on(&path, draft.as_file());
        if !rights.map_err(io("cannot keep the permissions of"))? {
            return Err(FileError::Owner.into());
        }
    }
    draft.as_file().sync_all().map_err(io("cannot write"))?;
    base.check(read(dir))?;
    draft.persist(&path).map_err(|error| io("cannot replace")(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("cannot write"))?;
    drop(lock);
    Ok(())
}

/// The answer of `amore check --json`.
#[derive(Debug, Deserialize)]
struct CheckAnswer {
    usable: bool,
    variables: usize,
    problems: Vec<FileProblem>,
}

/// What a check found.
#[derive(Debug, Serialize, ToSchema)]
struct Checked {
    /// Whether the file can be used: it has no errors, but perhaps warnings.
    usable: bool,
    /// Number of its variables.
    variables: usize,
    /// Errors and warnings: `severity`, `kind`, `message`, and where it is known `line`, `column`, `hint`, `traceback`.
    #[schema(value_type = Vec<Object>)]
    problems: Value,
    /// The version of the file, as in its `ETag`.
    sha256: String,
}

/// Has the text checked by the user's Python.
async fn checked(api: &Api, dir: &DatabaseDir, text: &[u8]) -> Result<CheckAnswer, Problem> {
    let words = vec![
        "check".into(),
        "--json".into(),
        option("in", dir.path()),
        option("service", api.directory()),
        "-".into(),
    ];
    let (output, _) = command(api, dir, words, text, CONTEXT_PATIENCE).await?;
    serde_json::from_slice(&output).map_err(|error| {
        Problem::new(Kind::Internal, format!("the answer of a command is not JSON: {error}"))
    })
}

/// The first errors, in words.
fn words(problems: &[FileProblem]) -> String {
    const SHOWN: usize = 5;
    let errors: Vec<&FileProblem> =
        problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
    let mut words: Vec<String> = errors
        .iter()
        .take(SHOWN)
        .map(|problem| match problem.line {
            Some(line) => format!("line {line}: {}", problem.message),
            None => problem.message.clone(),
        })
        .collect();
    if errors.len() > SHOWN {
        words.push(format!("{} more", errors.len() - SHOWN));
    }
    words.join("; ")
}

fn answer(text: &[u8], checked: CheckAnswer) -> Checked {
    Checked {
        usable: checked.usable,
        variables: checked.variables,
        problems: serde_json::to_value(checked.problems).unwrap_or_default(),
        sha256: hex::encode(Sha256::digest(text)),
    }
}

/// The context file. Its `ETag` is needed to change it.
#[utoipa::path(
    get,
    path = "/v1/proposals/{p}/context",
    tag = "context",
    security(("token" = ["read"])),
    params(("p" = u32, Path, description = "The proposal.", minimum = 1), WhichDirectory),
    responses(
        (status = 200, description = "The file.", body = String, content_type = "text/x-python"),
        (status = 304, description = "The client has it already."),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn show(
    State(api): State<Api>,
    place: InDirectory<Read>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let dir = place.dir.clone();
    let content = api.on_disk(place.dir.path(), move || read(&dir)).await??;
    let version = version(&content);
    let tag = [(header::ETAG, version.header())];
    if version.is_known(&headers) {
        return Ok(version.not_modified());
    }
    let about =
        [(header::CONTENT_TYPE, "text/x-python; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((tag, about, content).into_response())
}

/// Check a text as if it were the context file, without storing it. The user's Python executes it, which is why this needs the
/// right to change the file.
#[utoipa::path(
    post,
    path = "/v1/proposals/{p}/context/check",
    tag = "context",
    security(("token" = ["admin"])),
    params(("p" = u32, Path, description = "The proposal.", minimum = 1), WhichDirectory),
    request_body(content = String, content_type = "text/x-python"),
    responses(
        (status = 200, description = "What was found.", body = Checked),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn check(
    State(api): State<Api>,
    place: InDirectory<Admin>,
    text: Bytes,
) -> Result<Json<Checked>, Problem> {
    let checked = checked(&api, &place.dir, &text).await?;
    Ok(Json(answer(&text, checked)))
}

/// Replace the context file, if it is still the version of `If-Match`, and the new one has no errors (warnings do not matter).
/// `If-None-Match: *` creates it. Runs that are planned from then on use it.
#[utoipa::path(
    put,
    path = "/v1/proposals/{p}/context",
    tag = "context",
    security(("token" = ["admin"])),
    params(
        ("p" = u32, Path, description = "The proposal.", minimum = 1),
        ("If-Match" = Option<String>, Header, description = "The ETag of the version that is changed."),
        WhichDirectory,
    ),
    request_body(content = String, content_type = "text/x-python"),
    responses(
        (status = 200, description = "It is stored.", body = Checked),
        (status = 412, description = "It was changed meanwhile.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "It has errors.", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "An error.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn put(
    State(api): State<Api>,
    place: InDirectory<Admin>,
    headers: HeaderMap,
    text: Bytes,
) -> Result<Response, Problem> {
    let base = Base::of(&headers);
    let (dir, first) = (place.dir.clone(), base.clone());
    api.on_disk(place.dir.path(), move || first.check(read(&dir))).await??;
    let checked = checked(&api, &place.dir, &text).await?;
    if !checked.usable {
        return Err(Problem::new(Kind::Rejected, words(&checked.problems)).at("body").hint(
            "POST the text to /v1/proposals/{p}/context/check: the answer has all problems, with tracebacks",
        ));
    }
    let (dir, content) = (place.dir.clone(), text.clone());
    api.on_disk(place.dir.path(), move || write(&dir, &content, &base)).await??;
    let (by, directory) = (place.caller.words(), place.dir.path().display().to_string());
    let answer = answer(&text, checked);
    tracing::info!(by, directory, sha256 = answer.sha256, "the context file was changed by HTTP");
    Ok(([(header::ETAG, version(&text).header())], Json(answer)).into_response())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn matching(content: &[u8]) -> Base {
        Base::These(HeaderMap::from_iter([(header::IF_MATCH, version(content).header())]))
    }

    #[test]
    fn a_file_is_replaced_if_it_is_the_version_that_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DatabaseDir::at(folder.path().to_owned());
        assert!(matches!(read(&dir), Err(FileError::Missing)));
        assert!(write(&dir, b"a = 1", &matching(b"")).is_err());
        write(&dir, b"a = 1", &Base::Nothing).unwrap();
        assert!(write(&dir, b"a = 2", &Base::Nothing).is_err());
        fs::set_permissions(dir.context_file(), fs::Permissions::from_mode(0o640)).unwrap();
        write(&dir, b"a = 2", &matching(b"a = 1")).unwrap();
        assert!(write(&dir, b"a = 3", &matching(b"a = 1")).is_err());
        assert_eq!(read(&dir).unwrap(), b"a = 2");
        assert_eq!(fs::metadata(dir.context_file()).unwrap().mode() & 0o777, 0o640);
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_link_is_shown_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DatabaseDir::at(folder.path().to_owned());
        fs::write(folder.path().join("real.py"), "a = 1").unwrap();
        symlink("real.py", dir.context_file()).unwrap();
        assert_eq!(read(&dir).unwrap(), b"a = 1");
        assert!(write(&dir, b"a = 2", &matching(b"a = 1")).is_err());
        fs::remove_file(dir.context_file()).unwrap();
        symlink("/dev/null", dir.context_file()).unwrap();
        assert!(read(&dir).is_err());
    }
}
