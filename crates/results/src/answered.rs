//! Results that a plan already has, so that a restarted task continues at the first variable without a result.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use amore_model::{PlanStamp, Proposal, Run, precedence::Made};

use crate::{
    error::{DoingTo, InFile, ResultsError},
    h5::{File, H5Result, Node},
    names::{self, ERRORS},
    reduced::read_provenance,
    value::StoredOutcome,
};

/// A stored result.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResult {
    /// The file that contains it. A fragment may be collected in the meantime; then the run file has it.
    pub path: PathBuf,
    /// How the variable ended.
    pub outcome: StoredOutcome,
    /// Class and message of an error or a skip.
    pub error: Option<(String, String)>,
}

impl StoredResult {
    /// Whether it is in a fragment that still has to be collected.
    pub fn is_in_fragment(&self) -> bool {
        self.path.file_name().and_then(|name| name.to_str()).and_then(names::parse_fragment).is_some()
    }
}

/// The results of one run stored by the plan with this stamp, or a later one: in the run file, and in fragments that are not
/// collected yet.
///
/// # Errors
/// A file cannot be read. A file that does not exist, or disappears meanwhile, is not an error.
pub fn answered(
    extracted_data: &Path,
    proposal: Proposal,
    run: Run,
    stamp: PlanStamp,
) -> Result<BTreeMap<String, StoredResult>, ResultsError> {
    let mut answers: BTreeMap<String, (Made, StoredResult)> = BTreeMap::new();
    // Fragments first: those collected in the meantime are in the run file when it is read.
    let mut paths: Vec<PathBuf> = match fs::read_dir(extracted_data) {
        Ok(entries) => entries
            .flatten()
            .filter(|entry| {
                entry.file_name().to_str().and_then(names::parse_fragment) == Some((proposal, run))
            })
            .map(|entry| entry.path())
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => {
            return Err(ResultsError::Io { action: "listing", path: extracted_data.to_owned(), source });
        }
    };
    paths.push(names::run_file(extracted_data, proposal, run));
    for path in paths {
        match read(&path, stamp) {
            Ok(found) => found.into_iter().for_each(|(name, made, answer)| {
                // The same rule as in a merge.
                if answers.get(&name).is_none_or(|(stored, _)| made.replaces(*stored)) {
                    answers.insert(name, (made, answer));
                }
            }),
            Err(_) if !path.exists() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answers.into_iter().map(|(name, (_, answer))| (name, answer)).collect())
}

type Found = Vec<(String, Made, StoredResult)>;

fn read(path: &Path, stamp: PlanStamp) -> Result<Found, ResultsError> {
    fs::metadata(path).doing("cannot open", path)?;
    let file = File::open(path).reading(path)?;
    let root = file.root().reading(path)?;
    list(&root, path, stamp).reading(path)
}

fn list(root: &Node, path: &Path, stamp: PlanStamp) -> H5Result<Found> {
    let errors = root.get(ERRORS)?;
    let mut answers = Vec::new();
    for (name, provenance) in read_provenance(root)? {
        if provenance.stamp < stamp || provenance.outcome == StoredOutcome::Removed {
            continue;
        }
        let error = match (&errors, provenance.outcome) {
            (Some(errors), StoredOutcome::Error | StoredOutcome::Skipped) => {
                errors.get(&name)?.map(|stored| -> H5Result<(String, String)> {
                    let class = stored.text_attribute("type")?.unwrap_or_default();
                    Ok((class, stored.read_texts()?.into_iter().next().unwrap_or_default()))
                })
            }
            _ => None,
        };
        let answer =
            StoredResult { path: path.to_owned(), outcome: provenance.outcome, error: error.transpose()? };
        answers.push((name, provenance.made(), answer));
    }
    Ok(answers)
}
