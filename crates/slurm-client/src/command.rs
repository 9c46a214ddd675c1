//! Runs one Slurm command, with machine-readable output and a clean environment.

use std::{
    env,
    ffi::OsString,
    path::Path,
    process::Stdio,
    sync::PoisonError,
    time::{Duration, Instant},
};

use amore_slurm::{
    adjust::Remark,
    command_failure::did_not_start,
    commands::{Commands, NoAnswer, Output},
    environment::SiteCommands,
    submission::{JobOptions, SlurmUnavailable},
};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::{Slurm, calls::Call, environment, template, users};

/// Time limit of a command. Slurm's own limit (MessageTimeout, by default 10 s) usually ends it earlier.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether `AMORE_NO_SLURM` is set: then everything is computed locally.
pub fn switched_off() -> bool {
    env::var_os("AMORE_NO_SLURM").is_some_and(|value| !value.is_empty())
}

/// Whether Slurm's commands are installed, and Slurm is not switched off.
pub fn installed() -> bool {
    if switched_off() {
        return false;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join("sbatch").is_file())
}

/// Checks that the configuration file exists if one is named. Without it Slurm's commands retry silently for a minute.
///
/// # Errors
/// The file does not exist.
pub fn has_configuration() -> Result<(), SlurmUnavailable> {
    match env::var_os("SLURM_CONF") {
        Some(path) if !path.is_empty() && !Path::new(&path).is_file() => {
            Err(SlurmUnavailable(format!("SLURM_CONF names {}, which is not a file", path.display())))
        }
        _ => Ok(()),
    }
}

async fn execute(
    program: &str,
    arguments: &[String],
    input: Option<&str>,
    given: &[(String, OsString)],
) -> Result<Output, NoAnswer> {
    let silent = |error: std::io::Error| NoAnswer::Unknown(format!("{program}: {error}"));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(given.iter().map(|(name, value)| (name, value)))
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A Ctrl-C at our terminal must not end a submission half-way.
        .process_group(0)
        .kill_on_drop(true);
    if input.is_none() {
        // Times are printed as seconds since 1970, or at least in UTC. A job must not inherit this.
        command.env("SLURM_TIME_FORMAT", "%s").env("TZ", "UTC");
    }
    let mut process =
        command.spawn().map_err(|error| NoAnswer::NotExecuted(format!("cannot run {program}: {error}")))?;
    if let (Some(text), Some(mut stdin)) = (input, process.stdin.take()) {
        // If the command ends before it has read everything, its output says why.
        let _ = stdin.write_all(text.as_bytes()).await;
    }
    let output = match timeout(PATIENCE, process.wait_with_output()).await {
        Ok(output) => output.map_err(silent)?,
        Err(_) => {
            let words = format!("{program} did not answer within {} s", PATIENCE.as_secs());
            return Err(NoAnswer::Unknown(words));
        }
    };
    let output = Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    };
    match output.code.filter(|code| did_not_start(*code, &output.stderr)) {
        Some(code) => {
            let words = output.error_text();
            let words = if words.is_empty() { String::new() } else { format!(": {words}") };
            Err(NoAnswer::NotExecuted(format!("cannot run {program} (exit code {code}){words}")))
        }
        None => Ok(output),
    }
}

impl Commands for Slurm {
    async fn run(
        &self,
        program: &str,
        arguments: &[String],
        input: Option<&str>,
    ) -> Result<Output, NoAnswer> {
        has_configuration().map_err(|SlurmUnavailable(words)| NoAnswer::NotExecuted(words))?;
        let begun = Instant::now();
        let output = execute(program, arguments, input, &self.environment()).await;
        let succeeded = output.as_ref().is_ok_and(|output| output.code == Some(0));
        self.0.observer.tell(Call { program, succeeded, took: begun.elapsed() });
        output
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn adjust(&self, asked: JobOptions) -> (JobOptions, Vec<Remark>) {
        Slurm::adjust(self, asked).await
    }

    fn script(&self, asked: &JobOptions) -> Result<String, String> {
        template::render(&asked.directory, &asked.script).map_err(|error| error.to_string())
    }

    fn uid(&self) -> String {
        users::uid()
    }

    fn user_name(&self, uid: u32) -> Option<String> {
        users::name_of(uid)
    }

    fn site(&self) -> &SiteCommands {
        &self.0.site
    }

    fn unknown_fields(&self) -> Vec<String> {
        self.0.no_fields.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn note_unknown_field(&self, field: &str) {
        tracing::info!(field, "sacct of this version does not have a field");
        self.0.no_fields.lock().unwrap_or_else(PoisonError::into_inner).insert(field.to_owned());
    }
}

impl Slurm {
    /// The output of a Slurm command, run in the same way as all others.
    ///
    /// # Errors
    /// It did not start, does not answer, or fails.
    pub async fn ask(&self, program: &str, arguments: &[&str]) -> Result<String, SlurmUnavailable> {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let output = self.run(program, &arguments, None).await?;
        if output.success() {
            return Ok(output.stdout.trim().to_owned());
        }
        // `scontrol ping` prints its error on standard output.
        let last = [&output.stderr, &output.stdout].into_iter().find_map(|text| {
            text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
        });
        let ended = || match output.code {
            Some(code) => format!("exit status: {code}"),
            None => "ended by a signal".to_owned(),
        };
        Err(SlurmUnavailable(last.unwrap_or_else(ended)))
    }

    /// Environment variables of the shell without which a command does not start. Empty if it starts without them, or does not
    /// start even with all of them.
    pub async fn what_it_needs(&self, program: &str) -> Vec<String> {
        let version = ["--version".to_owned()];
        let begins = async |given: &[(String, OsString)]| {
            execute(program, &version, None, given).await.is_ok_and(|output| output.success())
        };
        let known = self.environment();
        let mut more: Vec<(String, OsString)> = environment::of_the_shell();
        more.retain(|(name, _)| known.iter().all(|(other, _)| other != name));
        let with = |more: &[(String, OsString)]| [known.as_slice(), more].concat();
        if begins(&known).await || !begins(&with(&more)).await {
            return Vec::new();
        }
        // Remove halves first: most variables of a shell are not needed.
        let mut size = more.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < more.len() {
                let end = (at + size).min(more.len());
                let without = [&more[..at], &more[end..]].concat();
                if begins(&with(&without)).await {
                    more = without;
                } else {
                    at = end;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        more.into_iter().map(|(name, _)| name).collect()
    }
}
