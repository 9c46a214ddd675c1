//! `amore table`.

use std::{collections::HashMap, process::ExitCode};

use amore_run_table::{Cell, TableData, TableFilter};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};

use super::{open, output};
use crate::{coordinate::events::count, database_dir::DatabaseDir, failure::Failure};

/// Characters of a cell in the terminal.
const CELL_WIDTH: usize = 24;

/// Show the run table, columns by title.
///
/// Columns that do not fit the terminal are left out and counted; --csv and --json have everything.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these runs (numbers or ranges).
    #[arg(value_name = "run")]
    run: Vec<String>,
    /// Only columns with this text in their title (case does not count). Can be repeated.
    #[arg(long = "match", value_name = "MATCH")]
    matches: Vec<String>,
    /// Only columns with this tag. Can be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// List names, titles and tags of the columns instead.
    #[arg(long)]
    columns: bool,
    /// Show all columns, however wide the table gets.
    #[arg(long)]
    wide: bool,
    /// Name the columns by variable name instead of title.
    #[arg(long)]
    names: bool,
    /// Print comma-separated values.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Proposal number or database directory.
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<String>,
}

/// Prints it.
pub async fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let dir = DatabaseDir::locate(arguments.directory.as_deref())?;
    let table = open::for_reading(&dir).await?;
    let data = table.table(&TableFilter::default()).await.map_err(|error| Failure::from_error(&error))?;
    let computed = table.computed_variables().await.map_err(|error| Failure::from_error(&error))?;
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
        output::say(as_csv(&data, arguments.names));
    } else {
        if data.rows.is_empty() && !arguments.run.is_empty() {
            return Err(Failure::new(format!("the table has no run {}", arguments.run.join(", ")))
                .hint("`amore table` shows the runs that it has"));
        }
        let width = if arguments.wide { None } else { terminal_width() };
        output::say(in_words(&data, arguments.names, width));
    }
    Ok(ExitCode::SUCCESS)
}

/// A column as it is shown.
struct Column {
    name: String,
    title: String,
    tags: Vec<String>,
}

/// A row as it is shown.
struct Row {
    proposal: amore_model::Proposal,
    run: amore_model::Run,
    start_time: Option<f64>,
    start_text: Option<String>,
    cells: HashMap<String, Cell>,
}

impl Row {
    /// When it began, as well as that is known: others write text here too.
    fn started(&self) -> String {
        self.start_time.map(utc).or_else(|| self.start_text.clone()).unwrap_or_default()
    }
}

/// What is shown: the table with comments as a column of their own.
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

/// Text that keeps to its line of a terminal, and gives it no orders: a space in the place of control characters.
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

/// A number as a person reads it: six digits.
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

