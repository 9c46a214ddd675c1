//! `amore submit`: puts results that were computed elsewhere into the table and the run's file.
//!
//! `damnit_ctx.submit()` does it, in a Python of the user's: so values are stored, reduced and shown by the same rules, whoever
//! submits them.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

use amore_model::{Proposal, identifier};
use serde_json::{Map, Value, json};

use super::{
    failure::{Exit, Failure},
    open, output,
};
use crate::{
    coordinate::events::count,
    database_dir::{locate, must_have_run_table},
    dispatch::submission,
    execution::default_python,
};

/// Put results that were computed elsewhere into the table and the run's file.
///
/// A VALUE is read as JSON: a number, true, false, a list of numbers; anything else is text. `null` removes an earlier value.
/// All results are stored, or none. The service of the directory collects them; if nobody coordinates it, this command does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    amore submit 42 resolution=1.8 spacegroup=P212121 --provenance crystfel\n  \
    amore submit 42 --file hits=hits.npy --summary hits=sum --units hits=frames\n  \
    amore submit 42 --error indexing='RuntimeError: no peaks found'\n  \
    program | amore submit 42 --json -")]
pub struct Arguments {
    /// Run number.
    run: u32,
    /// Values, by the name of their variable.
    #[arg(value_name = "NAME=VALUE", value_parser = named)]
    values: Vec<(String, String)>,
    /// An array, from a .npy file.
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    file: Vec<(String, String)>,
    /// An error, shown in place of a value. The class `Skip` is a skip.
    #[arg(long, value_name = "NAME=CLASS: MESSAGE", value_parser = named)]
    error: Vec<(String, String)>,
    /// The NumPy function that reduces an array to the number in the table.
    #[arg(long, value_name = "NAME=FUNCTION", value_parser = named)]
    summary: Vec<(String, String)>,
    /// The unit of a value.
    #[arg(long, value_name = "NAME=UNIT", value_parser = named)]
    units: Vec<(String, String)>,
    /// Read more results from this file (`-`: standard input): an object with a value for each name, or with an object that
    /// has `value`, `file` or `error` and may have `summary`, `summary_value`, `units`, `bold`, `background`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What has computed the results.
    #[arg(long, default_value = "amore submit")]
    provenance: String,
    /// Proposal of the run [default: that of the database].
    #[arg(long)]
    proposal: Option<u32>,
    /// A Python with NumPy [default: AMORE_CONTEXT_PYTHON, otherwise python3 on PATH].
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Proposal number or database directory [default: the working directory].
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
}

/// `NAME=TEXT`.
fn named(text: &str) -> Result<(String, String), String> {
    let (name, rest) = text.split_once('=').ok_or("expected NAME=…")?;
    let name = identifier(name.trim());
    if name.is_empty() { Err("there is no name before =".to_owned()) } else { Ok((name, rest.to_owned())) }
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let results = results(arguments)?;
    if results.is_empty() {
        return Err(Failure::new("no results given").exit(Exit::Usage).hint("amore submit RUN NAME=VALUE …"));
    }
    let dir = locate(arguments.directory.as_deref())?;
    must_have_run_table(&dir)?;
    let proposal = open::proposal(&open::for_reading(&dir).await?, arguments.proposal.map(Proposal)).await?;
    let asked = json!({
        "proposal": proposal.0,
        "run": arguments.run,
        "directory": absolute(dir.path())?,
        "provenance": arguments.provenance,
        "results": results,
    });
    let python = match &arguments.python {
        Some(python) => python.clone(),
        None => default_python()?,
    };
    let submitted = tokio::task::spawn_blocking(move || submission::submit(&python, &asked)).await;
    if let Some(words) = submitted.map_err(|error| Failure::from_error(&error))?? {
        output::warn(words);
    }
    output::say(format!("run {}: {} submitted", arguments.run, count(results.len(), "result")));
    Ok(ExitCode::SUCCESS)
}

