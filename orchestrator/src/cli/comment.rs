//! `amore comment`: comments on runs and on points in time, in DAMNIT's tables.

use std::process::ExitCode;

use amore_model::{Proposal, Run};
use amore_run_table::{NotChanged, RunTable, TimeComment, UserCellName, UserValue};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::json;

use super::{
    failure::{Exit, Failure},
    local_time, open, output,
};
use crate::{
    clock,
    database_dir::{locate, must_have_run_table},
};

/// The variable under which DAMNIT stores comments on runs.
const COMMENT: &str = "comment";

/// Show or change the comment on a run, and comments on points in time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    amore comment 42 \"good beam\"                         comment on a run\n  \
    amore comment 42                                     show it\n  \
    amore comment 42 --delete                            remove it\n  \
    amore comment --at now \"sample exchanged\"            comment on a point in time\n  \
    amore comment --at \"2026-11-29 10:15\" \"shutter shut\"\n  \
    amore comment --list                                 all comments on points in time, with their numbers\n  \
    amore comment --id 3 \"sample and nozzle exchanged\"   change one of them")]
pub struct Arguments {
    /// Run and comment; with --at or --id, only the comment.
    #[arg(value_name = "RUN|TEXT", num_args = 0..=2)]
    words: Vec<String>,
    /// Comment on this point in time: `now`, a local time like "2026-11-29 10:15", or one with a zone.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
    /// Change the comment on a point in time that has this number.
    #[arg(long, value_name = "NUMBER", conflicts_with = "at")]
    id: Option<i64>,
    /// Remove the comment.
    #[arg(short, long, conflicts_with_all = ["at", "list"])]
    delete: bool,
    /// List the comments on points in time.
    #[arg(long, conflicts_with_all = ["at", "id", "words"])]
    list: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Proposal of the run [default: that of the database].
    #[arg(long)]
    proposal: Option<u32>,
    /// Proposal number or database directory [default: the working directory].
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
}

/// What the arguments ask for.
#[derive(Debug, PartialEq)]
enum Asked {
    List,
    Show {
        run: u32,
    },
    /// `None` removes it.
    OnRun {
        run: u32,
        text: Option<String>,
    },
    OnTime {
        at: String,
        text: String,
    },
    /// `None` removes it.
    Change {
        id: i64,
        text: Option<String>,
    },
}

