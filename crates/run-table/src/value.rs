//! Values as stored in SQLite.

use sqlx::{
    Arguments, Decode, Row, Sqlite, TypeInfo, ValueRef,
    sqlite::{SqliteArguments, SqliteRow, SqliteValueRef},
};

/// A value to put into a cell of the run table.
///
/// SQLite has no NaN: a `Real(NaN)` is stored as NULL, as DAMNIT does, and read back as NaN.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlValue {
    /// An integer or boolean.
    Int(i64),
    /// A floating-point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes: a PNG, a `.npy` array, or a complex number (16 bytes, two little-endian doubles).
    Blob(Vec<u8>),
}

/// Any SQLite value, read with its actual type (not the declared type of its column).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stored {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Stored {
    /// Reads column `index` of a row. Text that is not UTF-8 is read with replacement characters.
    pub(crate) fn get(row: &SqliteRow, index: usize) -> Result<Stored, sqlx::Error> {
        let value: SqliteValueRef<'_> = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(Stored::Null);
        }
        let decode = |source| sqlx::Error::ColumnDecode { index: index.to_string(), source };
        let type_info = value.type_info().into_owned();
        match type_info.name() {
            "INTEGER" => <i64 as Decode<Sqlite>>::decode(value).map(Stored::Int).map_err(decode),
            "REAL" => <f64 as Decode<Sqlite>>::decode(value).map(Stored::Real).map_err(decode),
            "TEXT" => <Vec<u8> as Decode<Sqlite>>::decode(value)
                .map(|bytes| Stored::Text(String::from_utf8_lossy(&bytes).into_owned()))
                .map_err(decode),
            _ => <Vec<u8> as Decode<Sqlite>>::decode(value).map(Stored::Blob).map_err(decode),
        }
    }

    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Stored::Int(number) => Some(*number as f64),
            Stored::Real(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if it is text.
    pub(crate) fn text(self) -> Option<String> {
        match self {
            Stored::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Binds a value of any type.
pub(crate) fn bind_value(arguments: &mut SqliteArguments, value: &SqlValue) -> Result<(), sqlx::Error> {
    match value {
        SqlValue::Int(number) => arguments.add(*number),
        SqlValue::Real(number) => arguments.add(*number),
        SqlValue::Text(text) => arguments.add(text.clone()),
        SqlValue::Blob(bytes) => arguments.add(bytes.clone()),
    }
    .map_err(sqlx::Error::Encode)
}
