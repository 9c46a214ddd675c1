//! Asking Slurm: its own commands, in machine form, in bulk, with a clean environment.

use std::{
    collections::{BTreeSet, HashMap},
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use amore_model::JobId;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::{
    answers::{
        self, ACCOUNTED, Number, Seen, comment_of, parse_accounting, parse_exit_code, parse_queue,
        parse_shown, parse_submitted, tokens_in,
    },
    clusters::Clusters,
    environment,
    refused::{self, Reading, Refused},
    script, states,
};

/// How long a command may take. Slurm's own limit (MessageTimeout, 10 s if not set) ends it earlier.
const PATIENCE: Duration = Duration::from_secs(60);
/// Slurm did not answer; nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SlurmSilent(pub String);

/// What a job asks Slurm for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobAsked {
    /// `r42-p1234-damnit`.
    pub name: String,
    /// Working directory: the database directory.
    pub directory: PathBuf,
    /// The log, with Slurm's `%j` for the job's id.
    pub log: String,
    /// The reservation; its nodes are in the partition, where one is named too.
    pub reservation: Option<String>,
    /// The partition; Slurm's default one, or the reservation's own, if there is none.
    pub partition: Option<String>,
    /// Account.
    pub account: Option<String>,
    /// QOS.
    pub qos: Option<String>,
    /// Clusters, as the setting names them.
    pub clusters: Option<String>,
    /// Time limit.
    pub time_minutes: u32,
    /// CPUs of the task; `None`: what the partition gives (a whole node, where nodes are not shared).
    pub cpus: Option<u32>,
    /// Memory of the node in MiB; `None`: what the partition gives.
    pub mem_mib: Option<u64>,
    /// That is more than was asked for at first: no more than there is.
    pub raised_memory: bool,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Nodes.
    pub nodes: Option<u32>,
    /// Tasks; one on each node, if nothing is said.
    pub ntasks: Option<u32>,
    /// By how much its priority is lowered.
    pub nice: Option<u32>,
    /// Features of the node.
    pub constraint: Option<String>,
    /// Nodes that it is not to run on.
    pub exclude: Vec<String>,
    /// The script.
    pub script: script::JobScript,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Slurm has it.
    Accepted {
        /// Its id.
        job: JobId,
    },
    /// Slurm does not want it.
    Refused(Refused),
    /// Whether it has it, or under which number, is not known.
    Unsure {
        /// What was said instead.
        words: String,
        /// What may have happened.
        doubt: Doubt,
    },
}

/// What is not known of a submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doubt {
    /// The controller was not reached: it cannot have the job, as far as is known.
    NotReached,
    /// The answer was lost, or nobody was there to hear it.
    #[default]
    Unanswered,
    /// sbatch says that the job was taken, and not in a way that tells its number.
    Unnumbered,
}

/// Is there a job with a token?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This one.
    Job(JobId),
    /// None that the queue, or the accounting where there is one, knows.
    Nothing,
}

/// With `AMORE_NO_SLURM` in the environment everything is computed here.
pub fn switched_off() -> bool {
    env::var_os("AMORE_NO_SLURM").is_some_and(|value| !value.is_empty())
}

/// Are Slurm's commands there, and wanted?
pub fn installed() -> bool {
    if switched_off() {
        return false;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join("sbatch").is_file())
}

/// Is the configuration there that is named? Without it Slurm's commands try again for a minute, and say nothing.
///
/// # Errors
/// It is not.
pub fn has_configuration() -> Result<(), SlurmSilent> {
    match env::var_os("SLURM_CONF") {
        Some(path) if !path.is_empty() && !Path::new(&path).is_file() => {
            Err(SlurmSilent(format!("SLURM_CONF names {}, which is no file", path.display())))
        }
        _ => Ok(()),
    }
}

/// Why there is no answer of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NoAnswer {
    /// It began, and what it did is not known.
    Silent(String),
    /// It did not begin: nothing was asked of Slurm.
    NotExecuted(String),
}

impl From<NoAnswer> for SlurmSilent {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::Silent(words) | NoAnswer::NotExecuted(words) => SlurmSilent(words),
        }
    }
}

async fn run(program: &str, arguments: &[String], input: Option<&str>) -> Result<Output, NoAnswer> {
    has_configuration().map_err(|SlurmSilent(words)| NoAnswer::NotExecuted(words))?;
    execute(program, arguments, input, &environment::of_commands()).await
}

