//! Drives the crate from the tests in `tests/files/`: each line of standard input is a command in JSON, each answer
//! one line of JSON on standard output.

use std::{
    error::Error,
    io::{BufRead, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use amore_model::{PlanStamp, Proposal, Run};
use amore_results::{
    ArrayData, Attr, Content, Dim, Dtype, FragmentWriter, LargeArrayWriter, Layout, NetcdfVariable, Object,
    Provenance, ReducedValue, SummaryAttrs, Value,
};
use serde_json::{Value as Json, json};

type Anything<T> = Result<T, Box<dyn Error>>;

const PROPOSAL: Proposal = Proposal(1234);
const RUN: Run = Run(42);

fn main() -> Anything<()> {
    for line in std::io::stdin().lock().lines() {
        let command: Json = serde_json::from_str(&line?)?;
        let answer = match perform(&command) {
            Ok(answer) => answer,
            Err(error) => json!({ "failed": error.to_string() }),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn perform(command: &Json) -> Anything<Json> {
    let directory = PathBuf::from(text(command, "dir")?);
    match text(command, "do")? {
        "write" => write(&directory, command),
        "merge" => {
            let fragments: Vec<PathBuf> = list(command, "fragments")
                .iter()
                .filter_map(|path| path.as_str().map(PathBuf::from))
                .collect();
            let report = amore_results::merge(&directory, PROPOSAL, RUN, &fragments)?;
            let names = |files: &[(PathBuf, amore_results::ResultsError)]| -> Vec<(PathBuf, String)> {
                files.iter().map(|(path, error)| (path.clone(), error.to_string())).collect()
            };
            Ok(json!({
                "done": report.done,
                "set_aside": names(&report.set_aside),
                "waiting": names(&report.waiting),
                "stored": report.stored,
                "removed": report.removed,
                "older": report.older,
                "rows": report.rows.iter().map(row).collect::<Vec<_>>(),
                "without_row": report.without_row,
                "start_time": report.start_time,
            }))
        }
        "reduced" => {
            let summary = amore_results::read_reduced(Path::new(text(command, "file")?))?;
            Ok(json!({
                "start_time": summary.start_time,
                "rows": summary.rows.iter().map(row).collect::<Vec<_>>(),
                "without_row": summary.without_row,
            }))
        }
        "export" => {
            amore_results::export(Path::new(text(command, "file")?), Path::new(text(command, "to")?))?;
            Ok(json!({}))
        }
        "verify" => {
            let findings = amore_results::verify(Path::new(text(command, "file")?))?;
            Ok(json!(findings.iter().map(|finding| finding.to_string()).collect::<Vec<_>>()))
        }
        "sweep" => {
            let later = Duration::from_secs_f64(command["later"].as_f64().unwrap_or(0.0));
            let grace = Duration::from_secs_f64(command["grace"].as_f64().unwrap_or(0.0));
            let removed = amore_results::sweep(&directory, PROPOSAL, RUN, SystemTime::now() + later, grace)?;
            Ok(json!(removed))
        }
        other => Err(format!("unknown command {other}").into()),
    }
}

fn row(row: &amore_results::ReducedRow) -> Json {
    let (kind, value) = match &row.value {
        ReducedValue::Null => ("null", Json::Null),
        ReducedValue::Int(value) => ("int", json!(value)),
        ReducedValue::Real(value) => ("real", json!(value)),
        ReducedValue::Text(text) => ("text", json!(text)),
        ReducedValue::Png(bytes) => ("png", json!(hex(bytes))),
        ReducedValue::Numpy(bytes) => ("numpy", json!(hex(bytes))),
        ReducedValue::Complex(bytes) => ("complex", json!(hex(bytes))),
    };
    json!({
        "name": row.name,
        "kind": kind,
        "value": value,
        "max_diff": row.max_diff,
        "summary_type": row.summary_type,
        "summary_method": row.summary_method,
        "attributes": row.attributes,
        "outcome": row.provenance.as_ref().map(|provenance| provenance.outcome),
    })
}

fn write(directory: &Path, command: &Json) -> Anything<Json> {
    let mut writer = FragmentWriter::create(directory, PROPOSAL, RUN, "context.py")?;
    if let Some(seconds) = command["start_time"].as_f64() {
        writer.start_time(seconds, false)?;
    }
    let mut refused = serde_json::Map::new();
    for entry in list(command, "entries") {
        let name = text(entry, "name")?;
        let provenance = Provenance {
            stamp: PlanStamp {
                epoch: entry["epoch"].as_u64().unwrap_or(1),
                micros: entry["micros"].as_u64().unwrap_or(0),
            },
            attempt: entry["attempt"].as_u64().unwrap_or(1) as u32,
            task: "test".to_owned(),
            host: "localhost".to_owned(),
            ..Provenance::default()
        };
        let stored = match text(entry, "as")? {
            "value" => value(directory, &mut writer, name, entry, &provenance)?,
            "nothing" => writer.nothing(name, &provenance),
            "forget" => writer.forget(name, &provenance),
            "error" if text(entry, "class")? == "Skip" => {
                writer.skipped(name, text(entry, "message")?, &provenance)
            }
            "error" => writer.error(name, text(entry, "class")?, text(entry, "message")?, &provenance),
            other => return Err(format!("unknown entry {other}").into()),
        };
        if let Err(error) = stored {
            refused.insert(name.to_owned(), json!(error.to_string()));
        }
    }
    let path = writer.finish()?;
    Ok(json!({ "path": path, "refused": refused }))
}

fn value(
    directory: &Path,
    writer: &mut FragmentWriter,
    name: &str,
    entry: &Json,
    provenance: &Provenance,
) -> Anything<Result<(), amore_results::ResultsError>> {
    let mut memory = Vec::new();
    for key in ["data", "preview", "summary"] {
        gather(&entry[key], &mut memory)?;
    }
    let mut bytes = memory.iter();
    let data = object(directory, name, &entry["data"], &mut bytes)?;
    let preview = object(directory, name, &entry["preview"], &mut bytes)?;
    let summary = match &entry["summary"] {
        Json::Null => None,
        json => Some(array(directory, name, json, false, &mut bytes)?),
    };
    let own = |key: &str| entry[key].as_str().map(str::to_owned);
    let background = entry["background"]
        .as_array()
        .map(|parts| [0, 1, 2].map(|index| parts.get(index).and_then(Json::as_u64).unwrap_or(0) as u8));
    let attrs = SummaryAttrs {
        max_diff: entry["max_diff"].as_f64(),
        summary_method: own("summary_method"),
        summary_type: own("summary_type"),
        bold: entry["bold"].as_bool(),
        background,
        units: own("units"),
    };
    Ok(writer.value(name, &Value { data, preview, summary, attrs }, provenance))
}

/// Decodes all contents, in the order in which they are used.
fn gather(json: &Json, memory: &mut Vec<Vec<u8>>) -> Anything<()> {
    if let Some(variables) = json["variables"].as_array() {
        for variable in variables {
            gather(&variable["array"], memory)?;
        }
    } else if let Some(array) = json.get("array") {
        gather(array, memory)?;
    } else if let Some(digits) = json["hex"].as_str() {
        memory.push(unhex(digits)?);
    } else if let Some(path) = json["bytes_file"].as_str() {
        memory.push(std::fs::read(path)?);
    }
    Ok(())
}

fn object<'a>(
    directory: &Path,
    name: &str,
    json: &Json,
    bytes: &mut std::slice::Iter<'a, Vec<u8>>,
) -> Anything<Option<Object<'a>>> {
    if json.is_null() {
        return Ok(None);
    }
    let objtype = json["objtype"].as_str().map(str::to_owned);
    let returned = json["returned"].as_str().map(str::to_owned);
    if let Some(variables) = json["variables"].as_array() {
        let mut dims = Vec::new();
        for dim in list(json, "dims") {
            dims.push(Dim {
                name: text(dim, "name")?.to_owned(),
                size: dim["size"].as_u64().ok_or("no size")?,
            });
        }
        let mut stored = Vec::new();
        for variable in variables {
            let compress = variable["compress"].as_bool().unwrap_or(false);
            stored.push(NetcdfVariable {
                name: text(variable, "name")?.to_owned(),
                dims: list(variable, "dims")
                    .iter()
                    .filter_map(|dim| dim.as_str().map(str::to_owned))
                    .collect(),
                compress,
                attrs: attrs(variable)?,
                array: array(directory, name, &variable["array"], compress, bytes)?,
            });
        }
        let layout = Layout::Netcdf { dims, variables: stored, attrs: attrs(json)? };
        return Ok(Some(Object { objtype, layout, returned }));
    }
    let layout = Layout::Plain(array(directory, name, &json["array"], false, bytes)?);
    Ok(Some(Object { objtype, layout, returned }))
}

fn attrs(json: &Json) -> Anything<Vec<(String, Attr)>> {
    let mut all = Vec::new();
    for (name, value) in json["attrs"].as_object().into_iter().flatten() {
        let attr = match value {
            Json::String(text) => Attr::Text(text.clone()),
            Json::Array(texts) => {
                Attr::Texts(texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
            }
            numbers => Attr::Numbers {
                dtype: text(numbers, "dtype")?.parse()?,
                shape: shape(numbers),
                bytes: unhex(text(numbers, "hex")?)?,
            },
        };
        all.push((name.clone(), attr));
    }
    Ok(all)
}

fn array<'a>(
    directory: &Path,
    name: &str,
    json: &Json,
    compress: bool,
    bytes: &mut std::slice::Iter<'a, Vec<u8>>,
) -> Anything<ArrayData<'a>> {
    let dtype: Dtype = text(json, "dtype")?.parse()?;
    let shape = shape(json);
    if let Some(texts) = json["texts"].as_array() {
        let texts = texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect();
        return Ok(ArrayData { dtype, shape, content: Content::Text(texts) });
    }
    let bytes = bytes.next().ok_or("no content")?;
    if json["large"].as_bool().unwrap_or(false) {
        let mut writer =
            LargeArrayWriter::create(directory, PROPOSAL, RUN, name, dtype.clone(), &shape, compress)?;
        // Pieces that fit neither elements nor chunks.
        for piece in bytes.chunks(json["piece"].as_u64().unwrap_or(1_000_003) as usize) {
            writer.write(piece)?;
        }
        let large = writer.finish()?;
        return Ok(ArrayData { dtype, shape, content: Content::Large(large) });
    }
    Ok(ArrayData { dtype, shape, content: Content::Bytes(bytes) })
}

fn shape(json: &Json) -> Vec<u64> {
    list(json, "shape").iter().filter_map(Json::as_u64).collect()
}

fn list<'j>(json: &'j Json, key: &str) -> &'j [Json] {
    json[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'j>(json: &'j Json, key: &str) -> Anything<&'j str> {
    json[key].as_str().ok_or_else(|| format!("{key} is missing in {json}").into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Anything<Vec<u8>> {
    (0..digits.len() / 2).map(|i| Ok(u8::from_str_radix(&digits[2 * i..2 * i + 2], 16)?)).collect()
}
