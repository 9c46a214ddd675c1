//! Reads from a file of results what the run table shows.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value as Json, json};

use crate::{
    display::element_json,
    dtype::Dtype,
    error::{InFile, ResultsError},
    h5::{File, H5Result, Held, Node},
    names::{self, ERRORS, MOCK, PROVENANCE, REDUCED, START_TIME},
    npy,
    number::{complex, integer, number},
    text::{escaped, without_padding},
    value::Provenance,
};

/// A value as stored in the run table.
#[derive(Clone, Debug, PartialEq)]
pub enum ReducedValue {
    /// No value (an error, or nothing).
    Null,
    /// An integer or a bool.
    Int(i64),
    /// A number; NaN is possible.
    Real(f64),
    /// Text.
    Text(String),
    /// A thumbnail (PNG).
    Png(Vec<u8>),
    /// An array, as an `.npy` file.
    Numpy(Vec<u8>),
    /// Real and imaginary part, each as a little-endian 64-bit number.
    Complex([u8; 16]),
}

/// One variable's row.
#[derive(Clone, Debug, PartialEq)]
pub struct ReducedRow {
    /// The variable.
    pub name: String,
    /// Its value.
    pub value: ReducedValue,
    /// Largest difference within the value.
    pub max_diff: Option<f64>,
    /// "trendline", "numpy", "complex", or none.
    pub summary_type: Option<String>,
    /// Name of the reducing function; empty for a value without one, none for an error.
    pub summary_method: Option<String>,
    /// JSON object: `error` and `error_cls`, or `bold`, `units`, `background`.
    pub attributes: Option<String>,
    /// Its provenance, if known.
    pub provenance: Option<Provenance>,
}

/// The content of a file of results that the run table needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFileSummary {
    /// The run's first train, seconds since 1970.
    pub start_time: Option<f64>,
    /// Whether this is the start time of a mock run.
    pub mock_start: bool,
    /// Variables with a summary or an error, by name.
    pub rows: Vec<ReducedRow>,
    /// Variables that have no row according to the file (they returned nothing or were removed), or a value without summary.
    pub without_row: Vec<String>,
}

/// Reads what the run table needs from a run file or fragment, written by Amore or DAMNIT.
///
/// # Errors
/// The file is missing, truncated or damaged.
pub fn read_reduced(path: &Path) -> Result<RunFileSummary, ResultsError> {
    use crate::error::DoingTo;
    // HDF5's own message for a missing file is a page long.
    std::fs::metadata(path).doing("cannot open", path)?;
    let file = File::open(path).reading(path)?;
    let root = file.root().reading(path)?;
    summarise(&root).reading(path)
}

/// Whether the start time of this file is that of a mock run.
pub(crate) fn is_mock(root: &Node) -> H5Result<bool> {
    match root.get(START_TIME)? {
        Some(group) => group.has_attribute(MOCK),
        None => Ok(false),
    }
}

pub(crate) fn summarise(root: &Node) -> H5Result<RunFileSummary> {
    let provenance = read_provenance(root)?;
    let mut summary = RunFileSummary { mock_start: is_mock(root)?, ..RunFileSummary::default() };
    let mut rows: BTreeMap<String, ReducedRow> = BTreeMap::new();
    if let Some(group) = root.get(REDUCED)? {
        for name in group.names()? {
            let dataset = group.open(&name)?;
            if name == START_TIME {
                summary.start_time = match read_value(&dataset)? {
                    ReducedValue::Real(seconds) => Some(seconds),
                    ReducedValue::Int(seconds) => Some(seconds as f64),
                    _ => None,
                };
                continue;
            }
            let row = value_row(&name, &dataset, provenance.get(&name).cloned())?;
            rows.insert(name, row);
        }
    }
    if let Some(group) = root.get(ERRORS)? {
        for name in group.names()? {
            let dataset = group.open(&name)?;
            let attributes = json!({
                "error": dataset.read_texts()?.into_iter().next().unwrap_or_default(),
                "error_cls": dataset.text_attribute("type")?.unwrap_or_default(),
            });
            let row = ReducedRow {
                name: name.clone(),
                value: ReducedValue::Null,
                max_diff: None,
                summary_type: None,
                summary_method: None,
                attributes: Some(attributes.to_string()),
                provenance: provenance.get(&name).cloned(),
            };
            rows.insert(name, row);
        }
    }
    summary.without_row = provenance.into_keys().filter(|name| !rows.contains_key(name)).collect();
    summary.rows = rows.into_values().collect();
    Ok(summary)
}

/// Provenance of all variables. An invalid entry counts as none.
pub(crate) fn read_provenance(root: &Node) -> H5Result<BTreeMap<String, Provenance>> {
    let mut all = BTreeMap::new();
    if let Some(group) = root.get(PROVENANCE)? {
        for name in group.names()? {
            let texts = group.open(&name)?.read_texts()?;
            if let Some(provenance) = texts.first().and_then(|text| serde_json::from_str(text).ok()) {
                all.insert(name, provenance);
            }
        }
    }
    all.retain(|name, _| names::check_variable(name).is_ok());
    Ok(all)
}

