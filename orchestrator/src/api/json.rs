//! Numbers, cells and entered values as they are in JSON. The forms here are those of the OpenAPI document, too.

use std::collections::BTreeMap;

use amore_run_table::{Cell, SettingValue, UserValue};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, SchemaType, Type},
    },
};

/// A number. JSON has neither NaN nor infinities: they are texts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Number {
    /// A number.
    Finite(f64),
    /// Something that JSON has no number for.
    NotFinite(NotFinite),
}

/// A number that JSON does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum NotFinite {
    /// Not a number.
    #[serde(rename = "NaN")]
    NotANumber,
    /// Larger than any number.
    Infinity,
    /// Smaller than any number.
    #[serde(rename = "-Infinity")]
    MinusInfinity,
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        if value.is_nan() {
            Number::NotFinite(NotFinite::NotANumber)
        } else if value.is_infinite() {
            Number::NotFinite(if value > 0.0 { NotFinite::Infinity } else { NotFinite::MinusInfinity })
        } else {
            Number::Finite(value)
        }
    }
}

/// A number in JSON; what JSON does not have is text.
pub fn number(value: f64) -> Value {
    match Number::from(value) {
        Number::Finite(value) => value.into(),
        Number::NotFinite(what) => serde_json::to_value(what).unwrap_or_default(),
    }
}

/// A number or a text: `NaN` and the infinities are texts.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum NumberOrText {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl From<f64> for NumberOrText {
    fn from(value: f64) -> Self {
        match number(value) {
            Value::String(text) => NumberOrText::Text(text),
            _ => NumberOrText::Number(value),
        }
    }
}

/// A truth value, a number or a text.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the form of a UserValue in the OpenAPI document")]
pub enum Enterable {
    /// A truth value.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// A value that a user entered.
pub fn entered(value: UserValue) -> Value {
    match value {
        UserValue::Boolean(value) => value.into(),
        UserValue::Integer(value) => value.into(),
        UserValue::Number(value) => number(value),
        UserValue::String(value) => value.into(),
    }
}

/// The value of a setting: a number, a text, or `null`.
#[derive(Debug)]
pub struct SettingForm;

impl PartialSchema for SettingForm {
    fn schema() -> RefOr<Schema> {
        let types = SchemaType::from_iter([Type::Number, Type::String, Type::Null]);
        ObjectBuilder::new()
            .schema_type(types)
            .description(Some("The value of a setting: a number, a text, or `null`."))
            .into()
    }
}

impl ToSchema for SettingForm {}

/// Settings and their new values; `null` removes one.
#[derive(ToSchema)]
#[schema(example = json!({"variable_time": 600, "slurm_partition": null}))]
#[expect(dead_code, reason = "the form of a change in the OpenAPI document")]
pub struct SettingChanges(BTreeMap<String, SettingForm>);

/// A setting.
pub fn setting(value: SettingValue) -> Value {
    match value {
        SettingValue::Integer(value) => value.into(),
        SettingValue::Real(value) => number(value),
        SettingValue::Text(text) => text.into(),
        SettingValue::Null => Value::Null,
    }
}

/// A cell of the table.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ShownCell {
    /// A truth value that a user entered.
    Boolean {
        /// The value.
        value: bool,
    },
    /// A whole number, or a truth value that was computed.
    Integer {
        /// The number.
        value: i64,
    },
    /// A number.
    Number {
        /// The number.
        value: Number,
    },
    /// A text.
    Text {
        /// The text.
        value: String,
    },
    /// A complex number.
    Complex {
        /// Real and imaginary part.
        value: [Number; 2],
    },
    /// A point in time.
    Timestamp {
        /// Seconds since 1970.
        value: Number,
    },
    /// An image; see `thumbnail`.
    Image,
    /// A small curve; see `thumbnail`.
    Trendline,
    /// A small array; see `thumbnail`.
    Array,
    /// Bytes of another kind.
    Bytes,
    /// The variable failed, or was skipped (class `Skip`).
    Error {
        /// The class of the exception.
        class: String,
        /// Its message.
        message: String,
    },
}

impl From<&Cell> for ShownCell {
    fn from(cell: &Cell) -> Self {
        match cell {
            Cell::Boolean { value } => ShownCell::Boolean { value: *value },
            Cell::Integer { value } => ShownCell::Integer { value: *value },
            Cell::Number { value } => ShownCell::Number { value: (*value).into() },
            Cell::Text { value } => ShownCell::Text { value: value.clone() },
            Cell::Complex { re, im } => ShownCell::Complex { value: [(*re).into(), (*im).into()] },
            Cell::Timestamp { value } => ShownCell::Timestamp { value: (*value).into() },
            Cell::Image => ShownCell::Image,
            Cell::Trendline => ShownCell::Trendline,
            Cell::Array => ShownCell::Array,
            Cell::Bytes => ShownCell::Bytes,
            Cell::Error { class, message } => {
                ShownCell::Error { class: class.clone(), message: message.clone() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_json_does_not_have_are_texts() {
        let words = [(f64::NAN, "NaN"), (f64::INFINITY, "Infinity"), (f64::NEG_INFINITY, "-Infinity")];
        for (value, text) in words {
            assert_eq!(number(value), json!(text));
            assert_eq!(json!(Number::from(value)), json!(text));
            assert_eq!(entered(UserValue::Number(value)), json!(text));
            assert_eq!(json!(NumberOrText::from(value)), json!(text));
        }
        assert_eq!(number(1.5), json!(1.5));
        assert_eq!(setting(SettingValue::Integer(3)), json!(3));
    }

    #[test]
    fn a_cell_has_its_kind_beside_its_value() {
        let shown = |cell: Cell| json!(ShownCell::from(&cell));
        assert_eq!(shown(Cell::Boolean { value: true }), json!({"kind": "boolean", "value": true}));
        assert_eq!(
            shown(Cell::Complex { re: f64::NAN, im: 1.0 }),
            json!({"kind": "complex", "value": ["NaN", 1.0]})
        );
        assert_eq!(shown(Cell::Image), json!({"kind": "image"}));
    }
}
