//! Cancels a job until Slurm shows that it has ended. Pure: time is an argument.

use std::time::{Duration, Instant};

use crate::submission::Cancelled;

/// Pause between two attempts to cancel a job.
const AGAIN: Duration = Duration::from_secs(3);
/// After how long without an end the user is notified, each time.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for the worker's last messages once the job is over, so that its results are collected.
const LAST_MESSAGES: Duration = Duration::from_millis(1500);

/// A job that is being cancelled.
#[derive(Debug)]
pub struct Cancelling {
    next: Instant,
    asking: bool,
    notified_at: Instant,
    words: String,
    over: Option<Instant>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Cancel the job, or check whether it has ended.
    Cancel,
    /// Tell the user why the job has not ended yet.
    Notify(String),
    /// It has ended.
    Over,
    /// Nothing.
    Wait,
}

impl Cancelling {
    /// Starts to cancel a job.
    pub fn new(now: Instant) -> Self {
        Cancelling {
            next: now,
            asking: false,
            notified_at: now,
            words: "its job ID is not known yet".to_owned(),
            over: None,
        }
    }

    /// Returns what to do next. `known`: the job's ID is known. `last_messages`: no more messages of its worker are expected.
    pub fn step(&mut self, known: bool, last_messages: bool, now: Instant) -> Step {
        if let Some(over) = self.over {
            return if last_messages || now.duration_since(over) > LAST_MESSAGES {
                Step::Over
            } else {
                Step::Wait
            };
        }
        if now.duration_since(self.notified_at) > PATIENCE {
            self.notified_at = now;
            return Step::Notify(self.words.clone());
        }
        if known && !self.asking && now >= self.next {
            self.asking = true;
            return Step::Cancel;
        }
        Step::Wait
    }

    /// Takes the result of an attempt to cancel the job.
    pub fn on_answer(&mut self, answer: Cancelled, now: Instant) {
        self.asking = false;
        self.next = now + AGAIN;
        match answer {
            Cancelled::Over => self.over = Some(now),
            Cancelled::NotYet { state } => {
                self.words = format!("Slurm accepted the request, but still shows the job as {state}")
            }
            Cancelled::Failed { words } => self.words = words,
        }
    }

    /// Its worker or Slurm reports that the job is over.
    pub fn on_over(&mut self, now: Instant) {
        self.over.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_job_is_cancelled_as_soon_as_its_number_is_known() {
        let t = Instant::now();
        let mut job = Cancelling::new(t);
        assert_eq!(job.step(false, false, t + s(9)), Step::Wait);
        assert_eq!(job.step(true, false, t + s(10)), Step::Cancel);
        assert_eq!(job.step(true, false, t + s(10)), Step::Wait, "a request is under way");
        job.on_answer(Cancelled::Over, t + s(11));
        assert_eq!(job.step(true, false, t + s(11)), Step::Wait, "its worker may say more");
        assert_eq!(job.step(true, true, t + s(11)), Step::Over);
        assert_eq!(job.step(true, false, t + s(13)), Step::Over);
    }

    #[test]
    fn what_slurm_does_not_end_is_told_and_tried_again() {
        let t = Instant::now();
        let mut job = Cancelling::new(t);
        let mut asked = 0;
        let mut told = Vec::new();
        for at in 0..100 {
            match job.step(true, false, t + s(at)) {
                Step::Cancel => {
                    asked += 1;
                    let state = "RUNNING".to_owned();
                    job.on_answer(Cancelled::NotYet { state }, t + s(at));
                }
                Step::Notify(words) => told.push(words),
                Step::Over | Step::Wait => {}
            }
        }
        assert_eq!(told, ["Slurm accepted the request, but still shows the job as RUNNING"; 3]);
        assert!((25..=34).contains(&asked), "{asked}");
        let mut unknown = Cancelling::new(t);
        assert_eq!(
            unknown.step(false, false, t + s(31)),
            Step::Notify("its job ID is not known yet".to_owned())
        );
    }
}
