//! Words on standard output.

use serde::Serialize;

use crate::failure::Failure;

/// Prints a line (or several); a closed pipe ends the program quietly, as `head` expects.
pub fn say(text: impl AsRef<str>) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{}", text.as_ref().trim_end_matches('\n')).and_then(|()| out.flush());
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        // A full disk: half a table must not look like a whole one.
        Err(error) => {
            eprintln!("error: the output cannot be written: {error}");
            std::process::exit(1);
        }
    }
}

/// Prints a line of a command whose work must go on although nobody can read it any more.
pub fn say_if_possible(mut to: impl std::io::Write, text: &str) {
    // Results are stored and exit codes are given all the same.
    let _ = writeln!(to, "{text}").and_then(|()| to.flush());
}

/// Prints a value as indented JSON.
///
/// # Errors
/// A value that is no JSON.
pub fn say_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::from_error(&error))?;
    say(text);
    Ok(())
}
