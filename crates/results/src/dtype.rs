//! Element types: those of numpy that HDF5 supports.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// An element type, read from numpy's `dtype.str`; of records from [`Record`] in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Dtype {
    /// Integers of 1, 2, 4 or 8 bytes.
    Int {
        /// Bytes of one.
        bytes: usize,
        /// Whether it is signed (two's complement).
        signed: bool,
        /// Whether it is big-endian.
        big_endian: bool,
    },
    /// IEEE 754 numbers of 2, 4 or 8 bytes; of 16 bytes: this machine's long double.
    Float {
        /// Bytes of one.
        bytes: usize,
        /// Whether it is big-endian.
        big_endian: bool,
    },
    /// Pairs of real and imaginary part, together 8, 16 or 32 bytes.
    Complex {
        /// Bytes of a pair.
        bytes: usize,
        /// Whether it is big-endian.
        big_endian: bool,
    },
    /// One byte, 0 or 1.
    Bool,
    /// Bytes of a fixed length, padded with NUL.
    Bytes {
        /// The length, at least 1.
        length: usize,
    },
    /// Variable-length text (UTF-8).
    Text,
    /// Several fields.
    Record(Arc<Record>),
}

/// Layout of an element of a structured array.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Size of one element in bytes, including padding.
    pub size: usize,
    /// Its fields, in numpy's order. They do not overlap.
    pub fields: Vec<Field>,
}

/// A field of a [`Record`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its offset.
    pub offset: usize,
    /// Its type; not text.
    pub dtype: Dtype,
    /// Its shape; `[]` for one value.
    pub shape: Vec<u64>,
}

impl Record {
    /// What is wrong with it, if anything.
    fn check(&self) -> Result<(), &'static str> {
        let mut places = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            if field.name.is_empty() || field.name.contains('\0') {
                return Err("a field has a name that HDF5 cannot store");
            }
            let one = field.dtype.item_size().ok_or("a field holds variable-length text")?;
            let end = field
                .shape
                .iter()
                .try_fold(one, |bytes, length| bytes.checked_mul(usize::try_from(*length).ok()?))
                .filter(|bytes| *bytes > 0)
                .and_then(|bytes| bytes.checked_add(field.offset))
                .filter(|end| *end <= self.size);
            places.push((field.offset, end.ok_or("a field is empty, or extends beyond the record")?));
        }
        places.sort_unstable();
        if places.is_empty() {
            return Err("it has no fields");
        }
        if places.windows(2).any(|pair| pair[1].0 < pair[0].1) {
            return Err("its fields overlap; copy them into separate records");
        }
        Ok(())
    }
}

impl TryFrom<String> for Dtype {
    type Error = DtypeError;

    fn try_from(text: String) -> Result<Self, DtypeError> {
        text.parse()
    }
}

impl From<Dtype> for String {
    fn from(dtype: Dtype) -> String {
        dtype.to_string()
    }
}

impl Dtype {
    /// Bytes of one element; `None` for text.
    pub fn item_size(&self) -> Option<usize> {
        match *self {
            Dtype::Int { bytes, .. } | Dtype::Float { bytes, .. } | Dtype::Complex { bytes, .. } => {
                Some(bytes)
            }
            Dtype::Bool => Some(1),
            Dtype::Bytes { length } => Some(length),
            Dtype::Record(ref record) => Some(record.size),
            Dtype::Text => None,
        }
    }

    /// Whether there is an element that is recognizable as missing.
    pub fn can_be_missing(&self) -> bool {
        self.missing().is_some()
    }

    /// The element that marks a missing value: NaN, the type's extreme value, bytes that are not text. None for booleans, because
    /// both values are plausible.
    pub(crate) fn missing(&self) -> Option<Vec<u8>> {
        // Little-endian first.
        let in_order = |mut bytes: Vec<u8>, big_endian: bool| {
            if big_endian {
                bytes.reverse();
            }
            bytes
        };
        match *self {
            Dtype::Int { bytes, signed, big_endian } => {
                // The smallest signed, the largest unsigned value.
                let mut extreme = vec![if signed { 0 } else { 0xff }; bytes];
                if signed {
                    extreme[bytes - 1] = 0x80;
                }
                Some(in_order(extreme, big_endian))
            }
            Dtype::Float { bytes, big_endian } => Some(in_order(not_a_number(bytes)?, big_endian)),
            Dtype::Complex { bytes, big_endian } => {
                Some(in_order(not_a_number(bytes / 2)?, big_endian).repeat(2))
            }
            Dtype::Bytes { length } => Some(vec![0xff; length]),
            Dtype::Bool | Dtype::Text => None,
            Dtype::Record(ref record) => {
                let mut whole = vec![0; record.size];
                for field in &record.fields {
                    let one = field.dtype.missing()?;
                    let count = field.shape.iter().product::<u64>() as usize;
                    let all = one.repeat(count);
                    whole.get_mut(field.offset..field.offset + all.len())?.copy_from_slice(&all);
                }
                Some(whole)
            }
        }
    }

    /// What a reader sees if the file of such an array is missing.
    pub(crate) fn missing_in_words(&self) -> &'static str {
        match self {
            Dtype::Float { .. } | Dtype::Complex { .. } => "NaN",
            Dtype::Int { .. } => "its type's extreme",
            _ => "what is no value",
        }
    }
}

