//! What the trackers of a service ask Slurm together, on a thread of its own: that of a directory may hang in a file system, and
//! others must not wait for it.

use std::{io, panic::resume_unwind, sync::Weak, thread, time::Instant};

use amore_slurm::{
    commands::perform,
    exchange::{Answer, Command},
    poll::{Question, Reply},
    shared_queries::{Asker, Due, SharedQueries, Topic},
};
use tokio::{
    runtime::{Builder, Handle},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::sleep_until,
};

use crate::{Slurm, slurm::Known};

/// A question, and who asks it.
type Asked = (Option<String>, Question, oneshot::Sender<Reply>);

/// The thread. It ends with this.
#[derive(Debug)]
pub(crate) struct Background {
    runtime: Handle,
    questions: mpsc::UnboundedSender<Asked>,
}

impl Background {
    pub(crate) fn start(slurm: Weak<Known>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (questions, asked) = mpsc::unbounded_channel();
        thread::Builder::new().name("slurm".to_owned()).spawn(move || {
            runtime.block_on(answer(slurm, asked));
            runtime.shutdown_background();
        })?;
        Ok(Background { runtime: handle, questions })
    }
}

impl Slurm {
    /// Runs what the poller wants run.
    pub(crate) async fn perform(&self, command: Command) -> Answer {
        let (Some(background), Command::Ask { cluster, question }) = (&self.0.background, &command) else {
            return perform(self, command).await;
        };
        let (answer, answered) = oneshot::channel();
        let _ = background.questions.send((cluster.clone(), question.clone(), answer));
        match answered.await {
            Ok(reply) => Answer::Replied { cluster: cluster.clone(), reply },
            Err(_) => perform(self, command).await,
        }
    }

    /// Does some work where no directory can hold it up.
    pub(crate) async fn aside<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let Some(background) = &self.0.background else { return work.await };
        match background.runtime.spawn(work).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The process ends.
            Err(_) => std::future::pending().await,
        }
    }
}

/// A query of several, and the reply.
type Answered = (Topic, Vec<Asker<oneshot::Sender<Reply>>>, Option<Reply>);

/// Answers questions until nobody can ask any more.
async fn answer(slurm: Weak<Known>, mut asked: mpsc::UnboundedReceiver<Asked>) {
    let mut queries: SharedQueries<oneshot::Sender<Reply>> = SharedQueries::default();
    let mut work: JoinSet<Answered> = JoinSet::new();
    loop {
        let due = queries.next_due();
        tokio::select! {
            question = asked.recv() => {
                let Some((cluster, question, who)) = question else { return };
                if let Some((cluster, question, who)) = queries.ask(Instant::now(), cluster, question, who) {
                    let slurm = slurm.clone();
                    tokio::spawn(async move {
                        if let Some(reply) = ask(slurm, cluster, question).await {
                            let _ = who.send(reply);
                        }
                    });
                }
            }
            Some(Ok((topic, askers, reply))) = work.join_next() => {
                queries.answered(&topic);
                // Without a reply, the askers ask by themselves.
                if let Some(reply) = reply {
                    for asker in askers {
                        let part = asker.part_of(&reply);
                        let _ = asker.who.send(part);
                    }
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                for Due { topic, question, askers } in queries.take_due(Instant::now()) {
                    let query = tokio::spawn(ask(slurm.clone(), topic.cluster.clone(), question));
                    work.spawn(async move { (topic, askers, query.await.ok().flatten()) });
                }
            }
        }
    }
}

/// `None`: the process ends.
async fn ask(slurm: Weak<Known>, cluster: Option<String>, question: Question) -> Option<Reply> {
    let slurm = Slurm(slurm.upgrade()?);
    match perform(&slurm, Command::Ask { cluster, question }).await {
        Answer::Replied { reply, .. } => Some(reply),
        _ => None,
    }
}
