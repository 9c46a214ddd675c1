//! Prepares the command line of a variable's command (`job=`): fills in the placeholders, with values from files.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use amore_core::{Prepared, RunKey, command::CommandSpec};
use amore_model::{Argument, DatabaseDir, Dependency, MymdcField, Piece, pieces};
use amore_plan::{Pattern, PlannedJob};
use amore_results::{Scalar, StoredOutcome, StoredResult, answered, read_scalar};
use amore_wire::{
    mymdc::{MymdcValue, MymdcValues},
    task::UserCommand,
};
use serde_json::Value;

use crate::site;

fn refused(class: &'static str, message: String) -> Prepared {
    Prepared::Refused { class, message }
}

/// Folders and files that a command can refer to, by placeholder.
fn places(dir: &DatabaseDir, (proposal, run): RunKey, variable: &str) -> BTreeMap<&'static str, String> {
    let root = proposal_dir(dir, proposal);
    let text = |path: PathBuf| path.display().to_string();
    BTreeMap::from([
        ("run", run.to_string()),
        ("proposal", proposal.to_string()),
        ("raw_dir", text(root.join("raw").join(run.directory_name()))),
        ("proc_dir", text(root.join("proc").join(run.directory_name()))),
        ("proposal_dir", text(root)),
        ("run_file", text(dir.run_file(proposal, run))),
        ("directory", text(dir.job_directory(proposal, run, variable))),
    ])
}

/// The proposal's root: where its data is, otherwise the directory above the `usr` that the database directory is in.
fn proposal_dir(dir: &DatabaseDir, proposal: amore_model::Proposal) -> PathBuf {
    site::find_proposal(proposal).unwrap_or_else(|_| {
        let usr = dir.path().ancestors().find(|folder| folder.ends_with("usr"));
        usr.and_then(Path::parent).unwrap_or(dir.path()).to_owned()
    })
}

/// Reads the values that the command line needs, and fills them in.
pub fn prepare(dir: &DatabaseDir, spec: &CommandSpec) -> Prepared {
    let CommandSpec { key, stamp, job, given, mymdc, context } = spec;
    let answers = match answered(&dir.extracted_data(), key.0, key.1, *stamp) {
        Ok(answers) => answers,
        Err(error) => return refused("JobFailed", format!("its dependencies cannot be read: {error}")),
    };
    let has_value =
        |name: &str| answers.get(name).is_some_and(|answer| answer.outcome == StoredOutcome::Value);
    for argument in &job.arguments {
        let missing = match argument.dependency() {
            Dependency::Variable(of) => {
                let pattern = Pattern::new(of);
                // Transient values are in no file; the task of the function handles them.
                let mut stored = given.iter().filter(|name| *name == of || pattern.matches(name)).peekable();
                stored.peek().is_some() && !stored.any(|name| has_value(name))
            }
            Dependency::Mymdc(name) => !matches!(of_catalogue(mymdc, name), Some(MymdcValue::Value { .. })),
            // These dependencies have no values yet.
            Dependency::Parameter(_) => true,
            _ => false,
        };
        if missing && !argument.has_default {
            return Prepared::NotNow;
        }
    }
    let places = places(dir, *key, &job.variable);
    let values = Values { dir, key: *key, job, answers: &answers, mymdc, places: &places };
    let mut words = match values.words() {
        Ok(words) => words,
        Err(refused) => return refused,
    };
    let environment = places
        .iter()
        .map(|(name, value)| (format!("AMORE_{}", name.to_uppercase()), value.clone()))
        .chain([("AMORE_VARIABLE".to_owned(), job.variable.clone())])
        .collect();
    let working_directory = context.path.parent().unwrap_or(dir.path()).to_owned();
    if let Some(program) = words.first_mut()
        && let Some(elsewhere) = beside_the_target(program, &working_directory, &context.folders)
    {
        *program = elsewhere;
    }
    Prepared::Ready(Box::new(UserCommand {
        variable: job.variable.clone(),
        words,
        environment,
        working_directory,
        own_directory: dir.job_directory(key.0, key.1, &job.variable),
    }))
}

