//! Opens a directory's run table and reads what commands need.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    io::Read,
    path::PathBuf,
};

use amore_model::{Notice, Proposal, Run};
use amore_run_table::{OpenOptions, RunTable, RunTableError, SettingValue};
use amore_slurm::settings::Setting;
use amore_wire::task::Limits;

use super::{failure::Failure, output};
use crate::{
    coordinate::events::Event,
    database_dir::{DatabaseDir, must_have_run_table},
    dispatch::slurm::asked::{self, memory_bytes},
};

/// Opens the table for reading.
pub async fn for_reading(dir: &DatabaseDir) -> Result<RunTable, Failure> {
    must_have_run_table(dir)?;
    Ok(RunTable::open_read_only(dir.path()).await?)
}

/// Opens the table for writing; upgrades an older format.
pub async fn for_writing(dir: &DatabaseDir) -> Result<RunTable, Failure> {
    must_have_run_table(dir)?;
    let options = OpenOptions { waits: Some(tell_of_lock), ..OpenOptions::default() };
    Ok(RunTable::open_with(dir.path(), options).await?)
}

/// Reports that this process waits because other processes have locked the table.
fn tell_of_lock(error: &RunTableError) {
    let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    output::tell(&Notice::note(format!(
        "{error}; this command waits for that, and results that are computed meanwhile are kept in extracted_data/{hint}"
    )));
}

/// Creates an empty table.
pub async fn create(dir: &DatabaseDir, proposal: Proposal) -> Result<RunTable, Failure> {
    Ok(RunTable::create(dir.path(), proposal, random_id()?, &[]).await?)
}

/// Reads the format version without changing it.
pub async fn format_version(dir: &DatabaseDir) -> Result<i64, Failure> {
    Ok(for_reading(dir).await?.format_version())
}

/// Twenty random bytes for the ID of a database.
pub fn random_id() -> Result<[u8; 20], Failure> {
    let mut bytes = [0u8; 20];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(format!("the system gives no random numbers: {error}")))?;
    Ok(bytes)
}

pub async fn settings(table: &RunTable) -> Result<BTreeMap<String, SettingValue>, Failure> {
    Ok(table.settings().await?.into_iter().collect())
}

pub async fn set_setting(table: &RunTable, key: &str, value: SettingValue) -> Result<(), Failure> {
    Ok(table.set_setting(key, &value).await?)
}

/// Deletes a setting; `false` if it was not set.
pub async fn delete_setting(table: &RunTable, key: &str) -> Result<bool, Failure> {
    Ok(table.delete_setting(key).await?)
}

/// Refuses invalid values of a setting.
pub fn check_setting(key: &str, value: &SettingValue) -> Result<(), Failure> {
    let one: BTreeMap<String, SettingValue> = [(key.to_owned(), value.clone())].into();
    match key {
        "data_format_version" => Err(Failure::new("data_format_version cannot be changed manually")
            .hint("`amore migrate` upgrades a database")),
        "proposal" => match number(&one, key) {
            Some(number) if number > 0.0 && number.fract() == 0.0 => Ok(()),
            _ => Err(Failure::new("a proposal is a number").hint("amore proposal 1234")),
        },
        "variable_time" | "variable_mem" => limits_of(&one).map(|_| ()),
        "context_python" => {
            if let SettingValue::Text(path) = value
                && !expanded(path)?.is_file()
            {
                output::tell(&Notice::warning(format!(
                    "{path} does not exist here; context_python must be the path of a Python interpreter"
                )));
            }
            Ok(())
        }
        _ => Setting::of_key(key).map_or(Ok(()), |setting| Ok(asked::check(setting, value)?)),
    }
}

fn number(settings: &BTreeMap<String, SettingValue>, key: &str) -> Option<f64> {
    match settings.get(key)? {
        SettingValue::Integer(number) => Some(*number as f64),
        SettingValue::Real(number) => Some(*number),
        SettingValue::Text(text) => text.trim().parse().ok(),
        SettingValue::Null => None,
    }
}

/// The proposal of the directory, if one is set.
pub async fn own_proposal(table: &RunTable) -> Result<Option<Proposal>, Failure> {
    let settings = settings(table).await?;
    Ok(number(&settings, "proposal").filter(|number| *number > 0.0).map(|number| Proposal(number as u32)))
}

pub async fn set_proposal(table: &RunTable, proposal: Proposal) -> Result<(), Failure> {
    set_setting(table, "proposal", SettingValue::Integer(i64::from(proposal.0))).await
}

/// The proposal for a command: the given one, otherwise the directory's.
pub async fn proposal(table: &RunTable, given: Option<Proposal>) -> Result<Proposal, Failure> {
    if let Some(given) = given {
        return Ok(given);
    }
    own_proposal(table).await?.ok_or_else(|| {
        Failure::new("this database has no proposal number")
            .hint("set it with: amore-proto proposal <number>")
    })
}

/// The Python for context files: the database's, `AMORE_CONTEXT_PYTHON`, or `python3` on PATH.
pub async fn context_python(table: &RunTable) -> Result<PathBuf, Failure> {
    match settings(table).await?.get("context_python") {
        Some(SettingValue::Text(path)) if !path.is_empty() => expanded(path),
        _ => default_python(),
    }
}

