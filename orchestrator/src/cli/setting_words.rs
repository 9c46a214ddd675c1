//! How values of settings are typed and shown, in DAMNIT's format, which scripts rely on.

use amore_model::SettingValue;
use serde_json::Value;

use super::failure::Failure;

pub fn as_json(value: &SettingValue) -> Value {
    match value {
        SettingValue::Integer(number) => (*number).into(),
        SettingValue::Real(number) => (*number).into(),
        SettingValue::Text(text) => text.as_str().into(),
        SettingValue::Null => Value::Null,
    }
}

/// As Python shows it: text in single quotes.
pub fn words(value: &SettingValue) -> String {
    match value {
        SettingValue::Text(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        SettingValue::Integer(number) => number.to_string(),
        SettingValue::Real(number) => format!("{number:?}"),
        SettingValue::Null => "None".to_owned(),
    }
}

/// The value for `--num`.
pub fn number(typed: &str) -> Result<SettingValue, Failure> {
    match (typed.parse::<i64>(), typed.parse::<f64>()) {
        (Ok(whole), _) => Ok(SettingValue::Integer(whole)),
        (_, Ok(real)) if real.is_finite() => Ok(SettingValue::Real(real)),
        _ => Err(Failure::new(format!("{typed:?} is not a number"))),
    }
}