async fn execute(
    program: &str,
    arguments: &[String],
    input: Option<&str>,
    given: &[(String, OsString)],
) -> Result<Output, NoAnswer> {
    let silent = |error: std::io::Error| NoAnswer::Silent(format!("{program}: {error}"));
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
        // Times that it prints are seconds since 1970, or at least the same everywhere. A job must not inherit this.
        command.env("SLURM_TIME_FORMAT", "%s").env("TZ", "UTC");
    }
    let mut process = command
        .spawn()
        .map_err(|error| NoAnswer::NotExecuted(format!("{program} could not be executed: {error}")))?;
    if let (Some(text), Some(mut stdin)) = (input, process.stdin.take()) {
        // A command that ends before it has read everything says why.
        let _ = stdin.write_all(text.as_bytes()).await;
    }
    let output = match timeout(PATIENCE, process.wait_with_output()).await {
        Ok(output) => output.map_err(silent)?,
        Err(_) => {
            let words = format!("{program} has not answered after {} s", PATIENCE.as_secs());
            return Err(NoAnswer::Silent(words));
        }
    };
    let words = String::from_utf8_lossy(&output.stderr);
    match output.status.code().filter(|code| answers::did_not_start(*code, &words)) {
        Some(code) => {
            let words = answers::words_of(&words);
            let words = if words.is_empty() { String::new() } else { format!(": {words}") };
            Err(NoAnswer::NotExecuted(format!("{program} could not be executed (exit code {code}){words}")))
        }
        None => Ok(output),
    }
}

/// What a command of Slurm's prints, or why it does not; asked as everything is asked.
///
/// # Errors
/// It did not begin, does not answer, or says no.
pub async fn ask(program: &str, arguments: &[&str]) -> Result<String, SlurmSilent> {
    let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
    let output = run(program, &arguments, None).await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    // `scontrol ping` complains on standard output.
    let last = [&output.stderr, &output.stdout].into_iter().find_map(|text| {
        let text = String::from_utf8_lossy(text);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    });
    Err(SlurmSilent(last.unwrap_or_else(|| output.status.to_string())))
}