/// Expands the path in `context_python`: `~` is the user's home directory, `~name` that of another user.
fn expanded(path: &str) -> Result<PathBuf, Failure> {
    let Some(rest) = path.strip_prefix('~') else { return Ok(PathBuf::from(path)) };
    let (user, below) = rest.split_once('/').unwrap_or((rest, ""));
    let wrong = |why: String| {
        Failure::new(format!("context_python is {path}, but {why}"))
            .hint("amore-proto db-config context_python /path/to/python")
    };
    let home = if user.is_empty() {
        env::home_dir()
            .filter(|home| home.is_absolute())
            .ok_or_else(|| wrong("your home directory is unknown".to_owned()))?
    } else {
        match nix::unistd::User::from_name(user) {
            Ok(Some(found)) => found.dir,
            Ok(None) => return Err(wrong(format!("there is no user {user} on this host"))),
            Err(error) => return Err(wrong(format!("the user {user} cannot be looked up: {error}"))),
        }
    };
    Ok(home.join(below))
}

/// The same for a directory that may have no table.
pub async fn context_python_of(dir: &DatabaseDir) -> Result<PathBuf, Failure> {
    if dir.run_table().exists() { context_python(&for_reading(dir).await?).await } else { default_python() }
}

/// The Python if no database sets one.
pub fn default_python() -> Result<PathBuf, Failure> {
    if let Some(given) = env::var_os("AMORE_CONTEXT_PYTHON").filter(|given| !given.is_empty()) {
        return Ok(PathBuf::from(given));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join("python3"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            Failure::new("there is no python3 on PATH to execute the context file with").hint(
                "load one (module load exfel), or: amore-proto db-config context_python /path/to/python",
            )
        })
}

/// Limits for each variable.
pub async fn limits(table: &RunTable) -> Result<Limits, Failure> {
    limits_of(&settings(table).await?)
}

fn limits_of(settings: &BTreeMap<String, SettingValue>) -> Result<Limits, Failure> {
    let variable_seconds = match settings.get("variable_time") {
        None | Some(SettingValue::Null) => None,
        Some(_) => {
            Some(number(settings, "variable_time").filter(|seconds| *seconds > 0.0).ok_or_else(|| {
                Failure::new("variable_time must be a number of seconds")
                    .hint("amore-proto db-config variable_time 600")
            })?)
        }
    };
    let memory_bytes = match settings.get("variable_mem") {
        None | Some(SettingValue::Null) => None,
        Some(SettingValue::Integer(bytes)) => u64::try_from(*bytes).ok(),
        Some(SettingValue::Real(bytes)) => Some(*bytes as u64),
        Some(SettingValue::Text(text)) => Some(memory_bytes(text).ok_or_else(|| {
            Failure::new(format!("variable_mem must be an amount of memory, not {text:?}"))
                .hint("amore-proto db-config variable_mem 32G")
        })?),
    };
    Ok(Limits { variable_seconds, memory_bytes })
}

/// For each run, the names stored for it by a context file.
pub async fn stored_names(table: &RunTable) -> Result<HashMap<(Proposal, Run), Vec<String>>, Failure> {
    Ok(table.context_names().await?)
}

/// Copies the user-editable variables of another directory.
pub async fn copy_user_variables(from: &DatabaseDir, to: &DatabaseDir) -> Result<(), Failure> {
    let source = for_reading(from).await?;
    let target = for_writing(to).await?;
    Ok(target.copy_user_variables_from(&source).await?)
}

/// Shows the output of variables while runs are processed (`--watch`).
#[derive(Debug)]
pub struct Following {
    dir: DatabaseDir,
    offsets: HashMap<(Proposal, Run), u64>,
}

impl Following {
    pub fn new(dir: &DatabaseDir) -> Self {
        Following { dir: dir.clone(), offsets: HashMap::new() }
    }

    /// Copies new output from the log of the event's run.
    pub fn show(&mut self, event: &Event) {
        use std::io::{IsTerminal, Seek, SeekFrom, Write};
        let (proposal, run, begins) = match event {
            Event::RunStarted { proposal, run } => (*proposal, *run, true),
            Event::VariableEnded { proposal, run, .. } | Event::RunEnded { proposal, run, .. } => {
                (*proposal, *run, false)
            }
            _ => return,
        };
        let path = self.dir.run_log(proposal, run);
        let Ok(mut file) = fs::File::open(&path) else { return };
        let end = file.metadata().map(|data| data.len()).unwrap_or(0);
        let offset = self.offsets.entry((proposal, run)).or_insert(0);
        if begins {
            // Skip output of earlier attempts.
            *offset = end;
            return;
        }
        if file.seek(SeekFrom::Start(*offset)).is_err() {
            return;
        }
        let mut out = std::io::stderr();
        if out.is_terminal() {
            let mut new = Vec::new();
            let _ = file.read_to_end(&mut new);
            let (text, bytes) = output::live(&new);
            let _ = out.write_all(text.as_bytes());
            *offset += bytes as u64;
        } else {
            *offset += std::io::copy(&mut file, &mut out).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{env, path::PathBuf};

    use super::expanded;

    #[test]
    fn a_tilde_is_a_home_directory() {
        let home = env::home_dir().unwrap();
        assert_eq!(expanded("~/env/bin/python").unwrap(), home.join("env/bin/python"));
        let root = nix::unistd::User::from_uid(nix::unistd::ROOT).unwrap().unwrap();
        assert_eq!(expanded(&format!("~{}/python", root.name)).unwrap(), root.dir.join("python"));
        assert_eq!(expanded("/a/~/b").unwrap(), PathBuf::from("/a/~/b"));
        assert_eq!(expanded("env/python").unwrap(), PathBuf::from("env/python"));
        let refused = expanded("~no.such.user/python").unwrap_err();
        assert_eq!(
            refused.message,
            "context_python is ~no.such.user/python, but there is no user no.such.user on this host"
        );
        assert!(refused.hint.is_some());
    }
}
