//! `amore table`.

use std::{collections::HashMap, process::ExitCode};

use amore_run_table::{Cell, TableData, TableFilter};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::{failure::Failure, local_time, open, output};
use crate::{coordinate::events::count, database_dir::locate};

/// Heading of the column with the start times of runs.
const STARTED: &str = "Started";

/// Maximum width of a cell on a terminal.
const CELL_WIDTH: usize = 24;

/// Show the run table, columns by title.
///
/// Columns that do not fit on the terminal are omitted and counted; --csv and --json print everything.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these runs (numbers or ranges).
    #[arg(value_name = "run")]
    run: Vec<String>,
    /// Only columns with this text in their title (case-insensitive). Can be repeated.
    #[arg(long = "match", value_name = "MATCH")]
    matches: Vec<String>,
    /// Only columns with this tag. Can be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// List names, titles and tags of the columns instead of the table.
    #[arg(long)]
    columns: bool,
    /// Show all columns, even if the table becomes wider than the terminal.
    #[arg(long)]
    wide: bool,
    /// Use variable names instead of titles as column headings.
    #[arg(long)]
    names: bool,
    /// Print comma-separated values.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Proposal number or database directory (default: the working directory).
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.directory.as_deref())?;
    let table = open::for_reading(&dir).await?;
    let data = table.table(&TableFilter::default()).await?;
    let computed = table.computed_variables().await?;
    let mut tags: HashMap<String, Vec<String>> =
        computed.into_iter().map(|row| (row.name, row.tags)).collect();
    let mut data = Sheet::new(data, &mut tags);
    restrict(&mut data, arguments)?;
    if arguments.columns {
        return columns(&data, arguments.json);
    }
    if arguments.json {
        output::say_json(&as_json(&data, arguments.names))?;
    } else if arguments.csv {
        output::say(as_csv(&data, arguments.names)?);
    } else {
        if data.rows.is_empty() && !arguments.run.is_empty() {
            return Err(Failure::new(format!("the table has no run {}", arguments.run.join(", ")))
                .hint("`amore table` lists its runs"));
        }
        let width = if arguments.wide { None } else { terminal_width() };
        output::say(in_words(&data, arguments.names, width, &local_time::zone()));
    }
    Ok(ExitCode::SUCCESS)
}

/// A displayed column.
struct Column {
    name: String,
    title: String,
    tags: Vec<String>,
}

/// A displayed row.
struct Row {
    proposal: amore_model::Proposal,
    run: amore_model::Run,
    start_time: Option<f64>,
    start_text: Option<String>,
    cells: HashMap<String, Cell>,
}

impl Row {
    /// Its start time; other programs may have stored text.
    fn started(&self, as_text: impl Fn(f64) -> String) -> String {
        self.start_time.map(as_text).or_else(|| self.start_text.clone()).unwrap_or_default()
    }
}

