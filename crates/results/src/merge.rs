//! Merges fragments into the run file, so that neither a reader nor a crash ever sees it partly changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use amore_model::{PlanStamp, Proposal, Run};
use amore_shared_files::{own_folder, umask};
use nix::fcntl::{Flock, FlockArg};

use crate::{
    copy::{Copier, Located, sources_of},
    error::{DoingTo, InFile, ResultsError, write_error},
    fragment::{begin, provenance_text},
    h5::{File, H5Error, H5Result, Node},
    large, names,
    names::{BROKEN, PROVENANCE, READY, SIDE_GROUPS, START_TIME},
    netcdf,
    output::Output,
    readers::{self, Readers, Settled},
    reduced::{self, ReducedRow, RunFileSummary},
    sync_directory::sync_directory,
    value::{ArrayData, Provenance, StoredOutcome},
};

/// Result of a merge.
#[derive(Debug, Default)]
pub struct MergeReport {
    /// Fragments whose content is now in the run file, or is older than that in the run file. They may be removed once the
    /// run table has the rows.
    pub done: Vec<PathBuf>,
    /// Unreadable fragments: their new path (`*.broken.h5`), and the reason.
    pub set_aside: Vec<(PathBuf, ResultsError)>,
    /// Fragments that refer to an array file that does not exist, or is not visible yet. They are left in place.
    pub waiting: Vec<(PathBuf, ResultsError)>,
    /// Variables with a newly stored value or error.
    pub stored: Vec<String>,
    /// Variables whose results were removed.
    pub removed: Vec<String>,
    /// Variables for which the run file now has an outcome from these fragments (a value or none), with the plan that it is
    /// from.
    pub answered: Vec<(String, PlanStamp)>,
    /// Results that were dropped because the stored ones are newer.
    pub older: Vec<String>,
    /// Rows for the run table: those of the variables in `stored` that have one.
    pub rows: Vec<ReducedRow>,
    /// Variables whose row must be removed: all in `removed`, and those in `stored` that have a value without a summary.
    pub without_row: Vec<String>,
    /// The run's first train, if a fragment contains it.
    pub start_time: Option<f64>,
    /// Whether this is the start time of a mock run.
    pub mock_start: bool,
    /// Set if the run file has fewer readers than it should have, because this array has fewer.
    pub fewer_readers: Option<FewerReaders>,
}

/// An array file of another user that fewer people can read than the run file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FewerReaders {
    /// The array file, or a directory on the way to it.
    pub path: PathBuf,
    /// `rw-rw---- alice:users`
    pub rights: String,
}

impl FewerReaders {
    fn of(narrow: &readers::Narrow) -> Self {
        FewerReaders { path: narrow.path.clone(), rights: narrow.readers.in_words() }
    }
}

