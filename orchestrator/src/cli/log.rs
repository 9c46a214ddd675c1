//! `amore log RUN [-f]`.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead, IsTerminal, Read, Seek, SeekFrom, StdoutLock, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use amore_model::{Proposal, Run};
use amore_shared_files::own_folder::Folder;
use amore_wire::task::NotComputed;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::{failure::Failure, open, output};
use crate::{
    coordinate::remembered::{Remembered, RememberedAttempt},
    database_dir::{DatabaseDir, locate},
};

/// How often `-f` checks for new output.
const POLL: Duration = Duration::from_millis(300);

/// Number of lines at the end of a log that are searched for Amore's note.
const NOTES_ARE_IN: usize = 2000;

/// Show what a run's variables printed, and their errors, on this machine and in Slurm jobs.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Run number.
    run: Run,
    /// Proposal number (default: the directory's).
    #[arg(long)]
    proposal: Option<Proposal>,
    /// Proposal number or database directory (default: the working directory).
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
    /// Show only the last N lines.
    #[arg(long, short = 'n', value_name = "N")]
    lines: Option<usize>,
    /// Follow the log until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Print JSON: a list of logs, each with its lines.
    #[arg(long, conflicts_with = "follow")]
    json: bool,
}

/// A log in JSON.
#[derive(Serialize)]
struct Log {
    file: PathBuf,
    /// The Slurm job that wrote it; none if computed on this machine.
    slurm_job: Option<u64>,
    /// The job's cluster, if one was named.
    slurm_cluster: Option<String>,
    lines: Vec<String>,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.directory.as_deref())?;
    let table = open::for_reading(&dir).await?;
    let proposal = open::proposal(&table, arguments.proposal).await?;
    let paths = logs(&dir, proposal, arguments.run);
    if paths.is_empty() && !arguments.follow {
        return Err(Failure::new(format!("there is no log of run {} of proposal {proposal}", arguments.run))
            .hint("a run has a log once it has been processed; `amore table` lists processed runs"));
    }
    if arguments.json {
        let attempts = match Remembered::open(&dir).await? {
            Some(remembered) => remembered.attempts_of_run(proposal, arguments.run).await?,
            None => Vec::new(),
        };
        let logs = paths.iter().map(|(job, path)| {
            let unreadable = |error| Failure::new(format!("{} cannot be read: {error}", path.display()));
            let lines = open_log(path)
                .and_then(|file| last_lines(&file, arguments.lines.unwrap_or(usize::MAX)))
                .map_err(unreadable)?;
            let lines = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
            let slurm_job = job.as_ref().map(|job| job.number);
            Ok(Log {
                file: path.clone(),
                slurm_job,
                slurm_cluster: cluster_of(job.as_ref(), &attempts),
                lines,
            })
        });
        output::say_json(&logs.collect::<Result<Vec<Log>, Failure>>()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = Vec::new();
    for (_, path) in paths {
        show(&path, arguments.lines, &mut shown)?;
    }
    if !arguments.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        tokio::time::sleep(POLL).await;
        // Nothing need be written for that to be noticed: the reader may have been killed.
        if reader_is_gone() {
            return Ok(ExitCode::SUCCESS);
        }
        for (_, path) in logs(&dir, proposal, arguments.run) {
            if !more(&path, &mut shown)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// The job that wrote a log, from the log's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct WrittenBy {
    number: u64,
    /// The attempt's token, if several clusters may use the same number.
    mark: Option<String>,
}

impl WrittenBy {
    /// Parses the part of the name after run and proposal.
    fn of(rest: &str) -> Option<Self> {
        let (number, mark) = match rest.split_once('.') {
            Some((number, mark)) => (number, Some(mark.to_owned())),
            None => (rest, None),
        };
        Some(WrittenBy { number: number.parse().ok()?, mark })
    }
}

/// The cluster of the job that wrote a log, if the job was submitted to a named one.
fn cluster_of(job: Option<&WrittenBy>, attempts: &[RememberedAttempt]) -> Option<String> {
    let job = job?;
    let is_it = |attempt: &RememberedAttempt| {
        attempt.job == Some(job.number) && job.mark.as_deref().is_none_or(|mark| mark == attempt.token)
    };
    let named = |attempt: &&RememberedAttempt| !attempt.cluster.is_empty() && is_it(attempt);
    attempts.iter().rev().find(named).map(|attempt| attempt.cluster.clone())
}

/// The local log, then those of Slurm jobs, oldest first, with their jobs.
fn logs(dir: &DatabaseDir, proposal: Proposal, run: Run) -> Vec<(Option<WrittenBy>, PathBuf)> {
    let stem = format!("r{run}-p{proposal}-");
    let mut jobs: Vec<(WrittenBy, PathBuf)> = fs::read_dir(dir.slurm_logs())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let job = name.strip_prefix(&stem)?.strip_suffix(".out")?;
            Some((WrittenBy::of(job)?, entry.path()))
        })
        .collect();
    jobs.sort();
    let own = Some(dir.run_log(proposal, run)).filter(|path| path.exists());
    // Commands of variables that were executed without Slurm.
    let mut commands: Vec<PathBuf> = fs::read_dir(dir.command_log(proposal, run, "").with_file_name(""))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&stem)))
        .map(|entry| entry.path())
        .collect();
    commands.sort();
    let own = own.into_iter().chain(commands).map(|path| (None, path));
    own.chain(jobs.into_iter().map(|(job, path)| (Some(job), path))).collect()
}

