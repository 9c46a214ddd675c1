//! What the session knows of its jobs.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use amore_model::JobId;

use super::{after_job::JobEnd, after_refusal::Refusals};
use crate::dispatch::slurm::{answers::Seen, lane::Lane, order::LaneEvent, slurm};

/// How long a command waits before it is looked again whether another request still executes it.
const SOON: Duration = Duration::from_secs(1);
/// How often the settings are looked at while there are jobs.
const SETTINGS_POLL: Duration = Duration::from_secs(3);

/// The jobs that Slurm has, or is to get, and the way to it.
#[derive(Debug, Default)]
pub struct Jobs {
    /// The way to Slurm, once the first job needs it.
    lane: Option<Lane>,
    /// The task of each attempt that is under way.
    pub(super) by_token: HashMap<String, usize>,
    /// How each job stands.
    pub(super) seen: HashMap<String, Seen>,
    /// Tasks that are tried again at a time.
    pub(super) later: Vec<(Instant, usize)>,
    /// Tasks whose jobs Slurm has not taken: since when, and how often.
    pub(super) refusals: HashMap<usize, (Instant, Refusals)>,
    /// Jobs that are over; their tasks are judged when everything of the run is collected.
    pub(super) over: Vec<(usize, JobEnd, Option<JobId>)>,
    /// Distinguishes the tokens of one process.
    counter: u32,
    /// What was last told of them: how many, how many wait, and why.
    pub(super) shown: (usize, usize, Option<String>),
    /// When the settings are looked at again.
    settings_at: Option<Instant>,
}

impl Jobs {
    /// The next thing that Slurm or a worker in a job says; never, while there are no jobs.
    pub async fn next(&mut self) -> Option<LaneEvent> {
        match &mut self.lane {
            Some(lane) => lane.next().await,
            None => std::future::pending().await,
        }
    }

    /// Lets submissions under way come to an end. Jobs go on.
    pub async fn stop(self) {
        if let Some(lane) = self.lane {
            lane.stop().await;
        }
    }

    /// Jobs that Slurm has, or is about to have.
    pub fn under_way(&self) -> usize {
        self.by_token.len()
    }

    /// Is it time to look at the settings?
    pub fn settings_are_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.lane.is_some() && self.settings_at.is_none_or(|at| at <= now);
        if due {
            self.settings_at = Some(now + SETTINGS_POLL);
        }
        due
    }

    /// Tries a task again in a while.
    pub fn try_later(&mut self, position: usize) {
        self.later.push((Instant::now() + SOON, position));
    }

    pub(super) fn lane(&mut self) -> &Lane {
        self.lane.get_or_insert_with(|| Lane::start(slurm().clone()))
    }

    pub(super) fn token(&mut self) -> String {
        self.counter += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("{:x}-{:x}-{:x}", now.as_micros(), std::process::id(), self.counter)
    }
}
