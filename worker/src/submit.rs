//! `amore-worker submit`: stores results that come from outside. `damnit_ctx.submit()` sends them as a context host's child
//! sends its values: so they are stored in the same way. All of them are in one fragment, or none.

use std::{
    fs,
    io::{self, Write},
    os::fd::{AsFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use amore_model::{DatabaseDir, PlanStamp, Proposal, Run};
use amore_results::{FragmentWriter, Provenance, ResultsError};
use amore_wire::host::{FromChild, ToChild};
use serde_json::json;

use crate::{
    fragments::make_folder,
    lines::{Lines, Received},
    shared_memory::SharedMemory,
    value_channel::ValueChannel,
    values::{TakeError, assemble, take_streams},
};

/// Where results belong, and who has made them.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Database directory.
    #[arg(long)]
    directory: PathBuf,
    /// Proposal of the run.
    #[arg(long)]
    proposal: u32,
    /// The run.
    #[arg(long)]
    run: u32,
    /// What has computed the results.
    #[arg(long)]
    provenance: String,
    /// File descriptor of the memory with their arrays.
    #[arg(long)]
    memory: i32,
}

/// Why results were not stored.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Storage(#[from] ResultsError),
    #[error("{name}: {source}")]
    Value { name: String, source: ResultsError },
    #[error("the program that submits results ended before it had sent all of them")]
    Unfinished,
    #[error("the program that submits results sent {0:?}")]
    Unexpected(Box<FromChild>),
}

impl From<TakeError> for SubmitError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Child(error) => SubmitError::Io(error),
            TakeError::Storage(error) => SubmitError::Storage(error),
            TakeError::TimedOut => SubmitError::Unfinished,
        }
    }
}

/// Receives results on standard input, a socket, and prints the path of their fragment as JSON.
///
/// # Errors
/// Nothing is stored.
pub fn submit(arguments: &Arguments) -> Result<(), SubmitError> {
    // SAFETY: the caller has opened it for this process, and says so; nothing else here uses it.
    let memory = unsafe { OwnedFd::from_raw_fd(arguments.memory) };
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let channel = ValueChannel::new(Lines::new(socket), SharedMemory::of(memory)?);
    let path = store(arguments, channel)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({ "fragment": path }))?;
    Ok(out.flush()?)
}

fn store(arguments: &Arguments, mut channel: ValueChannel) -> Result<PathBuf, SubmitError> {
    let folder = DatabaseDir::at(arguments.directory.clone()).extracted_data();
    make_folder(&folder)?;
    let (proposal, run) = (Proposal(arguments.proposal), Run(arguments.run));
    let mut writer = FragmentWriter::create(&folder, proposal, run, &arguments.provenance)?;
    let provenance = provenance(&arguments.provenance);
    loop {
        match channel.listen(None)? {
            Received::Message(FromChild::Value(value)) => {
                let of = |source| SubmitError::Value { name: value.name.clone(), source };
                let streamed =
                    take_streams(&mut channel, &value, &folder, proposal, run, None).and_then(|streamed| {
                        let assembled = assemble(&value, &channel.memory, &streamed)?;
                        Ok(writer.value(&value.name, &assembled, &provenance)?)
                    });
                match streamed {
                    Ok(()) => {}
                    Err(TakeError::Storage(error)) => return Err(of(error)),
                    Err(error) => return Err(error.into()),
                }
                channel.say(&ToChild::Taken)?;
            }
            Received::Message(FromChild::Nothing { name, .. }) => writer.nothing(&name, &provenance)?,
            Received::Message(FromChild::Failed { name, class, message, skipped, .. }) => {
                if skipped == Some(true) {
                    writer.skipped(&name, &message, &provenance)?;
                } else {
                    writer.error(&name, &class, &message, &provenance)?;
                }
            }
            Received::Message(FromChild::Done { .. }) => {
                let path = writer.finish()?;
                share(&path);
                return Ok(path);
            }
            Received::Message(other) => return Err(SubmitError::Unexpected(Box::new(other))),
            Received::Closed | Received::TimedOut => return Err(SubmitError::Unfinished),
        }
    }
}

/// Of a result that has no plan: the clock decides between it and others.
fn provenance(by: &str) -> Provenance {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Provenance {
        task: by.to_owned(),
        foreign: true,
        stamp: PlanStamp { epoch: 0, micros: now.as_micros().try_into().unwrap_or(u64::MAX) },
        host: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        started_at: now.as_secs_f64(),
        ..Provenance::default()
    }
}

/// Whoever may read the folder may collect the fragment: it is perhaps another member of the group.
fn share(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Some(folder) = path.parent().and_then(|folder| fs::metadata(folder).ok()) else { return };
    let rights = folder.permissions().mode() & 0o666;
    // The one who has written it can do that. If not, its owner collects it.
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(rights | 0o600));
}
