//! `amore listen [DIR]`: the service, here or in the background under Supervisor.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use amore_model::{Notice, lease::Holder, shell};

use super::{failure::Failure, output};
use crate::{
    database_dir::{NoDatabaseDir, share_with_group},
    service::{
        self,
        outside_view::{InboxReader, Life},
    },
    supervisor::{self, How, Started},
};

/// Watch for new runs, and process them as they arrive.
#[derive(Debug, clap::Args)]
#[command(after_help = "In the background, the service is managed by Supervisor:\n  \
    amore listen --daemonize                                start it\n  \
    supervisorctl -c supervisord.conf status damnit         show whether it runs\n  \
    supervisorctl -c supervisord.conf restart damnit        restart it\n  \
    supervisorctl -c supervisord.conf shutdown              stop it, and Supervisor")]
pub struct Arguments {
    /// Directory of the service [default: the working directory].
    listener_dir: Option<PathBuf>,
    /// Start the service in the background, managed by Supervisor.
    #[arg(long)]
    daemonize: bool,
}

impl Arguments {
    /// Whether this process becomes the service, which has a log of its own.
    pub(super) fn is_service(&self) -> bool {
        !self.daemonize
    }
}

pub async fn run(arguments: &Arguments, debug: bool) -> Result<ExitCode, Failure> {
    let here = env::current_dir().map_err(NoDatabaseDir::WorkingDirectoryGone)?;
    let directory = arguments.listener_dir.as_ref().map_or_else(|| here.clone(), |given| here.join(given));
    if !arguments.daemonize {
        share_with_group(&directory);
        return Ok(service::run(&directory, debug).await?);
    }
    let started = supervisor::start(&directory, amore_shared_files::umask::own()).await?;
    tell(&started);
    if let Some(holder) = other_service(&directory, &started.line).await? {
        output::tell(&Notice::warning(format!(
            "{holder} serves the directory already: the service that Supervisor runs waits to take over\n  \
             hint: to see who serves: amore service status; end that process to change over"
        )));
    }
    Ok(ExitCode::SUCCESS)
}

/// The process that serves the directory, if it is not the one in Supervisor's line. The service of a supervisord that was killed
/// goes on.
async fn other_service(directory: &Path, line: &str) -> Result<Option<Holder>, Failure> {
    let directory = directory.canonicalize().map_err(NoDatabaseDir::WorkingDirectoryGone)?;
    let Some(reader) = InboxReader::open(&directory).await? else { return Ok(None) };
    let pid = line.split("pid ").nth(1).and_then(|rest| rest.split(',').next()?.trim().parse().ok());
    Ok(match reader.life().await? {
        Life::Serving { holder } if Some(holder.pid) != pid => Some(holder),
        _ => None,
    })
}

fn tell(started: &Started) {
    let what = match started.how {
        How::RanAlready => "The service is running already",
        How::Service => "Started the service",
        How::Supervisord => "Started the service under Supervisor",
    };
    output::say(format!("{what}: {}", started.line));
    let conf = shell::quoted_if_needed(&started.conf.display().to_string());
    output::say(format!("Control it on any host with: supervisorctl -c {conf} status damnit"));
    if !started.shared {
        output::tell(&Notice::warning(
            "only you can control it: the directory belongs to a group that you are not a member of",
        ));
    }
}
