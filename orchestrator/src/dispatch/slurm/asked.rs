//! Slurm settings, from a database and the site's file.

use std::collections::BTreeMap;

use amore_run_table::SettingValue;
pub use amore_slurm::{
    amounts::{memory_bytes, minutes},
    settings::{DEFAULT_TIME_MINUTES as TIME_MINUTES, SlurmSettings},
};
use amore_slurm::{
    settings::{Kind, Setting},
    sourced::{InvalidSetting, Resolved},
};

/// Numbers below this are exact.
const EXACT: f64 = 9.0e15;

fn text(value: &SettingValue) -> Option<String> {
    match value {
        SettingValue::Text(text) => Some(text.clone()),
        SettingValue::Integer(number) => Some(number.to_string()),
        // JSON and SQLite may write a whole number as 30.0.
        SettingValue::Real(number) if number.fract() == 0.0 && number.abs() < EXACT => {
            Some(format!("{number:.0}"))
        }
        SettingValue::Real(number) => Some(format!("{number:?}")),
        SettingValue::Null => None,
    }
}

/// The Slurm settings of a database.
///
/// # Errors
/// A setting has an invalid value.
pub fn of_database(settings: &BTreeMap<String, SettingValue>) -> Result<Resolved, InvalidSetting> {
    let texts = settings.iter().filter_map(|(key, value)| Some((key.as_str(), text(value)?)));
    Resolved::of_database(texts)
}

/// Checks the value of a Slurm setting.
///
/// # Errors
/// The value is invalid; the error says what it must be.
pub fn check(setting: Setting, value: &SettingValue) -> Result<(), InvalidSetting> {
    let Some(text) = text(value) else { return Ok(()) };
    // Elsewhere an empty value means that nothing is set. An empty name is a mistake.
    if setting.kind != Kind::Name && text.trim().is_empty() {
        return Ok(());
    }
    setting.kind.read(&text).map_err(|unfit| InvalidSetting {
        key: setting.key,
        problem: unfit.to_string(),
        hint: setting.hint(),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use amore_run_table::KNOWN_SETTINGS;
    use amore_slurm::settings::ALL;

    use super::*;

    #[test]
    fn each_setting_of_slurms_can_be_set() {
        for setting in ALL {
            assert!(KNOWN_SETTINGS.iter().any(|known| known.key == setting.key), "{}", setting.key);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_do() {
        let check = |key: &str, value: &str| {
            let setting = Setting::of_key(key).unwrap();
            check(setting, &SettingValue::Text(value.to_owned()))
                .map_err(|error| (error.to_string(), error.hint))
        };
        assert_eq!(
            check("slurm_time", "soon").unwrap_err(),
            (
                "slurm_time must be a time in Slurm's notation, like 2:00:00, not \"soon\"".to_owned(),
                "amore-proto db-config slurm_time 2:00:00".to_owned()
            )
        );
        assert!(check("slurm_partition", "").is_err() && check("slurm_partition", "a b").is_err());
        assert!(check("slurm_partition", "upex").is_ok() && check("slurm_time", "").is_ok());
    }
}
