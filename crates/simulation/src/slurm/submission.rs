//! `sbatch`: accepts a job, or refuses it with Slurm's message.

use std::time::Duration;

use super::{
    Caller,
    cluster::Cluster,
    job::{Asked, Ended, ExitCode, Job, Reason, State},
    lifecycle::held_reason,
    node::Reservation,
    options::{CommandLine, Known},
    scheduler::association,
    site::Site,
    trouble::NextSubmission,
    words::{FAILED, NODES, POLICY, Refusal},
};
use crate::Moment;

const fn valued(name: &'static str, short: &'static str) -> Known {
    Known { name, short, valued: true }
}

const fn flag(name: &'static str, short: &'static str) -> Known {
    Known { name, short, valued: false }
}

pub(super) const OPTIONS: &[Known] = &[
    flag("--parsable", ""),
    flag("--no-requeue", ""),
    flag("--requeue", ""),
    flag("--hold", "-H"),
    valued("--export", ""),
    valued("--open-mode", ""),
    valued("--job-name", "-J"),
    valued("--comment", ""),
    valued("--chdir", "-D"),
    valued("--output", "-o"),
    valued("--reservation", ""),
    valued("--partition", "-p"),
    valued("--account", "-A"),
    valued("--qos", "-q"),
    valued("--clusters", "-M"),
    valued("--constraint", "-C"),
    valued("--exclude", "-x"),
    valued("--nodelist", "-w"),
    valued("--time", "-t"),
    valued("--cpus-per-task", "-c"),
    valued("--mem", ""),
    valued("--gpus", "-G"),
    valued("--gres", ""),
    valued("--nodes", "-N"),
    valued("--ntasks", "-n"),
    valued("--nice", ""),
    valued("--begin", "-b"),
    valued("--array", "-a"),
    valued("--dependency", "-d"),
    valued("--uid", ""),
    valued("--wrap", ""),
];

/// Default memory of a job, per CPU (`DefMemPerCPU`).
const MEMORY_PER_CPU: u64 = 100;
/// Largest size of a script.
const LARGEST_SCRIPT: usize = 4 << 20;
/// Longest name or comment.
const LONGEST_NAME: usize = 1024;
/// Indices of job arrays are below this.
const MAX_ARRAY_SIZE: u64 = 1001;

/// A submission on its way to the controller.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub caller: Caller,
    pub argv: Vec<String>,
    pub script: String,
    pub told: NextSubmission,
}

/// Parses the command line, and checks what sbatch checks before it contacts the controller.
pub(super) fn read(argv: &[String], stdin: &str, caller: &Caller) -> Result<(CommandLine, String), Refusal> {
    let unknown = argv.iter().find(|word| word.starts_with("--no-such-"));
    if let Some(word) = unknown {
        let words =
            format!("sbatch: unrecognized option '{word}'\nTry \"sbatch --help\" for more information");
        return Err(Refusal::new(words).code(255));
    }
    let line = CommandLine::read(argv, OPTIONS)?;
    if !line.words.is_empty() {
        return Err(Refusal::not_known("scripts that are files"));
    }
    let script = match line.get("--wrap") {
        Some(wrapped) => format!("#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{wrapped}\n"),
        None => stdin.to_owned(),
    };
    if line.has("--uid") && caller.uid != 0 {
        return Err(Refusal::new("sbatch: error: --uid only permitted by root user").code(255));
    }
    if let Some(time) = line.get("--time")
        && minutes(time).is_none()
    {
        return Err(Refusal::new("sbatch: error: Invalid --time specification").code(255));
    }
    if script.trim().is_empty() {
        return Err(Refusal::new("sbatch: error: Batch script is empty!"));
    }
    if !script.starts_with("#!") {
        return Err(Refusal::new(
            "sbatch: error: This does not look like a batch script.  The first\n\
             sbatch: error: line must start with #! followed by the path to an interpreter.\n\
             sbatch: error: For instance: #!/bin/sh",
        ));
    }
    if script.contains("\r\n") {
        return Err(Refusal::new(
            "sbatch: error: Batch script contains DOS line breaks (\\r\\n)\n\
             sbatch: error: instead of expected UNIX line breaks (\\n).",
        ));
    }
    if line.has("--gres") || line.has("--gpus") {
        return Err(Refusal::new("sbatch: error: Invalid generic resource (gres) specification"));
    }
    Ok((line, script))
}

