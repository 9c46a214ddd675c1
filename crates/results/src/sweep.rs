//! Removes unused files: array files that nothing refers to, and unfinished files of dead writers.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use amore_model::{Proposal, Run};

use crate::{
    copy::sources_of,
    error::{DoingTo, InFile, ResultsError},
    h5::File,
    names::{self, ARRAYS, WRITING},
};

/// Removes from one run the array files to which neither its run file nor any fragment refers, and unfinished files; both only
/// if they have not changed for `grace` before `now`. Returns the removed files.
///
/// `grace` must be longer than readers keep a run file open, and longer than a worker takes from finishing an array to finishing
/// the fragment that refers to it.
///
/// # Errors
/// The run file or a fragment cannot be read (then nothing is removed, because it may refer to anything), or the file system
/// fails.
pub fn sweep(
    extracted_data: &Path,
    proposal: Proposal,
    run: Run,
    now: SystemTime,
    grace: Duration,
) -> Result<Vec<PathBuf>, ResultsError> {
    let stem = names::run_stem(proposal, run);
    let arrays = extracted_data.join(ARRAYS).join(&stem);
    // Array files first: files finished after this listing are not included, and fragments that refer to the listed ones are
    // seen below.
    let candidates: Vec<PathBuf> =
        files(&arrays)?.into_iter().filter(|path| is_old(path, now, grace)).collect();

    let mut needed = BTreeSet::new();
    let mut removed = Vec::new();
    // The run file last: it contains fragments that were merged and removed in the meantime.
    let run_file = names::run_file(extracted_data, proposal, run);
    let listed = files(extracted_data)?;
    for path in listed.into_iter().filter(|path| *path != run_file).chain([run_file.clone()]) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let of_this_run = name.strip_prefix(&stem).is_some_and(|rest| rest.starts_with('.'));
        if !of_this_run {
            continue;
        }
        if name.ends_with(WRITING) {
            if is_old(&path, now, grace) {
                remove(path, &mut removed)?;
            }
        } else if name.ends_with(".h5") && !name.ends_with(names::BROKEN) {
            needed.extend(references(&path)?);
        }
    }
    for path in candidates {
        if !needed.contains(&path) {
            remove(path, &mut removed)?;
        }
    }
    Ok(removed)
}

fn references(path: &Path) -> Result<Vec<PathBuf>, ResultsError> {
    let file = match File::open(path) {
        // Merged and removed since the directory was listed, or no run file yet.
        Err(_) if !path.exists() => return Ok(Vec::new()),
        other => other.reading(path)?,
    };
    let root = file.root().reading(path)?;
    let sources = sources_of(&root).reading(path)?;
    Ok(sources.into_iter().map(|located| path.with_file_name(&located.source.file)).collect())
}

fn files(directory: &Path) -> Result<BTreeSet<PathBuf>, ResultsError> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        other => other
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<BTreeSet<_>>>())
            .doing("cannot list", directory),
    }
}

fn is_old(path: &Path, now: SystemTime, grace: Duration) -> bool {
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
    // A file of unknown age is kept.
    changed.is_ok_and(|changed| now.duration_since(changed).is_ok_and(|age| age >= grace))
}

fn remove(path: PathBuf, removed: &mut Vec<PathBuf>) -> Result<(), ResultsError> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => {
            other.doing("cannot remove", &path)?;
            removed.push(path);
            Ok(())
        }
    }
}
