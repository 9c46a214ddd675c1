//! `squeue`: jobs in the queue.

use std::{fmt::Write as _, time::Duration};

use crate::slurm::{
    Caller,
    cluster::Cluster,
    job::{Job, State},
    node::node_list,
    options::{CommandLine, Known},
    words::{Refusal, UNKNOWN_JOB, short_time},
};

const OPTIONS: &[Known] = &[
    Known { name: "-h", short: "--noheader", valued: false },
    Known { name: "-a", short: "--all", valued: false },
    Known { name: "-r", short: "--array", valued: false },
    Known { name: "-t", short: "--states", valued: true },
    Known { name: "-u", short: "--user", valued: true },
    Known { name: "-j", short: "--jobs", valued: true },
    Known { name: "-o", short: "--format", valued: true },
    Known { name: "-O", short: "--Format", valued: true },
];

/// A part of a format.
enum Part {
    Text(String),
    Field(char),
}

pub(in crate::slurm) fn squeue(
    cluster: &Cluster,
    caller: &Caller,
    argv: &[String],
) -> Result<String, Refusal> {
    let line = CommandLine::read(argv, OPTIONS)?;
    let states = line.get("-t");
    if !line.has("-h") || !line.words.is_empty() || states.is_some_and(|states| states != "all") {
        return Err(Refusal::not_known(format_args!("squeue {}", argv.join(" "))));
    }
    let wanted = line.list("-j");
    let numbers: Vec<u64> = wanted.iter().filter_map(|number| number.parse().ok()).collect();
    if let [number] = numbers.as_slice()
        && cluster.numbered(*number).is_none()
    {
        return Err(Refusal::new(format!("slurm_load_jobs error: {UNKNOWN_JOB}")));
    }
    let is_shown = |job: &&Job| {
        let active = matches!(job.state, State::Pending | State::Running { .. } | State::Completing { .. });
        let of_user = line.get("-u").is_none_or(|user| user == job.user || user == job.uid.to_string());
        (states.is_some() || active) && of_user
    };
    let mut jobs: Vec<&Job> = if line.has("-j") {
        numbers.iter().filter_map(|number| cluster.numbered(*number)).filter(is_shown).collect()
    } else {
        cluster.jobs.values().filter(is_shown).collect()
    };
    jobs.sort_by_key(|job| (job.asked.partition.as_str(), job.state.word(), job.held.is_some(), job.key));
    let mut shown = String::new();
    if let Some(fields) = line.get("-O") {
        let fields: Vec<&str> = fields.split(',').collect();
        for job in jobs {
            for field in &fields {
                // `NAME:|`: as wide as the value, followed by a bar.
                let text = match *field {
                    "JobArrayID:|" => job.number.to_string(),
                    "exit_code:|" => job.exit.status().to_string(),
                    other => return Err(Refusal::not_known(format_args!("the field {other}"))),
                };
                shown.push_str(&text);
                shown.push('|');
            }
            shown.push('\n');
        }
        return Ok(shown);
    }
    let parts = parts_of(line.get("-o").unwrap_or_default())?;
    for job in jobs {
        for part in &parts {
            match part {
                Part::Text(text) => shown.push_str(text),
                Part::Field(field) => write_field(&mut shown, *field, cluster, caller, job)?,
            }
        }
        shown.push('\n');
    }
    Ok(shown)
}

fn parts_of(format: &str) -> Result<Vec<Part>, Refusal> {
    let mut parts = Vec::new();
    let mut signs = format.chars();
    while let Some(sign) = signs.next() {
        match (sign, parts.last_mut()) {
            ('%', _) => {
                let field = signs.next().ok_or_else(|| Refusal::not_known("a format that ends with %"))?;
                parts.push(Part::Field(field));
            }
            (sign, Some(Part::Text(text))) => text.push(sign),
            (sign, _) => parts.push(Part::Text(sign.to_string())),
        }
    }
    Ok(parts)
}

fn write_field(
    shown: &mut String,
    field: char,
    cluster: &Cluster,
    caller: &Caller,
    job: &Job,
) -> Result<(), Refusal> {
    let or_null = |text: &str| if text.is_empty() { "(null)".to_owned() } else { text.to_owned() };
    let minutes = u64::from(job.asked.minutes);
    let written = match field {
        'i' | 'F' | 'A' => write!(shown, "{}", job.number),
        'K' => write!(shown, "N/A"),
        'T' => write!(shown, "{}", job.state.word()),
        'N' => write!(shown, "{}", node_list(job.nodes.iter().map(String::as_str))),
        'P' => write!(shown, "{}", job.asked.partition),
        'v' => write!(shown, "{}", or_null(&job.asked.reservations.join(","))),
        'j' => write!(shown, "{}", job.asked.name),
        'k' => write!(shown, "{}", or_null(&job.asked.comment)),
        'r' => write!(shown, "{}", job.reason),
        'u' => write!(shown, "{}", job.user),
        'a' => write!(shown, "{}", job.asked.account),
        'l' => write!(shown, "{}", short_time(minutes)),
        'V' => write!(shown, "{}", super::printed(job.submitted, caller)),
        'S' => match job.started.or(job.not_before) {
            Some(start) => write!(shown, "{}", super::printed(start, caller)),
            None => write!(shown, "N/A"),
        },
        'e' => match job.ended.or_else(|| job.limit()) {
            Some(end) => write!(shown, "{}", super::printed(end, caller)),
            None => write!(shown, "N/A"),
        },
        'L' => {
            let used =
                job.started.map_or(Duration::ZERO, |started| job.ended.unwrap_or(cluster.now) - started);
            match (minutes * 60).checked_sub(used.as_secs()) {
                Some(left) => write!(shown, "{}", clock(left)),
                None => write!(shown, "INVALID"),
            }
        }
        other => return Err(Refusal::not_known(format_args!("the field %{other}"))),
    };
    written.map_err(|_| Refusal::not_known("a text that cannot be written"))
}

/// `59:55`, `1:00:00`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        1..24 => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{}-{:02}:{minutes:02}:{seconds:02}", hours / 24, hours % 24),
    }
}
