//! What is asked for, by whom, and in which form it is written.

use std::collections::BTreeSet;

use amore_model::{JobId, Proposal, Run, RunData, Urgency};
use amore_plan::Selection;
use serde::{Deserialize, Serialize};

use crate::{
    events::Event,
    refusal::{Refusal, RefusalKind},
};

/// Which runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runs {
    /// All that the database knows.
    All,
    /// These.
    These(BTreeSet<Run>),
}

/// What made somebody other than a user ask: data of a run have arrived.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Trigger {
    /// Identifies the arrival. A request with the same one asks for the same work.
    pub id: String,
    /// What has arrived: raw data, or calibrated data.
    pub data: RunData,
    /// How urgent it is.
    pub urgency: Urgency,
}

/// Variables of runs to compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compute {
    /// Which runs.
    pub runs: Runs,
    /// Of another proposal than the database's own.
    pub proposal: Option<Proposal>,
    /// `--match`.
    pub matches: Vec<String>,
    /// `--var`.
    pub names: Vec<String>,
    /// `--mock`.
    pub mock: bool,
    /// Set if data have arrived; `None` if a user asks.
    pub trigger: Option<Trigger>,
}

/// What the owner of a directory is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RequestForm", into = "RequestForm")]
pub enum Request {
    /// Compute variables of runs.
    Compute(Compute),
    /// Cancel the unfinished tasks of the run with this number, or the Slurm job.
    Cancel(JobId),
}

/// A request as it is written in request files and in the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RequestForm {
    runs: Runs,
    proposal: Option<Proposal>,
    matches: Vec<String>,
    names: Vec<String>,
    mock: bool,
    #[serde(default)]
    cancel: Option<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trigger: Option<Trigger>,
}

impl From<RequestForm> for Request {
    fn from(form: RequestForm) -> Self {
        let RequestForm { runs, proposal, matches, names, mock, cancel, trigger } = form;
        match cancel {
            Some(job) => Request::Cancel(job),
            None => Request::Compute(Compute { runs, proposal, matches, names, mock, trigger }),
        }
    }
}

impl From<Request> for RequestForm {
    fn from(request: Request) -> Self {
        match request {
            Request::Compute(Compute { runs, proposal, matches, names, mock, trigger }) => {
                RequestForm { runs, proposal, matches, names, mock, cancel: None, trigger }
            }
            Request::Cancel(job) => RequestForm {
                runs: Runs::These(BTreeSet::new()),
                proposal: None,
                matches: Vec::new(),
                names: Vec::new(),
                mock: false,
                cancel: Some(job),
                trigger: None,
            },
        }
    }
}

/// A request for more runs than these is a bulk request: nobody waits for any single one of them.
const BULK_RUNS: usize = 50;

impl Compute {
    /// Data of a run have arrived: what they allow to compute.
    pub fn arrived(proposal: Proposal, run: Run, trigger: Trigger) -> Self {
        Compute {
            runs: Runs::These([run].into()),
            proposal: Some(proposal),
            matches: Vec::new(),
            names: Vec::new(),
            mock: false,
            trigger: Some(trigger),
        }
    }

    /// How urgent it is, with so many runs.
    pub fn urgency(&self, runs: usize) -> Urgency {
        if let Some(trigger) = &self.trigger {
            return trigger.urgency;
        }
        if self.runs == Runs::All || runs > BULK_RUNS { Urgency::Bulk } else { Urgency::Asked }
    }

    /// Is this run requested? A request for all runs may include it.
    pub fn names_run(&self, run: Run) -> bool {
        match &self.runs {
            Runs::All => true,
            Runs::These(runs) => runs.contains(&run),
        }
    }

    /// The variables that are wanted.
    pub fn selection(&self) -> Selection {
        Selection {
            run_data: self.trigger.as_ref().map_or(RunData::All, |trigger| trigger.data),
            cluster: None,
            matches: self.matches.clone(),
            names: self.names.clone(),
        }
    }

    /// Are only some variables asked for?
    pub fn selects(&self) -> bool {
        !self.matches.is_empty() || !self.names.is_empty()
    }
}

/// A planned request of this core. Numbers are not given twice, and later requests have greater ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNo(pub u64);

/// Who gets the events of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    /// The command that runs this core.
    Here,
    /// Another process; the driver knows which.
    Elsewhere(u64),
    /// Nobody: the process that made the request is gone.
    Nobody,
}

/// The event for a listener whose request is not served.
pub fn refused(refusal: Refusal) -> Event {
    let exit = match refusal.kind {
        RefusalKind::Failed => 1,
        RefusalKind::ContextFile => 4,
        RefusalKind::Interrupted => 130,
    };
    Event::Refused { message: refusal.message, hint: refusal.hint, exit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_as_the_version_before_wrote_them() {
        let compute = Request::Compute(Compute {
            runs: Runs::These([Run(1), Run(2)].into()),
            proposal: None,
            matches: vec!["a".to_owned()],
            names: Vec::new(),
            mock: true,
            trigger: None,
        });
        let text = serde_json::to_string(&compute).unwrap();
        assert_eq!(
            text,
            r#"{"runs":{"these":[1,2]},"proposal":null,"matches":["a"],"names":[],"mock":true,"cancel":null}"#
        );
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), compute);
        let cancel = Request::Cancel(JobId::on(None, 42));
        let text = serde_json::to_string(&cancel).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), cancel);
    }
}
