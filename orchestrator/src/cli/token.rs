//! `amore token new|list|revoke`: what programs may do at a service by HTTP.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use amore_model::{DatabaseDir, Notice, Proposal, shell};
use serde_json::json;

use super::{
    failure::{Exit, Failure},
    local_time, output,
};
use crate::{
    api::tokens::{self, ForProposals, Token, Wanted},
    clock::now,
    coordinate::user_name,
    service::{
        other_service::OtherService,
        outside_view::{InboxReader, Life},
    },
};

/// Manage the tokens with which programs use the service by HTTP.
#[derive(Debug, clap::Args)]
#[command(after_help = "Run it in the directory of the service, the one that `amore listen` is started in.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a token, and print it: this is the only time that it is shown
    New(New),
    /// List the tokens
    List(List),
    /// Revoke a token
    Revoke(Revoke),
}

/// Make a token, and print it: this is the only time that it is shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    amore token new monitoring                              may read everything\n  \
    amore token new daq --right process --proposal 1234     may trigger runs of one proposal\n  \
    amore token new mia --right admin --days 30             may do everything for a month")]
struct New {
    /// What it is for.
    name: String,
    /// What it allows: read; process: also trigger, reprocess and cancel; admin: also change settings and context files.
    #[arg(long, default_value = "read", value_parser = ["read", "process", "admin"])]
    right: String,
    /// Only for this proposal (repeatable) [default: all proposals, and the service itself].
    #[arg(long = "proposal", value_name = "PROPOSAL")]
    proposals: Vec<Proposal>,
    /// It is void after so many days [default: it does not expire].
    #[arg(long)]
    days: Option<f64>,
    /// Directory of the service [default: the working directory].
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// List the tokens.
#[derive(Debug, clap::Args)]
struct List {
    /// Directory of the service [default: the working directory].
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Revoke a token. A running service refuses it within seconds.
#[derive(Debug, clap::Args)]
struct Revoke {
    /// Its id, as `amore token list` shows it.
    id: String,
    /// Directory of the service [default: the working directory].
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::New(arguments) => new(arguments).await?,
        Command::List(arguments) => list(arguments).await?,
        Command::Revoke(arguments) => {
            let id = arguments.id.as_str();
            tokens::revoke(&service_in(arguments.directory.as_deref()).await?, id).await?;
            output::say(format!("Revoked token {id}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The directory of the service whose tokens are meant. Those of a directory that the service of another one serves would be
/// tokens of nobody.
async fn service_in(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let directory = tokens::service_in(given)?;
    let has_run = match InboxReader::open(&directory).await? {
        Some(reader) => reader.life().await? != Life::Never,
        None => false,
    };
    if has_run {
        return Ok(directory);
    }
    let Some(other) = OtherService::of(&DatabaseDir::at(directory.clone())).await? else {
        return Ok(directory);
    };
    let words = other.in_words(&directory);
    if other.is_certain {
        let place =
            other.directory.as_ref().map(|place| shell::quoted_if_needed(&place.display().to_string()));
        return Err(Failure::new(words).hint(match place {
            Some(place) => format!("its tokens are made in its directory: amore token new NAME --in {place}"),
            None => "its tokens are made in its directory: ask who runs it".to_owned(),
        }));
    }
    output::tell(&Notice::warning(format!(
        "{words}\n  hint: a token is for the service of this directory alone"
    )));
    Ok(directory)
}

/// Names are shown in lists and written to logs.
fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= 200 && !name.chars().any(char::is_control)
}

async fn new(arguments: &New) -> Result<(), Failure> {
    if !is_name(&arguments.name) {
        let words =
            "a token needs a name of 1 to 200 characters, without line breaks and other control characters";
        return Err(Failure::new(words).exit(Exit::Usage));
    }
    if let Some(days) = arguments.days
        && !(days > 0.0 && days <= 36_500.0)
    {
        return Err(Failure::new("--days must be greater than 0 and at most 36500").exit(Exit::Usage));
    }
    let wanted = Wanted {
        name: arguments.name.clone(),
        right: arguments.right.parse().map_err(|error| Failure::from_error(&error))?,
        proposals: arguments.proposals.iter().copied().collect::<BTreeSet<_>>(),
        days: arguments.days,
        by_user: user_name(),
    };
    let (secret, token) = tokens::make(&service_in(arguments.directory.as_deref()).await?, wanted).await?;
    if arguments.json {
        let mut shown = as_json(&token);
        shown["token"] = json!(secret);
        return output::say_json(&shown);
    }
    output::say(&secret);
    let Token { id, allows, .. } = &token;
    output::tell(&Notice::info(format!(
        "token {id} allows to {allows}, for {}{}; keep it secret, it is not shown again",
        places(&token.proposals),
        token.expires.map_or_else(String::new, |at| format!(", until {}", time(at))),
    )));
    Ok(())
}

async fn list(arguments: &List) -> Result<(), Failure> {
    let all = tokens::list(&service_in(arguments.directory.as_deref()).await?).await?;
    if arguments.json {
        return output::say_json(&all.iter().map(as_json).collect::<Vec<_>>());
    }
    if all.is_empty() {
        output::say("There are no tokens");
        return Ok(());
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(["Id", "Right", "Proposals", "State", "Made", "By", "Name"]);
    for token in &all {
        table.add_row([
            token.id.clone(),
            token.allows.to_string(),
            places(&token.proposals),
            state(token),
            time(token.created),
            token.by_user.clone(),
            token.name.clone(),
        ]);
    }
    output::say(table.to_string());
    Ok(())
}

fn state(token: &Token) -> String {
    match (token.revoked, token.expires) {
        (Some(at), _) => format!("revoked {}", time(at)),
        (None, Some(at)) if at <= now() => format!("expired {}", time(at)),
        (None, Some(at)) => format!("until {}", time(at)),
        (None, None) => "valid".to_owned(),
    }
}

fn places(proposals: &ForProposals) -> String {
    match proposals {
        ForProposals::All => "all proposals".to_owned(),
        ForProposals::These(these) => {
            these.iter().map(|proposal| format!("p{proposal}")).collect::<Vec<_>>().join(", ")
        }
    }
}

fn time(seconds: f64) -> String {
    local_time::in_zone(seconds, &local_time::zone())
}

fn as_json(token: &Token) -> serde_json::Value {
    json!({
        "id": token.id,
        "name": token.name,
        "right": token.allows.word(),
        "proposals": match &token.proposals {
            ForProposals::All => json!("all"),
            ForProposals::These(these) => json!(these),
        },
        "made": token.created,
        "by": token.by_user,
        "expires": token.expires,
        "revoked": token.revoked,
        "valid": token.is_valid(now()),
    })
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn a_name_is_one_line() {
        for good in ["daq", "Größe 2", &"x".repeat(200)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "  ", "a\nb", "a\u{1b}[31m", "\t", &"x".repeat(201)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
