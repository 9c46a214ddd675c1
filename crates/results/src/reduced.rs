//! Reads from a file of results what the run table shows.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Map, Value as Json, json};

use crate::{
    dtype::Dtype,
    error::{InFile, ResultsError},
    h5::{File, H5Result, Held, Node},
    names::{self, ERRORS, MOCK, PROVENANCE, REDUCED, START_TIME},
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
    let Some(dtype) = dataset.dataset_type()?.dtype()? else { return Ok(ReducedValue::Null) };
    if dtype == Dtype::Text {
        return Ok(ReducedValue::Text(dataset.read_texts()?.join("\n")));
    }
    let bytes = dataset.read_bytes()?;
    if !shape.is_empty() {
        let is_bytes = shape.len() == 1 && dtype.to_string() == "|u1";
        return Ok(if is_bytes && bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            ReducedValue::Png(bytes)
        } else {
            ReducedValue::Numpy(npy(&dtype, &shape, &bytes))
        });
    }
    Ok(match dtype {
        Dtype::Bytes { .. } => {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            ReducedValue::Text(String::from_utf8_lossy(&bytes[..end]).into_owned())
        }
        Dtype::Complex { bytes: size, big_endian } => {
            let half = Dtype::Float { bytes: size / 2, big_endian };
            let (real, imaginary) = bytes.split_at(size / 2);
            let mut both = [0; 16];
            both[..8].copy_from_slice(&number(&half, real).unwrap_or(f64::NAN).to_le_bytes());
            both[8..].copy_from_slice(&number(&half, imaginary).unwrap_or(f64::NAN).to_le_bytes());
            ReducedValue::Complex(both)
        }
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

/// Bytes of one element, least significant first.
fn little_endian(big_endian: bool, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if big_endian {
        bytes.reverse();
    }
    bytes
}

pub(crate) fn integer(dtype: &Dtype, bytes: &[u8]) -> Option<i128> {
    let (signed, big_endian) = match *dtype {
        Dtype::Int { signed, big_endian, .. } => (signed, big_endian),
        Dtype::Bool => (false, false),
        _ => return None,
    };
    let bytes = little_endian(big_endian, bytes);
    let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide.get_mut(..bytes.len())?.copy_from_slice(&bytes);
    Some(i128::from_le_bytes(wide))
}

pub(crate) fn number(dtype: &Dtype, bytes: &[u8]) -> Option<f64> {
    let Dtype::Float { bytes: size, big_endian } = *dtype else {
        return integer(dtype, bytes).map(|value| value as f64);
    };
    let bytes = little_endian(big_endian, bytes.get(..size)?);
    match size {
        2 => Some(half_to_f64(u16::from_le_bytes(bytes.try_into().ok()?))),
        4 => Some(f32::from_le_bytes(bytes.try_into().ok()?).into()),
        _ => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
    }
}

fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

fn to_json(held: &Held) -> Json {
    let (shape, values): (&[u64], Vec<Json>) = match held {
        Held::Texts(shape, texts) => (shape, texts.iter().map(|text| json!(text)).collect()),
        Held::Numbers(dtype @ Dtype::Bytes { length }, shape, bytes) => {
            let texts = bytes
                .chunks_exact(*length)
                .map(|text| json!(String::from_utf8_lossy(text).trim_end_matches('\0')));
            debug_assert!(dtype.item_size().is_some());
            (shape, texts.collect())
        }
        Held::Numbers(dtype, shape, bytes) => {
            let size = dtype.item_size().unwrap_or(1).max(1);
            let values = bytes.chunks_exact(size).map(|item| match dtype {
                Dtype::Bool => json!(item[0] != 0),
                Dtype::Int { .. } => match integer(dtype, item) {
                    Some(value) if i64::try_from(value).is_ok() => json!(value as i64),
                    Some(value) => json!(value as u64),
                    None => Json::Null,
                },
                _ => json!(number(dtype, item)),
            });
            (shape, values.collect())
        }
    };
    if shape.is_empty() { values.into_iter().next().unwrap_or(Json::Null) } else { Json::Array(values) }
}

/// An `.npy` file, version 1.0.
fn npy(dtype: &Dtype, shape: &[u64], bytes: &[u8]) -> Vec<u8> {
    let lengths: Vec<String> = shape.iter().map(u64::to_string).collect();
    let tuple = if let [only] = lengths.as_slice() {
        format!("({only},)")
    } else {
        format!("({})", lengths.join(", "))
    };
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {tuple}, }}");
    // Magic, version and length take 10 bytes. The total is padded to a multiple of 64 and ends in a newline.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(bytes);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read_right() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f64.powi(-24)),
            (0x3555, 0.333251953125),
        ] {
            assert_eq!(half_to_f64(bits), value);
        }
        assert!(half_to_f64(0x7e00).is_nan());
        assert_eq!(half_to_f64(0xfc00), f64::NEG_INFINITY);
    }

    #[test]
    fn npy_headers_are_aligned() {
        let dtype = Dtype::Float { bytes: 8, big_endian: false };
        for shape in [&[3][..], &[2, 150], &[1, 2, 3]] {
            let file = npy(&dtype, shape, &[]);
            assert_eq!(file.len() % 64, 0);
            assert_eq!(file.last(), Some(&b'\n'));
        }
        assert!(npy(&dtype, &[3], &[]).windows(24).any(|part| part == b"'descr': '<f8', 'fortran"));
    }
}