/// The last command that could not compute anything for the run, so that earlier values were kept.
pub(super) fn last_not_computed(dir: &DatabaseDir, proposal: Proposal, run: Run) -> Option<NotComputed> {
    let of = |path: &Path| {
        let lines = last_lines(&open_log(path).ok()?, NOTES_ARE_IN).ok()?;
        lines.iter().rev().find_map(|line| NotComputed::from_line(&String::from_utf8_lossy(line)))
    };
    let found = logs(dir, proposal, run).into_iter().filter_map(|(_, path)| of(&path));
    found.max_by(|a, b| a.at.total_cmp(&b.at))
}

/// Whether standard output is a pipe that nobody reads any more.
fn reader_is_gone() -> bool {
    let out = io::stdout();
    let mut ends = [PollFd::new(out.as_fd(), PollFlags::empty())];
    poll(&mut ends, PollTimeout::ZERO).is_ok()
        && ends[0].revents().is_some_and(|found| found.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL))
}

/// Opens a log. Links are not followed: a service, which may read more than its clients, shows logs by this command.
fn open_log(path: &Path) -> io::Result<File> {
    let (folder, name) = (path.parent().unwrap_or(Path::new(".")), path.file_name().unwrap_or_default());
    Folder::open(folder)?.file(name)
}

fn show(path: &Path, lines: Option<usize>, shown: &mut Vec<(PathBuf, u64)>) -> Result<(), Failure> {
    let unreadable = |error: io::Error| Failure::new(format!("{} cannot be read: {error}", path.display()));
    let file = open_log(path).map_err(unreadable)?;
    let end = file.metadata().map_err(unreadable)?.len();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let in_slurm = path.parent().is_some_and(|folder| folder.ends_with("slurm_logs"));
    // A run's own log has no second dash in its name: r42-p1234.out.
    let headed = if in_slurm {
        writeln!(io::stdout(), "== slurm_logs/{name}")
    } else if name.matches('-').count() > 1 {
        writeln!(io::stdout(), "== process_logs/{name}")
    } else {
        Ok(())
    };
    let copied = headed.and_then(|()| {
        let mut out = io::stdout().lock();
        match lines {
            None if !out.is_terminal() => io::copy(&mut &file, &mut out).map(|_| ()),
            // Logs may be too large for memory.
            None => io::BufReader::new(&file).split(b'\n').try_for_each(|line| write_line(&mut out, &line?)),
            Some(lines) => last_lines(&file, lines)?.iter().try_for_each(|line| write_line(&mut out, line)),
        }
    });
    shown.push((path.to_owned(), end));
    match copied {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unreadable(error)),
        _ => Ok(()),
    }
}

/// Writes a line of a log: to a terminal with control characters escaped, to a file or pipe unchanged.
fn write_line(out: &mut StdoutLock<'_>, line: &[u8]) -> io::Result<()> {
    if out.is_terminal() {
        let line = String::from_utf8_lossy(line);
        writeln!(out, "{}", output::as_text(output::last_drawn(&line)))
    } else {
        out.write_all(line)?;
        out.write_all(b"\n")
    }
}

/// Copies new output of a log; `false` if the reader is gone.
fn more(path: &Path, shown: &mut Vec<(PathBuf, u64)>) -> Result<bool, Failure> {
    let Some((_, offset)) = shown.iter_mut().find(|(known, _)| known == path) else {
        return show(path, None, shown).map(|()| true);
    };
    let copied = open_log(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(*offset))?;
        let mut out = io::stdout().lock();
        let copied = if out.is_terminal() {
            let mut new = Vec::new();
            file.read_to_end(&mut new)?;
            let (text, bytes) = output::live(&new);
            out.write_all(text.as_bytes())?;
            bytes as u64
        } else {
            io::copy(&mut file, &mut out)?
        };
        out.flush()?;
        Ok(copied)
    });
    match copied {
        Ok(copied) => {
            *offset += copied;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!("{} cannot be read: {error}", path.display()))),
    }
}

fn last_lines(file: &File, lines: usize) -> io::Result<VecDeque<Vec<u8>>> {
    let mut kept = VecDeque::with_capacity(lines.min(10_000) + 1);
    for line in io::BufReader::new(file).split(b'\n') {
        kept.push_back(line?);
        if kept.len() > lines {
            kept.pop_front();
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_of_the_job_in_its_name() {
        let one = WrittenBy::of("17").unwrap();
        let other = WrittenBy::of("17.b-1").unwrap();
        assert_eq!(WrittenBy::of("hits"), None);
        let attempt = |token: &str, cluster: &str| RememberedAttempt {
            job: Some(17),
            token: token.to_owned(),
            cluster: cluster.to_owned(),
        };
        let attempts = [attempt("b-1", "lab"), attempt("b-2", "maxwell")];
        assert_eq!(cluster_of(Some(&other), &attempts).as_deref(), Some("lab"));
        assert_eq!(cluster_of(Some(&one), &attempts[..1]).as_deref(), Some("lab"));
        assert_eq!(cluster_of(WrittenBy::of("18").as_ref(), &attempts), None);
        assert_eq!(cluster_of(None, &attempts), None);
    }
}
