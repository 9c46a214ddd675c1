//! What the metadata catalogue knows of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A field that an argument can ask for: `mymdc#sample_name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MymdcField {
    /// The name of the run's sample.
    SampleName,
    /// The name of the run's experiment type.
    RunType,
    /// A list of the techniques used, each with identifier and name.
    Techniques,
}

impl MymdcField {
    /// All of them.
    pub const ALL: [MymdcField; 3] = [MymdcField::SampleName, MymdcField::RunType, MymdcField::Techniques];

    /// The word after `mymdc#`.
    pub fn as_str(self) -> &'static str {
        match self {
            MymdcField::SampleName => "sample_name",
            MymdcField::RunType => "run_type",
            MymdcField::Techniques => "techniques",
        }
    }

    /// The field with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        MymdcField::ALL.into_iter().find(|field| field.as_str() == name)
    }
}

impl fmt::Display for MymdcField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_the_same_name_in_annotations_and_in_messages() {
        for field in MymdcField::ALL {
            assert_eq!(MymdcField::from_name(field.as_str()), Some(field));
            assert_eq!(serde_json::to_value(field).unwrap(), field.as_str());
        }
        assert_eq!(MymdcField::from_name("sample"), None);
    }
}
