//! `amore doctor`.

mod directory;
mod mymdc;
mod programs;
mod slurm;

use std::{collections::BTreeMap, fmt::Write, process::ExitCode};

use amore_model::{Proposal, Sandbox};
use amore_slurm::site_file::{SANDBOX_KEY, SiteSandbox};
use serde::Serialize;

use super::{failure::Failure, open, output};
use crate::{
    coordinate::events::count,
    database_dir::{DatabaseDir, locate, must_have_run_table},
    dispatch::slurm::{Slurm, site_file, sourced::Resolved},
};

/// Check that everything Amore needs is available, and suggest fixes.
///
/// Checks programs, the user's Python, Slurm (which partition would be used, and why not the others; reservation,
/// account and QOS, and where they are set), the directory, and the credentials for MyMdC. Outside a database directory, only the site is checked.
/// The exit code is 1 if there are problems; warnings do not count.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Proposal number or database directory (default: the working directory).
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Ok,
    Warning,
    Problem,
}

#[derive(Clone, Debug, Serialize)]
struct Check {
    area: &'static str,
    check: String,
    grade: Grade,
    /// What was found; further lines are details.
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// The checks of one area.
#[derive(Debug)]
struct Checks {
    area: &'static str,
    done: Vec<Check>,
}

impl Checks {
    fn of(area: &'static str) -> Self {
        Checks { area, done: Vec::new() }
    }

    fn add(&mut self, check: &str, grade: Grade, found: impl Into<String>, hint: Option<String>) {
        let (check, found) = (check.to_owned(), found.into());
        self.done.push(Check { area: self.area, check, grade, found, hint });
    }

    fn ok(&mut self, check: &str, found: impl Into<String>) {
        self.add(check, Grade::Ok, found, None);
    }

    fn warn(&mut self, check: &str, found: impl Into<String>, hint: impl Into<String>) {
        self.add(check, Grade::Warning, found, Some(hint.into()));
    }

    fn problem(&mut self, check: &str, found: impl Into<String>, hint: impl Into<String>) {
        self.add(check, Grade::Problem, found, Some(hint.into()));
    }

