use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Severity;

/// A message to the user while work continues.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Notice {
    /// How serious it is.
    pub severity: Severity,
    /// A sentence that does not mention its severity. Further lines start with two spaces and their kind: `  hint: …`.
    pub message: String,
}

impl Notice {
    /// Reports progress.
    pub fn info(message: impl Into<String>) -> Self {
        Notice { severity: Severity::Info, message: message.into() }
    }

    /// An explanation.
    pub fn note(message: impl Into<String>) -> Self {
        Notice { severity: Severity::Note, message: message.into() }
    }

    /// Something may not be as intended.
    pub fn warning(message: impl Into<String>) -> Self {
        Notice { severity: Severity::Warning, message: message.into() }
    }

    /// Something was not done.
    pub fn error(message: impl Into<String>) -> Self {
        Notice { severity: Severity::Error, message: message.into() }
    }
}

/// The form for display: `warning: …`.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.severity.prefix(), self.message)
    }
}

/// The serialized form. In the first version, the severity was part of the message.
#[derive(Deserialize)]
struct Written {
    severity: Option<Severity>,
    message: String,
}

impl From<Written> for Notice {
    fn from(Written { severity, message }: Written) -> Self {
        if let Some(severity) = severity {
            return Notice { severity, message };
        }
        [Severity::Error, Severity::Warning, Severity::Note]
            .into_iter()
            .find_map(|severity| {
                let message = message.strip_prefix(severity.prefix())?.to_owned();
                Some(Notice { severity, message })
            })
            .unwrap_or_else(|| Notice::info(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_written_with_its_severity_and_read_as_it_was() {
        let all = [Notice::info("a"), Notice::note("b"), Notice::warning("c"), Notice::error("note: d")];
        let written = all.each_ref().map(|notice| serde_json::to_string(notice).unwrap());
        assert_eq!(
            written,
            [
                r#"{"severity":"info","message":"a"}"#,
                r#"{"severity":"note","message":"b"}"#,
                r#"{"severity":"warning","message":"c"}"#,
                r#"{"severity":"error","message":"note: d"}"#,
            ]
        );
        assert_eq!(written.map(|text| serde_json::from_str::<Notice>(&text).unwrap()), all);
        assert_eq!(all.map(|notice| notice.to_string()), ["a", "note: b", "warning: c", "error: note: d"]);
    }

    #[test]
    fn a_severity_in_the_message_is_understood() {
        let read = |message: &str| {
            serde_json::from_value::<Notice>(serde_json::json!({ "message": message })).unwrap()
        };
        assert_eq!(read("note: a\n  hint: b"), Notice::note("a\n  hint: b"));
        assert_eq!(read("warning: a"), Notice::warning("a"));
        assert_eq!(read("error: a"), Notice::error("a"));
        assert_eq!(read("Slurm answers again"), Notice::info("Slurm answers again"));
    }
}
