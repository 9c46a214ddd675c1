//! Checks that Amore's programs are complete, and that the user's Python has what context files need.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use amore_model::{Proposal, Sandbox};
use tokio::{process::Command, time::timeout};

use super::super::failure::Failure;
use super::{Check, Checks};
use crate::dispatch::local;

/// Time limit for a program. The first import of extra_data from a busy shared file system is slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// Prints the versions of Python and extra_data, or why extra_data cannot be imported.
const ASK_PYTHON: &str = "
import sys
print('.'.join(map(str, sys.version_info[:3])))
try:
    import extra_data
    print('yes', extra_data.__version__)
except BaseException as error:
    print('no', type(error).__name__ + ':', error)
";

/// The output of a program, or why it failed.
pub(super) async fn ask(
    program: impl AsRef<OsStr>,
    arguments: &[impl AsRef<OsStr>],
) -> Result<String, String> {
    let process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    let output = match timeout(PATIENCE, process.wait_with_output()).await {
        Ok(output) => output.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("it did not answer within {} s", PATIENCE.as_secs())),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    // `scontrol ping` reports errors on standard output.
    let last = [&output.stderr, &output.stdout].into_iter().find_map(|text| {
        let text = String::from_utf8_lossy(text);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    });
    Err(last.unwrap_or_else(|| output.status.to_string()))
}

/// Checks `amore` and `amore-worker`.
pub(super) async fn check() -> Vec<Check> {
    let mut checks = Checks::of("programs");
    let version = env!("CARGO_PKG_VERSION");
    let own = std::env::current_exe().map_or_else(|_| "amore".to_owned(), |path| path.display().to_string());
    checks.ok("amore", format!("{version} ({own})"));
    let worker = local::program();
    let hint = "amore and amore-worker must be in the same directory: install both (make install)";
    match ask(&worker, &["--version"]).await {
        Ok(answer) if answer.split_whitespace().nth(1) == Some(version) => {
            checks.ok("amore-worker", format!("{version} ({})", worker.display()));
        }
        Ok(answer) => {
            let found = format!("{} has a different version: {answer:?}", worker.display());
            checks.problem("amore-worker", found, "install amore and amore-worker from the same build");
        }
        Err(words) => checks.problem("amore-worker", format!("{}: {words}", worker.display()), hint),
    }
    checks.done
}

/// Checks the Python that executes context files, in the sandbox if there is one.
pub(super) async fn check_python(
    python: Result<PathBuf, Failure>,
    sandbox: Option<&Sandbox>,
    proposal: Option<Proposal>,
) -> Vec<Check> {
    let mut checks = Checks::of("python");
    let python = match python {
        Ok(python) => python,
        Err(failure) => {
            checks.failure("context_python", &failure);
            return checks.done;
        }
    };
    let command = [python.clone().into_os_string(), OsString::from("-c"), OsString::from(ASK_PYTHON)];
    let words = match (sandbox, proposal) {
        (None, _) => command.to_vec(),
        (Some(sandbox), Some(proposal)) => sandbox.wrap(proposal, command),
        (Some(sandbox), None) => {
            let found = format!("not checked: the sandbox `{sandbox}` needs a proposal number");
            checks.warn("context_python", found, "check a database directory, which has a proposal");
            return checks.done;
        }
    };
    let Some((program, arguments)) = words.split_first() else { return checks.done };
    let path = sandbox.map_or_else(
        || python.display().to_string(),
        |sandbox| format!("{} in the sandbox `{sandbox}`", python.display()),
    );
    let other = "amore-proto db-config context_python /path/to/python (3.9 or later, with extra_data)";
    match ask(program, arguments).await {
        Err(words) => checks.problem("context_python", format!("{path} does not run: {words}"), other),
        Ok(answer) => {
            let mut lines = answer.lines();
            let version = lines.next().unwrap_or_default();
            if is_old(version) {
                checks.problem("context_python", format!("{path} is Python {version}"), other);
            } else {
                checks.ok("context_python", format!("Python {version} ({path})"));
            }
            match lines.next().and_then(|line| line.split_once(' ')) {
                Some(("yes", version)) => checks.ok("extra_data", version.to_owned()),
                Some((_, words)) => {
                    let found = format!("{path} cannot import it: {words}");
                    checks.problem("extra_data", found, other);
                }
                None => checks.problem("extra_data", format!("{path} ended while importing it"), other),
            }
        }
    }
    checks.done
}

fn is_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (3, 9)
}

#[cfg(test)]
mod tests {
    use super::is_old;

    #[test]
    fn versions_are_numbers() {
        assert!(is_old("3.6.8") && is_old("2.7.18") && is_old("rubbish"));
        assert!(!is_old("3.9.0") && !is_old("3.13.1") && !is_old("4.0.0"));
    }
}
