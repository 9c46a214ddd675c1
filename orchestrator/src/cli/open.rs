//! Opens a directory's run table and reads what commands need.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::Read,
    path::PathBuf,
};

use amore_model::{Notice, Proposal, Run};
use amore_run_table::{OpenOptions, RunTable, RunTableError, SettingValue};

use super::{failure::Failure, output};
use crate::{
    coordinate::events::Event,
    database_dir::{DatabaseDir, must_have_run_table},
    database_settings,
    execution::{self, default_python, number},
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
    if let Some(notice) = database_settings::check(key, value)? {
        output::tell(&notice);
    }
    Ok(())
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
    Ok(execution::context_python(&settings(table).await?)?)
}

/// The same for a directory that may have no table.
pub async fn context_python_of(dir: &DatabaseDir) -> Result<PathBuf, Failure> {
    if dir.run_table().exists() {
        context_python(&for_reading(dir).await?).await
    } else {
        Ok(default_python()?)
    }
}

/// The directory's proposal, if it is a database and has one.
pub async fn proposal_of(dir: &DatabaseDir) -> Result<Option<Proposal>, Failure> {
    if dir.run_table().exists() { own_proposal(&for_reading(dir).await?).await } else { Ok(None) }
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