/// Variables of the shell that a command needs to begin, if it does not with what it is given: those without which it
/// does not begin. Empty where it begins anyway, or not even with all of them.
pub async fn what_it_needs(program: &str) -> Vec<String> {
    let version = ["--version".to_owned()];
    let begins = async |given: &[(String, OsString)]| {
        execute(program, &version, None, given).await.is_ok_and(|output| output.status.success())
    };
    let known = environment::of_commands();
    let mut more: Vec<(String, OsString)> = environment::of_the_shell();
    more.retain(|(name, _)| known.iter().all(|(other, _)| other != name));
    let with = |more: &[(String, OsString)]| [known.as_slice(), more].concat();
    if begins(&known).await || !begins(&with(&more)).await {
        return Vec::new();
    }
    // Halves first: most of a shell's variables are not needed.
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

/// Arguments of `sbatch` for a job. `--export=ALL` means the few variables that `sbatch` itself is given here: with
/// `--export=NONE` Slurm executes the user's login shell on the node first, which was measured to take a second and more.
/// The token stands here, and not in the script: accounting keeps the command line.
pub fn arguments(asked: &JobAsked, token: &str) -> Vec<String> {
    let mut arguments: Vec<String> = ["--parsable", "--export=ALL", "--open-mode=append", "--no-requeue"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut add = |name: &str, value: &dyn std::fmt::Display| arguments.push(format!("--{name}={value}"));
    add("job-name", &asked.name);
    add("comment", &comment_of(token));
    add("chdir", &asked.directory.display());
    add("output", &asked.log);
    for (name, value) in [
        ("reservation", &asked.reservation),
        ("partition", &asked.partition),
        ("account", &asked.account),
        ("qos", &asked.qos),
        ("clusters", &asked.clusters),
        ("constraint", &asked.constraint),
    ] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    add("time", &asked.time_minutes);
    if let Some(cpus) = asked.cpus {
        add("cpus-per-task", &cpus);
    }
    if let Some(mem) = asked.mem_mib {
        add("mem", &format!("{mem}M"));
    }
    if let Some(gpus) = asked.gpus {
        add("gpus", &gpus);
    }
    if let Some(nice) = asked.nice {
        add("nice", &nice);
    }
    if !asked.exclude.is_empty() {
        add("exclude", &asked.exclude.join(","));
    }
    let nodes = asked.nodes.unwrap_or(1);
    add("nodes", &nodes);
    // Of a job with fewer tasks than nodes Slurm takes nodes away.
    add("ntasks", &asked.ntasks.unwrap_or(nodes));
    arguments
}

/// Submits a job.
pub async fn submit(asked: &JobAsked, token: &str) -> Submitted {
    let script = match script::render(&asked.directory, &asked.script) {
        Ok(script) => script,
        Err(error) => {
            return Submitted::Refused(Refused::of_ours(error.to_string()));
        }
    };
    let output = match run("sbatch", &arguments(asked, token), Some(&script)).await {
        Ok(output) => output,
        Err(NoAnswer::Silent(words)) => return Submitted::Unsure { words, doubt: Doubt::Unanswered },
        Err(NoAnswer::NotExecuted(words)) => return Submitted::Refused(Refused::not_executed(words)),
    };
    let (answer, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        let clusters = Clusters::of(asked.clusters.as_deref());
        let words = format!("sbatch said {:?}", shortened(answers::plain(&answer).trim()));
        let unclear = Submitted::Unsure { words, doubt: Doubt::Unnumbered };
        return match parse_submitted(&answer, &said, &clusters) {
            Number::Said(job) => Submitted::Accepted { job },
            Number::Likely(job) => match checked(job, token).await {
                Some(job) => Submitted::Accepted { job },
                None => unclear,
            },
            Number::Unclear => unclear,
        };
    }
    let said = answers::plain(&said);
    let unsure = |words: String| {
        let doubt = if answers::is_not_reached(&words) { Doubt::NotReached } else { Doubt::Unanswered };
        Submitted::Unsure { words, doubt }
    };
    match refused::read(&said, asked.reservation.is_some(), environment::site_refusals()) {
        Reading::Silence { words } => unsure(words),
        Reading::Refused(Refused { words, .. }) if output.status.code().is_none() => unsure(words),
        Reading::Refused(refused) => Submitted::Refused(refused),
    }
}

/// As much of a text as a message has room for.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The job that was submitted just now, where its number stood among other words: the queue has it under its token. If the
/// queue shows no token of ours, the number is believed when it is one of the user's jobs.
async fn checked(likely: JobId, token: &str) -> Option<JobId> {
    let queue = queue(likely.cluster.as_deref()).await.ok()?;
    let by_token = queue.iter().find(|(_, seen)| seen.is_of(token)).map(|(job, _)| job.clone());
    by_token.or_else(|| queue.get(&likely).is_some_and(|seen| seen.tokens.is_empty()).then_some(likely))
}

fn me() -> String {
    nix::unistd::getuid().to_string()
}

/// Arguments that ask a cluster. None is named where none is set: with `-M` every command needs slurmdbd.
fn on_cluster(cluster: Option<&str>, arguments: &[&str]) -> Vec<String> {
    let cluster = cluster.map(|name| ["-M", name]).into_iter().flatten();
    cluster.chain(arguments.iter().copied()).map(str::to_owned).collect()
}

/// The lines that a command of Slurm's prints about a cluster. One cluster for each question: of several some versions
/// print whose lines follow, some do not, and one that does not answer would cost the answers of the others.
///
/// # Errors
/// It is not there, does not answer, or says no.
pub async fn lines(
    program: &str,
    cluster: Option<&str>,
    arguments: &[&str],
) -> Result<Vec<String>, SlurmSilent> {
    let arguments = on_cluster(cluster, arguments);
    let output = run(program, &arguments, None).await?;
    if !output.status.success() {
        return Err(SlurmSilent(answers::words_of(&String::from_utf8_lossy(&output.stderr))));
    }
    Ok(answers::plain(&String::from_utf8_lossy(&output.stdout)).lines().map(str::to_owned).collect())
}

/// The names of the clusters that are meant; `None`: the one that is asked by itself.
///
/// # Errors
/// All are meant, and accounting does not say which there are.
pub async fn names(clusters: &Clusters) -> Result<Vec<Option<String>>, SlurmSilent> {
    Ok(match clusters {
        Clusters::Ours => vec![None],
        Clusters::One(name) => vec![Some(name.clone())],
        Clusters::Several(names) => names.iter().cloned().map(Some).collect(),
        Clusters::All => known_clusters().await?.into_iter().map(Some).collect(),
    })
}

/// The clusters that accounting knows.
///
/// # Errors
/// It does not answer.
pub async fn known_clusters() -> Result<Vec<String>, SlurmSilent> {
    lines("sacctmgr", None, &["-nP", "show", "cluster", "format=cluster"]).await
}

/// Lines of a cluster by the jobs that they are about. Those about elements of job arrays are none of ours, and what a
/// site's wrapper prints is no line about a job.
fn by_job<T>(cluster: Option<&str>, lines: impl Iterator<Item = (String, T)>) -> HashMap<JobId, T> {
    lines
        .filter_map(|(job, what)| match job.parse() {
            Ok(number) => Some((JobId::on(cluster, number), what)),
            Err(_) => {
                tracing::debug!(job, "a line of Slurm's that is about none of our jobs");
                None
            }
        })
        .collect()
}

/// All jobs of this user that the controller of a cluster knows, by id.
///
/// # Errors
/// It does not answer.
pub async fn queue(cluster: Option<&str>) -> Result<HashMap<JobId, Seen>, SlurmSilent> {
    let me = me();
    // -a: the owner of a job in a partition that he may not use would not see it (24.11). The reason comes last: it may
    // hold the separator.
    let arguments = ["-h", "-a", "-r", "-t", "all", "-u", &me, "-o", "%i|%T|%N|%P|%v|%k|%r"];
    let lines = lines("squeue", cluster, &arguments).await?;
    Ok(by_job(cluster, lines.iter().filter_map(|line| parse_queue(line))))
}

/// Exit code and signal of each job of this user that the controller of a cluster still knows.
///
/// # Errors
/// It does not answer.
pub async fn exit_codes(cluster: Option<&str>) -> Result<HashMap<JobId, (i32, i32)>, SlurmSilent> {
    let me = me();
    let fields = "JobArrayID:|,exit_code:|";
    let lines = lines("squeue", cluster, &["-h", "-a", "-r", "-t", "all", "-u", &me, "-O", fields]).await?;
    Ok(by_job(cluster, lines.iter().filter_map(|line| parse_exit_code(line))))
}

/// How the controller itself says that a job stands; `None`: it knows no such job.
///
/// # Errors
/// It does not answer.
pub async fn show(job: &JobId) -> Result<Option<Seen>, SlurmSilent> {
    let number = job.number.to_string();
    match lines("scontrol", job.cluster.as_deref(), &["-o", "show", "job", &number]).await {
        Ok(lines) => match lines.iter().filter_map(|line| parse_shown(line)).find(|(id, _)| *id == number) {
            Some((_, seen)) => Ok(Some(seen)),
            None => Err(SlurmSilent(format!("scontrol shows nothing of job {job}"))),
        },
        Err(SlurmSilent(words)) if answers::is_unknown_job(&words) => Ok(None),
        Err(silent) => Err(silent),
    }
}

/// Fields that the installed sacct does not have, as it has said itself: not asked for again.
static NO_FIELDS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Which of these fields does the installed sacct not have, as far as is known?
pub fn unknown_fields(fields: &[&str]) -> Vec<String> {
    let unknown = NO_FIELDS.lock().unwrap_or_else(PoisonError::into_inner);
    fields.iter().filter(|field| unknown.contains(**field)).map(|field| (*field).to_owned()).collect()
}

/// Asks accounting for those of these fields that it has, without steps and headings; gives which they are, and the lines.
async fn sacct<'a>(
    cluster: Option<&str>,
    arguments: &[&str],
    fields: &[&'a str],
) -> Result<(Vec<&'a str>, Vec<String>), SlurmSilent> {
    loop {
        let unknown = unknown_fields(fields);
        let known: Vec<&str> =
            fields.iter().copied().filter(|field| !unknown.iter().any(|no| no == field)).collect();
        let list = known.join(",");
        let arguments: Vec<&str> =
            ["-X", "-n", "-P"].into_iter().chain(arguments.iter().copied()).chain(["-o", &list]).collect();
        match lines("sacct", cluster, &arguments).await {
            Ok(lines) => return Ok((known, lines)),
            Err(SlurmSilent(words)) => match answers::unknown_field(&words) {
                Some(field) if known.contains(&field) => {
                    tracing::info!(field, "sacct of this version does not have a field");
                    NO_FIELDS.lock().unwrap_or_else(PoisonError::into_inner).insert(field.to_owned());
                }
                _ => return Err(SlurmSilent(words)),
            },
        }
    }
}

/// What accounting knows of these jobs of a cluster.
///
/// # Errors
/// There is none, or it does not answer.
pub async fn accounting(cluster: Option<&str>, jobs: &[JobId]) -> Result<HashMap<JobId, Seen>, SlurmSilent> {
    let mut found = HashMap::new();
    let numbers: Vec<String> = jobs.iter().map(|job| job.number.to_string()).collect();
    for some in numbers.chunks(500) {
        let (fields, answer) = sacct(cluster, &["-j", &some.join(",")], &ACCOUNTED).await?;
        found.extend(by_job(cluster, answer.iter().filter_map(|line| parse_accounting(line, &fields))));
    }
    Ok(found)
}

/// What accounting keeps of the user's latest jobs to find a token in: the command line, or where its version keeps none
/// (before 21.08) the comment.
///
/// # Errors
/// There is none, or it does not answer.
pub async fn kept_tokens(cluster: Option<&str>) -> Result<Vec<(u64, Vec<String>)>, SlurmSilent> {
    let me = me();
    let latest = ["-u", me.as_str(), "-S", "now-2days"];
    let (fields, mut answer) = sacct(cluster, &latest, &["JobID", "SubmitLine"]).await?;
    if fields == ["JobID"] {
        (_, answer) = sacct(cluster, &latest, &["JobID", "Comment"]).await?;
    }
    let of_line = |line: &String| {
        let (job, text) = line.split_once('|')?;
        Some((job.parse().ok()?, tokens_in(text)))
    };
    Ok(answer.iter().filter_map(of_line).collect())
}

/// Looks a token up on each of the clusters that it may have gone to.
///
/// # Errors
/// The controller of one of them does not answer, and no other has it.
pub async fn find(token: &str, name: &str, clusters: &Clusters) -> Result<Found, SlurmSilent> {
    let mut answer = Ok(Found::Nothing);
    for cluster in names(clusters).await? {
        match find_on(token, name, cluster.as_deref()).await {
            Ok(Found::Nothing) => {}
            Ok(found) => return Ok(found),
            Err(silent) => answer = Err(silent),
        }
    }
    answer
}

/// Scripts that are looked into for one token.
const SCRIPTS: usize = 20;

/// Looks a token up: in the queue, in what accounting keeps, and where comments are not kept as they were given in the
/// scripts of jobs of that name.
async fn find_on(token: &str, name: &str, cluster: Option<&str>) -> Result<Found, SlurmSilent> {
    let me = me();
    let is_it = |tokens: &[String]| tokens.iter().any(|other| other == token);
    for line in lines("squeue", cluster, &["-h", "-a", "-r", "-t", "all", "-u", &me, "-o", "%i|%k"]).await? {
        if let Some((job, text)) = line.split_once('|')
            && is_it(&tokens_in(text))
            && let Ok(number) = job.trim().parse()
        {
            return Ok(Found::Job(JobId::on(cluster, number)));
        }
    }
    // Without accounting the queue has to be enough.
    for (number, tokens) in kept_tokens(cluster).await.unwrap_or_default() {
        if is_it(&tokens) {
            return Ok(Found::Job(JobId::on(cluster, number)));
        }
    }
    let named =
        lines("squeue", cluster, &["-h", "-a", "-r", "-t", "all", "-u", &me, "-o", "%i|%j|%k"]).await?;
    let candidates = named.iter().filter_map(|line| {
        let (job, rest) = line.split_once('|')?;
        let comment = rest.strip_prefix(name)?.strip_prefix('|')?;
        tokens_in(comment).is_empty().then(|| job.trim().parse::<u64>().ok())?
    });
    for number in candidates.take(SCRIPTS) {
        let script = lines("scontrol", cluster, &["write", "batch_script", &number.to_string(), "-"]).await;
        // The name of the sheet is in it.
        let sheet = format!("/{token}.json");
        if script.is_ok_and(|script| script.iter().any(|line| line.contains(&sheet))) {
            return Ok(Found::Job(JobId::on(cluster, number)));
        }
    }
    Ok(Found::Nothing)
}

/// What came of telling Slurm to end a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It has ended, or ends: the controller says so.
    Over,
    /// Slurm was told, and still shows it as if it went on.
    NotYet {
        /// Slurm's word.
        state: String,
    },
    /// Slurm was not told, or does not say.
    Failed {
        /// What is said instead.
        words: String,
    },
}

/// How often it is looked whether a job that Slurm was told to end has ended, and how long it is waited between.
const LOOKS: u32 = 6;
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

/// Ends a job, if it still is the one of this token (a number may be another's by now), and looks whether it has.
pub async fn cancel(job: &JobId, token: &str) -> Cancelled {
    let said = |output: &Output| answers::words_of(&String::from_utf8_lossy(&output.stderr));
    let number = job.number.to_string();
    let cluster = job.cluster.as_deref();
    let ask = |fields: &str| on_cluster(cluster, &["-h", "-a", "-t", "all", "-j", &number, "-o", fields]);
    match run("squeue", &ask("%k"), None).await {
        Ok(output) if output.status.success() => {
            let tokens = tokens_in(&answers::plain(&String::from_utf8_lossy(&output.stdout)));
            if !tokens.is_empty() && !tokens.iter().any(|own| own == token) {
                return Cancelled::Over;
            }
        }
        Ok(output) if answers::is_unknown_job(&said(&output)) => return Cancelled::Over,
        Ok(output) => return Cancelled::Failed { words: said(&output) },
        Err(no_answer) => return Cancelled::Failed { words: SlurmSilent::from(no_answer).0 },
    }
    match run("scancel", &on_cluster(cluster, &[&number]), None).await {
        Ok(output) if output.status.success() => {}
        // One that has ended meanwhile is shown as such.
        Ok(output) if answers::is_unknown_job(&said(&output)) => {}
        Ok(output) => return Cancelled::Failed { words: said(&output) },
        Err(no_answer) => return Cancelled::Failed { words: SlurmSilent::from(no_answer).0 },
    }
    let mut state = String::new();
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        match run("squeue", &ask("%i|%T"), None).await {
            Ok(output) if output.status.success() => {
                let text = answers::plain(&String::from_utf8_lossy(&output.stdout));
                let shown = text.lines().filter_map(|line| line.split_once('|'));
                match shown.filter(|(id, _)| id.trim() == number).map(|(_, state)| state.trim()).next() {
                    Some(now) if !states::is_final(now) && now != "COMPLETING" => state = now.to_owned(),
                    _ => return Cancelled::Over,
                }
            }
            Ok(output) if answers::is_unknown_job(&said(&output)) => return Cancelled::Over,
            Ok(output) => return Cancelled::Failed { words: said(&output) },
            Err(no_answer) => return Cancelled::Failed { words: SlurmSilent::from(no_answer).0 },
        }
    }
    Cancelled::NotYet { state }
}

