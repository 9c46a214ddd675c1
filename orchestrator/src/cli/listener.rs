//! `amore listener config|add|rm|databases`: the settings and databases of the service whose directory is the working
//! directory.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use amore_listener_db::{
    Added, Database, Databases, KNOWN_SETTINGS, ListenerDb, SettingKind, nearest_setting, parse_setting,
};
use amore_model::{DatabaseDir, Notice, Proposal};
use serde_json::{Map, Value, json};

use super::{
    failure::Failure,
    open, output,
    setting_words::{as_json, words},
};
use crate::{database_dir::NoDatabaseDir, site};

/// Manage the service that watches for new runs: its settings and its databases.
#[derive(Debug, clap::Args)]
#[command(after_help = "Run it in the directory of the service, the one that `amore listen` is started in.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show or change the settings of the service
    Config(Config),
    /// Add a database to monitor
    Add(Add),
    /// Remove a database from being monitored; its files stay
    Rm(Rm),
    /// List the databases that are monitored
    Databases(List),
}

/// Show or change the settings of the service.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    amore listener config                                show all settings\n  \
    amore listener config sandbox_args 'sandbox -q'      run all user code in this program\n  \
    amore listener config sandbox_args --delete          delete a setting\n  \
    amore listener config --known                        list all settings")]
