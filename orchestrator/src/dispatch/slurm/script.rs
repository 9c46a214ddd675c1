//! The batch script of a job, from its template.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// The template that is built in; `.amore/templates/slurm-job.sh.tera` in a database directory, or the folder that
/// `AMORE_TEMPLATES` names, takes its place.
const TEMPLATE: &str = include_str!("../../../../templates/slurm-job.sh.tera");
const NAME: &str = "slurm-job.sh.tera";

/// What the template is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobScript {
    /// The job's name.
    pub name: String,
    /// Path of `amore-worker`.
    pub worker: String,
    /// The job's sheet.
    pub sheet: String,
    /// Where the worker says what happens.
    pub events: String,
    /// Environment variables to set, in order.
    pub environment: Vec<(String, String)>,
}

/// A template that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// Not readable.
    #[error("the template {0} cannot be read: {1}")]
    Read(PathBuf, #[source] std::io::Error),
    /// Wrong.
    #[error("the template {0} is wrong: {1}")]
    Wrong(String, String),
}

/// Quotes for the shell: nothing in it is special any more.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Quotes what a shell would not take as it is.
pub fn quoted_if_needed(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./:,%+@".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) { text.to_owned() } else { quoted(text) }
}

/// Renders the script for a job of this database directory.
///
/// # Errors
/// Which template is wrong, and where.
pub fn render(directory: &Path, script: &JobScript) -> Result<String, TemplateError> {
    let (name, text) = template(directory)?;
    render_text(&name, &text, script)
}

fn template(directory: &Path) -> Result<(String, String), TemplateError> {
    let own = directory.join(".amore/templates").join(NAME);
    let site = std::env::var_os("AMORE_TEMPLATES").map(|folder| PathBuf::from(folder).join(NAME));
    for path in std::iter::once(own).chain(site) {
        match fs::read_to_string(&path) {
            Ok(text) => return Ok((path.display().to_string(), text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(TemplateError::Read(path, error)),
        }
    }
    Ok((format!("{NAME} (built in)"), TEMPLATE.to_owned()))
}

fn render_text(name: &str, text: &str, script: &JobScript) -> Result<String, TemplateError> {
    let wrong = |error: &dyn std::error::Error| {
        let mut words = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            words.push_str(": ");
            words.push_str(&inner.to_string());
            cause = inner.source();
        }
        TemplateError::Wrong(name.to_owned(), words)
    };
    let mut tera = tera::Tera::default();
    tera.autoescape_on(Vec::<&str>::new());
    tera.register_filter("shell", |value: &str, _: tera::Kwargs, _: &tera::State| quoted(value));
    tera.add_raw_template(NAME, text).map_err(|error| wrong(&error))?;
    let mut context = tera::Context::new();
    context.insert("name", &script.name);
    context.insert("worker", &script.worker);
    context.insert("sheet", &script.sheet);
    context.insert("events", &script.events);
    let environment: Vec<HashMap<&str, &String>> =
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
            sheet: "/gpfs/p1234/usr/Shared/amore/.amore/jobs/abc.json".to_owned(),
            events: "/gpfs/p1234/usr/Shared/amore/.amore/jobs/abc.events".to_owned(),
            environment: vec![("EXTRA_DATA_DATA_ROOT".to_owned(), "/gpfs/it's $(here)\nnow".to_owned())],
        }
    }

    #[test]
    fn the_script_of_a_job() {
        insta::assert_snapshot!(render_text("t", TEMPLATE, &script()).unwrap());
    }

    #[test]
    fn a_wrong_template_is_named_with_what_is_wrong() {
        let error = render_text("/site/slurm-job.sh.tera", "{{ wroker | shell }}", &script()).unwrap_err();
        let words = error.to_string();
        assert!(words.contains("/site/slurm-job.sh.tera") && words.contains("wroker"), "{words}");
        assert!(render_text("t", "{% if %}", &script()).is_err());
    }
}