    fn failure(&mut self, check: &str, failure: &Failure) {
        self.add(check, Grade::Problem, failure.message.clone(), failure.hint.clone());
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    checks: &'a [Check],
}

pub async fn run(arguments: &Arguments, slurm: &Slurm) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.directory.as_deref())?;
    let is_database = dir.run_table().exists();
    if arguments.directory.is_some() {
        must_have_run_table(&dir)?;
    }
    let mut checks = programs::check().await;
    let Found { checks: settings_checks, resolved, proposal, sandbox } = settings(&dir, is_database).await;
    checks.extend(settings_checks);
    checks.extend(slurm::check(slurm, &resolved, dir.path(), sandbox.is_some()).await);
    if is_database {
        checks.extend(directory::check(&dir));
        if let Some(proposal) = proposal {
            checks.extend(mymdc::check(&dir, proposal));
        }
    }
    let python = if is_database {
        open::context_python_of(&dir).await
    } else {
        crate::execution::default_python().map_err(Into::into)
    };
    checks.extend(programs::check_python(python, sandbox.as_ref(), proposal).await);
    let problems = checks.iter().filter(|check| check.grade == Grade::Problem).count();
    if arguments.json {
        output::say_json(&Answer { ok: problems == 0, checks: &checks })?;
    } else {
        output::say(in_words(&checks, (!is_database).then_some(&dir)));
    }
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the settings say.
struct Found {
    checks: Vec<Check>,
    resolved: Resolved,
    proposal: Option<Proposal>,
    sandbox: Option<Sandbox>,
}

/// The settings and their sources.
async fn settings(dir: &DatabaseDir, is_database: bool) -> Found {
    let mut checks = Checks::of("settings");
    let site = match site_file::load() {
        Ok(Some(site)) => {
            checks.ok("site's file", site.path().display().to_string());
            Some(site)
        }
        Ok(None) => {
            checks.ok("site's file", "none (etc/amore.toml next to bin/, /etc/amore/amore.toml)");
            None
        }
        Err(error) => {
            checks.failure("site's file", &error.into());
            None
        }
    };
    let sandbox = site.as_ref().and_then(|site| Some((site.path().to_owned(), site.sandbox()?.clone())));
    if let Some((file, SiteSandbox { sandbox, line })) = &sandbox {
        checks.ok(SANDBOX_KEY, format!("{sandbox} ({}, line {line})", file.display()));
    }
    let mut own_proposal = None;
    let read = async {
        if !is_database {
            return Ok::<_, Failure>((BTreeMap::new(), None));
        }
        let table = open::for_reading(dir).await?;
        Ok((open::settings(&table).await?, open::own_proposal(&table).await?))
    };
    let resolved = match read.await {
        Ok((database, proposal)) => {
            own_proposal = proposal;
            if is_database && proposal.is_none() {
                checks.problem("proposal", "this database has no proposal number", "amore proposal NUMBER");
            }
            let unknown = amore_run_table::unknown_settings(database.keys().map(String::as_str));
            for unknown in unknown {
                let near = unknown.nearest.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
                let hint = format!("{near}amore db-config {} --delete", unknown.key);
                checks.warn(&unknown.key, "it is set, but there is no such setting", hint);
            }
            site_file::resolve(&database, site.as_ref(), proposal, dir.path()).map_err(Failure::from)
        }
        Err(failure) => Err(failure),
    };
    let resolved = resolved.unwrap_or_else(|failure| {
        checks.failure("database", &failure);
        Resolved::default()
    });
    for (key, value, source) in resolved.listed() {
        checks.ok(key, format!("{value} ({source})"));
    }
    let sandbox = sandbox.map(|(_, found)| found.sandbox);
    Found { checks: checks.done, resolved, proposal: own_proposal, sandbox }
}

fn in_words(checks: &[Check], no_database: Option<&DatabaseDir>) -> String {
    let width = checks.iter().map(|check| check.check.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    let mut area = "";
    for check in checks {
        if check.area != area {
            let _ = writeln!(text, "{}{}", if area.is_empty() { "" } else { "\n" }, check.area);
            area = check.area;
        }
        let grade = match check.grade {
            Grade::Ok => "ok",
            Grade::Warning => "WARNING",
            Grade::Problem => "PROBLEM",
        };
        let mut lines = check.found.lines();
        let _ = writeln!(text, "  {grade:8} {:width$}  {}", check.check, lines.next().unwrap_or_default());
        for line in lines {
            let _ = writeln!(text, "  {:8} {:width$}  {line}", "", "");
        }
        if let Some(hint) = &check.hint {
            let _ = writeln!(text, "  {:8} {:width$}  hint: {hint}", "", "");
        }
    }
    if let Some(dir) = no_database {
        let path = dir.path().display();
        let _ = writeln!(text, "\n{path} is not a database directory: only the site was checked");
    }
    let of = |grade| checks.iter().filter(|check| check.grade == grade).count();
    let (problems, warnings) = (of(Grade::Problem), of(Grade::Warning));
    let _ = write!(
        text,
        "\n{}: {}, {}",
        count(checks.len(), "check"),
        count(problems, "problem"),
        count(warnings, "warning")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_told_with_what_to_do() {
        let mut checks = Checks::of("slurm");
        checks.ok("controller", "answers");
        checks.problem("reservation", "upex_1 ended 5 min ago\nit was for p1", "set another");
        assert_eq!(
            in_words(&checks.done, None),
            "slurm\n  ok       controller   answers\n  PROBLEM  reservation  upex_1 ended 5 min ago\n                        it was for p1\n\
             \u{20}                       hint: set another\n\n2 checks: 1 problem, 0 warnings"
        );
    }
}
