//! One worker on this machine for the coordinators of many directories: a service has one of these.
//!
//! The worker starts each task at once, on a thread of its own, so that one that hangs keeps nothing but its own place. How many
//! it gets, and in which order, decides [`HostQueue`]; the others wait here. If the worker dies, another one is started, and each
//! directory that had a task with it is told.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use amore_core::host_queue::{ClientNo, HostQueue, Ticket};
use amore_wire::task::{FromWorker, Task, ToWorker};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::local::{AtOnce, LocalWorker};

/// How long to wait before a worker is started again after it could not be started, or died at once.
const PAUSE: Duration = Duration::from_secs(2);

/// A message to the loop.
#[derive(Debug)]
enum ToPool {
    Join(ClientNo, UnboundedSender<FromPool>),
    /// Messages of a client that knows of so many deaths.
    Send(ClientNo, u64, Vec<ToWorker>),
    Leave(ClientNo),
}

/// A message to a client.
#[derive(Debug)]
enum FromPool {
    Message(FromWorker),
    /// The worker has died with something of this client.
    Lost,
}

/// The shared worker.
#[derive(Debug)]
pub struct SharedWorkers {
    inbox: UnboundedSender<ToPool>,
    next: std::sync::atomic::AtomicU64,
    task: tokio::task::JoinHandle<()>,
}

/// The worker, as one directory uses it.
#[derive(Debug)]
pub struct Client {
    number: ClientNo,
    deaths: u64,
    pool: UnboundedSender<ToPool>,
    messages: UnboundedReceiver<FromPool>,
}

impl SharedWorkers {
    /// Starts a worker with so many processes.
    pub fn start(processes: usize) -> Self {
        let (send, inbox) = unbounded_channel();
        let task = tokio::spawn(Pool::new(processes).run(inbox));
        SharedWorkers { inbox: send, next: std::sync::atomic::AtomicU64::new(0), task }
    }

    /// For one more directory.
    pub fn client(&self) -> Client {
        let number = ClientNo(self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let (send, messages) = unbounded_channel();
        let _ = self.inbox.send(ToPool::Join(number, send));
        Client { number, deaths: 0, pool: self.inbox.clone(), messages }
    }

    /// Stops the worker. Clients must be gone.
    pub async fn stop(self) {
        drop(self.inbox);
        let _ = self.task.await;
    }
}

impl Client {
    /// Sends messages.
    pub fn send(&self, messages: Vec<ToWorker>) {
        let _ = self.pool.send(ToPool::Send(self.number, self.deaths, messages));
    }

    /// The next message; `None` if the worker has died with something of this directory. Cancel-safe.
    pub async fn next(&mut self) -> Option<FromWorker> {
        match self.messages.recv().await {
            Some(FromPool::Message(message)) => Some(message),
            Some(FromPool::Lost) => {
                self.deaths += 1;
                None
            }
            // The service stops.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.pool.send(ToPool::Leave(self.number));
    }
}

#[derive(Debug)]
struct Member {
    to: UnboundedSender<FromPool>,
    deaths: u64,
    /// Its tasks that wait or are with the worker, by the identifier that the worker knows.
    tasks: BTreeMap<String, Ticket>,
    /// Its context files that the worker describes.
    describing: BTreeSet<String>,
}

struct Pool {
    started: Instant,
    worker: Option<LocalWorker>,
    members: BTreeMap<ClientNo, Member>,
    queue: HostQueue<Box<Task>>,
    /// Messages that wait for no process, in order.
    early: VecDeque<ToWorker>,
}

impl Pool {
    fn new(processes: usize) -> Self {
        Pool {
            started: Instant::now(),
            worker: None,
            members: BTreeMap::new(),
            queue: HostQueue::new(processes),
            early: VecDeque::new(),
        }
    }

    async fn run(mut self, mut inbox: UnboundedReceiver<ToPool>) {
        let mut start_at = Instant::now();
        loop {
            let change = self.queue.next_change(self.started.elapsed()).map(|at| self.started + at);
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                () = tokio::time::sleep_until(start_at), if self.worker.is_none() => {
                    start_at = Instant::now() + PAUSE;
                    self.start();
                }
                () = at(change), if self.worker.is_some() => {}
                message = next(&mut self.worker) => match message {
                    Ok(Some(message)) => self.pass_on(message),
                    Ok(None) => {
                        tracing::warn!("the worker ended unexpectedly; starting another");
                        self.lost();
                    }
                    Err(error) => {
                        tracing::error!(%error, "the worker cannot be used; starting another");
                        self.lost();
                    }
                },
            }
            self.feed();
        }
        if let Some(worker) = self.worker {
            worker.stop().await;
        }
    }

    fn start(&mut self) {
        match LocalWorker::start(AtOnce::WhateverItGets) {
            Ok(worker) => {
                worker.greet();
                self.worker = Some(worker);
            }
            Err(error) => tracing::error!(%error, "no worker can be started; trying again"),
        }
    }

