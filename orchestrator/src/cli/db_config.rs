//! `amore db-config [KEY [VALUE]]`.

use std::process::ExitCode;

use amore_run_table::SettingValue;
use serde_json::{Map, Value, json};

use super::{
    failure::Failure,
    open, output,
    setting_words::{self, as_json, words},
};
use crate::{
    database_dir::{DatabaseDir, locate, must_have_run_table},
    database_settings,
};

/// Show or change the settings of this database.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    amore-proto db-config                                        show all settings\n  \
    amore-proto db-config slurm_reservation upex_001234          set a value\n  \
    amore-proto db-config slurm_reservation --delete             delete a setting\n  \
    amore-proto db-config context_python /path/to/your/python    choose the context file's Python\n  \
    amore-proto db-config --known                                list all settings")]
pub struct Arguments {
    /// Name of the setting.
    key: Option<String>,
    /// New value.
    value: Option<String>,
    /// Delete the setting.
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

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.known && arguments.json {
        let known: Vec<Value> = amore_run_table::KNOWN_SETTINGS
            .iter()
            .map(|setting| json!({"key": setting.key, "help": setting.help}))
            .collect();
        output::say_json(&known)?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.known {
        for setting in amore_run_table::KNOWN_SETTINGS {
            output::say(format!("{:20} {}", setting.key, setting.help));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let dir = locate(None)?;
    must_have_run_table(&dir)?;
    let key = arguments.key.as_ref().map(|key| key.replace('-', "_"));
    match (key, &arguments.value) {
        (None, _) if arguments.delete => {
            Err(Failure::new("no setting given").hint("amore db-config KEY --delete"))
        }
        (None, _) => list(&dir, arguments.json).await,
        (Some(key), _) if arguments.delete => delete(&dir, &key).await,
        (Some(key), Some(value)) => set(&dir, &key, value, arguments.num).await,
        (Some(key), None) => show(&dir, &key, arguments.json).await,
    }
}

async fn list(dir: &DatabaseDir, json: bool) -> Result<ExitCode, Failure> {
    let settings = open::settings(&open::for_reading(dir).await?).await?;
    if json {
        let object: Map<String, Value> =
            settings.iter().map(|(key, value)| (key.clone(), as_json(value))).collect();
        output::say_json(&object)?;
    } else {
        for (key, value) in &settings {
            output::say(format!("{key}={}", words(value)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(dir: &DatabaseDir, key: &str, json: bool) -> Result<ExitCode, Failure> {
    let settings = open::settings(&open::for_reading(dir).await?).await?;
    let value = settings.get(key).ok_or_else(|| not_set(key))?;
    if json {
        output::say_json(&as_json(value))?;
    } else {
        output::say(words(value));
    }
    Ok(ExitCode::SUCCESS)
}

fn not_set(key: &str) -> Failure {
    let failure = Failure::new(format!("{key} is not set"));
    match amore_run_table::unknown_settings([key]).first().and_then(|unknown| unknown.nearest) {
        Some(near) if near != key => failure.hint(format!("did you mean {near}?")),
        _ => failure
            .hint("`amore db-config` lists the values that are set, `amore db-config --known` all settings"),
    }
}

async fn set(dir: &DatabaseDir, key: &str, value: &str, number: bool) -> Result<ExitCode, Failure> {
    let value = if number { setting_words::number(value)? } else { SettingValue::Text(value.to_owned()) };
    open::check_setting(key, &value)?;
    let table = open::for_writing(dir).await?;
    open::set_setting(&table, key, value).await?;
    if let Some(notice) = database_settings::unknown(key) {
        output::tell(&notice);
    }
    Ok(ExitCode::SUCCESS)
}

async fn delete(dir: &DatabaseDir, key: &str) -> Result<ExitCode, Failure> {
    database_settings::check_deletion(key)?;
    let table = open::for_writing(dir).await?;
    if open::delete_setting(&table, key).await? { Ok(ExitCode::SUCCESS) } else { Err(not_set(key)) }
}
