//! Values that users enter, and their four types.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{SqlValue, value::Stored};

/// How much of a text is shown in an error.
const SHOWN: usize = 100;

/// The type of a variable that users edit: DAMNIT's four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserType {
    /// True or false.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Text.
    String,
}

/// A text that is not a value of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not {}", quoted(.text), .wanted.description())]
pub struct NotOfType {
    text: String,
    wanted: UserType,
}

impl UserType {
    /// All of them.
    pub const ALL: [UserType; 4] = [UserType::Boolean, UserType::Integer, UserType::Number, UserType::String];

    /// Its word in the table.
    pub fn word(self) -> &'static str {
        match self {
            UserType::Boolean => "boolean",
            UserType::Integer => "integer",
            UserType::Number => "number",
            UserType::String => "string",
        }
    }

    /// The type with this word.
    pub fn of_word(word: &str) -> Option<Self> {
        UserType::ALL.into_iter().find(|one| one.word() == word)
    }

    fn description(self) -> &'static str {
        match self {
            UserType::Boolean => "true or false",
            UserType::Integer => "a whole number between -9223372036854775808 and 9223372036854775807",
            UserType::Number => "a finite number",
            UserType::String => "text",
        }
    }

    /// Reads a value that a user typed.
    ///
    /// # Errors
    /// It is not of this type.
    pub fn parse(self, text: &str) -> Result<UserValue, NotOfType> {
        let wrong = || NotOfType { text: text.to_owned(), wanted: self };
        let trimmed = text.trim();
        match self {
            UserType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => Ok(UserValue::Boolean(true)),
                "false" | "no" | "0" => Ok(UserValue::Boolean(false)),
                _ => Err(wrong()),
            },
            UserType::Integer => trimmed.parse().map(UserValue::Integer).map_err(|_| wrong()),
            UserType::Number => match trimmed.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(UserValue::Number(number)),
                _ => Err(wrong()),
            },
            UserType::String => Ok(UserValue::String(text.to_owned())),
        }
    }

    /// A value of this type with the content of another one: a whole number is a number, too.
    ///
    /// # Errors
    /// It is of another type.
    pub fn accept(self, value: UserValue) -> Result<UserValue, NotOfType> {
        match (self, value) {
            (UserType::Number, UserValue::Integer(number)) => Ok(UserValue::Number(number as f64)),
            (wanted, value) if value.is_of() == wanted => Ok(value),
            (wanted, value) => Err(NotOfType { text: value.to_string(), wanted }),
        }
    }
}

/// A value that a user entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UserValue {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Text.
    String(String),
}

impl UserValue {
    fn is_of(&self) -> UserType {
        match self {
            UserValue::Boolean(_) => UserType::Boolean,
            UserValue::Integer(_) => UserType::Integer,
            UserValue::Number(_) => UserType::Number,
            UserValue::String(_) => UserType::String,
        }
    }

    /// As it is in the table.
    pub(crate) fn stored(&self) -> SqlValue {
        match self {
            UserValue::Boolean(value) => SqlValue::Int(i64::from(*value)),
            UserValue::Integer(value) => SqlValue::Int(*value),
            UserValue::Number(value) => SqlValue::Real(*value),
            UserValue::String(value) => SqlValue::Text(value.clone()),
        }
    }

    /// What a cell of a variable of this type has. Other programs may have stored something else: it is shown as it is.
    pub(crate) fn of(stored: Stored, wanted: UserType) -> Option<Self> {
        Some(match (stored, wanted) {
            (Stored::Null, _) => return None,
            (Stored::Int(value), UserType::Boolean) => UserValue::Boolean(value != 0),
            (Stored::Int(value), UserType::Number) => UserValue::Number(value as f64),
            (Stored::Int(value), _) => UserValue::Integer(value),
            (Stored::Real(value), _) => UserValue::Number(value),
            (Stored::Text(value), _) => UserValue::String(value),
            (Stored::Blob(bytes), _) => UserValue::String(String::from_utf8_lossy(&bytes).into_owned()),
        })
    }
}

impl fmt::Display for UserValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserValue::Boolean(value) => value.fmt(f),
            UserValue::Integer(value) => value.fmt(f),
            UserValue::Number(value) => value.fmt(f),
            UserValue::String(value) => value.fmt(f),
        }
    }
}

/// A text in an error, shortened: a comment may have thousands of lines.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() { format!("{shown:?}…") } else { format!("{shown:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_type_is_read_as_damnit_reads_it() {
        let read = |wanted: UserType, text| wanted.parse(text).ok();
        for (text, value) in [("true", true), ("Yes", true), ("1", true), ("no", false), ("FALSE", false)] {
            assert_eq!(read(UserType::Boolean, text), Some(UserValue::Boolean(value)), "{text}");
        }
        assert_eq!(read(UserType::Boolean, "2"), None);
        assert_eq!(read(UserType::Integer, " -7 "), Some(UserValue::Integer(-7)));
        assert_eq!(read(UserType::Integer, "7.0"), None);
        assert_eq!(read(UserType::Integer, "9223372036854775808"), None);
        assert_eq!(read(UserType::Number, "85.4E7"), Some(UserValue::Number(85.4e7)));
        assert_eq!(read(UserType::Number, "nan"), None);
        assert_eq!(read(UserType::String, " a "), Some(UserValue::String(" a ".to_owned())));
    }

    #[test]
    fn a_whole_number_is_a_number_and_nothing_else_is_converted() {
        let accepted = UserType::Number.accept(UserValue::Integer(3));
        assert_eq!(accepted, Ok(UserValue::Number(3.0)));
        let refused = UserType::Integer.accept(UserValue::String("3".to_owned())).unwrap_err();
        assert!(refused.to_string().starts_with("\"3\" is not a whole number"), "{refused}");
        assert!(UserType::Boolean.accept(UserValue::Integer(1)).is_err());
    }
}
