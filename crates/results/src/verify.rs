//! Is all there that a run file says is there?

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    copy::sources_of,
    error::{DoingTo, InFile, ResultsError},
    h5::{File, H5Result, Kind, Node},
    names::PROVENANCE,
    value::Provenance,
};

/// Something wrong with a run file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An array reads as zeros, because its file is gone.
    MissingSource {
        /// The dataset in the run file.
        dataset: String,
        /// The array file.
        source: PathBuf,
    },
    /// An array file cannot be read, or holds something else than the run file says.
    WrongSource {
        /// The dataset in the run file.
        dataset: String,
        /// The array file.
        source: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A dataset or group cannot be read.
    Unreadable {
        /// Its path in the run file.
        path: String,
        /// What the library says.
        reason: String,
    },
    /// Provenance that is no JSON of ours.
    BadProvenance {
        /// The variable.
        variable: String,
        /// What is wrong.
        reason: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::MissingSource { dataset, source } => {
                write!(f, "{dataset} reads as zeros: its array file {} is missing", source.display())
            }
            Finding::WrongSource { dataset, source, reason } => {
                write!(f, "{dataset} cannot be read from its array file {}: {reason}", source.display())
            }
            Finding::Unreadable { path, reason } => write!(f, "{path} cannot be read: {reason}"),
            Finding::BadProvenance { variable, reason } => {
                write!(f, "the provenance of {variable} cannot be read: {reason}")
            }
        }
    }
}

/// Checks that every array file is there and holds what the run file says, and that every part of the run file itself
/// can be read. Array files are opened but not read through.
///
/// # Errors
/// The run file itself cannot be opened.
pub fn verify(run_file: &Path) -> Result<Vec<Finding>, ResultsError> {
    std::fs::metadata(run_file).doing("cannot open", run_file)?;
    let file = File::open(run_file).reading(run_file)?;
    let root = file.root().reading(run_file)?;
    let mut findings = Vec::new();
    walk(&root, "", &mut findings);
    match sources_of(&root) {
        Err(error) => findings.push(Finding::Unreadable { path: "/".to_owned(), reason: error.to_string() }),
        Ok(sources) => {
            for located in sources {
                let source = run_file.with_file_name(&located.source.file);
                if !source.exists() {
                    findings.push(Finding::MissingSource { dataset: located.dataset, source });
                } else if let Err(reason) = compare(&root, &located.dataset, &source, &located.source.dataset)
                {
                    findings.push(Finding::WrongSource { dataset: located.dataset, source, reason });
                }
            }
        }
    }
    if let Ok(Some(group)) = root.get(PROVENANCE) {
        for variable in group.names().unwrap_or_default() {
            let text = group.open(&variable).and_then(|dataset| dataset.read_texts());
            let reason = match text.as_deref() {
                // Said above already.
                Err(_) => continue,
                Ok([text]) => match serde_json::from_str::<Provenance>(text) {
                    Ok(_) => continue,
                    Err(error) => error.to_string(),
                },
                Ok(_) => "it is not one text".to_owned(),
            };
            findings.push(Finding::BadProvenance { variable, reason });
        }
    }
    Ok(findings)
}

fn compare(root: &Node, dataset: &str, source: &Path, source_dataset: &str) -> Result<(), String> {
    let there = || -> H5Result<_> {
        let virtual_one = root.open(dataset)?;
        let file = File::open(source)?;
        let real = file.root()?.open(source_dataset)?;
        let of = |node: &Node| Ok((node.shape()?, node.dataset_type()?.dtype()?));
        Ok((of(&virtual_one)?, of(&real)?))
    };
    match there() {
        Err(error) => Err(error.to_string()),
        Ok((said, found)) if said == found => Ok(()),
        Ok((said, found)) => Err(format!("shape {:?} was expected, {:?} is there", said.0, found.0)),
    }
}

fn walk(node: &Node, path: &str, findings: &mut Vec<Finding>) {
    let result = match node.kind() {
        Kind::Group => node.names().map(|names| {
            for name in names {
                let path = format!("{path}/{name}");
                match node.open(&name) {
                    Ok(member) => walk(&member, &path, findings),
                    Err(error) => findings.push(Finding::Unreadable { path, reason: error.to_string() }),
                }
            }
        }),
        Kind::Dataset => read_through(node),
        Kind::Other => Ok(()),
    };
    if let Err(error) = result {
        let path = if path.is_empty() { "/" } else { path };
        findings.push(Finding::Unreadable { path: path.to_owned(), reason: error.to_string() });
    }
}

fn read_through(dataset: &Node) -> H5Result<()> {
    // A virtual dataset would only read its source.
    if dataset.virtual_sources()?.is_empty() {
        if dataset.dataset_type()?.is_variable_length() {
            dataset.read_texts()?;
        } else {
            dataset.read_bytes()?;
        }
    }
    Ok(())
}