impl Arguments {
    fn asked(&self) -> Result<Asked, String> {
        if self.list {
            return Ok(Asked::List);
        }
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        if let Some(at) = &self.at {
            return match words.as_slice() {
                [text] => Ok(Asked::OnTime { at: at.clone(), text: (*text).to_owned() }),
                _ => Err("--at needs one comment: amore comment --at now \"text\"".to_owned()),
            };
        }
        if let Some(id) = self.id {
            return match (words.as_slice(), self.delete) {
                ([text], false) => Ok(Asked::Change { id, text: Some((*text).to_owned()) }),
                ([], true) => Ok(Asked::Change { id, text: None }),
                _ => Err("--id needs a comment, or --delete: amore comment --id 3 \"text\"".to_owned()),
            };
        }
        let run = |text: &str| text.parse().map_err(|_| format!("{text:?} is not the number of a run"));
        match (words.as_slice(), self.delete) {
            ([number], false) => Ok(Asked::Show { run: run(number)? }),
            ([number], true) => Ok(Asked::OnRun { run: run(number)?, text: None }),
            ([number, text], false) => Ok(Asked::OnRun { run: run(number)?, text: Some((*text).to_owned()) }),
            _ => Err("expected a run and a comment: amore comment 42 \"text\"".to_owned()),
        }
    }
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let asked = arguments.asked().map_err(|words| Failure::new(words).exit(Exit::Usage))?;
    let dir = locate(arguments.directory.as_deref())?;
    must_have_run_table(&dir)?;
    let proposal = arguments.proposal.map(Proposal);
    match asked {
        Asked::List => list(&open::for_reading(&dir).await?, arguments.json).await?,
        Asked::Show { run } => {
            let table = open::for_reading(&dir).await?;
            let proposal = open::proposal(&table, proposal).await?;
            let cell = table.user_cell(&on_run(proposal, run)).await?;
            let text = cell.value.map(|value| value.to_string());
            if arguments.json {
                output::say_json(&json!({ "proposal": proposal, "run": run, "comment": text }))?;
            } else if let Some(text) = text {
                output::say(text);
            }
        }
        Asked::OnRun { run, text } => {
            let table = open::for_writing(&dir).await?;
            let proposal = open::proposal(&table, proposal).await?;
            let text = text.map(UserValue::String);
            table.set_user_cell(&on_run(proposal, run), text, None, clock::now()).await?;
        }
        Asked::OnTime { at, text } => {
            let time = time(&at, &local_time::zone(), clock::now())
                .map_err(|words| Failure::new(words).exit(Exit::Usage))?;
            let id = open::for_writing(&dir).await?.add_time_comment(time, &text).await?;
            output::say(format!("comment {id}: {}", local_time::in_zone(time, &local_time::zone())));
        }
        Asked::Change { id, text } => {
            let table = open::for_writing(&dir).await?;
            table.change_time_comment(id, text.as_deref(), None).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn on_run(proposal: Proposal, run: u32) -> UserCellName<'static> {
    UserCellName { proposal, run: Run(run), variable: COMMENT }
}

async fn list(table: &RunTable, json: bool) -> Result<(), Failure> {
    let comments = table.time_comments().await?;
    if json {
        return output::say_json(&comments);
    }
    let zone = local_time::zone();
    for TimeComment { id, time, comment } in comments {
        let time = time.map(|time| local_time::in_zone(time, &zone)).unwrap_or_default();
        output::say(format!("{id:>4}  {time}  {comment}"));
    }
    Ok(())
}

/// A point in time as it was typed, in seconds since 1970.
fn time(text: &str, zone: &TimeZone, now: f64) -> Result<f64, String> {
    let seconds = |time: Timestamp| time.as_microsecond() as f64 / 1e6;
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(seconds(time));
    }
    let local = text.parse::<DateTime>().ok().and_then(|time| time.to_zoned_datetime(zone.clone()).ok());
    local.map(|time| seconds(time.timestamp())).ok_or_else(|| {
        format!("{text:?} is not a point in time: expected now, or a time like \"2026-11-29 10:15\"")
    })
}

impl From<NotChanged> for Failure {
    fn from(error: NotChanged) -> Self {
        let failure = Failure::from_error(&error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn asked(words: &[&str]) -> Result<Asked, String> {
        let line =
            Line::try_parse_from(["comment"].iter().chain(words)).map_err(|error| error.to_string())?;
        line.arguments.asked()
    }

    #[test]
    fn what_is_asked_follows_from_the_words() {
        let text = || "a b".to_owned();
        assert_eq!(asked(&["42"]), Ok(Asked::Show { run: 42 }));
        assert_eq!(asked(&["42", "a b"]), Ok(Asked::OnRun { run: 42, text: Some(text()) }));
        assert_eq!(asked(&["42", "--delete"]), Ok(Asked::OnRun { run: 42, text: None }));
        assert_eq!(asked(&["--at", "now", "a b"]), Ok(Asked::OnTime { at: "now".to_owned(), text: text() }));
        assert_eq!(asked(&["--id", "3", "a b"]), Ok(Asked::Change { id: 3, text: Some(text()) }));
        assert_eq!(asked(&["--id", "3", "--delete"]), Ok(Asked::Change { id: 3, text: None }));
        assert_eq!(asked(&["--list"]), Ok(Asked::List));
        for wrong in
            [&[][..], &["x"], &["42", "a", "--delete"], &["--at", "now"], &["--id", "3"], &["--list", "4"]]
        {
            assert!(asked(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_time_is_local_unless_it_says_otherwise() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let read = |text| time(text, &zone, 7.5);
        assert_eq!(read("now"), Ok(7.5));
        assert_eq!(read("2026-11-22 09:07"), Ok(1_795_334_820.0));
        assert_eq!(read("2026-11-22T09:07:03"), Ok(1_795_334_823.0));
        assert_eq!(read("2026-11-22T08:07:03Z"), Ok(1_795_334_823.0));
        assert!(read("yesterday").unwrap_err().contains("not a point in time"));
    }
}