/// What is to be stored, by name, as `damnit_ctx.submission_command` reads it.
fn results(arguments: &Arguments) -> Result<BTreeMap<String, Value>, Failure> {
    let mut results = match &arguments.json {
        None => BTreeMap::new(),
        Some(path) => from_json(path)?,
    };
    let twice = |name: &str| {
        Failure::new(format!("{name} is given twice")).exit(Exit::Usage).hint("give one value for each name")
    };
    let mut add = |name: &String, result: Value| match results.insert(name.clone(), result) {
        None => Ok(()),
        Some(_) => Err(twice(name)),
    };
    for (name, text) in &arguments.values {
        add(name, json!({ "value": value(text) }))?;
    }
    for (name, path) in &arguments.file {
        add(name, json!({ "file": absolute(Path::new(path))? }))?;
    }
    for (name, text) in &arguments.error {
        let (class, message) = error(text);
        add(name, json!({ "error": { "class": class, "message": message } }))?;
    }
    for (key, given) in [("summary", &arguments.summary), ("units", &arguments.units)] {
        for (name, text) in given {
            match results.get_mut(name).and_then(Value::as_object_mut) {
                Some(result) if !result.contains_key("error") => {
                    result.insert(key.to_owned(), json!(text));
                }
                _ => {
                    let words = format!("--{key} {name}={text}: there is no value of that name");
                    return Err(Failure::new(words).exit(Exit::Usage));
                }
            }
        }
    }
    Ok(results)
}

/// A value as it was typed.
fn value(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Object(_)) | Err(_) => json!(text),
        Ok(value) => value,
    }
}

/// `CLASS: MESSAGE`, or only a message.
fn error(text: &str) -> (&str, &str) {
    match text.split_once(": ") {
        Some((class, message)) if !class.contains(char::is_whitespace) => (class, message),
        _ => ("Error", text),
    }
}

fn from_json(path: &Path) -> Result<BTreeMap<String, Value>, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        fs::read_to_string(path).map(|read| text = read)
    };
    let shown = path.display();
    read.map_err(|error| Failure::new(format!("cannot read {shown}: {error}")))?;
    let results: Map<String, Value> = serde_json::from_str(&text).map_err(|error| {
        Failure::new(format!("{shown} is not a JSON object with a result for each name: {error}"))
    })?;
    let mut found = BTreeMap::new();
    for (name, result) in results {
        let result = match result {
            Value::Object(mut object) => {
                if let Some(file) = object.get_mut("file") {
                    let path = file.as_str().unwrap_or_default();
                    *file = json!(absolute(Path::new(path))?);
                }
                Value::Object(object)
            }
            value => json!({ "value": value }),
        };
        found.insert(identifier(&name), result);
    }
    Ok(found)
}

/// The path for a process with another working directory.
fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Failure::new(format!("cannot use the path {}: {error}", path.display())))?;
    absolute
        .into_os_string()
        .into_string()
        .map_err(|path| Failure::new(format!("the path {} cannot be used: it is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_and_everything_else_is_text() {
        for (text, expected) in [
            ("1.5", json!(1.5)),
            ("-3", json!(-3)),
            ("true", json!(true)),
            ("null", json!(null)),
            ("[1, 2]", json!([1, 2])),
            ("P212121", json!("P212121")),
            ("\"7\"", json!("7")),
            ("", json!("")),
            ("{\"a\": 1}", json!("{\"a\": 1}")),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn an_error_may_say_its_class() {
        assert_eq!(error("KeyError: 'a'"), ("KeyError", "'a'"));
        assert_eq!(error("no peaks: none at all"), ("Error", "no peaks: none at all"));
        assert_eq!(error("failed"), ("Error", "failed"));
    }

    #[test]
    fn a_name_comes_first() {
        assert_eq!(named("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(named("a").is_err() && named("=1").is_err());
    }
}