impl Cluster {
    /// The controller accepts a job and returns its number, or refuses it.
    pub fn take(&mut self, site: &Site, waiting: Waiting) -> Result<u64, Refusal> {
        let Waiting { caller, argv, script, told } = waiting;
        let (line, script) = read(&argv, &script, &caller)?;
        if let Some(words) = told.refused {
            return Err(Refusal::new(words));
        }
        let asked = match self.asked(site, &line, script, &argv, &caller) {
            Ok(asked) => asked,
            Err(Wrong::Refused(refusal)) => return Err(refusal),
            Err(Wrong::Unfit(refusal, asked)) => {
                // Slurm keeps a record of a job that requests nodes that do not exist.
                let key = self.insert(&caller, *asked, None);
                let exit = ExitCode { code: 1, signal: 0 };
                self.end(key, Ended::Failed, exit, Reason::BadConstraints);
                return Err(refusal);
            }
        };
        self.check_queue_limits(site, 1, &asked, &caller)?;
        let held = told.held;
        let key = self.insert(&caller, asked, told.number);
        if let Some(job) = self.jobs.get_mut(&key) {
            job.launch_fails = told.launch_fails;
            if let Some(hold) = held {
                job.held = Some(hold);
                job.reason = held_reason(hold);
            }
        }
        self.pending.insert(key);
        self.account(key);
        let Some(job) = self.jobs.get(&key) else { return Ok(0) };
        let (number, begin) = (job.number, job.not_before);
        let reserved = job.asked.reservations.iter().filter_map(|name| self.reservations.get(name));
        let moments: Vec<Moment> = begin.into_iter().chain(reserved.map(|one| one.start)).collect();
        for moment in moments {
            if moment > self.now {
                self.schedule_by(moment);
            }
        }
        self.wake_scheduler();
        Ok(number)
    }

    fn insert(&mut self, caller: &Caller, asked: Asked, number: Option<u64>) -> u64 {
        let number = number.unwrap_or(self.next_number);
        self.next_number = self.next_number.max(number + 1);
        if let Some(old) = self.numbers.get(&number).copied() {
            self.forget(old);
        }
        let key = self.next_key;
        self.next_key += 1;
        let held = asked.hold.then_some(super::job::Hold::User);
        let job = Job {
            key,
            number,
            user: caller.user.clone(),
            uid: caller.uid,
            submitted: self.now,
            state: State::Pending,
            reason: held.map_or(Reason::None, held_reason),
            held,
            not_before: asked.begin,
            nodes: Vec::new(),
            started: None,
            ended: None,
            exit: ExitCode::default(),
            restarts: 0,
            launch_fails: false,
            asked,
        };
        self.jobs.insert(key, job);
        self.numbers.insert(number, key);
        key
    }