fn short(cell: &Cell) -> String {
    let text = match cell {
        Cell::Integer { value } => value.to_string(),
        Cell::Number { value } => real(*value),
        Cell::Timestamp { value } => utc(*value),
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

fn in_words(data: &Sheet, by_name: bool, width: Option<usize>) -> String {
    if data.rows.is_empty() {
        return "The table has no runs yet: `amore-proto reprocess RUN` fills it".to_owned();
    }
    let several = data.rows.iter().any(|row| row.proposal != data.rows[0].proposal);
    let shown: Vec<&Column> = data
        .columns
        .iter()
        .filter(|column| data.rows.iter().any(|row| row.cells.contains_key(&column.name)))
        .collect();
    let headings: Vec<String> = shown.iter().map(|column| one_line(heading(column, by_name))).collect();
    let mut fits = shown.len();
    if let Some(width) = width {
        let mut used = if several { 18 } else { 7 } + 22;
        fits = shown
            .iter()
            .zip(&headings)
            .take_while(|(column, heading)| {
                let widest = data
                    .rows
                    .iter()
                    .filter_map(|row| row.cells.get(&column.name))
                    .map(|cell| short(cell).chars().count());
                used += widest.max().unwrap_or(0).max(heading.chars().count().min(CELL_WIDTH)) + 3;
                used <= width
            })
            .count()
            .max(1);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let mut head: Vec<String> = if several { vec!["Proposal".to_owned()] } else { Vec::new() };
    head.extend(["Run".to_owned(), "Started (UTC)".to_owned()]);
    head.extend(headings.into_iter().take(fits));
    table.set_header(head);
    for row in &data.rows {
        let mut cells: Vec<String> = if several { vec![row.proposal.to_string()] } else { Vec::new() };
        cells.push(row.run.to_string());
        cells.push(one_line(&row.started()));
        cells.extend(
            shown[..fits].iter().map(|column| row.cells.get(&column.name).map(short).unwrap_or_default()),
        );
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

/// `2026-11-22 03:00:00`.
fn utc(seconds: f64) -> String {
    if !seconds.is_finite() {
        return String::new();
    }
    let whole = seconds.floor() as i64;
    let (days, of_day) = (whole.div_euclid(86_400), whole.rem_euclid(86_400));
    // Civil date from days since 1970, in eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

fn full(cell: &Cell) -> Value {
    match cell {
        Cell::Integer { value } => json!(value),
        Cell::Number { value } | Cell::Timestamp { value } if value.is_finite() => json!(value),
        Cell::Number { value } | Cell::Timestamp { value } => json!(value.to_string()),
        Cell::Complex { re, im } => json!({"re": re, "im": im}),
        Cell::Text { value } => json!(value),
        Cell::Image => json!({"kind": "image"}),
        Cell::Trendline => json!({"kind": "trendline"}),
        Cell::Array | Cell::Bytes => json!({"kind": "array"}),
        Cell::Error { class, message } => json!({"error": {"class": class, "message": message}}),
    }
}

fn as_json(data: &Sheet, by_name: bool) -> Value {
    let rows = data.rows.iter().map(|row| {
        let cells: Map<String, Value> = data
            .columns
            .iter()
            .filter_map(|column| {
                Some((heading(column, by_name).to_owned(), full(row.cells.get(&column.name)?)))
            })
            .collect();
        json!({"proposal": row.proposal, "run": row.run, "start_time": row.start_time.map(|time| json!(time)).or_else(|| row.start_text.as_ref().map(|text| json!(text))), "values": cells})
    });
    Value::Array(rows.collect())
}

fn as_csv(data: &Sheet, by_name: bool) -> String {
    let quoted = |text: &str| {
        if text.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let mut lines = Vec::with_capacity(data.rows.len() + 1);
    let mut head = vec!["Proposal".to_owned(), "Run".to_owned(), "Timestamp".to_owned()];
    head.extend(data.columns.iter().map(|column| quoted(heading(column, by_name))));
    lines.push(head.join(","));
    for row in &data.rows {
        let mut cells = vec![row.proposal.to_string(), row.run.to_string(), quoted(&row.started())];
        cells.extend(data.columns.iter().map(|column| {
            row.cells.get(&column.name).map(csv_cell).map_or_else(String::new, |c| quoted(&c))
        }));
        lines.push(cells.join(","));
    }
    lines.join("\n")
}

fn csv_cell(cell: &Cell) -> String {
    match cell {
        Cell::Integer { value } => value.to_string(),
        Cell::Number { value } => value.to_string(),
        Cell::Complex { re, im } => format!("{re}{im:+}j"),
        Cell::Text { value } => value.clone(),
        Cell::Error { class, message } => format!("{class}: {message}"),
        other => short(other),
    }
}

#[cfg(test)]
mod tests {
    use amore_model::{Proposal, Run};

    use super::*;

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
        insta::assert_snapshot!(in_words(&data(), false, None), @r#"
        ┌─────┬─────────────────────┬──────────┬───────────────┬────────────┐
        │ Run ┆ Started (UTC)       ┆ XGM [uJ] ┆ Note          ┆ Camera     │
        ╞═════╪═════════════════════╪══════════╪═══════════════╪════════════╡
        │ 7   ┆ 2026-11-22 08:07:03 ┆ 1003.82  ┆ say "hi", you ┆ ! KeyError │
        └─────┴─────────────────────┴──────────┴───────────────┴────────────┘
        "#);
    }

    #[test]
    fn a_title_of_several_lines_keeps_to_one() {
        let mut data = data();
        data.columns[0].title = "XGM\n\t[uJ] \u{1b}[31mred\u{7}".into();
        data.columns.truncate(2);
        data.rows[0].cells.insert("b".to_owned(), Cell::Text { value: "a\tb\rc\nd".into() });
        let words = in_words(&data, false, None);
        insta::assert_snapshot!(words, @r"
        ┌─────┬─────────────────────┬──────────────────┬───────┐
        │ Run ┆ Started (UTC)       ┆ XGM [uJ] [31mred ┆ Note  │
        ╞═════╪═════════════════════╪══════════════════╪═══════╡
        │ 7   ┆ 2026-11-22 08:07:03 ┆ 1003.82          ┆ a b c │
        └─────┴─────────────────────┴──────────────────┴───────┘
        ");
        // Its width is that of the line.
        assert_eq!(in_words(&data, false, Some(56)), words);
        // Programs get it as it is.
        assert!(as_json(&data, false)[0]["values"].get("XGM\n\t[uJ] \u{1b}[31mred\u{7}").is_some());
        let csv = as_csv(&data, false);
        assert!(csv.contains(",\"XGM\n\t[uJ] \u{1b}[31mred\u{7}\",Note\n"), "{csv}");
        assert!(csv.ends_with(",\"a\tb\rc\nd\""), "{csv}");
    }

    #[test]
    fn the_table_as_csv() {
        insta::assert_snapshot!(as_csv(&data(), false), @r#"
        Proposal,Run,Timestamp,XGM [uJ],Note,Camera,Empty
        1234,7,2026-11-22 08:07:03,1003.8226,"say ""hi"", you",KeyError: 'x',
        "#);
    }

    #[test]
    fn numbers_are_short_and_dates_right() {
        assert_eq!(real(0.000_012_345_67), "1.23457e-5");
        assert_eq!(real(1234.5), "1234.5");
        assert_eq!(real(1_000_000.0), "1000000");
        assert_eq!(utc(0.0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_400.0), "2000-02-29 00:00:00");
    }
}