/// A merge failed. The run file and the fragments are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The existing run file cannot be read, so nothing can be added to it. It has to be moved away.
    #[error("the run file cannot be extended: {0}")]
    RunFile(#[source] ResultsError),
    /// Another process is merging in this directory and does not finish.
    #[error("another process has been holding {lock} for {} s; it may be suspended", waited.as_secs())]
    Busy {
        /// The lock file.
        lock: PathBuf,
        /// How long this process has waited.
        waited: Duration,
    },
    /// The run file was replaced repeatedly during the merge.
    #[error("{0} is constantly being replaced by another program")]
    Contended(PathBuf),
    /// Another error, such as a full disk.
    #[error(transparent)]
    Results(#[from] ResultsError),
}

/// How long to wait for another merge.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// Merges fragments of one run into its file, `extracted_data/p1234_r42.h5`, and returns what changed. The fragments are
/// not removed; merging one twice changes nothing.
///
/// # Errors
/// See [`MergeError`]. Nothing is lost then, and no file is partly written.
pub fn merge(
    extracted_data: &Path,
    proposal: Proposal,
    run: Run,
    fragments: &[PathBuf],
) -> Result<MergeReport, MergeError> {
    let target = names::run_file(extracted_data, proposal, run);
    own_folder::open(extracted_data).doing("cannot use", extracted_data)?;
    let _lock = lock(extracted_data)?;
    let mut report = MergeReport::default();
    let mut pending: Vec<PathBuf> = Vec::new();
    for path in fragments {
        if !pending.contains(path) {
            pending.push(path.clone());
        }
    }
    for _ in 0..10 {
        let mut incoming = Vec::new();
        for path in std::mem::take(&mut pending) {
            match Incoming::open(&path) {
                Ok(fragment) => {
                    incoming.push(fragment);
                    pending.push(path);
                }
                // Another process has merged and removed it meanwhile.
                Err(ResultsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error @ ResultsError::MissingSource { .. }) => report.waiting.push((path, error)),
                Err(error @ (ResultsError::Damaged { .. } | ResultsError::Name(_))) => {
                    let aside = set_aside(&path)?;
                    report.set_aside.push((aside, error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if incoming.is_empty() {
            return Ok(report);
        }
        match try_merge(extracted_data, proposal, run, &target, &incoming, &mut report)? {
            Tried::Done => {
                report.done = pending;
                return Ok(report);
            }
            Tried::Again => {}
            Tried::Damaged(index, error) => {
                drop(incoming);
                let path = pending.remove(index);
                let aside = set_aside(&path)?;
                report.set_aside.push((aside, error));
            }
        }
    }
    Err(MergeError::Contended(target))
}

enum Tried {
    Done,
    /// The run file was replaced meanwhile; try again.
    Again,
    /// This fragment cannot be copied.
    Damaged(usize, ResultsError),
}

/// A file whose results are merged.
struct Incoming {
    path: PathBuf,
    // Declared before the file, so that it is closed first.
    root: Node,
    _file: File,
    /// All variables with an entry in the file, except for the start time.
    variables: BTreeMap<String, Provenance>,
    /// Variables without provenance in the file.
    unsaid: BTreeSet<String>,
    start: Start,
    identity: (u64, u64),
}

/// What a file contains about the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Unknown,
    /// Only the start of a mock run.
    Mock,
    Real,
}

impl Incoming {
    fn open(path: &Path) -> Result<Incoming, ResultsError> {
        let incoming = Self::open_unchecked(path)?;
        check_sources(path, &incoming.root)?;
        Ok(incoming)
    }

    fn open_unchecked(path: &Path) -> Result<Incoming, ResultsError> {
        let metadata = fs::metadata(path).doing("cannot open", path)?;
        // Distinguishes a file without read permission from a damaged one.
        drop(fs::File::open(path).doing("cannot open", path)?);
        let file = File::open(path).reading(path)?;
        let root = file.root().reading(path)?;
        let (variables, unsaid, start) = list(&root, &metadata).reading(path)?;
        for name in variables.keys() {
            names::check_variable(name)?;
        }
        Ok(Incoming {
            path: path.to_owned(),
            root,
            _file: file,
            variables,
            unsaid,
            start,
            identity: (metadata.dev(), metadata.ino()),
        })
    }
}

type Listing = (BTreeMap<String, Provenance>, BTreeSet<String>, Start);

fn list(root: &Node, metadata: &fs::Metadata) -> H5Result<Listing> {
    let mut variables = reduced::read_provenance(root)?;
    let mut unsaid = BTreeSet::new();
    let mut found: BTreeMap<String, StoredOutcome> = BTreeMap::new();
    for name in root.names()?.into_iter().filter(|name| !name.starts_with('.')) {
        found.insert(name, StoredOutcome::Value);
    }
    for group in SIDE_GROUPS {
        let Some(members) = root.get(group)? else { continue };
        for name in members.names()? {
            let outcome = match group {
                names::ERRORS
                    if members.open(&name)?.text_attribute("type")?.as_deref() == Some(names::SKIP) =>
                {
                    StoredOutcome::Skipped
                }
                names::ERRORS => StoredOutcome::Error,
                names::PROVENANCE => continue,
                _ => StoredOutcome::Value,
            };
            found.insert(name, outcome);
        }
    }
    let start = match found.remove(START_TIME) {
        None => Start::Unknown,
        Some(_) if reduced::is_mock(root)? => Start::Mock,
        Some(_) => Start::Real,
    };
    let maker = root.text_attribute("provenance")?.unwrap_or_default();
    let micros = (metadata.mtime().max(0) as u64) * 1_000_000 + (metadata.mtime_nsec() / 1000) as u64;
    for (name, outcome) in found {
        variables.entry(name.clone()).or_insert_with(|| {
            unsaid.insert(name);
            Provenance {
                outcome,
                foreign: true,
                task: maker.clone(),
                stamp: PlanStamp { epoch: 0, micros },
                ..Provenance::default()
            }
        });
    }
    Ok((variables, unsaid, start))
}

/// A virtual dataset whose source is missing reads as its fill value. So sources are checked before the dataset is copied.
pub(crate) fn check_sources(path: &Path, root: &Node) -> Result<(), ResultsError> {
    for source in sources_of(root).reading(path)? {
        let file = path.with_file_name(&source.source.file);
        let readable = File::open(&file).and_then(|file| file.root()?.open(&source.source.dataset));
        if readable.is_err() {
            return Err(ResultsError::MissingSource {
                file: path.to_owned(),
                dataset: source.dataset,
                source_file: file,
            });
        }
    }
    Ok(())
}

fn try_merge(
    extracted_data: &Path,
    proposal: Proposal,
    run: Run,
    target: &Path,
    incoming: &[Incoming],
    report: &mut MergeReport,
) -> Result<Tried, MergeError> {
    let existing = match fs::metadata(target) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            let error = ResultsError::Io { action: "cannot open", path: target.to_owned(), source };
            return Err(MergeError::RunFile(error));
        }
    };
    if let ([only], None) = (incoming, &existing)
        && only.unsaid.is_empty()
        && hides_nothing(only)?
        && has_its_readers(extracted_data, only)?
        && link(&only.path, target)?
    {
        sync_directory(extracted_data)?;
        describe(report, only)?;
        return Ok(Tried::Done);
    }
    if let ([only], Some(metadata)) = (incoming, &existing)
        && only.identity == (metadata.dev(), metadata.ino())
    {
        // It became the run file in an earlier merge, which may have been killed before it could report that.
        sync_directory(extracted_data)?;
        describe(report, only)?;
        return Ok(Tried::Done);
    }
    let base = match &existing {
        Some(_) => Some(open_base(target)?),
        None => None,
    };
    if base.as_ref().map(|base| base.identity) != existing.as_ref().map(|found| (found.dev(), found.ino())) {
        return Ok(Tried::Again);
    }
    rewrite(extracted_data, proposal, run, target, base.as_ref(), incoming, report)
}

fn open_base(target: &Path) -> Result<Incoming, MergeError> {
    // Sources are not checked: results that are kept stay unchanged, even an array whose file is missing.
    Incoming::open_unchecked(target).map_err(MergeError::RunFile)
}

/// Whether everyone can read this fragment whom this process lets read its files. A job may have written it with a stricter umask.
fn hides_nothing(fragment: &Incoming) -> Result<bool, ResultsError> {
    let readers = Readers::of(&fragment.path).doing("cannot look at", &fragment.path)?;
    Ok(readers.include_those_of(umask::own()))
}

/// Whether everyone who can read this fragment can read its arrays.
fn has_its_readers(extracted_data: &Path, fragment: &Incoming) -> Result<bool, ResultsError> {
    let sources = sources_of(&fragment.root).reading(&fragment.path)?;
    if sources.is_empty() {
        return Ok(true);
    }
    let own = Readers::of(&fragment.path).doing("cannot look at", &fragment.path)?;
    let narrow = |source: &Located| readers::narrow(extracted_data, &own, &source.source.file);
    Ok(sources.iter().all(|source| narrow(source).is_ok_and(|found| found.is_none())))
}

/// Hard-links the fragment to the run file's name. Returns false if this is not possible and the file has to be written.
fn link(fragment: &Path, target: &Path) -> Result<bool, ResultsError> {
    match fs::hard_link(fragment, target) {
        Ok(()) => Ok(true),
        // Another process was faster, or the file system has no hard links.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::AlreadyExists | io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error).doing("cannot create", target),
    }
}

/// Fills in the report for a fragment that became the run file unchanged.
fn describe(report: &mut MergeReport, fragment: &Incoming) -> Result<(), ResultsError> {
    let summary = reduced::summarise(&fragment.root).reading(&fragment.path)?;
    (report.start_time, report.mock_start) = (summary.start_time, summary.mock_start);
    for (name, provenance) in &fragment.variables {
        tell(report, name, provenance);
    }
    take_rows(report, summary);
    Ok(())
}

fn tell(report: &mut MergeReport, name: &str, provenance: &Provenance) {
    report.answered.push((name.to_owned(), provenance.stamp));
    match provenance.outcome {
        StoredOutcome::Nothing | StoredOutcome::Removed => report.removed.push(name.to_owned()),
        StoredOutcome::Value | StoredOutcome::Error | StoredOutcome::Skipped => {
            report.stored.push(name.to_owned());
        }
    }
}

/// Takes from a file's rows those of the changed variables.
fn take_rows(report: &mut MergeReport, summary: RunFileSummary) {
    let changed: BTreeSet<&String> = report.stored.iter().chain(&report.removed).collect();
    report.rows = summary.rows.into_iter().filter(|row| changed.contains(&row.name)).collect();
    let with_row: BTreeSet<&String> = report.rows.iter().map(|row| &row.name).collect();
    report.without_row = changed.into_iter().filter(|name| !with_row.contains(name)).cloned().collect();
}

fn rewrite(
    extracted_data: &Path,
    proposal: Proposal,
    run: Run,
    target: &Path,
    base: Option<&Incoming>,
    incoming: &[Incoming],
    report: &mut MergeReport,
) -> Result<Tried, MergeError> {
    // Which file each variable's result is taken from: the run file (none) or a fragment.
    let mut winners: BTreeMap<&str, (Option<usize>, &Provenance)> = BTreeMap::new();
    if let Some(base) = base {
        winners.extend(base.variables.iter().map(|(name, provenance)| (name.as_str(), (None, provenance))));
    }
    let mut older = BTreeSet::new();
    for (index, fragment) in incoming.iter().enumerate() {
        for (name, provenance) in &fragment.variables {
            match winners.get(name.as_str()) {
                Some((_, stored)) if !provenance.made().replaces(stored.made()) => {
                    older.insert(name.clone());
                }
                _ => {
                    winners.insert(name, (Some(index), provenance));
                }
            }
        }
    }
    report.stored.clear();
    report.removed.clear();
    report.answered.clear();
    report.older = older.into_iter().collect();
    for (name, (from, provenance)) in &winners {
        if from.is_some() {
            tell(report, name, provenance);
        }
    }
    let known = base.filter(|base| base.start != Start::Unknown);
    let last = |start| incoming.iter().rev().find(|fragment| fragment.start == start);
    // The start time of a mock run is used only if there is no other.
    let starts = last(Start::Real).or(known).or_else(|| last(Start::Mock));
    let nothing_new = report.stored.is_empty() && report.removed.is_empty();
    if nothing_new && base.is_some() && (known.is_some() || starts.is_none()) {
        take_rows(report, RunFileSummary::default());
        return Ok(Tried::Done);
    }

    let sizes = base.iter().copied().chain(incoming);
    let expected = sizes.map(|file| fs::metadata(&file.path).map_or(0, |metadata| metadata.len())).sum();
    let output = Output::create(extracted_data, &names::run_stem(proposal, run), expected)?;
    let path = output.path().to_owned();
    let root = output.root()?;
    let first = base.unwrap_or(&incoming[0]);
    let title = first.root.text_attribute("provenance").reading(&first.path)?.unwrap_or_default();
    begin(&root, &title).writing(&path)?;

    let mut copier = Copier::new(&root);
    if let Some(file) = starts
        && let Err(error) = copier.variable(&file.root, START_TIME)
    {
        return failed(error, file, &path, incoming);
    }
    for (name, (from, provenance)) in &winners {
        let file = match (from, base) {
            (Some(index), _) => &incoming[*index],
            (None, Some(base)) => base,
            (None, None) => continue,
        };
        let kept = !matches!(provenance.outcome, StoredOutcome::Nothing | StoredOutcome::Removed);
        if kept && let Err(error) = copier.variable(&file.root, name) {
            return failed(error, file, &path, incoming);
        }
        write_provenance(&root, name, provenance).writing(&path)?;
    }
    let summary = reduced::summarise(&root).writing(&path)?;
    let kept_sources: BTreeSet<String> =
        sources_of(&root).writing(&path)?.into_iter().map(|source| source.source.file).collect();
    drop(copier);
    drop(root);
    let sealed = output.seal()?;
    let wanted = match base {
        Some(base) => Some(Readers::of(&base.path).doing("cannot look at", &base.path)?),
        None => None,
    };
    let sources = kept_sources.iter().map(String::as_str);
    report.fewer_readers = match readers::settle(extracted_data, sealed.path(), wanted.as_ref(), sources)? {
        Settled::Same => None,
        Settled::Narrowed(narrow) => Some(FewerReaders::of(&narrow)),
    };

    if let Some(base) = base {
        // From now on, array files that nothing refers to are only kept for readers that still use them.
        for source in sources_of(&base.root).reading(&base.path)? {
            if !kept_sources.contains(&source.source.file) {
                large::note_superseded(&extracted_data.join(&source.source.file))?;
            }
        }
    }
    let unchanged = match (fs::metadata(target), base) {
        (Ok(metadata), Some(base)) => base.identity == (metadata.dev(), metadata.ino()),
        (Err(error), None) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    };
    if !unchanged {
        return Ok(Tried::Again);
    }
    sealed.rename_to(target)?;
    (report.start_time, report.mock_start) = (summary.start_time, summary.mock_start);
    take_rows(report, summary);
    Ok(Tried::Done)
}

fn write_provenance(root: &Node, name: &str, provenance: &Provenance) -> H5Result<()> {
    let text = ArrayData::text(provenance_text(provenance));
    netcdf::write_array(&root.open(PROVENANCE)?, name, &text, false, None).map(drop)
}

/// Handles an error while copying from `file`: the disk is full, or the file is damaged.
fn failed(
    error: H5Error,
    file: &Incoming,
    output: &Path,
    incoming: &[Incoming],
) -> Result<Tried, MergeError> {
    if error.is_write() {
        return Err(write_error(error, output).into());
    }
    let damaged = ResultsError::Damaged { path: file.path.clone(), reason: error.to_string() };
    match incoming.iter().position(|other| std::ptr::eq(other, file)) {
        Some(index) => Ok(Tried::Damaged(index, damaged)),
        None => Err(MergeError::RunFile(damaged)),
    }
}

/// Renames an unreadable fragment, so that it is not tried again.
fn set_aside(path: &Path) -> Result<PathBuf, ResultsError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.strip_suffix(READY).unwrap_or(&name);
    let aside = path.with_file_name(format!("{stem}{BROKEN}"));
    fs::rename(path, &aside).doing("cannot set aside", path)?;
    Ok(aside)
}

/// Locks the directory: two concurrent merges would lose one's results. If the file system has no locks, the only
/// protection is the check of the run file just before it is replaced.
fn lock(extracted_data: &Path) -> Result<Option<Flock<fs::File>>, MergeError> {
    let path = extracted_data.join(".collect.lock");
    let begin = Instant::now();
    loop {
        let file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .doing("cannot open the lock file", &path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) if begin.elapsed() < LOCK_WAIT => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                return Err(MergeError::Busy { lock: path, waited: begin.elapsed() });
            }
            Err((
                _,
                nix::errno::Errno::ENOLCK | nix::errno::Errno::ENOSYS | nix::errno::Errno::EOPNOTSUPP,
            )) => {
                return Ok(None);
            }
            Err((_, errno)) => {
                let error = ResultsError::Io { action: "cannot lock", path, source: errno.into() };
                return Err(error.into());
            }
        }
    }
}