    /// The options of a submission, if they are valid for the controller.
    fn asked(
        &self,
        site: &Site,
        line: &CommandLine,
        script: String,
        argv: &[String],
        caller: &Caller,
    ) -> Result<Asked, Wrong> {
        let text = |name: &str| line.get(name).unwrap_or_default().to_owned();
        let refused = |words: &str| Err(Wrong::Refused(Refusal::of_submission(words)));
        let long = |text: &str| text.len() > LONGEST_NAME;
        if long(&text("--job-name")) || long(&text("--comment")) || script.len() > LARGEST_SCRIPT {
            return refused("Pathname of a file, directory or other parameter too long");
        }
        let partition = match line.get("--partition") {
            Some(name) => self.partition(name).ok_or_else(|| {
                let words = format!(
                    "sbatch: error: invalid partition specified: {name}\n{FAILED}Invalid partition name specified"
                );
                Wrong::Refused(Refusal::new(words))
            })?,
            None => match self.partitions.iter().find(|partition| partition.default) {
                Some(partition) => partition,
                None => return refused("No partition specified or system default partition"),
            },
        };
        let root = caller.uid == 0;
        let person = site.person(&caller.user);
        let in_group = |group: &String| person.is_some_and(|person| person.groups.contains(group));
        if !root && !partition.groups.is_empty() && !partition.groups.iter().any(in_group) {
            return refused("User's group not permitted to use this partition");
        }
        if text("--array")
            .split(['-', ',', '%'])
            .any(|index| index.parse().is_ok_and(|at: u64| at >= MAX_ARRAY_SIZE))
        {
            return refused("Invalid job array specification");
        }
        if text("--dependency").contains(":x") {
            return refused("Job dependency problem");
        }
        let default = || person.and_then(|person| person.associations.first()).map(|one| one.account.clone());
        let account = line.get("--account").map(str::to_owned).or_else(default).unwrap_or_default();
        let association = association(site, &caller.user, &account);
        if site.accounting && association.is_none() {
            return refused("Invalid account or account/partition combination specified");
        }
        let qos = line.get("--qos").unwrap_or("normal").to_owned();
        if association.is_some_and(|association| !association.qos.contains(&qos)) {
            return refused("Invalid qos specification");
        }
        let reservations = line.list("--reservation");
        let mut reserved: Vec<&Reservation> = Vec::new();
        for name in &reservations {
            let Some(one) = self.reservations.get(name) else {
                return refused("Requested reservation is invalid");
            };
            if !root && !one.admits(&caller.user, &account) {
                return refused("Access denied to requested reservation");
            }
            if one.end <= self.now {
                let words = format!("sbatch: error: Problem using reservation\n{FAILED}{NODES}");
                return Err(Wrong::Refused(Refusal::new(words)));
            }
            reserved.push(one);
        }
        if partition.reserved_only && reservations.is_empty() {
            return refused("Access/permission denied");
        }
        if line.has("--constraint") {
            return refused("Invalid feature specification");
        }
        let named: Vec<String> = [line.list("--exclude"), line.list("--nodelist")].concat();
        if named.iter().any(|name| self.nodes.iter().all(|node| node.spec.name != *name)) {
            return refused("Invalid node name specified");
        }
        let number = |name| line.number(name).map_err(Wrong::Refused);
        let nodes = number("--nodes")?.unwrap_or(1);
        let tasks = number("--ntasks")?.unwrap_or(nodes);
        let cpus = number("--cpus-per-task")?.unwrap_or(1) * tasks.div_ceil(nodes.max(1));
        let memory = match line.get("--mem") {
            Some(text) => Some(
                mebibytes(text)
                    .ok_or_else(|| Wrong::Refused(Refusal::not_known(format_args!("--mem={text}"))))?,
            ),
            None => None,
        };
        let minutes = line.get("--time").and_then(minutes).unwrap_or(partition.default_minutes);
        let begin = match line.get("--begin") {
            Some(text) => Some(
                begin(text, self.now)
                    .ok_or_else(|| Wrong::Refused(Refusal::not_known(format_args!("--begin={text}"))))?,
            ),
            None => None,
        };
        let memory_mib = memory.unwrap_or(MEMORY_PER_CPU * u64::from(cpus));
        let name = match line.get("--job-name") {
            Some(name) => name.to_owned(),
            None if line.has("--wrap") => "wrap".to_owned(),
            None => "sbatch".to_owned(),
        };
        let directory = line.get("--chdir").map_or_else(|| format!("/home/{}", caller.user), str::to_owned);
        let asked = Asked {
            name,
            comment: text("--comment"),
            output: line.get("--output").map_or_else(|| format!("{directory}/slurm-%j.out"), str::to_owned),
            directory,
            reservations,
            partition: partition.name.clone(),
            account,
            qos,
            minutes,
            cpus,
            memory_mib,
            nodes,
            exclude: line.list("--exclude"),
            required: line.list("--nodelist"),
            nice: number("--nice")?.unwrap_or(0),
            begin,
            requeue: !line.has("--no-requeue"),
            hold: line.has("--hold"),
            script,
            line: format!("sbatch {}", argv.join(" ")),
        };
        let unfit = |words: String, asked: Asked| Err(Wrong::Unfit(Refusal::new(words), Box::new(asked)));
        let largest = self.nodes_of(partition).map(|node| node.spec.memory_mib).max().unwrap_or(0);
        if memory.is_some_and(|mib| mib > largest) {
            let words = format!("sbatch: error: Memory specification can not be satisfied\n{FAILED}{NODES}");
            return unfit(words, asked);
        }
        let of_reservations =
            |name: &str| reserved.iter().any(|one| one.nodes.iter().any(|node| node == name));
        let usable = self.nodes_of(partition).filter(|node| of_reservations(&node.spec.name)).count();
        if !reserved.is_empty() && nodes as usize > usable {
            return unfit(format!("{FAILED}{NODES}"), asked);
        }
        if line.has("--array") {
            // Arrays only need to be refused: Amore submits none.
            let tasks = array_tasks(&text("--array"));
            self.check_queue_limits(site, tasks, &asked, caller).map_err(Wrong::Refused)?;
            return Err(Wrong::Refused(Refusal::not_known("job arrays")));
        }
        Ok(asked)
    }