struct Config {
    /// Name of the setting.
    key: Option<String>,
    /// New value.
    value: Option<String>,
    /// Delete the setting, which then has its default.
    #[arg(short, long, conflicts_with = "value")]
    delete: bool,
    /// Store the value as a number instead of text.
    #[arg(long)]
    num: bool,
    /// List all settings and their meaning.
    #[arg(long, conflicts_with_all = ["key", "value", "delete"])]
    known: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Add a database to monitor.
#[derive(Debug, clap::Args)]
struct Add {
    /// Number of the proposal whose runs are processed.
    proposal: Proposal,
    /// Path of the database directory; default: usr/Shared/amore of the proposal.
    db_dir: Option<PathBuf>,
}

/// Remove a database from being monitored; its files stay.
#[derive(Debug, clap::Args)]
struct Rm {
    /// Path of the database directory.
    db_dir: PathBuf,
}

/// List the databases that are monitored.
#[derive(Debug, clap::Args)]
struct List {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let db = ListenerDb::at(working_directory()?);
    match &arguments.command {
        Command::Config(arguments) => config(&db, arguments).await?,
        Command::Add(arguments) => add(&db, arguments).await?,
        Command::Rm(arguments) => remove(&db, &arguments.db_dir).await?,
        Command::Databases(arguments) => list(&db.databases().await?, arguments.json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn working_directory() -> Result<PathBuf, Failure> {
    Ok(env::current_dir().map_err(NoDatabaseDir::WorkingDirectoryGone)?)
}

async fn config(db: &ListenerDb, arguments: &Config) -> Result<(), Failure> {
    if arguments.known {
        return known(arguments.json);
    }
    let key = arguments.key.as_ref().map(|key| key.replace('-', "_"));
    match (key, &arguments.value) {
        (None, _) if arguments.delete => {
            Err(Failure::new("no setting given").hint("amore listener config KEY --delete"))
        }
        (None, _) => {
            let settings = db.all_settings().await?;
            if arguments.json {
                let object: Map<String, Value> =
                    settings.iter().map(|(key, value)| (key.clone(), as_json(value))).collect();
                return output::say_json(&object);
            }
            for (key, value) in &settings {
                output::say(format!("{key}={}", words(value)));
            }
            Ok(())
        }
        (Some(key), _) if arguments.delete => {
            if db.delete_setting(&key).await? {
                Ok(())
            } else {
                Err(not_set(&key))
            }
        }
        (Some(key), Some(typed)) => {
            let known = KNOWN_SETTINGS.iter().find(|known| known.key == key).ok_or_else(|| unknown(&key))?;
            if arguments.num && known.kind == SettingKind::Text {
                return Err(Failure::new(format!("{key} is text")).hint("set it without --num"));
            }
            let value = parse_setting(&key, typed).map_err(|invalid| Failure::from_error(&invalid))?;
            Ok(db.set_setting(&key, &value).await?)
        }
        (Some(key), None) => {
            let settings = db.all_settings().await?;
            let found = settings.iter().find(|(other, _)| *other == key);
            let (_, value) = found.ok_or_else(|| not_set(&key))?;
            if arguments.json {
                return output::say_json(&as_json(value));
            }
            output::say(words(value));
            Ok(())
        }
    }
}

fn known(json: bool) -> Result<(), Failure> {
    if json {
        let known: Vec<Value> =
            KNOWN_SETTINGS.iter().map(|known| json!({"key": known.key, "help": known.help})).collect();
        return output::say_json(&known);
    }
    for known in KNOWN_SETTINGS {
        output::say(format!("{:24} {}", known.key, known.help));
    }
    Ok(())
}

fn unknown(key: &str) -> Failure {
    let failure = Failure::new(format!("there is no setting {key}"));
    match nearest_setting(key) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint("`amore listener config --known` lists all settings"),
    }
}

fn not_set(key: &str) -> Failure {
    if KNOWN_SETTINGS.iter().all(|known| known.key != key) {
        return unknown(key);
    }
    Failure::new(format!("{key} is not set")).hint(
        "`amore listener config` lists the values that are set, `amore listener config --known` all settings",
    )
}

async fn add(db: &ListenerDb, arguments: &Add) -> Result<(), Failure> {
    let database = to_add(arguments)?;
    let (proposal, dir) = (database.proposal, database.dir.display());
    let table = DatabaseDir::at(database.dir.clone());
    if !table.run_table().exists() {
        let init = if database.official {
            format!("amore init {proposal}")
        } else {
            format!(
                "amore init {} --proposal {proposal}",
                amore_model::shell::quoted_if_needed(&dir.to_string())
            )
        };
        return Err(Failure::new(format!(
            "{dir} is not a database directory: there is no runs.sqlite in it"
        ))
        .hint(format!("make it one first: {init}")));
    }
    let own = open::own_proposal(&open::for_reading(&table).await?).await?;
    match db.add(&database).await? {
        Added::New => {
            output::say(format!("Added proposal {proposal} at {dir}"));
            if let Some(own) = own.filter(|own| *own != proposal) {
                output::tell(&Notice::warning(format!(
                    "the database in {dir} belongs to proposal {own}; the service will add the runs of {proposal} to it"
                )));
            }
            Ok(())
        }
        Added::AlreadyThere(there) if there.proposal == proposal => {
            output::say(format!("Proposal {proposal} at {} is monitored already", there.dir.display()));
            Ok(())
        }
        Added::AlreadyThere(there) => {
            let path = there.dir.display();
            Err(Failure::new(format!("{path} is monitored already, for proposal {}", there.proposal)).hint(
                format!(
                    "a directory is monitored for one proposal; to change it, first: amore listener rm {}",
                    amore_model::shell::quoted_if_needed(&path.to_string())
                ),
            ))
        }
    }
}

/// What to add. The official directory is stored as the path that DAMNIT looks for, through whatever links.
fn to_add(arguments: &Add) -> Result<Database, Failure> {
    let proposal = arguments.proposal;
    let official = site::find_proposal(proposal).map(|root| root.join("usr/Shared/amore"));
    let Some(given) = &arguments.db_dir else {
        return Ok(Database { proposal, dir: official?, official: true });
    };
    // A proposal without a directory of its own (simulated data, another site) has only additional ones.
    let real = given.canonicalize().unwrap_or_else(|_| given.clone());
    match official {
        Ok(official) if official.canonicalize().is_ok_and(|official| official == real) => {
            Ok(Database { proposal, dir: official, official: true })
        }
        _ => Ok(Database { proposal, dir: absolute(given)?, official: false }),
    }
}

/// The path from the root, as typed as far as possible: links are meant.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let joined = working_directory()?.join(path);
    let has_parents = joined.components().any(|part| part == std::path::Component::ParentDir);
    // Removes `.` and repeated slashes.
    let plain: PathBuf = joined.components().collect();
    Ok(if has_parents { joined.canonicalize().unwrap_or(plain) } else { plain })
}

async fn remove(db: &ListenerDb, dir: &Path) -> Result<(), Failure> {
    match db.remove(dir).await? {
        Some(removed) => {
            output::say(format!("Removed database at {}", removed.dir.display()));
            Ok(())
        }
        None => {
            let there: Vec<String> = db
                .databases()
                .await?
                .databases
                .iter()
                .map(|other| format!("\n    {}", other.dir.display()))
                .collect();
            let failure = Failure::new(format!("{} is not monitored", dir.display()));
            Err(if there.is_empty() {
                failure.hint("no database is")
            } else {
                failure.hint(format!("these databases are:{}", there.concat()))
            })
        }
    }
}

fn list(found: &Databases, json: bool) -> Result<(), Failure> {
    for row in &found.unusable {
        output::tell(&Notice::warning(format!(
            "a row of listener.sqlite cannot be used ({}): {}",
            row.row, row.why
        )));
    }
    if json {
        let all: Vec<Value> = found
            .databases
            .iter()
            .map(|one| json!({"proposal": one.proposal, "db_dir": one.dir, "official": one.official}))
            .collect();
        return output::say_json(&all);
    }
    if found.databases.is_empty() {
        output::tell(&Notice::note(
            "no database is monitored; add one with: amore listener add PROPOSAL [DB_DIR]",
        ));
    }
    for line in lines(&found.databases) {
        output::say(line);
    }
    Ok(())
}

/// In DAMNIT's format: one line, or a proposal with several.
fn lines(databases: &[Database]) -> Vec<String> {
    let mut by_proposal: BTreeMap<Proposal, Vec<&Database>> = BTreeMap::new();
    for one in databases {
        by_proposal.entry(one.proposal).or_default().push(one);
    }
    let words = |one: &Database| {
        let mark = if one.official { "" } else { " (unofficial)" };
        format!("{}{mark}", one.dir.display())
    };
    by_proposal
        .into_iter()
        .flat_map(|(proposal, of_it)| match of_it.as_slice() {
            [one] => vec![format!("p{proposal}: {}", words(one))],
            several => {
                let head = format!("p{proposal}:");
                std::iter::once(head).chain(several.iter().map(|one| format!("    {}", words(one)))).collect()
            }
        })
        .collect()
}
