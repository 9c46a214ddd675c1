//! Checks that a run file is intact and all its arrays exist.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::{
    copy::{Located, hides_loss, sources_of},
    error::{DoingTo, InFile, ResultsError},
    h5::{File, H5Result, Kind, Node, VirtualSource},
    names::PROVENANCE,
    readers::{self, Readers},
    value::Provenance,
};

/// A problem of a run file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An array's file is missing.
    MissingSource {
        /// The dataset in the run file.
        dataset: String,
        /// The array file.
        source: PathBuf,
        /// What other programs read instead.
        reads_as: &'static str,
    },
    /// An array's file cannot be read by this user.
    UnreadableSource {
        /// The dataset in the run file.
        dataset: String,
        /// The array file.
        source: PathBuf,
        /// The cause.
        reason: String,
        /// What this user reads instead, in other programs.
        reads_as: &'static str,
    },
    /// Some readers of the run file cannot read an array.
    FewerReaders {
        /// The dataset in the run file.
        dataset: String,
        /// The array file, or a directory on the way to it.
        path: PathBuf,
        /// Its permissions.
        rights: String,
        /// Permissions of the run file.
        run_file: String,
    },
    /// An array, written by an earlier version, would read as zeros if its file were missing.
    HidesLoss {
        /// The dataset in the run file.
        dataset: String,
    },
    /// An array file cannot be read, or its content does not match the run file.
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
        /// The library's message.
        reason: String,
    },
    /// Invalid provenance.
    BadProvenance {
        /// The variable.
        variable: String,
        /// What is wrong.
        reason: String,
    },
}

impl Finding {
    /// Whether this is only a warning: everything exists.
    pub fn is_note(&self) -> bool {
        matches!(self, Finding::HidesLoss { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::MissingSource { dataset, source, reads_as } => {
                write!(f, "{dataset} reads as {reads_as}: its array file {} is missing", source.display())
            }
            Finding::UnreadableSource { dataset, source, reason, reads_as } => write!(
                f,
                "{dataset} reads as {reads_as} for you: its array file {} cannot be read: {reason}",
                source.display()
            ),
            Finding::FewerReaders { dataset, path, rights, run_file } => write!(
                f,
                "{dataset} cannot be read by all who may read the run file ({run_file}): {} is {rights}; its owner can \
                 change that (chmod, chgrp), and so does the next result that its owner's command stores for this run",
                path.display()
            ),
            Finding::HidesLoss { dataset } => write!(
                f,
                "{dataset} would read as zeros if its array file were missing (written by an earlier version): the next \
                 result that is stored for this run changes that, of truth values when they are computed again"
            ),
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

/// Checks that every array file exists and matches the run file, and that every part of the run file can be read. Array files
/// are opened but not read completely.
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
            let own = Readers::of(run_file).doing("cannot look at", run_file)?;
            for located in sources {
                findings.extend(check_source(run_file, &own, &root, located));
            }
        }
    }
    if let Ok(Some(group)) = root.get(PROVENANCE) {
        for variable in group.names().unwrap_or_default() {
            let text = group.open(&variable).and_then(|dataset| dataset.read_texts());
            let reason = match text.as_deref() {
                // Already reported above.
                Err(_) => continue,
                Ok([text]) => match serde_json::from_str::<Provenance>(text) {
                    Ok(_) => continue,
                    Err(error) => error.to_string(),
                },
                Ok(_) => "it is not a single text".to_owned(),
            };
            findings.push(Finding::BadProvenance { variable, reason });
        }
    }
    Ok(findings)
}

/// What is wrong with an array file, if anything.
fn check_source(run_file: &Path, own: &Readers, root: &Node, located: Located) -> Option<Finding> {
    let Located { dataset, source: VirtualSource { file, dataset: source_dataset } } = located;
    let source = run_file.with_file_name(&file);
    let reads_as = root.open(&dataset).and_then(|node| reads_as(&node)).unwrap_or("zeros");
    match fs::File::open(&source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(Finding::MissingSource { dataset, source, reads_as });
        }
        Err(error) => {
            let reason = error.to_string();
            return Some(Finding::UnreadableSource { dataset, source, reason, reads_as });
        }
        Ok(_) => {}
    }
    if let Err(reason) = compare(root, &dataset, &source, &source_dataset) {
        return Some(Finding::WrongSource { dataset, source, reason });
    }
    let extracted_data = run_file.parent().unwrap_or(Path::new("."));
    if let Ok(Some(narrow)) = readers::narrow(extracted_data, own, &file) {
        return Some(Finding::FewerReaders {
            dataset,
            path: narrow.path,
            rights: narrow.readers.in_words(),
            run_file: own.in_words(),
        });
    }
    let hidden = root.open(&dataset).and_then(|node| hides_loss(&node)).unwrap_or(false);
    hidden.then_some(Finding::HidesLoss { dataset })
}

/// What readers see of a virtual dataset whose source is unreadable.
fn reads_as(node: &Node) -> H5Result<&'static str> {
    let dtype = node.dataset_type()?.dtype()?;
    Ok(match dtype {
        Some(dtype) if dtype.missing() == Some(node.fill_value()?) => dtype.missing_in_words(),
        _ => "zeros",
    })
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
        Ok((said, found)) => Err(format!("shape {:?} was expected, found {:?}", said.0, found.0)),
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
