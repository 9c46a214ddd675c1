//! `amore inbox list|show|retry|drop`: the events of a service.

use std::{
    collections::BTreeSet,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use amore_model::{DatabaseDir, Proposal, Run};
use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, presets};
use serde_json::{Value, json};

use super::{
    failure::{Exit, Failure},
    local_time, output,
};
use crate::{
    coordinate::hand_over::new_id,
    database_dir::locate,
    service::{
        act_files::{self, AnswerFile},
        outside_view::{ArrivalCounts, ArrivalFilter, ArrivalRow, ArrivalState, InboxReader, Life},
        user_acts::{Act, Answer, Chosen, UserAct, refusal},
    },
};

/// How long to wait for the service.
const PATIENCE: Duration = Duration::from_secs(15);
/// How much of a reason a list shows.
const LONGEST_WHY: usize = 120;
/// How many events are read at once.
const AT_ONCE: u32 = 1000;
/// How often to look for its answer.
const POLL: Duration = Duration::from_millis(100);

/// Show the events about runs that the service has, try them again, or drop them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Run it in the directory of the service. Examples:\n  \
    amore inbox list                         what is unfinished, or has failed\n  \
    amore inbox list --state done --run 42   with which events run 42 was processed\n  \
    amore inbox show 7                       all that is known of an event\n  \
    amore inbox retry 7 8                    try two events again now\n  \
    amore inbox retry all failed             try everything again that has failed\n  \
    amore inbox drop 7                       do nothing more about an event")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List events, the newest first
    List(List),
    /// Show all that is known of an event
    Show(Show),
    /// Try events again now
    Retry(Choice),
    /// Do nothing more about events
    Drop(Choice),
}