fn value_row(name: &str, dataset: &Node, provenance: Option<Provenance>) -> H5Result<ReducedRow> {
    let value = read_value(dataset)?;
    let stored_type = dataset.text_attribute("summary_type")?;
    let summary_type = match &value {
        ReducedValue::Complex(_) => Some("complex".to_owned()),
        ReducedValue::Numpy(_) => {
            Some(stored_type.filter(|text| !text.is_empty()).unwrap_or_else(|| "numpy".to_owned()))
        }
        _ => stored_type,
    };
    let mut attributes = Map::new();
    for attribute in dataset.attribute_names()? {
        if ["max_diff", "summary_method", "summary_type"].contains(&attribute.as_str()) {
            continue;
        }
        if let Some(held) = dataset.attribute(&attribute)? {
            attributes.insert(attribute, to_json(&held));
        }
    }
    let max_diff = match dataset.attribute("max_diff")? {
        Some(Held::Numbers(dtype, _, bytes)) => number(&dtype, &bytes),
        _ => None,
    };
    Ok(ReducedRow {
        name: name.to_owned(),
        value,
        max_diff,
        summary_type,
        summary_method: Some(dataset.text_attribute("summary_method")?.unwrap_or_default()),
        attributes: (!attributes.is_empty()).then(|| Json::Object(attributes).to_string()),
        provenance,
    })
}

fn read_value(dataset: &Node) -> H5Result<ReducedValue> {
    let shape = dataset.shape()?;
    if dataset.is_null()? {
        return Ok(ReducedValue::Null);
    }
    let Some(dtype) = dataset.dataset_type()?.exact_dtype()? else { return Ok(ReducedValue::Null) };
    if dtype == Dtype::Text {
        return Ok(ReducedValue::Text(dataset.read_texts()?.join("\n")));
    }
    let bytes = dataset.read_bytes()?;
    if !shape.is_empty() {
        let is_bytes = shape.len() == 1 && dtype.to_string() == "|u1";
        return Ok(if is_bytes && bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            ReducedValue::Png(bytes)
        } else {
            ReducedValue::Numpy(npy::file(&dtype, &shape, &bytes))
        });
    }
    Ok(match dtype {
        Dtype::Bytes { .. } => ReducedValue::Text(escaped(without_padding(&bytes))),
        Dtype::Complex { .. } => complex(&dtype, &bytes).map_or(ReducedValue::Null, |(real, imaginary)| {
            let mut both = [0; 16];
            both[..8].copy_from_slice(&real.to_le_bytes());
            both[8..].copy_from_slice(&imaginary.to_le_bytes());
            ReducedValue::Complex(both)
        }),
        Dtype::Float { .. } => number(&dtype, &bytes).map_or(ReducedValue::Null, ReducedValue::Real),
        _ => match integer(&dtype, &bytes) {
            Some(value) => match i64::try_from(value) {
                Ok(value) => ReducedValue::Int(value),
                // Beyond what SQLite's integers hold.
                Err(_) => ReducedValue::Real(value as f64),
            },
            None => ReducedValue::Null,
        },
    })
}

/// An attribute in JSON; what cannot be shown is `null`.
pub(crate) fn to_json(held: &Held) -> Json {
    let (shape, values): (&[u64], Vec<Json>) = match held {
        Held::Empty => return Json::Null,
        Held::Texts(shape, texts) => (shape, texts.iter().map(|text| json!(text)).collect()),
        Held::Numbers(dtype, shape, bytes) => {
            let size = dtype.item_size().unwrap_or(1).max(1);
            let value = |item: &[u8]| match dtype {
                // An attribute must not be in the way of the value that it belongs to.
                Dtype::Bytes { .. } => json!(escaped(without_padding(item))),
                _ => element_json(dtype, item).unwrap_or(Json::Null),
            };
            (shape, bytes.chunks_exact(size).map(value).collect())
        }
    };
    if shape.is_empty() { values.into_iter().next().unwrap_or(Json::Null) } else { Json::Array(values) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_shown_as_elements_are() {
        let float = |bytes: usize| Dtype::Float { bytes, big_endian: false };
        let numbers = |dtype: Dtype, bytes: &[u8]| to_json(&Held::Numbers(dtype, vec![], bytes.to_vec()));
        assert_eq!(numbers(float(8), &f64::NAN.to_le_bytes()), json!("NaN"));
        assert_eq!(numbers(float(8), &f64::NEG_INFINITY.to_le_bytes()), json!("-Infinity"));
        assert_eq!(numbers(float(4), &0.1f32.to_le_bytes()), json!(0.1));
        assert_eq!(numbers(Dtype::Bytes { length: 4 }, b"a\xb5\0\0"), json!("a\\xb5"));
        let u8 = Dtype::Int { bytes: 8, signed: false, big_endian: false };
        assert_eq!(numbers(u8, &u64::MAX.to_le_bytes()), json!(u64::MAX));
        let complex = Dtype::Complex { bytes: 8, big_endian: false };
        let pair = [1f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat();
        assert_eq!(numbers(complex, &pair), json!([1.0, "NaN"]));
        assert_eq!(to_json(&Held::Numbers(Dtype::Bool, vec![2], vec![1, 0])), json!([true, false]));
        assert_eq!(to_json(&Held::Empty), Json::Null);
    }
}
