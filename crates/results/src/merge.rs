//! Putting fragments into the run's file, so that a reader or a crash never sees it half-changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use amore_model::{PlanStamp, Proposal, Run};
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

/// What a merge did.
#[derive(Debug, Default)]
pub struct MergeReport {
    /// Fragments whose content is in the run's file now, or is older than what is there: they may be removed once
    /// the run table has the rows.
    pub done: Vec<PathBuf>,
    /// Fragments that cannot be read, where they are now (`*.broken.h5`), and why.
    pub set_aside: Vec<(PathBuf, ResultsError)>,
    /// Fragments that refer to an array file that is not there, or not yet: left where they are.
    pub waiting: Vec<(PathBuf, ResultsError)>,
    /// Variables of which a new value or error is stored.
    pub stored: Vec<String>,
    /// Variables of which nothing is stored any more.
    pub removed: Vec<String>,
    /// Everything of which the run's file now has an answer from these fragments, a value or none, and the plan it
    /// came from.
    pub answered: Vec<(String, PlanStamp)>,
    /// Results that were dropped because the stored ones are newer.
    pub older: Vec<String>,
    /// Rows for the run table: of all in `stored` that have one.
    pub rows: Vec<ReducedRow>,
    /// Variables whose row must go: all in `removed`, and those in `stored` that have a value without a summary.
    pub without_row: Vec<String>,
    /// The run's first train, if a fragment says so.
    pub start_time: Option<f64>,
    /// Whether this is the start time of a mock run.
    pub mock_start: bool,
    /// The run's file has fewer readers than it would have, because this array has.
    pub fewer_readers: Option<FewerReaders>,
}

/// An array file that fewer people may read than would read the run file, and that belongs to somebody else.
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

/// A merge failed; run file and fragments are as they were.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The run file that is there cannot be read, so nothing can be added to it. It has to be moved away.
    #[error("the run file cannot be extended: {0}")]
    RunFile(#[source] ResultsError),
    /// Another process is merging in this directory and does not end.
    #[error("another process has been holding {lock} for {} s; it may be suspended", waited.as_secs())]
    Busy {
        /// The lock file.
        lock: PathBuf,
        /// How long this one waited.
        waited: Duration,
    },
    /// The run file changed again and again under our hands.
    #[error("{0} is constantly being replaced by another program")]
    Contended(PathBuf),
    /// Anything else, a full disk for one.
    #[error(transparent)]
    Results(#[from] ResultsError),
}

/// How long a merge waits for another one.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// Puts fragments of one run into its file, `extracted_data/p1234_r42.h5`, and says what changed. The fragments stay
/// where they are; merging one twice changes nothing.
///
/// # Errors
/// See [`MergeError`]. Nothing is lost and nothing half-written then.
pub fn merge(
    extracted_data: &Path,
    proposal: Proposal,
    run: Run,
    fragments: &[PathBuf],
) -> Result<MergeReport, MergeError> {
    let target = names::run_file(extracted_data, proposal, run);
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
                // Merged and removed by someone else meanwhile.
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
    /// The run file was replaced meanwhile.
    Again,
    /// This fragment cannot be copied from.
    Damaged(usize, ResultsError),
}

/// A file that results are taken from.
struct Incoming {
    path: PathBuf,
    // Before the file, so that it is closed first.
    root: Node,
    _file: File,
    /// All that the file says something about, without the start time.
    variables: BTreeMap<String, Provenance>,
    /// Variables whose provenance is not in the file.
    unsaid: BTreeSet<String>,
    start: Start,
    identity: (u64, u64),
}

/// What a file knows of the run's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Unknown,
    /// Only that of a mock run.
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
        // Tells a file that we may not read from one that is damaged.
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

/// A virtual dataset whose source is missing reads as its fill value, so this must be known before it is passed on.
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
        // It became the run file before; perhaps nobody lived to tell.
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
    // Sources are not checked: what is kept stays as it is, an array without its file included.
    Incoming::open_unchecked(target).map_err(MergeError::RunFile)
}

/// Can those who may read this fragment read its arrays?
fn has_its_readers(extracted_data: &Path, fragment: &Incoming) -> Result<bool, ResultsError> {
    let sources = sources_of(&fragment.root).reading(&fragment.path)?;
    if sources.is_empty() {
        return Ok(true);
    }
    let own = Readers::of(&fragment.path).doing("cannot look at", &fragment.path)?;
    let narrow = |source: &Located| readers::narrow(extracted_data, &own, &source.source.file);
    Ok(sources.iter().all(|source| narrow(source).is_ok_and(|found| found.is_none())))
}

/// Gives the fragment the run file's name as well. False if that cannot be, and the long way must be taken.
fn link(fragment: &Path, target: &Path) -> Result<bool, ResultsError> {
    match fs::hard_link(fragment, target) {
        Ok(()) => Ok(true),
        // Somebody else was first, or the file system has no hard links.
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

/// The report of a fragment that became the run file as it is.
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

/// Of a file's rows, takes those of the variables that changed.
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
    // A mock run's start is better than none, and nothing else.
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
        // From now on the array files that nothing refers to are only kept for those who still read them.
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

/// Copying from `file` failed: is the disk full, or the file damaged?
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

/// Renames a fragment that cannot be read, so that nobody tries again.
fn set_aside(path: &Path) -> Result<PathBuf, ResultsError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.strip_suffix(READY).unwrap_or(&name);
    let aside = path.with_file_name(format!("{stem}{BROKEN}"));
    fs::rename(path, &aside).doing("cannot set aside", path)?;
    Ok(aside)
}

/// Two merges at once would lose what one of them adds. Where the file system has no locks, the look at the run file
/// just before it is replaced is all there is.
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
