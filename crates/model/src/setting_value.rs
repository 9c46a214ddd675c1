//! The value of a setting in one of DAMNIT's SQLite files.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The value of a setting, with the type that it was stored with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SettingValue {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text.
    Text(String),
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingValue::Null => f.write_str("(nothing)"),
            SettingValue::Integer(number) => number.fmt(f),
            SettingValue::Real(number) => number.fmt(f),
            SettingValue::Text(text) => f.write_str(text),
        }
    }
}

impl From<&str> for SettingValue {
    fn from(text: &str) -> Self {
        SettingValue::Text(text.to_owned())
    }
}

impl From<i64> for SettingValue {
    fn from(number: i64) -> Self {
        SettingValue::Integer(number)
    }
}

impl From<bool> for SettingValue {
    /// As Python's `sqlite3` stores it.
    fn from(on: bool) -> Self {
        SettingValue::Integer(i64::from(on))
    }
}
