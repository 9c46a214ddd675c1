//! What users may do to events in the inbox of a service: try them again, or drop them.

use amore_ledger::{ArrivalFilter, ArrivalRow, ArrivalState};
use amore_model::{Proposal, Run};
use serde::{Deserialize, Serialize};

use super::inbox::subject_of;

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// Try it again now.
    Retry,
    /// Do nothing more about it.
    Drop,
}

/// Which events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chosen {
    /// Those with these numbers.
    Numbers(Vec<i64>),
    /// All that have failed, of a proposal, run or source if they are given.
    Failed {
        #[serde(default)]
        proposal: Option<Proposal>,
        #[serde(default)]
        run: Option<Run>,
        #[serde(default)]
        source: Option<String>,
    },
}

impl Chosen {
    /// The numbers that are given.
    pub fn numbers(&self) -> &[i64] {
        match self {
            Chosen::Numbers(numbers) => numbers,
            Chosen::Failed { .. } => &[],
        }
    }

    /// The filter for those that have failed; `None` if events are given by their numbers.
    pub fn filter(&self) -> Option<ArrivalFilter> {
        match self {
            Chosen::Numbers(_) => None,
            Chosen::Failed { proposal, run, source } => Some(ArrivalFilter {
                states: [ArrivalState::Failed].into(),
                proposal: *proposal,
                run: *run,
                source: source.clone(),
                before: None,
            }),
        }
    }
}

/// What a user wants to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserAct {
    /// What.
    pub act: Act,
    /// With which events.
    pub chosen: Chosen,
}

/// What was done with one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The event.
    pub number: i64,
    /// Why nothing was done with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Why this cannot be done with an event; `None`: it can.
pub fn refusal(act: Act, event: &ArrivalRow) -> Option<String> {
    let subject = subject_of(&event.arrival);
    let again = || match &subject {
        Some(subject) => format!("; to process the run again: {}", subject.trigger_command()),
        None => String::new(),
    };
    match (act, event.arrival.state) {
        (Act::Retry, ArrivalState::Open | ArrivalState::Failed) if subject.is_none() => {
            Some("it cannot be understood: trying it again does not help".to_owned())
        }
        (Act::Retry | Act::Drop, ArrivalState::Open | ArrivalState::Failed) => None,
        // Who asks twice wants the same.
        (Act::Drop, ArrivalState::Dropped) => None,
        (Act::Retry, ArrivalState::Dropped) => Some(format!("it was dropped{}", again())),
        (Act::Retry | Act::Drop, ArrivalState::Done) => Some(format!("it was processed{}", again())),
    }
}

#[cfg(test)]
mod tests {
    use amore_ledger::NewArrival;

    use super::*;

    fn event(state: ArrivalState, run: Option<u32>) -> ArrivalRow {
        of_data(state, run, "raw")
    }

    fn of_data(state: ArrivalState, run: Option<u32>, data: &str) -> ArrivalRow {
        let arrival = NewArrival {
            source: "kafka".to_owned(),
            source_id: None,
            proposal: run.map(|_| Proposal(1234)),
            run: run.map(Run),
            data: run.map(|_| data.to_owned()),
            complete: true,
            forced: false,
            received: 0.0,
            payload: String::new(),
            state,
            detail: serde_json::Value::Null,
        };
        ArrivalRow { id: 1, arrival, changed: 0.0 }
    }

    #[test]
    fn what_has_ended_stays_so_and_what_is_not_understood_is_not_tried_again() {
        use ArrivalState::{Done, Dropped, Failed, Open};
        let is_done = |act, state, run| refusal(act, &event(state, run)).is_none();
        assert!([Open, Failed].iter().all(|state| is_done(Act::Retry, *state, Some(7))));
        assert!([Open, Failed, Dropped].iter().all(|state| is_done(Act::Drop, *state, Some(7))));
        assert!(!is_done(Act::Retry, Dropped, Some(7)) && !is_done(Act::Drop, Done, Some(7)));
        assert!(!is_done(Act::Retry, Failed, None) && is_done(Act::Drop, Failed, None));
        let refused = refusal(Act::Retry, &event(Done, Some(7))).unwrap();
        let words = "it was processed; to process the run again: in the database directory, amore trigger 7";
        assert_eq!(refused, words);
        let refused = refusal(Act::Drop, &of_data(Done, Some(7), "proc")).unwrap();
        assert_eq!(refused, format!("{words} --proc"));
        let refused = refusal(Act::Retry, &of_data(Dropped, Some(7), "proc")).unwrap();
        assert!(refused.ends_with("in the database directory, amore trigger 7 --proc"), "{refused}");
    }
}
