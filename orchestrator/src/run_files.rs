//! What a run file records about how its values were computed, for explanations.
//!
//! A file that cannot be read is ignored here; `amore verify` reports it.

use std::{collections::BTreeMap, path::Path};

/// How the values in a run's file were computed.
#[derive(Debug, Default)]
pub struct Computed(BTreeMap<String, HowComputed>);

#[derive(Debug, Default)]
struct HowComputed {
    /// When its computation started, in seconds since 1970. Values stored by other programs have no time.
    started_at: Option<f64>,
    /// Why the stored value differs from what the function returned.
    differs: Option<String>,
}

impl Computed {
    /// Reads a run file.
    pub fn read(file: &Path) -> Self {
        let rows = amore_results::read_reduced(file).map(|reduced| reduced.rows).unwrap_or_default();
        let how = |row: amore_results::ReducedRow| {
            let how = row.provenance.map(|provenance| HowComputed {
                started_at: Some(provenance.started_at),
                differs: provenance.differs,
            });
            (row.name, how.unwrap_or_default())
        };
        Computed(rows.into_iter().map(how).collect())
    }

    /// Whether a value is stored that is older than this time, in seconds since 1970.
    pub fn is_older(&self, name: &str, than: f64) -> bool {
        self.0.get(name).is_some_and(|how| how.started_at.is_none_or(|started_at| started_at < than))
    }

    /// Why dependents in other processes compute a value again instead of reading it, if they do.
    pub fn differs(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.differs.as_deref()
    }
}