/// List events, the newest first: those that are open or have failed, unless other ones are asked for.
#[derive(Debug, clap::Args)]
struct List {
    /// Events in this state; can be given several times.
    #[arg(long, value_enum)]
    state: Vec<State>,
    #[command(flatten)]
    about: About,
    /// How many events at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Events with a smaller number than this one.
    #[arg(long)]
    before: Option<i64>,
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Show all that is known of an event.
#[derive(Debug, clap::Args)]
struct Show {
    /// Its number.
    number: i64,
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which events.
#[derive(Debug, clap::Args)]
struct Choice {
    /// Numbers of events, or `all failed`.
    #[arg(required = true, value_name = "NUMBER")]
    events: Vec<String>,
    #[command(flatten)]
    about: About,
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct About {
    /// Events about this proposal.
    #[arg(long)]
    proposal: Option<Proposal>,
    /// Events about this run.
    #[arg(long)]
    run: Option<u32>,
    /// Events of this source: kafka, http, folders or command.
    #[arg(long)]
    source: Option<String>,
}

impl About {
    fn is_given(&self) -> bool {
        self.proposal.is_some() || self.run.is_some() || self.source.is_some()
    }
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Directory of the service, or proposal number [default: the working directory].
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum State {
    /// It is being processed, or will be
    Open,
    /// It was processed, or there was nothing to do
    Done,
    /// It cannot be understood, or failed again and again
    Failed,
    /// A user has dropped it
    Dropped,
}

impl From<State> for ArrivalState {
    fn from(state: State) -> Self {
        match state {
            State::Open => ArrivalState::Open,
            State::Done => ArrivalState::Done,
            State::Failed => ArrivalState::Failed,
            State::Dropped => ArrivalState::Dropped,
        }
    }
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::List(arguments) => list(arguments).await,
        Command::Show(arguments) => show(arguments).await,
        Command::Retry(arguments) => act(Act::Retry, arguments).await,
        Command::Drop(arguments) => act(Act::Drop, arguments).await,
    }
}

async fn reader(place: &Place) -> Result<(DatabaseDir, InboxReader), Failure> {
    let dir = locate(place.directory.as_deref())?;
    match InboxReader::open(dir.path()).await? {
        Some(reader) => Ok((dir, reader)),
        None => Err(Failure::new(format!("no service has run in {} yet", dir.path().display()))
            .hint("go to the directory that `amore listen` is started in, or name it with --in")),
    }
}

async fn list(arguments: &List) -> Result<ExitCode, Failure> {
    let (_, reader) = reader(&arguments.place).await?;
    let asked: BTreeSet<ArrivalState> = arguments.state.iter().map(|state| (*state).into()).collect();
    let unfinished: BTreeSet<ArrivalState> = [ArrivalState::Open, ArrivalState::Failed].into();
    let filter = ArrivalFilter {
        states: if asked.is_empty() { unfinished } else { asked },
        proposal: arguments.about.proposal,
        run: arguments.about.run.map(Run),
        source: arguments.about.source.clone(),
        before: arguments.before,
    };
    let rows = reader.list(&filter, arguments.limit).await?;
    let counts = reader.counts().await?;
    if arguments.json {
        let events: Vec<Value> = rows.iter().map(as_json).collect();
        output::say_json(&json!({"counts": counts_as_json(counts), "events": events}))?;
        return Ok(ExitCode::SUCCESS);
    }
    if !rows.is_empty() {
        output::say(as_table(&rows));
    }
    output::say(counts_in_words(counts));
    if rows.len() as u32 == arguments.limit
        && let Some(last) = rows.last()
    {
        output::say(format!("There may be older ones: --before {}", last.id));
    }
    Ok(ExitCode::SUCCESS)
}

/// How many events there are, for programs.
pub(super) fn counts_as_json(counts: ArrivalCounts) -> Value {
    let ArrivalCounts { open, done, failed, dropped } = counts;
    json!({"open": open, "done": done, "failed": failed, "dropped": dropped})
}

/// How many events there are, in a line.
pub(super) fn counts_in_words(counts: ArrivalCounts) -> String {
    let ArrivalCounts { open, done, failed, dropped } = counts;
    format!("Inbox: {open} open, {failed} failed, {done} done, {dropped} dropped")
}

fn as_json(row: &ArrivalRow) -> Value {
    let event = &row.arrival;
    json!({
        "number": row.id, "state": event.state.word(), "source": event.source, "source_id": event.source_id,
        "proposal": event.proposal, "run": event.run, "data": event.data, "complete": event.complete, "forced": event.forced,
        "received": event.received, "changed": row.changed, "payload": event.payload, "detail": event.detail,
    })
}

fn why(row: &ArrivalRow) -> &str {
    row.arrival.detail["why"].as_str().unwrap_or_default()
}

fn about(row: &ArrivalRow) -> String {
    let event = &row.arrival;
    match (event.proposal, event.run, &event.data) {
        (Some(proposal), Some(run), Some(data)) => format!("p{proposal}, run {run}, {data}"),
        _ => "not understood".to_owned(),
    }
}

fn as_table(rows: &[ArrivalRow]) -> String {
    let zone = local_time::zone();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["Number", "State", "About", "Source", "Received", "Attempts", "Why"]);
    for row in rows {
        let attempts = row.arrival.detail["attempts"].as_u64().unwrap_or_default();
        let mut line = Row::from([
            row.id.to_string(),
            row.arrival.state.to_string(),
            about(row),
            row.arrival.source.clone(),
            local_time::in_zone(row.arrival.received, &zone),
            attempts.to_string(),
            in_short(why(row)),
        ]);
        line.max_height(1);
        table.add_row(line);
    }
    // On a narrow terminal, it is the reason that is shortened.
    for column in table.column_iter_mut().take(6) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table.to_string()
}

/// The first line of a reason, which may be a traceback. `show` prints all of it.
fn in_short(why: &str) -> String {
    let mut lines = why.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut first = lines.next().unwrap_or_default();
    // The path of the directory may take all the space.
    if first.len() > LONGEST_WHY
        && let Some((_, rest)) = first.split_once(": ").filter(|(path, _)| path.starts_with('/'))
    {
        first = rest;
    }
    let mut short: String = first.chars().take(LONGEST_WHY).collect();
    if lines.next().is_some() || short.len() < first.len() {
        short.push_str(" …");
    }
    short
}

async fn show(arguments: &Show) -> Result<ExitCode, Failure> {
    let (_, reader) = reader(&arguments.place).await?;
    let number = arguments.number;
    let row = reader.event(number).await?.ok_or_else(|| {
        Failure::new(format!("there is no event {number} (any more)"))
            .hint("amore inbox list --state open --state done --state failed --state dropped")
    })?;
    if arguments.json {
        output::say_json(&as_json(&row))?;
        return Ok(ExitCode::SUCCESS);
    }
    let zone = local_time::zone();
    let event = &row.arrival;
    let mut lines = vec![
        format!("Event {number}: {}", about(&row)),
        format!("State:     {}, since {}", event.state, local_time::in_zone(row.changed, &zone)),
        format!("Received:  {}, from {}", local_time::in_zone(event.received, &zone), event.source),
    ];
    if let Some(source_id) = &event.source_id {
        lines.push(format!("Known as:  {source_id}"));
    }
    if !why(&row).is_empty() {
        lines.push(format!("Why:       {}", why(&row)));
    }
    if let Some(attempts) = event.detail["attempts"].as_u64().filter(|attempts| *attempts > 0) {
        lines.push(format!("Attempts:  {attempts}"));
    }
    if let Some(generation) = event.detail["generation"]["number"].as_u64() {
        lines.push(format!("Data:      generation {generation} of this run"));
    }
    if let Some(directories) = event.detail["directories"].as_object() {
        lines.push("Processed:".to_owned());
        let words = |words: &Value| words.as_str().unwrap_or_default().to_owned();
        lines.extend(directories.iter().map(|(directory, told)| format!("  {directory}: {}", words(told))));
    }
    lines.push(format!("Content:\n{}", event.payload));
    output::say(lines.join("\n"));
    Ok(ExitCode::SUCCESS)
}

fn chosen(act: Act, arguments: &Choice) -> Result<Chosen, Failure> {
    let words: Vec<&str> = arguments.events.iter().map(String::as_str).collect();
    let About { proposal, run, source } = &arguments.about;
    if words == ["all", "failed"] {
        return Ok(Chosen::Failed { proposal: *proposal, run: run.map(Run), source: source.clone() });
    }
    let verb = match act {
        Act::Retry => "retry",
        Act::Drop => "drop",
    };
    let hint = format!("amore inbox {verb} 7 8, or: amore inbox {verb} all failed --proposal 1234");
    if arguments.about.is_given() {
        return Err(Failure::new("--proposal, --run and --source go with `all failed`, not with numbers")
            .hint(hint)
            .exit(Exit::Usage));
    }
    let numbers = words.iter().map(|word| {
        word.parse().map_err(|_| {
            Failure::new(format!("{word:?} is not the number of an event")).hint(&hint).exit(Exit::Usage)
        })
    });
    Ok(Chosen::Numbers(numbers.collect::<Result<_, _>>()?))
}

async fn act(act: Act, arguments: &Choice) -> Result<ExitCode, Failure> {
    let chosen = chosen(act, arguments)?;
    let (dir, reader) = reader(&arguments.place).await?;
    // What can be said at once is said, whether a service runs or not.
    let (now, never) = answers_now(act, &chosen, &reader).await?;
    if now.iter().all(|answer| answer.refused.is_some()) {
        return tell(act, &now, &never_in_words(&never, false, &arguments.about), arguments.json);
    }
    let never = never_in_words(&never, true, &arguments.about);
    let id = new_id(SystemTime::now());
    act_files::leave(&dir, &id, &UserAct { act, chosen }).map_err(|error| {
        Failure::new(format!("cannot leave a request in {}: {error}", dir.own_files().display()))
            .hint("whoever may write there may change the inbox")
    })?;
    if !matches!(reader.life().await?, Life::Serving { .. }) {
        output::say("No service runs here; when one starts, it does this first");
        return Ok(ExitCode::SUCCESS);
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = act_files::take_answer(&dir, &id).map_err(|error| Failure::from_error(&error))?;
        match answer {
            Some(AnswerFile::Done(answers)) => return tell(act, &answers, &never, arguments.json),
            Some(AnswerFile::Refused(why)) => {
                return Err(Failure::new(format!("the service refuses: {why}")));
            }
            None if Instant::now() > until => {
                return Err(Failure::new("the service does not answer yet; it does this when it can")
                    .hint("amore service status; amore.log says what it waits for"));
            }
            None => tokio::time::sleep(POLL).await,
        }
    }
}

/// What would be done with the events now; and those that have failed, and are not meant because it cannot be done with them.
async fn answers_now(
    act: Act,
    chosen: &Chosen,
    reader: &InboxReader,
) -> Result<(Vec<Answer>, Vec<i64>), Failure> {
    let (mut answers, mut never) = (Vec::new(), Vec::new());
    if let Some(mut filter) = chosen.filter() {
        loop {
            let rows = reader.list(&filter, AT_ONCE).await?;
            let Some(last) = rows.last() else { return Ok((answers, never)) };
            filter.before = Some(last.id);
            for row in &rows {
                match refusal(act, row) {
                    None => answers.push(Answer { number: row.id, refused: None }),
                    Some(_) => never.push(row.id),
                }
            }
        }
    }
    for number in chosen.numbers() {
        let refused = match reader.event(*number).await? {
            None => Some("there is no such event (any more)".to_owned()),
            Some(row) => refusal(act, &row),
        };
        answers.push(Answer { number: *number, refused });
    }
    Ok((answers, never))
}

/// What to say of events that have failed and cannot be tried again. `others`: there are some that can.
fn never_in_words(never: &[i64], others: bool, About { proposal, run, source }: &About) -> String {
    let (number, those) = match never.len() {
        0 => return String::new(),
        1 => ("1 event that has failed".to_owned(), "it is"),
        many => (format!("{many} events that have failed"), "they are"),
    };
    let which = match (others, never.len()) {
        (false, _) => {
            let mut words = "all failed".to_owned();
            for (option, value) in [
                ("proposal", proposal.map(|proposal| proposal.to_string())),
                ("run", run.map(|run| run.to_string())),
                ("source", source.clone()),
            ] {
                if let Some(value) = value {
                    words.push_str(&format!(" --{option} {value}"));
                }
            }
            words
        }
        (true, 1..=20) => never.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        (true, _) => "NUMBER (amore inbox list --state failed)".to_owned(),
    };
    format!(
        "{number} cannot be tried again, because {those} not understood; to drop: amore inbox drop {which}"
    )
}

/// `never`: what to say of events with which nothing was done.
fn tell(act: Act, answers: &[Answer], never: &str, json: bool) -> Result<ExitCode, Failure> {
    let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.refused.is_some()).collect();
    let code = match refused.len() {
        0 => ExitCode::SUCCESS,
        some if some == answers.len() => Exit::Failed.into(),
        _ => Exit::Partly.into(),
    };
    if json {
        output::say_json(&answers)?;
        return Ok(code);
    }
    let done: Vec<String> = answers
        .iter()
        .filter(|answer| answer.refused.is_none())
        .map(|answer| answer.number.to_string())
        .collect();
    let what = match act {
        Act::Retry => "Tried again",
        Act::Drop => "Dropped",
    };
    match done.len() {
        0 if answers.is_empty() && never.is_empty() => output::say("No event has failed"),
        0 => {}
        1..=20 => output::say(format!("{what}: {}", done.join(", "))),
        many => output::say(format!("{what}: {many} events")),
    }
    if !never.is_empty() {
        output::say(never);
    }
    for answer in refused {
        let why = answer.refused.as_deref().unwrap_or_default();
        output::warn(format!("error: event {}: {why}", answer.number));
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_tried_again_is_told_with_what_to_do() {
        let all = About { proposal: None, run: None, source: None };
        assert_eq!(never_in_words(&[], false, &all), "");
        let kafka = About { source: Some("kafka".to_owned()), ..all };
        let words = "2 events that have failed cannot be tried again, because they are not understood; to drop: amore inbox drop";
        assert_eq!(never_in_words(&[9, 7], false, &kafka), format!("{words} all failed --source kafka"));
        assert_eq!(never_in_words(&[9, 7], true, &kafka), format!("{words} 9 7"));
    }

    #[test]
    fn a_list_shows_the_beginning_of_a_reason() {
        assert_eq!(in_short("the run has no raw data on disk"), "the run has no raw data on disk");
        assert_eq!(in_short("\ncontext.py:3: broken\nTraceback\n  File"), "context.py:3: broken …");
        let long = in_short(&"ä".repeat(500));
        assert_eq!(long.chars().count(), LONGEST_WHY + 2);
        let path = format!("/{}: the context file has errors\nmore", "d".repeat(150));
        assert_eq!(in_short(&path), "the context file has errors …");
        assert_eq!(in_short(""), "");
    }
}
