//! Renders the batch script of a job from its template.

use std::collections::BTreeMap;

use amore_model::shell;
use serde::Serialize;

/// The built-in template.
const BUILT_IN: &str = include_str!("../../../templates/slurm-job.sh.tera");
/// The file name of a template that replaces it.
pub const NAME: &str = "slurm-job.sh.tera";

/// A template for the scripts of jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Where it comes from, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Template {
    /// The built-in template.
    pub fn built_in() -> Self {
        Template { name: format!("{NAME} (built in)"), text: BUILT_IN.to_owned() }
    }
}

/// The values for the template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobScript {
    /// The job's name.
    pub name: String,
    /// Path of `amore-worker`.
    pub worker: String,
    /// Path of the job's manifest.
    pub manifest: String,
    /// Path of the file that the worker writes its messages to.
    pub events: String,
    /// The umask of whoever submits the job, so that files have the same readers wherever they are created.
    pub umask: u32,
    /// Environment variables to set, in order.
    pub environment: Vec<(String, String)>,
    /// Variables to unset: `sbatch` needs them, but the job must not see them.
    pub without: Vec<String>,
    /// Whether user code is executed in a sandbox. A database's own template, which Slurm would execute outside of it, is
    /// then refused.
    #[serde(skip)]
    pub sandboxed: bool,
}

/// A template that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It is invalid.
    #[error("the template {0} is invalid: {1}")]
    Invalid(String, String),
    /// Its jobs would do nothing.
    #[error(
        "the template {0} does not run the worker: no line of its script contains the path of the job's manifest"
    )]
    NoWorker(String),
    /// Each job of the array would do the work of all.
    #[error("the template {0} makes each job an array ({1})")]
    Array(String, String),
}

/// Renders the script of a job.
///
/// # Errors
/// What is wrong with the template.
pub fn render(template: &Template, script: &JobScript) -> Result<String, TemplateError> {
    let rendered = render_text(template, script)?;
    check_script(&template.name, &rendered, script)?;
    Ok(unset_variables(&rendered, &script.without))
}

/// Unsets variables before the first command of a shell script, also in a site's own template.
fn unset_variables(rendered: &str, names: &[String]) -> String {
    let interpreter = rendered.lines().next().unwrap_or_default();
    let is_shell = ["sh", "bash", "dash", "ksh", "zsh"]
        .iter()
        .any(|shell| interpreter.split(['/', ' ']).any(|word| word == *shell));
    if names.is_empty() || !is_shell {
        return rendered.to_owned();
    }
    let is_command = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let mut text = String::with_capacity(rendered.len());
    let mut done = false;
    for line in rendered.split_inclusive('\n') {
        if !done && is_command(line) {
            text.push_str(&format!("unset {}\n", names.join(" ")));
            done = true;
        }
        text.push_str(line);
    }
    text
}

/// Checks a template by rendering it with sample values.
///
/// # Errors
/// As [`render`].
pub fn check(template: &Template) -> Result<(), TemplateError> {
    let sample = |what: &str| format!("/a/{what}");
    let script = JobScript {
        name: "r1-p1-damnit".to_owned(),
        worker: sample("worker"),
        manifest: sample("manifest"),
        events: sample("events"),
        umask: 0o022,
        environment: vec![("NAME".to_owned(), "value".to_owned())],
        without: Vec::new(),
        sandboxed: false,
    };
    render(template, &script).map(|_| ())
}

/// Checks that a job with this script would do its work, exactly once.
fn check_script(name: &str, rendered: &str, script: &JobScript) -> Result<(), TemplateError> {
    for line in rendered.lines() {
        let mut words = line.strip_prefix("#SBATCH").into_iter().flat_map(str::split_whitespace);
        if words.any(|word| word.starts_with("--array") || word.starts_with("-a")) {
            return Err(TemplateError::Array(name.to_owned(), line.to_owned()));
        }
    }
    let executes =
        |line: &str| !line.trim_start().starts_with('#') && line.contains(script.manifest.as_str());
    if rendered.lines().any(executes) { Ok(()) } else { Err(TemplateError::NoWorker(name.to_owned())) }
}

