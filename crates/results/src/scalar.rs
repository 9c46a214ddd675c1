//! Reads a single number or text, for arguments of commands.

use std::path::Path;

use crate::{
    dtype::Dtype,
    error::{DoingTo, InFile, ResultsError},
    h5::{File, H5Result, Kind, Node},
    names::{OBJTYPE, check_variable},
    number::{integer, number},
    text::without_padding,
};

/// A variable's value in a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// No value.
    Nothing,
    /// A number or text, formatted like Python's `str()`.
    Text(String),
    /// An array, table or image, with a description for display.
    Other(String),
}

/// Reads the value of a variable from a run file or a fragment.
///
/// # Errors
/// The file is missing, truncated or damaged.
pub fn read_scalar(path: &Path, name: &str) -> Result<Scalar, ResultsError> {
    check_variable(name)?;
    // HDF5's own message for a missing file is a page long.
    std::fs::metadata(path).doing("cannot open", path)?;
    let file = File::open(path).reading(path)?;
    file.root().and_then(|root| read(&root, name)).reading(path)
}

fn read(root: &Node, name: &str) -> H5Result<Scalar> {
    let Some(group) = root.get(name)? else { return Ok(Scalar::Nothing) };
    if group.kind() != Kind::Group {
        return Ok(Scalar::Other("no value of ours".to_owned()));
    }
    if let Some(kind) = group.text_attribute(OBJTYPE)? {
        return Ok(Scalar::Other(format!("a {kind}")));
    }
    let Some(dataset) = group.get("data")? else { return Ok(Scalar::Nothing) };
    if dataset.is_null()? {
        return Ok(Scalar::Nothing);
    }
    let shape = dataset.shape()?;
    if !shape.is_empty() {
        let lengths: Vec<String> = shape.iter().map(u64::to_string).collect();
        return Ok(Scalar::Other(format!("an array of {} numbers", lengths.join(" x "))));
    }
    let Some(dtype) = dataset.dataset_type()?.exact_dtype()? else {
        return Ok(Scalar::Other("neither a number nor a text".to_owned()));
    };
    if dtype == Dtype::Text {
        return Ok(Scalar::Text(dataset.read_texts()?.concat()));
    }
    let bytes = dataset.read_bytes()?;
    Ok(match in_words(&dtype, &bytes) {
        Some(text) => Scalar::Text(text),
        None => Scalar::Other("neither a number nor a text".to_owned()),
    })
}

fn in_words(dtype: &Dtype, bytes: &[u8]) -> Option<String> {
    Some(match dtype {
        Dtype::Bool => if bytes.first()? == &0 { "False" } else { "True" }.to_owned(),
        Dtype::Int { .. } => integer(dtype, bytes)?.to_string(),
        // An argument of a command must not be another text than the value.
        Dtype::Bytes { .. } => std::str::from_utf8(without_padding(bytes)).ok()?.to_owned(),
        // The shortest form that parses to the same number of its type.
        Dtype::Float { bytes: 4, .. } => {
            float(number(dtype, bytes)?, &format!("{:?}", number(dtype, bytes)? as f32))
        }
        Dtype::Float { .. } => {
            let value = number(dtype, bytes)?;
            float(value, &format!("{value:?}"))
        }
        _ => return None,
    })
}

/// Python's spelling where it differs from Rust's.
fn float(value: f64, words: &str) -> String {
    if value.is_nan() {
        "nan".to_owned()
    } else {
        // 1e16 and 1e-7, where Python prints 1e+16 and 1e-07: both can parse both.
        words.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_python_tells_them() {
        let f8 = Dtype::Float { bytes: 8, big_endian: false };
        let f4 = Dtype::Float { bytes: 4, big_endian: false };
        let i8 = Dtype::Int { bytes: 8, signed: true, big_endian: false };
        for (dtype, bytes, words) in [
            (f8.clone(), 0.1f64.to_le_bytes().to_vec(), "0.1"),
            (f8.clone(), 3.0f64.to_le_bytes().to_vec(), "3.0"),
            (f8.clone(), f64::NAN.to_le_bytes().to_vec(), "nan"),
            (f8, f64::NEG_INFINITY.to_le_bytes().to_vec(), "-inf"),
            (f4, 0.1f32.to_le_bytes().to_vec(), "0.1"),
            (i8, (-42i64).to_le_bytes().to_vec(), "-42"),
            (Dtype::Bool, vec![1], "True"),
            (Dtype::Bytes { length: 4 }, "µm\0".as_bytes().to_vec(), "µm"),
        ] {
            assert_eq!(in_words(&dtype, &bytes).as_deref(), Some(words));
        }
        assert_eq!(in_words(&Dtype::Bytes { length: 2 }, b"\xb5m"), None);
        assert_eq!(in_words(&Dtype::Complex { bytes: 16, big_endian: false }, &[0; 16]), None);
    }
}
