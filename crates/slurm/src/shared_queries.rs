//! Queries of the same cluster by several trackers: Slurm is asked once for all of them.
//!
//! A query begins after everybody who gets its answer has asked, so no answer is older than its question. Queries of a kind begin
//! at most every two seconds, however many trackers there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use amore_model::JobId;

use crate::poll::{Question, Reply};

/// How far apart queries of a kind begin. A single tracker asks no more often than that.
const APART: Duration = Duration::from_secs(2);
/// How long the first one waits for others: those who got the same answer ask the next question at the same time.
const GATHER: Duration = Duration::from_millis(30);

/// What can be asked once for several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Queue,
    Accounting,
    ExitCodes,
}

/// What a query is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    /// The cluster; `None`: the default one.
    pub cluster: Option<String>,
    kind: Kind,
}

/// Somebody who waits for an answer. `W` says who.
#[derive(Debug, PartialEq, Eq)]
pub struct Asker<W> {
    jobs: Vec<JobId>,
    /// Who it is.
    pub who: W,
}

impl<W> Asker<W> {
    /// What this one gets of the answer.
    pub fn part_of(&self, reply: &Reply) -> Reply {
        match reply {
            Reply::Accounting(Ok(known)) => {
                let its = |job: &JobId| Some((job.clone(), known.get(job)?.clone()));
                Reply::Accounting(Ok(self.jobs.iter().filter_map(its).collect()))
            }
            all => all.clone(),
        }
    }
}

/// A query that is due.
#[derive(Debug, PartialEq, Eq)]
pub struct Due<W> {
    /// What it is about.
    pub topic: Topic,
    /// What is to be asked.
    pub question: Question,
    /// Who gets the answer.
    pub askers: Vec<Asker<W>>,
}

/// The queries that are wanted or under way.
#[derive(Debug)]
pub struct SharedQueries<W>(BTreeMap<Topic, Line<W>>);

#[derive(Debug)]
struct Line<W> {
    askers: Vec<Asker<W>>,
    /// When the next query begins, if anybody waits and none is under way.
    due: Instant,
    is_under_way: bool,
}

impl<W> Default for SharedQueries<W> {
    fn default() -> Self {
        SharedQueries(BTreeMap::new())
    }
}

impl<W> SharedQueries<W> {
    /// Somebody asks. A question about a single job is not shared, and given back.
    pub fn ask(
        &mut self,
        now: Instant,
        cluster: Option<String>,
        question: Question,
        who: W,
    ) -> Option<(Option<String>, Question, W)> {
        let (kind, jobs) = match question {
            Question::Queue => (Kind::Queue, Vec::new()),
            Question::ExitCodes => (Kind::ExitCodes, Vec::new()),
            Question::Accounting(jobs) => (Kind::Accounting, jobs),
            Question::Job(_) => return Some((cluster, question, who)),
        };
        let new = Line { askers: Vec::new(), due: now, is_under_way: false };
        let line = self.0.entry(Topic { cluster, kind }).or_insert(new);
        if line.askers.is_empty() {
            line.due = line.due.max(now + GATHER);
        }
        line.askers.push(Asker { jobs, who });
        None
    }

    /// Takes the queries that are due: they are under way from now on.
    pub fn take_due(&mut self, now: Instant) -> Vec<Due<W>> {
        let mut due = Vec::new();
        for (topic, line) in &mut self.0 {
            if line.is_under_way || line.askers.is_empty() || line.due > now {
                continue;
            }
            let askers = std::mem::take(&mut line.askers);
            line.is_under_way = true;
            line.due = now + APART;
            let question = match topic.kind {
                Kind::Queue => Question::Queue,
                Kind::ExitCodes => Question::ExitCodes,
                Kind::Accounting => {
                    let jobs: BTreeSet<&JobId> = askers.iter().flat_map(|asker| &asker.jobs).collect();
                    Question::Accounting(jobs.into_iter().cloned().collect())
                }
            };
            due.push(Due { topic: topic.clone(), question, askers });
        }
        due
    }

    /// When the next query is due.
    pub fn next_due(&self) -> Option<Instant> {
        let waiting = self.0.values().filter(|line| !line.is_under_way && !line.askers.is_empty());
        waiting.map(|line| line.due).min()
    }

    /// A query has been answered.
    pub fn answered(&mut self, topic: &Topic) {
        if let Some(line) = self.0.get_mut(topic) {
            line.is_under_way = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::SlurmUnavailable;

    fn job(number: u64) -> JobId {
        JobId::on(None, number)
    }

    fn who(due: &Due<u32>) -> Vec<u32> {
        due.askers.iter().map(|asker| asker.who).collect()
    }

    #[test]
    fn many_ask_and_slurm_is_asked_once() {
        let (mut queries, start) = (SharedQueries::default(), Instant::now());
        for tracker in 0..20 {
            assert_eq!(queries.ask(start, None, Question::Queue, tracker), None);
        }
        assert!(queries.take_due(start).is_empty(), "others may ask at the same time");
        let at = queries.next_due().unwrap();
        let due = queries.take_due(at);
        assert_eq!((due.len(), who(&due[0])), (1, (0..20).collect()));
        // Whoever asks now must not get an answer that is older than the question.
        assert_eq!(queries.ask(at, None, Question::Queue, 20), None);
        assert!(queries.next_due().is_none() && queries.take_due(at + APART).is_empty());
        queries.answered(&due[0].topic);
        assert_eq!(queries.next_due(), Some(at + APART));
        assert_eq!(who(&queries.take_due(at + APART)[0]), [20]);
    }

    #[test]
    fn each_gets_what_accounting_knows_of_its_own_jobs() {
        let (mut queries, start) = (SharedQueries::default(), Instant::now());
        queries.ask(start, None, Question::Accounting(vec![job(3), job(1)]), 1);
        queries.ask(start, None, Question::Accounting(vec![job(2)]), 2);
        let due = queries.take_due(start + GATHER).remove(0);
        assert_eq!(due.question, Question::Accounting(vec![job(1), job(2), job(3)]));
        let seen = |number| {
            let line = format!("{number}|COMPLETED|0:0|n1|main||None|sbatch");
            crate::sacct::parse_accounting(&line, &crate::sacct::ACCOUNTED, &|_| None).unwrap().1
        };
        let reply = Reply::Accounting(Ok([1, 2].map(|number| (job(number), seen(number))).into()));
        let parts: Vec<Reply> = due.askers.iter().map(|asker| asker.part_of(&reply)).collect();
        assert_eq!(parts[0], Reply::Accounting(Ok([(job(1), seen(1))].into())));
        assert_eq!(parts[1], Reply::Accounting(Ok([(job(2), seen(2))].into())));
        let silent = Reply::Accounting(Err(SlurmUnavailable("slurmdbd is down".to_owned())));
        assert_eq!(due.askers[0].part_of(&silent), silent);
    }

    #[test]
    fn clusters_and_kinds_do_not_wait_for_each_other() {
        let (mut queries, start) = (SharedQueries::default(), Instant::now());
        queries.ask(start, Some("lab".to_owned()), Question::Queue, 1);
        queries.ask(start, None, Question::Queue, 2);
        queries.ask(start, None, Question::ExitCodes, 3);
        assert_eq!(queries.take_due(start + GATHER).len(), 3);
        let own = queries.ask(start, None, Question::Job(job(7)), 4);
        assert_eq!(own, Some((None, Question::Job(job(7)), 4)));
    }
}
