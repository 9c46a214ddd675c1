//! What happens in a service, in the form in which others read it.

use std::path::{Path, PathBuf};

use amore_core::activity::Activity;
use amore_intake::ArrivedData;
use amore_model::{Proposal, Run};
use serde::{Deserialize, Serialize};

use super::event_stream::EventId;

/// One event of the stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Happening {
    pub id: EventId,
    /// Seconds since 1970.
    pub time: f64,
    /// The directory that it is about, if it is about one.
    pub directory: Option<PathBuf>,
    /// The proposal of the directory, or of the run that was reported.
    pub proposal: Option<Proposal>,
    #[serde(flatten)]
    pub what: What,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum What {
    /// In a directory.
    Activity(Activity),
    /// In the service.
    Service(ServiceEvent),
}

/// What happens outside of the cores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum ServiceEvent {
    /// A source has reported data of a run, and the report is stored. The same data may be reported several times.
    RunSeen {
        proposal: Proposal,
        run: Run,
        /// Raw data, or calibrated data.
        data: ArrivedData,
        /// `kafka`, `http`, `command`, `folders`.
        source: String,
        /// The number of the report in the inbox.
        arrival: i64,
    },
    /// Nothing more is done about a report: its data were processed (perhaps there was nothing to compute), that failed for good,
    /// or somebody has dropped it.
    EventSettled {
        proposal: Proposal,
        run: Run,
        /// Raw data, or calibrated data.
        data: ArrivedData,
        /// The number of the report in the inbox.
        arrival: i64,
        /// `done`, `failed`, `dropped`.
        state: String,
        /// What was done, or why not.
        why: Option<String>,
    },
    /// A source has reported something that is not understood. It is in the inbox's list.
    NotUnderstood { source: String, why: String },
    /// Somebody has entered or removed a value by HTTP.
    UserValueChanged {
        proposal: Proposal,
        run: Run,
        /// The variable; `comment`: the comment on the run.
        name: String,
    },
    /// Somebody has added or removed a variable that users edit, by HTTP.
    UserVariablesChanged { proposal: Proposal, name: String },
    /// A directory is served in another way.
    DirectoryChanged {
        #[serde(flatten)]
        state: DirectoryState,
    },
}

/// How a directory is served. While another process serves it, its values are not in this stream: whoever shows them reads the
/// table again when this service has it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DirectoryState {
    /// By this service.
    Serving,
    /// By another process, which gets the requests.
    Elsewhere { by: String },
    /// It cannot be served now, and is tried again.
    Failing { why: String },
    /// Not any more.
    Stopped,
}

impl Happening {
    pub fn new(id: EventId, time: f64, of: Option<(&Path, Proposal)>, what: What) -> Self {
        let proposal = of.map(|(_, proposal)| proposal).or_else(|| what.of_run());
        Happening { id, time, directory: of.map(|(dir, _)| dir.to_owned()), proposal, what }
    }

    /// Its word, as in its JSON.
    pub fn name(&self) -> &'static str {
        match &self.what {
            What::Activity(activity) => activity.name(),
            What::Service(ServiceEvent::RunSeen { .. }) => "run_seen",
            What::Service(ServiceEvent::EventSettled { .. }) => "event_settled",
            What::Service(ServiceEvent::NotUnderstood { .. }) => "not_understood",
            What::Service(ServiceEvent::UserValueChanged { .. }) => "user_value_changed",
            What::Service(ServiceEvent::UserVariablesChanged { .. }) => "user_variables_changed",
            What::Service(ServiceEvent::DirectoryChanged { .. }) => "directory_changed",
        }
    }
}

impl What {
    /// The proposal of an event that is about no directory.
    fn of_run(&self) -> Option<Proposal> {
        match self {
            What::Service(
                ServiceEvent::RunSeen { proposal, .. } | ServiceEvent::EventSettled { proposal, .. },
            ) => Some(*proposal),
            _ => None,
        }
    }

    /// Says who executes a task where only the service knows that: it submits the jobs, and runs the worker here.
    pub fn complete(&mut self, host: &str, user: &str) {
        if let What::Activity(Activity::TaskStarted { at, .. }) = self {
            if at.job.is_none() {
                at.host.get_or_insert_with(|| host.to_owned());
            }
            at.user.get_or_insert_with(|| user.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use amore_core::activity::{ExecutedAt, StoredCell, TaskFacts};
    use amore_model::RunData;
    use serde_json::{Value, json};

    use super::*;

    fn happening(what: What) -> Happening {
        let id = "ab12-7".parse().unwrap();
        Happening::new(id, 1.5, Some((Path::new("/db"), Proposal(1234))), what)
    }

    fn written(what: What) -> Value {
        let happening = happening(what);
        let json = serde_json::to_value(&happening).unwrap();
        assert_eq!(json["event"], happening.name());
        let back: Happening = serde_json::from_value(json.clone()).unwrap();
        assert_eq!((back.what, back.id), (happening.what, happening.id));
        json
    }

    #[test]
    fn events_are_written_with_their_name_and_data_and_read_back() {
        let (proposal, run) = (Proposal(1234), Run(42));
        let values = vec![StoredCell::empty("a")];
        let json = written(What::Activity(Activity::ValuesStored { proposal, run, values }));
        let expected = json!({
            "id": "ab12-7", "time": 1.5, "directory": "/db", "proposal": 1234, "event": "values_stored",
            "data": {"proposal": 1234, "run": 42, "values": [{"name": "a", "content": "empty"}]},
        });
        assert_eq!(json, expected);
        let source = "kafka".to_owned();
        let seen = ServiceEvent::RunSeen { proposal, run, data: ArrivedData::Proc, source, arrival: 3 };
        assert_eq!(written(What::Service(seen))["data"]["data"], "proc");
        let (data, state) = (ArrivedData::Raw, "done".to_owned());
        let settled = ServiceEvent::EventSettled { proposal, run, data, arrival: 3, state, why: None };
        let expected =
            json!({"proposal": 1234, "run": 42, "data": "raw", "arrival": 3, "state": "done", "why": null});
        assert_eq!(written(What::Service(settled))["data"], expected);
        let entered = ServiceEvent::UserValueChanged { proposal, run, name: "comment".to_owned() };
        assert_eq!(
            written(What::Service(entered))["data"],
            json!({"proposal": 1234, "run": 42, "name": "comment"})
        );
        let state = DirectoryState::Elsewhere { by: "bob".to_owned() };
        let json = written(What::Service(ServiceEvent::DirectoryChanged { state }));
        assert_eq!(json["data"], json!({"state": "elsewhere", "by": "bob"}));
    }

    #[test]
    fn a_task_that_starts_says_who_executes_it() {
        let task = TaskFacts {
            task: "t".to_owned(),
            request: 1,
            proposal: Proposal(1234),
            run: Run(42),
            data: RunData::All,
            variables: vec!["a".to_owned()],
            in_job: false,
        };
        let mut what = What::Activity(Activity::TaskStarted { task, at: ExecutedAt::default() });
        what.complete("here", "xdamnit");
        let data = &written(what)["data"];
        assert_eq!(
            (&data["host"], &data["user"], &data["job"]),
            (&json!("here"), &json!("xdamnit"), &Value::Null)
        );
        assert_eq!(data["data"], "all");
    }
}
