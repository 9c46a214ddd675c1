//! `amore init`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use amore_model::Proposal;
use serde::Serialize;

use super::{failure::Failure, open, output};
use crate::{
    database_dir::{DatabaseDir, locate, must_have_run_table, share_with_group},
    site,
};

/// The initial context file.
const STARTER: &str = include_str!("../../../templates/context.py");

/// Set up a database directory, optionally with a copy of another context file.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Proposal number (for its directory usr/Shared/amore) or a directory.
    proposal_or_dir: String,
    /// Proposal number, if a directory is given.
    #[arg(long)]
    proposal: Option<Proposal>,
    /// Proposal number or database directory to copy the context file and the user-editable variables from.
    #[arg(long)]
    like: Option<String>,
    /// Context file to copy.
    #[arg(long)]
    context: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The answer in JSON.
#[derive(Serialize)]
struct Answer<'a> {
    directory: &'a Path,
    proposal: Option<Proposal>,
    /// Whether the database was created; otherwise it existed before.
    made_database: bool,
    context_file: &'a Path,
    /// Whether it was written; otherwise it existed before.
    wrote_context_file: bool,
}

/// Creates what is missing, and overwrites nothing.
pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (path, proposal) = match arguments.proposal_or_dir.parse::<Proposal>() {
        Ok(proposal) => (site::find_proposal(proposal)?.join("usr/Shared/amore"), proposal),
        Err(_) => {
            let path = PathBuf::from(&arguments.proposal_or_dir);
            let proposal = arguments.proposal.or_else(|| proposal_in(&path)).ok_or_else(|| {
                Failure::new(format!("which proposal does {} belong to?", path.display()))
                    .hint("pass --proposal NUMBER")
            })?;
            (path, proposal)
        }
    };
    let like = arguments.like.as_deref().map(|like| locate(Some(like))).transpose()?;
    if let Some(like) = &like {
        must_have_run_table(like)?;
    }
    let text = match (&arguments.context, &like) {
        (Some(file), _) => read(file)?,
        (None, Some(like)) => read(&like.context_file())?,
        (None, None) => STARTER.to_owned(),
    };
    fs::create_dir_all(&path)
        .map_err(|error| Failure::new(format!("cannot create {}: {error}", path.display())))?;
    let dir = DatabaseDir::at(path.canonicalize().unwrap_or(path));
    share_with_group(dir.path());
    // As text, each step is reported when it is done: the next one may fail.
    let say = |words: String| {
        if !arguments.json {
            output::say(words);
        }
    };
    let made_database = !dir.run_table().exists();
    if made_database {
        open::create(&dir, proposal).await?;
        if let Some(like) = &like {
            open::copy_user_variables(like, &dir).await?;
        }
        say(format!("Created an empty database for proposal {proposal} in {}", dir.path().display()));
    } else {
        say(format!("{} already has a database; it was not changed", dir.path().display()));
    }
    let context_file = dir.context_file();
    let wrote_context_file = !context_file.exists();
    if wrote_context_file {
        fs::write(&context_file, text)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", context_file.display())))?;
        say(format!("Wrote {}", context_file.display()));
    } else {
        say("context.py already exists; it was not changed".to_owned());
    }
    if arguments.json {
        output::say_json(&Answer {
            directory: dir.path(),
            // An existing database may belong to another proposal.
            proposal: open::own_proposal(&open::for_reading(&dir).await?).await?,
            made_database,
            context_file: &context_file,
            wrote_context_file,
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = crate::context_file::read(file).map_err(|problem| Failure::new(problem.message))?;
    Ok(text.text)
}

/// The `p001234` in a path, if any.
fn proposal_in(path: &Path) -> Option<Proposal> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.components().rev().find_map(|part| {
        let digits = part.as_os_str().to_str()?.strip_prefix('p')?;
        (digits.len() == 6).then(|| digits.parse().ok().map(Proposal)).flatten()
    })
}