/// The pattern of a job's log in `folder`; see `DatabaseDir::slurm_log`.
pub fn log_pattern(folder: &Path, name: &str, mark: Option<&str>) -> String {
    // `%` is sbatch's own sign in a file name.
    let folder = folder.display().to_string().replace('%', "%%");
    let mark = mark.map(|mark| format!(".{mark}")).unwrap_or_default();
    format!("{folder}/{name}-%j{mark}.out")
}

/// The log of a job, from its pattern.
pub fn log_of(pattern: &str, job: &JobId) -> PathBuf {
    let number = job.number.to_string();
    PathBuf::from(pattern.replace("%%", "\0").replace("%j", &number).replace('\0', "%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_named_to_slurm_only_where_one_is_set() {
        assert_eq!(on_cluster(None, &["-h"]), ["-h"]);
        assert_eq!(on_cluster(Some("lab"), &["-h"]), ["-M", "lab", "-h"]);
        assert_eq!(JobId::on(Some("lab"), 7).cluster_option(), " -M lab");
        assert_eq!(JobId::on(None, 7).cluster_option(), "");
    }

    #[test]
    fn equal_numbers_of_two_clusters_are_told_apart() {
        let of = |cluster: &str, line: &str| by_job(Some(cluster), parse_queue(line).into_iter());
        let mut all = of("lab", "7|RUNNING|n1|main|(null)|amore:a-1|None");
        all.extend(of("maxwell", "7|PENDING||upex|(null)|amore:b-1|Priority"));
        assert_eq!(all[&JobId::on(Some("lab"), 7)].state, "RUNNING");
        assert_eq!(all[&JobId::on(Some("maxwell"), 7)].state, "PENDING");
        assert_eq!(all.len(), 2);
        // A heading, an element of an array.
        assert!(of("lab", "CLUSTER: lab").is_empty());
        assert!(of("lab", "7_3|RUNNING|n1|main|(null)||None").is_empty());
    }
}
