//! An event about a run, and what is known of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use amore_model::{Proposal, Run, RunData};
use serde::{Deserialize, Serialize};

use crate::Settled;

/// The number of an arrival in the store; later ones have greater numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArrivalNo(pub i64);

/// Which data have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArrivedData {
    /// Raw data.
    Raw,
    /// Calibrated data.
    Proc,
}

impl ArrivedData {
    /// Its name: `raw` or `proc`.
    pub fn word(self) -> &'static str {
        match self {
            ArrivedData::Raw => "raw",
            ArrivedData::Proc => "proc",
        }
    }

    /// From its name.
    pub fn of_word(word: &str) -> Option<Self> {
        [ArrivedData::Raw, ArrivedData::Proc].into_iter().find(|data| data.word() == word)
    }

    /// The other kind.
    pub fn other(self) -> Self {
        match self {
            ArrivedData::Raw => ArrivedData::Proc,
            ArrivedData::Proc => ArrivedData::Raw,
        }
    }

    /// The variables that it triggers.
    pub fn run_data(self) -> RunData {
        match self {
            ArrivedData::Raw => RunData::Raw,
            ArrivedData::Proc => RunData::Proc,
        }
    }
}

/// Data of one kind of a run: what arrivals are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// Which data.
    pub data: ArrivedData,
}

impl Subject {
    /// The command with which a user has the data processed whatever was done with them before, and where it is given.
    pub fn trigger_command(&self) -> String {
        let option = match self.data {
            ArrivedData::Raw => "",
            ArrivedData::Proc => " --proc",
        };
        format!("in the database directory, amore trigger {}{option}", self.run)
    }
}

/// Data of a run have arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// Its number.
    pub number: ArrivalNo,
    /// What has arrived.
    pub subject: Subject,
    /// Whoever sent the event says that no more files follow.
    pub is_complete: bool,
    /// A user wants the data to be processed again, whether they have changed or not.
    pub is_forced: bool,
    /// Only these directories need the data, and they need them again: their tables were made anew. Empty: all directories that
    /// have not processed them.
    pub only: BTreeSet<String>,
    /// When it was received, in seconds since 1970.
    pub received: f64,
}

/// The data that were processed: a new number for each different content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// From 1.
    pub number: u32,
    /// Identifies the files.
    pub digest: String,
    /// When their folder was changed last, by the clock of its file system, in seconds since 1970. Earlier versions did not store
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<f64>,
}

/// What is known of an arrival, as the store keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The data it stands for, once they are complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// What is wrong, or why there was nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What became of the data in each directory that has processed them, for this arrival or before.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub directories: BTreeMap<String, String>,
    /// See [`Arrival::only`].
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub only: BTreeSet<String>,
}

/// What became of the data of a run that are known last.
#[derive(Clone, Debug, PartialEq)]
pub struct Last {
    /// The arrival with which that ended.
    pub arrival: ArrivalNo,
    /// When, in seconds since 1970.
    pub at: f64,
    /// How.
    pub state: Settled,
    /// The data.
    pub generation: Generation,
    /// The directories that have processed them, with what became of them there.
    pub directories: BTreeMap<String, String>,
}

impl Last {
    /// What the end of an arrival says about data; `None`: nothing.
    pub fn of(arrival: ArrivalNo, at: f64, state: Settled, facts: Facts) -> Option<Self> {
        let generation = facts.generation.filter(|_| state != Settled::Open)?;
        Some(Last { arrival, at, state, generation, directories: facts.directories })
    }

    /// Whether a directory has processed these data.
    pub fn is_processed_in(&self, directory: &Path) -> bool {
        // Earlier versions did not always say which directories there were.
        let is_everywhere = self.state == Settled::Done && self.directories.is_empty();
        is_everywhere || self.directories.contains_key(&directory.display().to_string())
    }

    /// Whether a user does not want these data to be processed.
    pub fn is_dropped(&self) -> bool {
        self.state == Settled::Dropped
    }

    fn order(&self) -> (u32, ArrivalNo) {
        (self.generation.number, self.arrival)
    }

    /// The later one of two; what both say of the same data.
    pub(crate) fn later(self, other: Self) -> Self {
        let (mut later, earlier) = if self.order() < other.order() { (other, self) } else { (self, other) };
        let is_same = later.generation.digest == earlier.generation.digest;
        if is_same && later.generation.number == earlier.generation.number {
            for (directory, words) in earlier.directories {
                later.directories.entry(directory).or_insert(words);
            }
        }
        later
    }
}

/// An arrival that an earlier life of the service has left open.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenArrival {
    /// The arrival.
    pub arrival: Arrival,
    /// What was known of it.
    pub facts: Facts,
}
