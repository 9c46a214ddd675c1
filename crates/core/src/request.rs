//! What is asked for, and the requests that are under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amore_model::{JobId, Proposal, Run, RunData, Urgency};
use amore_plan::Selection;
use serde::{Deserialize, Serialize};

use crate::{
    events::{Event, Summary},
    refusal::Refusal,
    task::{Common, TaskNo},
    tasks::RunKey,
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
}

/// What somebody asks the owner of a directory to do.
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
}

impl From<RequestForm> for Request {
    fn from(form: RequestForm) -> Self {
        let RequestForm { runs, proposal, matches, names, mock, cancel } = form;
        match cancel {
            Some(job) => Request::Cancel(job),
            None => Request::Compute(Compute { runs, proposal, matches, names, mock }),
        }
    }
}

impl From<Request> for RequestForm {
    fn from(request: Request) -> Self {
        match request {
            Request::Compute(Compute { runs, proposal, matches, names, mock }) => {
                RequestForm { runs, proposal, matches, names, mock, cancel: None }
            }
            Request::Cancel(job) => RequestForm {
                runs: Runs::These(BTreeSet::new()),
                proposal: None,
                matches: Vec::new(),
                names: Vec::new(),
                mock: false,
                cancel: Some(job),
            },
        }
    }
}

/// A request for more runs than these is a bulk request: nobody waits for any single one of them.
const BULK_RUNS: usize = 50;

impl Compute {
    /// How urgent it is, with so many runs.
    pub fn urgency(&self, runs: usize) -> Urgency {
        if self.runs == Runs::All || runs > BULK_RUNS { Urgency::Bulk } else { Urgency::Asked }
    }

    /// Is this one of the runs that are asked for? A request for all runs may mean it.
    pub fn names_run(&self, run: Run) -> bool {
        match &self.runs {
            Runs::All => true,
            Runs::These(runs) => runs.contains(&run),
        }
    }

    /// The variables that are wanted.
    pub fn selection(&self) -> Selection {
        Selection {
            run_data: RunData::All,
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

/// A request of this core. Numbers are not given twice, and later requests have greater ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNo(pub u64);

/// Who is told what becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    /// The command that runs this core.
    Here,
    /// Another process; the driver knows which.
    Elsewhere(u64),
    /// Nobody: the process that asked is gone.
    Nobody,
}

/// A request that is planned.
#[derive(Debug)]
pub struct RequestRecord {
    /// Who is told.
    pub listener: Listener,
    /// Its id in the ledger, if it stands there and is open.
    pub recorded: Option<String>,
    /// Of an earlier owner: nobody waits for it here.
    pub adopted: bool,
    /// Which of its tasks go before those of others.
    pub urgency: Urgency,
    /// What its tasks have in common; `None` for a request to cancel, which has no tasks.
    pub common: Option<Common>,
    /// What became of it so far.
    pub summary: Summary,
    /// When it was planned, on the steady clock.
    pub since: Duration,
    /// Runs that are not finished.
    pub open: BTreeMap<RunKey, OpenRun>,
    /// All of its tasks.
    pub tasks: Vec<TaskNo>,
    /// What the user was told about its runs: the parts of one run have the same to say.
    pub told: BTreeSet<String>,
    /// Nothing more comes of it.
    pub finished: bool,
    /// Some of its runs were stopped before their end.
    pub cut_short: bool,
}

/// A run of a request that is not finished.
#[derive(Debug, Default)]
pub struct OpenRun {
    /// Tasks that have not ended.
    pub tasks: usize,
    /// Its first variable is being computed.
    pub started: bool,
    /// Why it cannot be processed.
    pub problem: Option<String>,
}

impl RequestRecord {
    /// Without tasks yet.
    pub fn new(listener: Listener, urgency: Urgency, common: Option<Common>, since: Duration) -> Self {
        RequestRecord {
            listener,
            recorded: None,
            adopted: false,
            urgency,
            common,
            summary: Summary::default(),
            since,
            open: BTreeMap::new(),
            tasks: Vec::new(),
            told: BTreeSet::new(),
            finished: false,
            cut_short: false,
        }
    }
}

/// The requests that are planned.
#[derive(Debug, Default)]
pub struct Requests {
    records: BTreeMap<RequestNo, RequestRecord>,
    next: u64,
}

impl Requests {
    /// The number that the next request gets.
    pub fn next_number(&self) -> RequestNo {
        RequestNo(self.next)
    }

    /// Adds a request, which gets the next number.
    pub fn add(&mut self, request: RequestRecord) -> RequestNo {
        let number = RequestNo(self.next);
        self.next += 1;
        self.records.insert(number, request);
        number
    }

    /// A request, unless it is forgotten.
    pub fn get(&self, number: RequestNo) -> Option<&RequestRecord> {
        self.records.get(&number)
    }

    /// A request, to change it.
    pub fn get_mut(&mut self, number: RequestNo) -> Option<&mut RequestRecord> {
        self.records.get_mut(&number)
    }

    /// All of them, earliest first.
    pub fn iter(&self) -> impl Iterator<Item = (RequestNo, &RequestRecord)> {
        self.records.iter().map(|(number, request)| (*number, request))
    }

    /// All of them, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (RequestNo, &mut RequestRecord)> {
        self.records.iter_mut().map(|(number, request)| (*number, request))
    }

    /// Forgets a request.
    pub fn forget(&mut self, number: RequestNo) -> Option<RequestRecord> {
        self.records.remove(&number)
    }
}

/// The answer to somebody whose request is not served.
pub fn refused(refusal: Refusal) -> Event {
    let exit = match refusal.kind {
        crate::refusal::RefusalKind::Failed => 1,
        crate::refusal::RefusalKind::ContextFile => 4,
        crate::refusal::RefusalKind::Interrupted => 130,
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
