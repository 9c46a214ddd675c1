//! Ending a job, until Slurm shows that it has ended: pure, time is an argument.

use std::time::{Duration, Instant};

use crate::submission::Cancelled;

/// How soon it is looked again whether a job has ended that Slurm was told to end.
const AGAIN: Duration = Duration::from_secs(3);
/// How long may pass without an end before the user is told so, each time.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long the last words of its worker may take once it is over: what it has finished is collected.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// A job whose end is wanted.
#[derive(Debug)]
pub struct Cancelling {
    next: Instant,
    asking: bool,
    told_at: Instant,
    words: String,
    over: Option<Instant>,
}

/// What is to be done about it now.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Slurm is told, or asked.
    Ask,
    /// The user is told why it has not ended yet.
    Tell(String),
    /// It has ended.
    Over,
    /// Nothing.
    Wait,
}

impl Cancelling {
    /// It is to end.
    pub fn new(now: Instant) -> Self {
        Cancelling {
            next: now,
            asking: false,
            told_at: now,
            words: "its number is not known yet".to_owned(),
            over: None,
        }
    }

    /// What comes next. Is its number known, and has its worker said its last words, if it has one?
    pub fn step(&mut self, known: bool, last_words: bool, now: Instant) -> Step {
        if let Some(over) = self.over {
            return if last_words || now.duration_since(over) > LAST_WORDS { Step::Over } else { Step::Wait };
        }
        if now.duration_since(self.told_at) > PATIENCE {
            self.told_at = now;
            return Step::Tell(self.words.clone());
        }
        if known && !self.asking && now >= self.next {
            self.asking = true;
            return Step::Ask;
        }
        Step::Wait
    }

    /// What came of it.
    pub fn on_answer(&mut self, answer: Cancelled, now: Instant) {
        self.asking = false;
        self.next = now + AGAIN;
        match answer {
            Cancelled::Over => self.over = Some(now),
            Cancelled::NotYet { state } => self.words = format!("Slurm was told, and shows it as {state}"),
            Cancelled::Failed { words } => self.words = words,
        }
    }

    /// Its worker, or what Slurm shows of it, says that it is over.
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
        assert_eq!(job.step(true, false, t + s(10)), Step::Ask);
        assert_eq!(job.step(true, false, t + s(10)), Step::Wait, "it is being asked");
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
                Step::Ask => {
                    asked += 1;
                    let state = "RUNNING".to_owned();
                    job.on_answer(Cancelled::NotYet { state }, t + s(at));
                }
                Step::Tell(words) => told.push(words),
                Step::Over | Step::Wait => {}
            }
        }
        assert_eq!(told, ["Slurm was told, and shows it as RUNNING"; 3]);
        assert!((25..=34).contains(&asked), "{asked}");
        let mut unknown = Cancelling::new(t);
        assert_eq!(
            unknown.step(false, false, t + s(31)),
            Step::Tell("its number is not known yet".to_owned())
        );
    }
}