fn render_text(template: &Template, script: &JobScript) -> Result<String, TemplateError> {
    let wrong = |error: &dyn std::error::Error| {
        let mut words = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            words.push_str(": ");
            words.push_str(&inner.to_string());
            cause = inner.source();
        }
        TemplateError::Invalid(template.name.clone(), words)
    };
    let mut tera = tera::Tera::default();
    tera.autoescape_on(Vec::<&str>::new());
    tera.register_filter("shell", |value: &str, _: tera::Kwargs, _: &tera::State| shell::quoted(value));
    tera.add_raw_template(NAME, &template.text).map_err(|error| wrong(&error))?;
    let mut context = tera::Context::new();
    context.insert("name", &script.name);
    context.insert("worker", &script.worker);
    context.insert("manifest", &script.manifest);
    // The name in templates of earlier versions.
    context.insert("sheet", &script.manifest);
    context.insert("events", &script.events);
    context.insert("umask", &format!("{:04o}", script.umask));
    let environment: Vec<BTreeMap<&str, &String>> =
        script.environment.iter().map(|(name, value)| [("name", name), ("value", value)].into()).collect();
    context.insert("environment", &environment);
    tera.render(NAME, &context).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> JobScript {
        JobScript {
            name: "r42-p1234-damnit".to_owned(),
            worker: "/opt/amore/bin/amore-worker".to_owned(),
            manifest: "/gpfs/p1234/usr/Shared/amore/.amore/jobs/abc.json".to_owned(),
            events: "/gpfs/p1234/usr/Shared/amore/.amore/jobs/abc.events".to_owned(),
            umask: 0o027,
            environment: vec![("EXTRA_DATA_DATA_ROOT".to_owned(), "/gpfs/it's $(here)\nnow".to_owned())],
            without: Vec::new(),
            sandboxed: false,
        }
    }

    fn own(name: &str, text: &str) -> Template {
        Template { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_script_of_a_job() {
        insta::assert_snapshot!(render_text(&Template::built_in(), &script()).unwrap());
    }

    #[test]
    fn what_sbatch_needs_is_taken_away_before_the_first_command() {
        let text = "#!/bin/bash\n#SBATCH --constraint=a\n\n# words\nmodule load x\nexec w\n";
        let names = ["LD_LIBRARY_PATH".to_owned(), "SLURM_JWT".to_owned()];
        assert_eq!(
            unset_variables(text, &names),
            "#!/bin/bash\n#SBATCH --constraint=a\n\n# words\nunset LD_LIBRARY_PATH SLURM_JWT\nmodule load x\nexec w\n"
        );
        assert_eq!(unset_variables(text, &[]), text);
        let python = "#!/usr/bin/env python3\nimport os\n";
        assert_eq!(unset_variables(python, &names), python);
    }

    #[test]
    fn a_wrong_template_is_named_with_what_is_wrong() {
        let error =
            render_text(&own("/site/slurm-job.sh.tera", "{{ wroker | shell }}"), &script()).unwrap_err();
        let words = error.to_string();
        assert!(words.contains("/site/slurm-job.sh.tera") && words.contains("wroker"), "{words}");
        assert!(render_text(&own("t", "{% if %}"), &script()).is_err());
    }

    #[test]
    fn a_template_whose_jobs_would_do_nothing_or_all_of_it_several_times_is_refused() {
        let judged =
            |text: &str| check_script("t", &render_text(&own("t", text), &script()).unwrap(), &script());
        let last = "exec {{ worker }} job --manifest {{ manifest | shell }}\n";
        assert!(judged(last).is_ok() && judged(&format!("#SBATCH --constraint=a100\n{last}")).is_ok());
        assert!(matches!(judged(""), Err(TemplateError::NoWorker(_))));
        assert!(matches!(judged(&format!("# {last}")), Err(TemplateError::NoWorker(_))));
        for array in ["--array=1-3", "-a 1-3", "--nodes=1 -a1-3"] {
            let judged = judged(&format!("#SBATCH {array}\n{last}"));
            assert!(matches!(judged, Err(TemplateError::Array(..))), "{array}");
        }
    }
}