/// If the context file is a link, its programs may be next to the target.
fn beside_the_target(program: &str, working_directory: &Path, folders: &[PathBuf]) -> Option<String> {
    if !program.contains('/') || program.starts_with('/') || working_directory.join(program).exists() {
        return None;
    }
    let found = folders.iter().map(|folder| folder.join(program)).find(|path| path.exists())?;
    Some(found.display().to_string())
}

/// What the metadata catalogue says about a field.
fn of_catalogue<'a>(mymdc: &'a MymdcValues, name: &str) -> Option<&'a MymdcValue> {
    mymdc.get(&MymdcField::from_name(name)?)
}

/// The values of placeholders.
struct Values<'a> {
    dir: &'a DatabaseDir,
    key: RunKey,
    job: &'a PlannedJob,
    answers: &'a BTreeMap<String, StoredResult>,
    mymdc: &'a MymdcValues,
    places: &'a BTreeMap<&'static str, String>,
}

impl Values<'_> {
    fn words(&self) -> Result<Vec<String>, Prepared> {
        let mut known: HashMap<&str, String> = HashMap::new();
        let mut words = Vec::with_capacity(self.job.spec.command.len());
        for word in &self.job.spec.command {
            let found = pieces(word).map_err(|_| {
                refused("ValueError", format!("the word {word:?} of the command cannot be read"))
            })?;
            let mut text = String::new();
            for piece in found {
                match piece {
                    Piece::Text(part) => text.push_str(part),
                    Piece::Placeholder(name) => match self.places.get(name).or_else(|| known.get(name)) {
                        Some(value) => text.push_str(value),
                        None => {
                            let value = self.value(name).map_err(|why| refused("TypeError", why))?;
                            text.push_str(&value);
                            known.insert(name, value);
                        }
                    },
                }
            }
            if text.contains('\0') {
                return Err(refused(
                    "ValueError",
                    format!("an argument of the command would hold NUL: {text:?}"),
                ));
            }
            words.push(text);
        }
        Ok(words)
    }

    /// The value of a placeholder that names an argument.
    fn value(&self, placeholder: &str) -> Result<String, String> {
        let argument: Option<&Argument> =
            self.job.arguments.iter().find(|argument| argument.name == placeholder);
        let default = || {
            self.job.spec.defaults.get(placeholder).cloned().ok_or_else(|| {
                format!("the command asks for {{{placeholder}}}, which has no value, and no default that is a number or a text")
            })
        };
        match argument.map(Argument::dependency) {
            Some(Dependency::Variable(name)) => {
                let Some(answer) =
                    self.answers.get(name).filter(|answer| answer.outcome == StoredOutcome::Value)
                else {
                    return default();
                };
                let unreadable = |error| format!("the value of {name} cannot be read: {error}");
                let read = match read_scalar(&answer.path, name) {
                    // The fragment has been collected meanwhile: the value is in the run file.
                    Err(_) if !answer.path.exists() => {
                        read_scalar(&self.dir.run_file(self.key.0, self.key.1), name).map_err(unreadable)?
                    }
                    other => other.map_err(unreadable)?,
                };
                match read {
                    Scalar::Text(text) => Ok(text),
                    Scalar::Nothing => default(),
                    Scalar::Other(what) => Err(format!(
                        "the command asks for {{{placeholder}}}, but {name} is {what}, and an argument is one number or text\n\
                         have the command read it from {{run_file}}, or depend on a variable that returns what is needed"
                    )),
                }
            }
            Some(Dependency::Mymdc(name)) => match of_catalogue(self.mymdc, name) {
                Some(MymdcValue::Value { json }) => match serde_json::from_str(json) {
                    Ok(Value::String(text)) => Ok(text),
                    Ok(Value::Number(_)) => Ok(json.clone()),
                    _ => Err(format!(
                        "the command asks for {{{placeholder}}}, but mymdc#{name} is neither a number nor a text: {json}"
                    )),
                },
                _ => default(),
            },
            Some(Dependency::Meta("run_number")) => Ok(self.places["run"].clone()),
            Some(Dependency::Meta("proposal")) => Ok(self.places["proposal"].clone()),
            Some(Dependency::Meta(_)) => Ok(self.places["proposal_dir"].clone()),
            _ => default(),
        }
    }
}
