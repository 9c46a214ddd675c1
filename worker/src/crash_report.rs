//! Output of a dying Python: the traceback written by `faulthandler`, and what was printed before.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

/// How many bytes at the end of the log are searched.
const TAIL_BYTES: u64 = 256 * 1024;
/// Maximum number of lines of a traceback.
const MAX_LINES: usize = 60;

/// The end of the log after `offset`.
fn tail(log: &Path, offset: u64) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    let start = offset.max(length.saturating_sub(TAIL_BYTES)).min(length);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Maximum number of lines to report of the output while a run was opened.
const MAX_PRINTED: usize = 12;

/// What a child that could not start printed after `offset`; `None` if nothing.
pub fn printed_before_start(log: &Path, offset: u64) -> Option<String> {
    printed(&tail(log, offset)?)
}

/// Files of the run that were skipped when it was opened, as named by extra_data (`reader.py`).
pub fn skipped_files(log: &Path, offset: u64) -> Vec<String> {
    let text = tail(log, offset).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix("Skipping file ")).map(str::to_owned).collect()
}

fn printed(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().take_while(|line| !line.ends_with(" cannot start:")).collect();
    let kept = &lines[lines.len().saturating_sub(MAX_PRINTED)..];
    (!kept.is_empty()).then(|| kept.join("\n"))
}

/// The last traceback of `faulthandler` in a text, if there is one.
pub fn fatal_traceback(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.iter().rposition(|line| {
        line.starts_with("Fatal Python error:")
            || line.starts_with("Timeout (")
            || line.starts_with("Stack dump:")
    });
    let begin = begin.or_else(|| {
        lines.iter().rposition(|line| line.starts_with("Current thread ") || line.starts_with("Thread 0x"))
    })?;
    let kept: Vec<&str> = lines[begin..]
        .iter()
        .take_while(|line| {
            line.is_empty()
                || line.starts_with("Fatal Python error:")
                || line.starts_with("Current thread ")
                || line.starts_with("Thread 0x")
                || line.starts_with("  ")
                || line.starts_with("Extension modules:")
                || line.starts_with("Stack")
                || line.starts_with("Timeout (")
        })
        .filter(|line| !line.starts_with("Extension modules:"))
        // Frames of our own package do not help the user.
        .filter(|line| !line.contains("/damnit_ctx/"))
        .take(MAX_LINES)
        .copied()
        .collect();
    Some(kept.join("\n").trim_end().to_owned())
}

/// The innermost frame of the user's own file, as `line 12 in foo`.
pub fn innermost_frame(traceback: &str, context: &Path) -> Option<String> {
    let file = format!("File \"{}\", ", context.display());
    traceback.lines().find_map(|line| line.trim_start().strip_prefix(&file).map(str::to_owned))
}

/// The line number in a result of [`innermost_frame`].
pub fn line_of_frame(frame: &str) -> Option<u32> {
    frame.strip_prefix("line ")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "hello\nFatal Python error: Aborted\n\nCurrent thread 0x00007f (most recent call first):\n  \
        File \"/p/context.py\", line 7 in crash\n  File \"/x/damnit_ctx/execute.py\", line 3 in call\n\n\
        Extension modules: numpy (total: 1)\nbye\n";

    #[test]
    fn what_was_printed_ends_where_the_failure_is_told() {
        let log = "Skipping file /r/a.h5\n  (error was: truncated)\n12:00:00 cannot start:\nTraceback\n";
        assert_eq!(printed(log).as_deref(), Some("Skipping file /r/a.h5\n  (error was: truncated)"));
        assert_eq!(printed("12:00:00 cannot start:\nTraceback\n"), None);
        let many = "line\n".repeat(1000);
        assert_eq!(printed(&many).map(|text| text.lines().count()), Some(MAX_PRINTED));
    }

    #[test]
    fn the_users_frames_are_kept_and_ours_are_not() {
        let traceback = fatal_traceback(LOG).unwrap();
        assert_eq!(
            traceback,
            "Fatal Python error: Aborted\n\nCurrent thread 0x00007f (most recent call first):\n  \
             File \"/p/context.py\", line 7 in crash"
        );
        assert_eq!(
            innermost_frame(&traceback, Path::new("/p/context.py")).as_deref(),
            Some("line 7 in crash")
        );
        assert_eq!(line_of_frame("line 7 in crash"), Some(7));
        assert_eq!(line_of_frame("in crash"), None);
    }

    #[test]
    fn a_log_without_a_crash_has_none() {
        assert_eq!(fatal_traceback("all is well\n"), None);
    }
}
