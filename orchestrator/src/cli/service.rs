//! `amore service status`: who serves what.

use std::{path::Path, process::ExitCode};

use amore_model::lease::Holder;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{
    failure::Failure,
    inbox::{counts_as_json, counts_in_words},
    local_time, output,
};
use crate::{
    database_dir::locate,
    service::{
        other_service::OtherService,
        outside_view::{InboxReader, Life, OutsideView},
        published::PublishedDatabase,
        served::State,
    },
};

/// Look at the service that watches for new runs.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show who serves what, on whatever host
    Status(Status),
}

/// Show who serves what: the process and its stand-bys, its databases, its inbox. Works on any host, and also when no service
/// runs.
#[derive(Debug, clap::Args)]
struct Status {
    /// Directory of the service, or proposal number [default: the working directory].
    directory: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Command::Status(Status { directory, json }) = &arguments.command;
    let dir = locate(directory.as_deref())?;
    let overview = match InboxReader::open(dir.path()).await? {
        Some(reader) => Some(reader.overview().await?),
        None => None,
    };
    let other = match overview.as_ref().map(|overview| &overview.life) {
        Some(Life::Serving { .. }) => None,
        _ => OtherService::of(&dir).await?,
    };
    if *json {
        output::say_json(&as_json(dir.path(), overview.as_ref(), other.as_ref()))?;
    } else {
        output::say(in_words(dir.path(), overview.as_ref(), other.as_ref(), &local_time::zone()));
    }
    Ok(ExitCode::SUCCESS)
}

fn life_word(life: &Life) -> &'static str {
    match life {
        Life::Never => "never",
        Life::Stopped => "stopped",
        Life::Lost { .. } => "lost",
        Life::Serving { .. } => "serving",
    }
}

fn holder_as_json(holder: &Holder) -> Value {
    json!({"host": holder.host, "pid": holder.pid, "user": holder.user})
}

fn as_json(directory: &Path, overview: Option<&OutsideView>, other: Option<&OtherService>) -> Value {
    let mut shown = own_as_json(directory, overview);
    if let Some(other) = other {
        if other.is_certain {
            shown["state"] = json!("elsewhere");
        }
        shown["other_service"] = other.as_json();
    }
    shown
}

fn own_as_json(directory: &Path, overview: Option<&OutsideView>) -> Value {
    let Some(OutsideView { ledger, life, epoch, stand_bys, inbox, published }) = overview else {
        return json!({"directory": directory, "state": life_word(&Life::Never)});
    };
    let holder = match life {
        Life::Lost { holder } | Life::Serving { holder } => Some(holder_as_json(holder)),
        Life::Never | Life::Stopped => None,
    };
    json!({
        "directory": directory,
        "state": life_word(life),
        "holder": holder,
        "epoch": epoch,
        "since": published.as_ref().map(|published| published.since),
        "stand_bys": stand_bys.iter().map(holder_as_json).collect::<Vec<_>>(),
        "ledger": ledger,
        "inbox": counts_as_json(*inbox),
        "databases": published.as_ref().map(|published| &published.databases),
    })
}

fn in_words(
    directory: &Path,
    overview: Option<&OutsideView>,
    other: Option<&OtherService>,
    zone: &TimeZone,
) -> String {
    let Some(other) = other else { return own_in_words(directory, overview, zone) };
    let mut lines = vec![other.in_words(directory)];
    if other.is_certain {
        lines.push("Do not start another one here. Its inbox and status: amore inbox, amore service status in its directory".to_owned());
    }
    let is_own = |overview: &&OutsideView| overview.life != Life::Never;
    match overview.filter(is_own) {
        None if other.is_certain => {}
        own => lines.push(own_in_words(directory, own, zone)),
    }
    lines.join("\n")
}

fn own_in_words(directory: &Path, overview: Option<&OutsideView>, zone: &TimeZone) -> String {
    let directory = directory.display();
    let never = format!("No service has run in {directory} yet; to start one: amore listen --daemonize");
    let Some(OutsideView { ledger, life, epoch, stand_bys, inbox, published }) = overview else {
        return never;
    };
    let since = published.as_ref().map(|published| local_time::in_zone(published.since, zone));
    let mut lines = vec![match life {
        Life::Never => never,
        Life::Stopped => format!("No service runs in {directory}: the last one was stopped"),
        Life::Lost { holder } => format!("No service runs in {directory}: {holder} is gone"),
        Life::Serving { holder } => {
            let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
            format!("{holder} serves {directory}{since}")
        }
    }];
    match stand_bys.as_slice() {
        [] => lines.push("Stand-by: none".to_owned()),
        some => lines.extend(some.iter().map(|holder| format!("Stand-by: {holder}"))),
    }
    lines.push(format!("Epoch: {epoch} (how often a process has become the service)"));
    lines.push(format!("Ledger: {ledger}"));
    lines.push(counts_in_words(*inbox));
    if inbox.failed > 0 {
        lines.push("  failed events: amore inbox list --state failed".to_owned());
    }
    match published.as_ref().map(|published| published.databases.as_slice()) {
        None => {}
        Some([]) => lines.push("Databases: none".to_owned()),
        Some(databases) => {
            if !matches!(life, Life::Serving { .. }) {
                lines.push("Databases when it was seen last:".to_owned());
            }
            lines.push(as_table(databases, zone));
        }
    }
    lines.join("\n")
}

fn as_table(databases: &[PublishedDatabase], zone: &TimeZone) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["Directory", "State", "Since", "Details"]);
    for PublishedDatabase { directory, state, since } in databases {
        let (word, detail) = match state {
            State::Starting => ("starting", String::new()),
            State::Serving { proposal } => ("served", format!("p{proposal}")),
            State::Elsewhere { by } => ("owned by another process", by.clone()),
            State::Failing { why } => ("failing", why.clone()),
            State::Stopped => ("stopped", String::new()),
        };
        let since = local_time::in_zone(*since, zone);
        table.add_row([directory.display().to_string(), word.to_owned(), since, detail]);
    }
    table.to_string()
}
