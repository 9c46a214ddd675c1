//! Reading the context file's text. Nothing here executes it.

use std::{fs, io, path::Path};

use amore_model::{Problem, ProblemKind};
use amore_wire::task::ContextSource;
use sha2::{Digest, Sha256};

/// A context file larger than this is taken for something else.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the file as UTF-8.
///
/// # Errors
/// A problem that says what is there instead, and what to do.
pub fn read(path: &Path) -> Result<ContextSource, Problem> {
    let unreadable = |message: String, hint: &str| {
        let mut problem = Problem::error(ProblemKind::Unreadable, message);
        problem.hint = Some(hint.to_owned());
        problem
    };
    let shown = path.display();
    let data = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unreadable(
            format!("there is no context file {shown}"),
            "write one; docs/context-files.md shows how, and `amore init` copies one from another proposal",
        ),
        _ => unreadable(
            format!("{shown} cannot be read: {error}"),
            "look at the permissions of the file and its folder",
        ),
    })?;
    if data.is_dir() {
        return Err(unreadable(
            format!("{shown} is a directory, not a file"),
            "give the path of the Python file",
        ));
    }
    if data.len() > MAX_BYTES {
        return Err(unreadable(
            format!("{shown} has {} bytes: that is no context file", data.len()),
            "give the path of the Python file",
        ));
    }
    let bytes = fs::read(path).map_err(|error| {
        unreadable(format!("{shown} cannot be read: {error}"), "look at the permissions of the file")
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..before].iter().filter(|&&byte| byte == b'\n').count();
        let mut problem =
            unreadable(format!("{shown} is not UTF-8 text"), "save the file as UTF-8 in your editor");
        problem.line = u32::try_from(line).ok();
        problem
    })?;
    // Some editors write a mark at the beginning; Python takes it as a part of the encoding.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let sha256 = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ContextSource { path, text, sha256 })
}
