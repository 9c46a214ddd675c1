//! DAMNIT's messages about changes of a database, as version 0.4 sends them and its graphical interface reads them.

use std::collections::BTreeMap;

use amore_model::{Proposal, Run, RunData};
use serde::Serialize;

/// The topic of the database with this id (`db_id` among its settings).
pub fn topic(db_id: &str) -> String {
    format!("test.damnit.db-{db_id}")
}

/// A message. Receivers read the new state from the database, so a message may come twice or be missing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "msg_kind", content = "data", rename_all = "snake_case")]
pub enum Update {
    /// A variable is new or has changed.
    VariableSet(VariableSet),
    /// Values of a run were stored.
    RunValuesUpdated(RunValuesUpdated),
    /// A run is being processed, or will be.
    ProcessingStateSet(ProcessingStateSet),
    /// That has ended.
    ProcessingFinished {
        /// The id of [`ProcessingStateSet`].
        processing_id: String,
    },
}

/// Describes a variable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VariableSet {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// If it is computed: its tags, or null if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Option<Vec<String>>>,
    /// Always null in DAMNIT 0.4.
    pub attributes: Option<serde_json::Value>,
    /// Its type, if users edit it: `boolean`, `integer`, `number` or `string`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// Says which values of a run are new.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunValuesUpdated {
    run: Run,
    proposal: Proposal,
    /// Their names. DAMNIT sends no values, but null.
    values: BTreeMap<String, ()>,
}

impl RunValuesUpdated {
    /// These variables of a run.
    pub fn new(proposal: Proposal, run: Run, names: impl IntoIterator<Item = String>) -> Self {
        RunValuesUpdated { run, proposal, values: names.into_iter().map(|name| (name, ())).collect() }
    }
}

/// How far the processing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It waits in Slurm's queue.
    Pending,
    /// It runs.
    Running,
}

/// Says that a run is being processed. The interface shows it until [`Update::ProcessingFinished`] comes, or until Slurm
/// no longer knows the job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessingStateSet {
    /// Identifies this processing.
    pub processing_id: String,
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// Which data.
    pub data: RunData,
    /// How far it is.
    pub status: Status,
    /// The host, or nothing while it is pending.
    pub hostname: String,
    /// The user, or nothing while it is pending.
    pub username: String,
    /// The cluster of its Slurm job, if it is one.
    pub slurm_cluster: Option<String>,
    /// The id of its Slurm job, or nothing.
    pub slurm_job_id: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn json_of(update: &Update) -> serde_json::Value {
        serde_json::to_value(update).unwrap()
    }

    #[test]
    fn messages_have_damnits_form() {
        let set = Update::VariableSet(VariableSet {
            name: "n".to_owned(),
            title: Some("N".to_owned()),
            description: None,
            tags: None,
            attributes: None,
            kind: Some("number".to_owned()),
        });
        assert_eq!(
            json_of(&set),
            json!({"msg_kind": "variable_set", "data":
                {"name": "n", "title": "N", "description": null, "attributes": null, "type": "number"}})
        );
        let values = RunValuesUpdated::new(Proposal(1234), Run(7), ["b", "a"].map(str::to_owned));
        assert_eq!(
            json_of(&Update::RunValuesUpdated(values)),
            json!({"msg_kind": "run_values_updated", "data":
                {"run": 7, "proposal": 1234, "values": {"a": null, "b": null}}})
        );
        let state = ProcessingStateSet {
            processing_id: "id".to_owned(),
            proposal: Proposal(1234),
            run: Run(7),
            data: RunData::Raw,
            status: Status::Running,
            hostname: "h".to_owned(),
            username: "u".to_owned(),
            slurm_cluster: None,
            slurm_job_id: String::new(),
        };
        assert_eq!(
            json_of(&Update::ProcessingStateSet(state)),
            json!({"msg_kind": "processing_state_set", "data":
                {"processing_id": "id", "proposal": 1234, "run": 7, "data": "raw", "status": "RUNNING",
                 "hostname": "h", "username": "u", "slurm_cluster": null, "slurm_job_id": ""}})
        );
        assert_eq!(
            json_of(&Update::ProcessingFinished { processing_id: "id".to_owned() }),
            json!({"msg_kind": "processing_finished", "data": {"processing_id": "id"}})
        );
        assert_eq!(topic("abc"), "test.damnit.db-abc");
    }
}