    /// Limits of jobs in the queue.
    fn check_queue_limits(
        &self,
        site: &Site,
        more: u32,
        asked: &Asked,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        let in_queue = |of: &dyn Fn(&Job) -> bool| -> u32 {
            let queue = self.pending.iter().chain(&self.busy).filter_map(|key| self.jobs.get(key));
            u32::try_from(queue.filter(|job| job.uid == caller.uid && of(job)).count()).unwrap_or(u32::MAX)
        };
        let over = |most: Option<u32>, of: &dyn Fn(&Job) -> bool| {
            most.is_some_and(|most| in_queue(of).saturating_add(more) > most)
        };
        let limit = |name: &str| Err(Refusal::new(format!("sbatch: error: {name}\n{FAILED}{POLICY}")));
        let qos = site.qos.iter().find(|qos| qos.name == asked.qos);
        if over(qos.and_then(|qos| qos.max_submitted), &|job| job.asked.qos == asked.qos) {
            return limit("QOSMaxSubmitJobPerUserLimit");
        }
        let association = association(site, &caller.user, &asked.account);
        if over(association.and_then(|one| one.max_submitted), &|job| job.asked.account == asked.account) {
            return limit("AssocMaxSubmitJobLimit");
        }
        Ok(())
    }
}

/// Why a submission is not accepted.
enum Wrong {
    Refused(Refusal),
    /// Refused, but kept as a failed job.
    Unfit(Refusal, Box<Asked>),
}

/// The number of tasks in `0-99%2` or `1,3`.
fn array_tasks(text: &str) -> u32 {
    let indices = text.split('%').next().unwrap_or_default();
    let count = |part: &str| match part.split_once('-') {
        Some((first, last)) => {
            let (first, last): (u32, u32) = (first.parse().unwrap_or(0), last.parse().unwrap_or(0));
            last.saturating_sub(first) + 1
        }
        None => 1,
    };
    indices.split(',').map(count).sum()
}

/// `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours[:minutes[:seconds]]`, rounded up to minutes.
fn minutes(text: &str) -> Option<u32> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u32>().ok()?), rest),
        None => (None, text),
    };
    let parts: Vec<u32> = rest.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let seconds = match (days, parts.as_slice()) {
        (None, [minutes]) => minutes * 60,
        (None, [minutes, seconds]) => minutes * 60 + seconds,
        (Some(_), [hours]) => hours * 3600,
        (Some(_), [hours, minutes]) => hours * 3600 + minutes * 60,
        (_, [hours, minutes, seconds]) => hours * 3600 + minutes * 60 + seconds,
        _ => return None,
    };
    Some(days.unwrap_or(0) * 1440 + seconds.div_ceil(60)).filter(|minutes| *minutes > 0)
}

/// Parses `500M`, `25G`, `900000`; a plain number is in MiB.
fn mebibytes(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix(['M', 'm']) {
        Some(digits) => (digits, 1),
        None => match text.strip_suffix(['G', 'g']) {
            Some(digits) => (digits, 1024),
            None => (text, 1),
        },
    };
    Some(digits.parse::<u64>().ok()? * factor)
}

/// `now+2hours`.
fn begin(text: &str, now: Moment) -> Option<Moment> {
    let rest = text.strip_prefix("now+")?;
    let digits = rest.trim_end_matches(|sign: char| !sign.is_ascii_digit());
    let unit = match rest.get(digits.len()..)? {
        "" | "second" | "seconds" => 1,
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        _ => return None,
    };
    Some(now + Duration::from_secs(digits.parse::<u64>().ok()? * unit))
}