/// The displayed table, with comments as a separate column.
struct Sheet {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

impl Sheet {
    fn new(data: TableData, tags: &mut HashMap<String, Vec<String>>) -> Self {
        let rows: Vec<Row> = data
            .rows
            .into_iter()
            .map(|row| {
                let named = data.columns.iter().map(|column| column.name.clone()).zip(row.cells);
                let mut cells: HashMap<String, Cell> =
                    named.filter_map(|(name, cell)| Some((name, cell?))).collect();
                if let Some(comment) = row.comment {
                    cells.insert("comment".to_owned(), Cell::Text { value: comment });
                }
                let (start_time, start_text) = (row.start_time, row.start_text);
                Row { proposal: row.proposal, run: row.run, start_time, start_text, cells }
            })
            .collect();
        let mut columns: Vec<Column> = data
            .columns
            .into_iter()
            .map(|column| Column {
                tags: tags.remove(&column.name).unwrap_or_default(),
                name: column.name,
                title: column.title,
            })
            .collect();
        if rows.iter().any(|row| row.cells.contains_key("comment")) {
            columns.insert(
                0,
                Column { name: "comment".to_owned(), title: "Comment".to_owned(), tags: Vec::new() },
            );
        }
        Sheet { columns, rows }
    }
}

fn restrict(data: &mut Sheet, arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.run.is_empty() {
        let wanted =
            amore_model::parse_runs(&arguments.run).map_err(|error| Failure::new(error.to_string()))?;
        data.rows.retain(|row| wanted.contains(&row.run));
    }
    if !arguments.matches.is_empty() {
        let wanted: Vec<String> = arguments.matches.iter().map(|text| text.to_lowercase()).collect();
        data.columns.retain(|column| wanted.iter().any(|text| column.title.to_lowercase().contains(text)));
    }
    if !arguments.tags.is_empty() {
        data.columns.retain(|column| arguments.tags.iter().any(|tag| column.tags.contains(tag)));
    }
    Ok(())
}

fn columns(data: &Sheet, as_json: bool) -> Result<ExitCode, Failure> {
    if as_json {
        let list: Vec<Value> = data
            .columns
            .iter()
            .map(|column| json!({"name": column.name, "title": column.title, "tags": column.tags}))
            .collect();
        output::say_json(&list)?;
    } else {
        let width = data.columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
        for column in &data.columns {
            let tags = if column.tags.is_empty() {
                String::new()
            } else {
                format!("  [{}]", one_line(&column.tags.join(", ")))
            };
            output::say(format!("{:width$}  {}{tags}", column.name, one_line(&column.title)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn terminal_width() -> Option<usize> {
    Table::new().set_content_arrangement(ContentArrangement::Dynamic).width().map(usize::from)
}

fn heading(column: &Column, by_name: bool) -> &str {
    if by_name { &column.name } else { &column.title }
}

/// Text for one line of a terminal: control characters are replaced by spaces.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for part in text.split(char::is_control).filter(|part| !part.is_empty()) {
        if !line.is_empty() && !line.ends_with(' ') {
            line.push(' ');
        }
        line.push_str(if line.ends_with(' ') { part.trim_start() } else { part });
    }
    line
}

/// A number for display, with six digits.
fn real(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let magnitude = number.abs().log10().floor() as i32;
    if (-4..7).contains(&magnitude) {
        let text = format!("{number:.*}", (5 - magnitude).max(0) as usize);
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{number:.5e}")
    }
}

fn short(cell: &Cell, zone: &TimeZone) -> String {
    let text = match cell {
        Cell::Boolean { value } => value.to_string(),
        Cell::Integer { value } => value.to_string(),
        Cell::Number { value } => real(*value),
        // Some zones have long names.
        Cell::Timestamp { value } => return local_time::in_zone(*value, zone),
        Cell::Complex { re, im } => {
            format!("{}{}{}i", real(*re), if *im < 0.0 { "" } else { "+" }, real(*im))
        }
        Cell::Text { value } => value.clone(),
        Cell::Image => "<image>".to_owned(),
        Cell::Trendline => "<trendline>".to_owned(),
        Cell::Array | Cell::Bytes => "<array>".to_owned(),
        Cell::Error { class, .. } if class == "Skip" => "skipped".to_owned(),
        Cell::Error { class, .. } => format!("! {class}"),
    };
    let line = one_line(text.lines().next().unwrap_or_default());
    if line.chars().count() > CELL_WIDTH {
        line.chars().take(CELL_WIDTH - 1).chain(['…']).collect()
    } else {
        line
    }
}

fn in_words(data: &Sheet, by_name: bool, width: Option<usize>, zone: &TimeZone) -> String {
    if data.rows.is_empty() {
        return "The table has no runs yet: run `amore-proto reprocess RUN`".to_owned();
    }
    let several = data.rows.iter().any(|row| row.proposal != data.rows[0].proposal);
    let shown: Vec<&Column> = data
        .columns
        .iter()
        .filter(|column| data.rows.iter().any(|row| row.cells.contains_key(&column.name)))
        .collect();
    let headings: Vec<String> = shown.iter().map(|column| one_line(heading(column, by_name))).collect();
    let started: Vec<String> =
        data.rows.iter().map(|row| one_line(&row.started(|time| local_time::in_zone(time, zone)))).collect();
    let mut fits = shown.len();
    if let Some(width) = width {
        let widest = started.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(STARTED.len());
        let mut used = if several { 18 } else { 7 } + widest + 3;
        fits = shown
            .iter()
            .zip(&headings)
            .take_while(|(column, heading)| {
                let widest = data
                    .rows
                    .iter()
                    .filter_map(|row| row.cells.get(&column.name))
                    .map(|cell| short(cell, zone).chars().count());
                used += widest.max().unwrap_or(0).max(heading.chars().count().min(CELL_WIDTH)) + 3;
                used <= width
            })
            .count()
            .max(1);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let mut head: Vec<String> = if several { vec!["Proposal".to_owned()] } else { Vec::new() };
    head.extend(["Run".to_owned(), STARTED.to_owned()]);
    head.extend(headings.into_iter().take(fits));
    table.set_header(head);
    for (row, started) in data.rows.iter().zip(started) {
        let mut cells: Vec<String> = if several { vec![row.proposal.to_string()] } else { Vec::new() };
        cells.extend([row.run.to_string(), started]);
        let text = |column: &&Column| row.cells.get(&column.name).map(|cell| short(cell, zone));
        cells.extend(shown[..fits].iter().map(|column| text(column).unwrap_or_default()));
        table.add_row(cells);
    }
    let mut words = table.to_string();
    if fits < shown.len() {
        words.push_str(&format!(
            "\n… and {} that do not fit: --wide, --csv or --match",
            count(shown.len() - fits, "column")
        ));
    }
    words
}

fn as_json(data: &Sheet, by_name: bool) -> Value {
    let rows = data.rows.iter().map(|row| {
        let cells: Map<String, Value> = data
            .columns
            .iter()
            .filter_map(|column| {
                Some((heading(column, by_name).to_owned(), row.cells.get(&column.name)?.json()))
            })
            .collect();
        json!({"proposal": row.proposal, "run": row.run, "start_time": row.start_time.map(|time| json!(time)).or_else(|| row.start_text.as_ref().map(|text| json!(text))), "values": cells})
    });
    Value::Array(rows.collect())
}

/// For programs: times are in UTC, as DAMNIT's are. Ends without a line break.
fn as_csv(data: &Sheet, by_name: bool) -> Result<String, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write =
        |cells: Vec<String>| writer.write_record(cells).map_err(|error| Failure::from_error(&error));
    let headings = data.columns.iter().map(|column| heading(column, by_name).to_owned());
    write(["Proposal", "Run", "Timestamp"].map(str::to_owned).into_iter().chain(headings).collect())?;
    for row in &data.rows {
        let values =
            data.columns.iter().map(|column| row.cells.get(&column.name).map(csv_cell).unwrap_or_default());
        let head = [row.proposal.to_string(), row.run.to_string(), row.started(local_time::utc)];
        write(head.into_iter().chain(values).collect())?;
    }
    let bytes = writer.into_inner().map_err(|error| Failure::new(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| Failure::from_error(&error))?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

fn csv_cell(cell: &Cell) -> String {
    match cell {
        Cell::Boolean { value } => value.to_string(),
        Cell::Integer { value } => value.to_string(),
        Cell::Number { value } => value.to_string(),
        Cell::Complex { re, im } => format!("{re}{im:+}j"),
        Cell::Text { value } => value.clone(),
        Cell::Error { class, message } => format!("{class}: {message}"),
        Cell::Timestamp { value } => local_time::utc(*value),
        other => short(other, &TimeZone::UTC),
    }
}

#[cfg(test)]
mod tests {
    use amore_model::{Proposal, Run};

    use super::*;

    /// The time zone of Hamburg, without a time zone database.
    fn hamburg() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn data() -> Sheet {
        let column =
            |name: &str, title: &str| Column { name: name.into(), title: title.into(), tags: vec![] };
        let cells: HashMap<String, Cell> = [
            ("a".to_owned(), Cell::Number { value: 1_003.822_6 }),
            ("b".to_owned(), Cell::Text { value: "say \"hi\", you".into() }),
            ("c".to_owned(), Cell::Error { class: "KeyError".into(), message: "'x'".into() }),
        ]
        .into();
        Sheet {
            columns: vec![
                column("a", "XGM [uJ]"),
                column("b", "Note"),
                column("c", "Camera"),
                column("d", "Empty"),
            ],
            rows: vec![Row {
                proposal: Proposal(1234),
                run: Run(7),
                start_time: Some(1_795_334_823.0),
                start_text: None,
                cells,
            }],
        }
    }

    #[test]
    fn the_table_in_words() {
        insta::assert_snapshot!(in_words(&data(), false, None, &hamburg()), @r#"
        ┌─────┬─────────────────────────┬──────────┬───────────────┬────────────┐
        │ Run ┆ Started                 ┆ XGM [uJ] ┆ Note          ┆ Camera     │
        ╞═════╪═════════════════════════╪══════════╪═══════════════╪════════════╡
        │ 7   ┆ 2026-11-22 09:07:03 CET ┆ 1003.82  ┆ say "hi", you ┆ ! KeyError │
        └─────┴─────────────────────────┴──────────┴───────────────┴────────────┘
        "#);
    }

    #[test]
    fn a_title_of_several_lines_keeps_to_one() {
        let mut data = data();
        data.columns[0].title = "XGM\n\t[uJ] \u{1b}[31mred\u{7}".into();
        data.columns.truncate(2);
        data.rows[0].cells.insert("b".to_owned(), Cell::Text { value: "a\tb\rc\nd".into() });
        let words = in_words(&data, false, None, &hamburg());
        insta::assert_snapshot!(words, @r"
        ┌─────┬─────────────────────────┬──────────────────┬───────┐
        │ Run ┆ Started                 ┆ XGM [uJ] [31mred ┆ Note  │
        ╞═════╪═════════════════════════╪══════════════════╪═══════╡
        │ 7   ┆ 2026-11-22 09:07:03 CET ┆ 1003.82          ┆ a b c │
        └─────┴─────────────────────────┴──────────────────┴───────┘
        ");
        // It is as wide as the terminal line.
        assert_eq!(in_words(&data, false, Some(60), &hamburg()), words);
        // Programs get the unmodified text.
        assert!(as_json(&data, false)[0]["values"].get("XGM\n\t[uJ] \u{1b}[31mred\u{7}").is_some());
        let csv = as_csv(&data, false).unwrap();
        assert!(csv.contains(",\"XGM\n\t[uJ] \u{1b}[31mred\u{7}\",Note\n"), "{csv}");
        assert!(csv.ends_with(",\"a\tb\rc\nd\""), "{csv}");
    }

    #[test]
    fn the_table_as_csv() {
        insta::assert_snapshot!(as_csv(&data(), false).unwrap(), @r#"
        Proposal,Run,Timestamp,XGM [uJ],Note,Camera,Empty
        1234,7,2026-11-22 08:07:03,1003.8226,"say ""hi"", you",KeyError: 'x',
        "#);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(real(0.000_012_345_67), "1.23457e-5");
        assert_eq!(real(1234.5), "1234.5");
        assert_eq!(real(1_000_000.0), "1000000");
    }
}