/// A quiet NaN, little-endian.
fn not_a_number(bytes: usize) -> Option<Vec<u8>> {
    match bytes {
        2 => Some(0x7e00u16.to_le_bytes().to_vec()),
        4 => Some(f32::NAN.to_bits().to_le_bytes().to_vec()),
        8 => Some(f64::NAN.to_bits().to_le_bytes().to_vec()),
        // x87's ten bytes, in sixteen.
        16 if cfg!(target_arch = "x86_64") => Some([vec![0; 7], vec![0xc0, 0xff, 0x7f], vec![0; 6]].concat()),
        16 => Some([vec![0; 13], vec![0x80, 0xff, 0x7f]].concat()),
        _ => None,
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = |big: bool, bytes: usize| match (bytes, big) {
            (1, _) => '|',
            (_, true) => '>',
            (_, false) => '<',
        };
        match *self {
            Dtype::Int { bytes, signed, big_endian } => {
                write!(f, "{}{}{bytes}", order(big_endian, bytes), if signed { 'i' } else { 'u' })
            }
            Dtype::Float { bytes, big_endian } => write!(f, "{}f{bytes}", order(big_endian, bytes)),
            Dtype::Complex { bytes, big_endian } => write!(f, "{}c{bytes}", order(big_endian, bytes)),
            Dtype::Bool => f.write_str("|b1"),
            Dtype::Bytes { length } => write!(f, "|S{length}"),
            Dtype::Text => f.write_str("str"),
            Dtype::Record(ref record) => f.write_str(&serde_json::to_string(record).map_err(|_| fmt::Error)?),
        }
    }
}

/// A numpy type that cannot be stored in a run file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("arrays of type {dtype:?} cannot be stored: {why}")]
pub struct DtypeError {
    /// The name as given.
    pub dtype: String,
    /// What about it, and what to use instead.
    pub why: &'static str,
}

impl FromStr for Dtype {
    type Err = DtypeError;

    fn from_str(text: &str) -> Result<Self, DtypeError> {
        let refuse = |why| Err(DtypeError { dtype: text.to_owned(), why });
        if text == "str" {
            return Ok(Dtype::Text);
        }
        if text.starts_with('{') {
            let Ok(record) = serde_json::from_str::<Record>(text) else {
                return refuse("a field has a type that HDF5 does not support");
            };
            return match record.check() {
                Ok(()) => Ok(Dtype::Record(Arc::new(record))),
                Err(why) => refuse(why),
            };
        }
        let mut rest = text.chars();
        let (order, kind) = (rest.next(), rest.next());
        let big_endian = match order {
            Some('<' | '|' | '=') => false,
            Some('>') => true,
            _ => return refuse("it is not a numpy type"),
        };
        let size: Option<usize> = rest.as_str().parse().ok();
        match (kind, size) {
            (Some('i'), Some(bytes @ (1 | 2 | 4 | 8))) => Ok(Dtype::Int { bytes, signed: true, big_endian }),
            (Some('u'), Some(bytes @ (1 | 2 | 4 | 8))) => Ok(Dtype::Int { bytes, signed: false, big_endian }),
            (Some('f'), Some(bytes @ (2 | 4 | 8 | 16))) => Ok(Dtype::Float { bytes, big_endian }),
            (Some('c'), Some(bytes @ (8 | 16 | 32))) => Ok(Dtype::Complex { bytes, big_endian }),
            (Some('b'), Some(1)) => Ok(Dtype::Bool),
            (Some('S'), Some(length @ 1..)) => Ok(Dtype::Bytes { length }),
            (Some('f' | 'c'), _) => refuse(
                "its precision depends on the machine; convert it with .astype(float) or .astype(complex)",
            ),
            (Some('M' | 'm'), _) => refuse(
                "HDF5 has no time types; return an xarray.DataArray, or convert them with .astype('int64')",
            ),
            (Some('U'), _) => {
                refuse("its text has a fixed width; convert it with .astype(object) or return a str")
            }
            (Some('O'), _) => refuse("it holds Python objects; convert it to an array of numbers or of text"),
            (Some('V'), _) => refuse("it is untyped bytes; return them as bytes (.astype('S')) or numbers"),
            (Some('S'), _) => refuse("its elements are empty"),
            _ => refuse("it is not a numpy type that HDF5 supports"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_no_plausible_value() {
        let missing = |dtype: &str| dtype.parse::<Dtype>().unwrap().missing();
        assert!(f64::from_le_bytes(missing("<f8").unwrap().try_into().unwrap()).is_nan());
        assert!(f64::from_be_bytes(missing(">f8").unwrap().try_into().unwrap()).is_nan());
        assert!(f32::from_le_bytes(missing("<f4").unwrap().try_into().unwrap()).is_nan());
        assert_eq!(missing("<f2").unwrap(), [0, 0x7e]);
        assert_eq!(i64::from_le_bytes(missing("<i8").unwrap().try_into().unwrap()), i64::MIN);
        assert_eq!(i16::from_be_bytes(missing(">i2").unwrap().try_into().unwrap()), i16::MIN);
        assert_eq!(missing("|u1").unwrap(), [u8::MAX]);
        assert_eq!(missing("<c8").unwrap(), missing("<f4").unwrap().repeat(2));
        assert_eq!(missing("|S3").unwrap(), [0xff; 3]);
        assert_eq!((missing("|b1"), missing("str")), (None, None));
        let record = r#"{"size": 6, "fields": [{"name": "a", "offset": 0, "dtype": "<u2", "shape": [2]},
            {"name": "b", "offset": 5, "dtype": "|i1", "shape": []}]}"#;
        assert_eq!(missing(record).unwrap(), [0xff, 0xff, 0xff, 0xff, 0, 0x80]);
        let with_flag = r#"{"size": 1, "fields": [{"name": "a", "offset": 0, "dtype": "|b1", "shape": []}]}"#;
        assert_eq!(missing(with_flag), None);
    }
}