    fn take(&mut self, message: ToPool) {
        match message {
            ToPool::Join(client, to) => {
                self.members.insert(
                    client,
                    Member { to, deaths: 0, tasks: BTreeMap::new(), describing: BTreeSet::new() },
                );
            }
            ToPool::Leave(client) => {
                self.queue.forget(client);
                let Some(member) = self.members.remove(&client) else { return };
                let all = member.tasks.into_keys().chain(member.describing);
                self.early.extend(all.map(|id| ToWorker::Cancel { id }));
            }
            ToPool::Send(client, deaths, messages) => {
                // What was sent before the client knew of a death was lost with the worker.
                if self.members.get(&client).is_none_or(|member| member.deaths != deaths) {
                    return;
                }
                for message in messages {
                    self.sort_in(client, message);
                }
            }
        }
    }

    fn sort_in(&mut self, client: ClientNo, message: ToWorker) {
        let Some(member) = self.members.get_mut(&client) else { return };
        match message {
            ToWorker::Run(mut task) => {
                task.id = with_client(client, &task.id);
                let id = task.id.clone();
                let ticket = self.queue.push(task.urgency, client, task);
                member.tasks.insert(id, ticket);
            }
            ToWorker::Describe { id, context, python, proposal, sandbox } => {
                let id = with_client(client, &id);
                member.describing.insert(id.clone());
                self.early.push_back(ToWorker::Describe { id, context, python, proposal, sandbox });
            }
            ToWorker::Cancel { id } => {
                let id = with_client(client, &id);
                let ticket = member.tasks.get(&id).copied();
                match ticket.and_then(|ticket| self.queue.withdraw(client, ticket)) {
                    Some(task) => self.pass_on(FromWorker::TaskEnded {
                        of: task.attempt_id(),
                        problem: Some("cancelled".to_owned()),
                        cut_short: None,
                    }),
                    None => self.early.push_back(ToWorker::Cancel { id }),
                }
            }
            // The worker is greeted when it is started, and ends with the service.
            ToWorker::Hello { .. } | ToWorker::Drain => {}
        }
    }

    /// Gives the worker what may begin.
    fn feed(&mut self) {
        let Some(worker) = &self.worker else { return };
        let mut messages: Vec<ToWorker> = Vec::new();
        while let Some((_, task)) = self.queue.pop(self.started.elapsed()) {
            messages.push(ToWorker::Run(task));
        }
        // A task must be known to the worker before it can be cancelled.
        messages.extend(self.early.drain(..));
        if !messages.is_empty() {
            worker.send(&messages);
        }
    }

    fn pass_on(&mut self, mut message: FromWorker) {
        let Some(id) = id_of(&mut message) else { return };
        let Some((client, own)) = without_client(id) else { return };
        let known = std::mem::replace(id, own);
        let Some(member) = self.members.get_mut(&client) else { return };
        match &message {
            FromWorker::Described { .. } | FromWorker::HostFailed { .. } => {
                member.describing.remove(&known);
            }
            FromWorker::TaskEnded { .. } => {
                if let Some(ticket) = member.tasks.remove(&known) {
                    self.queue.ended(client, ticket);
                }
            }
            _ => {}
        }
        let _ = member.to.send(FromPool::Message(message));
    }

    fn lost(&mut self) {
        self.worker = None;
        self.early.clear();
        for (client, member) in &mut self.members {
            if !member.tasks.is_empty() || !member.describing.is_empty() {
                member.tasks.clear();
                member.describing.clear();
                member.deaths += 1;
                self.queue.forget(*client);
                let _ = member.to.send(FromPool::Lost);
            }
        }
    }
}

async fn next(worker: &mut Option<LocalWorker>) -> Result<Option<FromWorker>, super::local::WorkerError> {
    match worker {
        Some(worker) => worker.next().await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Identifiers are unique in one directory only.
fn with_client(client: ClientNo, id: &str) -> String {
    format!("{}.{id}", client.0)
}

fn without_client(id: &str) -> Option<(ClientNo, String)> {
    let (client, own) = id.split_once('.')?;
    Some((ClientNo(client.parse().ok()?), own.to_owned()))
}

/// What a message is about; `None` if it is about the worker.
fn id_of(message: &mut FromWorker) -> Option<&mut String> {
    match message {
        FromWorker::Hello { .. } | FromWorker::Placed { .. } | FromWorker::Alive => None,
        FromWorker::Described { id, .. } => Some(id),
        FromWorker::HostFailed { of, .. }
        | FromWorker::Notice { of, .. }
        | FromWorker::Started { of }
        | FromWorker::VariableStarted { of, .. }
        | FromWorker::VariableEnded { of, .. }
        | FromWorker::CommandEnded { of, .. }
        | FromWorker::Fragment { of, .. }
        | FromWorker::TaskEnded { of, .. } => Some(&mut of.task),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_of_directories_do_not_collide() {
        let (one, two) = (with_client(ClientNo(1), "5-99.2"), with_client(ClientNo(12), "5-99.2"));
        assert_ne!(one, two);
        assert_eq!(without_client(&two), Some((ClientNo(12), "5-99.2".to_owned())));
        assert_eq!(without_client("describe"), None);
    }
}
