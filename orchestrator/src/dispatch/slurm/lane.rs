//! The loop that submits jobs, hears what their workers say, and asks Slurm in bulk how they are.
//!
//! Slurm is asked seldom: what a job computes, and that it is done, its worker says in a file. The queue is looked at for
//! what a worker cannot say: that its job waits, and why; that it was killed.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use amore_model::{JobId, Notice};
use amore_wire::{sheet, task::FromWorker};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    answers::end_in_log,
    cancelling::{Cancelling, Step},
    client::{self, Cancelled, Doubt, Found, SlurmSilent, Submitted},
    clusters::Clusters,
    followed::{Followed, Over},
    look::{Poll, poll},
    news::News,
    order::{LaneEvent, Order, write_sheet},
    refused::Refused,
    site_facts::{self, Remark},
};
use crate::coordinate::after_job::JobEnd;

/// How often the files of the workers are looked at, while there are few.
const NEWS_POLL: Duration = Duration::from_millis(40);
/// With more than this many, every third time is enough: a look at each costs the file system something.
const FEW: usize = 4;
/// How often Slurm is asked while a job is young.
const YOUNG_POLL: Duration = Duration::from_secs(2);
/// How often after that.
const OLD_POLL: Duration = Duration::from_secs(5);
/// How often while Slurm does not answer, from one failure to the next question.
const SILENT_POLL: Duration = Duration::from_secs(5);
/// A query that takes long is made seldom: at most this part of the time is spent with asking.
const BUDGET: u32 = 20;
/// Submissions side by side.
const SUBMISSIONS: usize = 3;
/// How much longer the wait becomes from one look for a lost submission to the next.
const LOOK_UP: Duration = Duration::from_secs(3);

/// What the lane is told.
#[derive(Debug)]
enum Command {
    Submit(Box<Order>),
    /// A job that an earlier owner submitted, or wanted to.
    Adopt {
        token: String,
        directory: PathBuf,
        job: Option<JobId>,
        /// Its name, and the pattern of its log.
        name: String,
        log: String,
        /// Where it was submitted to.
        clusters: Clusters,
    },
    /// Nothing more is wanted of it.
    Forget {
        token: String,
    },
    /// The job is to end: it is followed until Slurm shows that it has.
    Cancel {
        token: String,
    },
}

/// A job that is followed, and its files.
#[derive(Debug)]
struct OfJob {
    followed: Followed,
    sheet: PathBuf,
    events: PathBuf,
    news: News,
    /// Its name, and the pattern of its log.
    name: String,
    log: String,
    /// Its end is wanted.
    cancelling: Option<Cancelling>,
}

/// Background work that has come to its end.
#[derive(Debug)]
enum Done {
    Submitted {
        token: String,
        result: Submitted,
        remarks: Vec<Remark>,
    },
    LookedUp {
        token: String,
        round: u32,
        result: Result<Found, SlurmSilent>,
    },
    Polled {
        cluster: Option<String>,
        result: Result<Poll, SlurmSilent>,
        took: Duration,
    },
    Cancelled {
        token: String,
        answer: Cancelled,
    },
    /// One that was given up, and would stay in the queue.
    Removed {
        job: JobId,
        answer: Cancelled,
    },
}

/// When a cluster is asked. Each has its own beat: one that does not answer holds up no other.
#[derive(Debug)]
struct Beat {
    asking: bool,
    next: Instant,
}

/// The way to Slurm.
#[derive(Debug)]
pub struct Lane {
    commands: UnboundedSender<Command>,
    events: UnboundedReceiver<LaneEvent>,
    task: JoinHandle<()>,
}

impl Lane {
    /// Starts the loop.
    pub fn start() -> Self {
        let (commands, inbox) = unbounded_channel();
        let (outbox, events) = unbounded_channel();
        let task = tokio::spawn(
            Loop {
                outbox,
                jobs: HashMap::new(),
                waiting: VecDeque::new(),
                work: JoinSet::new(),
                submitting: 0,
                cancelling: 0,
                beats: HashMap::new(),
                silent: HashSet::new(),
                remarked: HashSet::new(),
            }
            .run(inbox),
        );
        Lane { commands, events, task }
    }

    /// Submits a job. Its sheet is written first.
    pub fn submit(&self, order: Order) {
        let _ = self.commands.send(Command::Submit(Box::new(order)));
    }

    /// Follows a job of an earlier owner; `None`: it is not known whether there is one, on any of `clusters`.
    pub fn adopt(
        &self,
        token: String,
        directory: PathBuf,
        job: Option<JobId>,
        (name, log): (String, String),
        clusters: Clusters,
    ) {
        let _ = self.commands.send(Command::Adopt { token, directory, job, name, log, clusters });
    }

    /// Nothing more is wanted of this job: it finds its sheet gone, should it still run.
    pub fn forget(&self, token: String) {
        let _ = self.commands.send(Command::Forget { token });
    }

    /// Ends a job; [`LaneEvent::Cancelled`] says when Slurm shows that it has.
    pub fn cancel(&self, token: String) {
        let _ = self.commands.send(Command::Cancel { token });
    }

    /// The next event. Can be cancelled without losing any.
    pub async fn next(&mut self) -> Option<LaneEvent> {
        self.events.recv().await
    }

    /// Ends the loop; what it was told before is done first. Jobs go on.
    pub async fn stop(self) {
        let Lane { commands, events, task } = self;
        drop(commands);
        drop(events);
        let _ = task.await;
    }
}

struct Loop {
    outbox: UnboundedSender<LaneEvent>,
    jobs: HashMap<String, OfJob>,
    waiting: VecDeque<Order>,
    work: JoinSet<Done>,
    submitting: usize,
    cancelling: usize,
    /// By cluster.
    beats: HashMap<Option<String>, Beat>,
    /// Slurm does not answer there, and the user was told.
    silent: HashSet<Clusters>,
    /// What was said of partitions and reservations.
    remarked: HashSet<String>,
}

impl Loop {
    async fn run(mut self, mut inbox: UnboundedReceiver<Command>) {
        let mut tick = interval(NEWS_POLL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        let mut ticks = 0_u32;
        loop {
            tokio::select! {
                command = inbox.recv(), if open => match command {
                    Some(command) => self.obey(command),
                    None => open = false,
                },
                Some(done) = self.work.join_next() => {
                    if let Ok(done) = done {
                        self.on_done(done);
                    }
                }
                _ = tick.tick() => {
                    ticks = ticks.wrapping_add(1);
                    if self.jobs.len() > FEW && !ticks.is_multiple_of(3) {
                        continue;
                    }
                    self.hear_workers();
                    self.report_ended();
                    self.cancel_what_is_due();
                    self.poll_if_due();
                }
            }
            self.submit_what_fits();
            // Submissions and cancellations under way are waited for: their answer is worth more than a moment.
            if !open && self.submitting == 0 && self.cancelling == 0 {
                return;
            }
        }
    }

    fn tell(&self, event: LaneEvent) {
        let _ = self.outbox.send(event);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Submit(order) => {
                let at = self.waiting.partition_point(|other| other.urgency <= order.urgency);
                self.waiting.insert(at, *order);
            }
            Command::Adopt { token, directory, job, name, log, clusters } => {
                self.follow(&token, &directory, (name, log), clusters);
                match job {
                    Some(job) => {
                        self.ask_soon(job.cluster.clone(), Duration::ZERO);
                        if let Some(of) = self.jobs.get_mut(&token) {
                            of.followed.on_job(job, Instant::now());
                        }
                    }
                    None => self.look_up(token, 0),
                }
            }
            Command::Forget { token } => self.forget(&token),
            Command::Cancel { token } => match self.jobs.get_mut(&token) {
                Some(of) => {
                    of.cancelling.get_or_insert_with(|| Cancelling::new(Instant::now()));
                    // A job that begins before its number is known finds nothing to do.
                    if of.followed.job().is_none() {
                        let _ = fs::remove_file(&of.sheet);
                    }
                    self.cancel_what_is_due();
                }
                // It was not submitted yet, or is over.
                None => {
                    self.forget(&token);
                    self.tell(LaneEvent::Cancelled { token, job: None });
                }
            },
        }
    }

    /// Tells Slurm to end what is to be cancelled, and says what has become of it.
    fn cancel_what_is_due(&mut self) {
        let now = Instant::now();
        let mut over = Vec::new();
        for (token, of) in &mut self.jobs {
            let Some(cancelling) = &mut of.cancelling else { continue };
            let job = of.followed.job().cloned();
            let silent = !of.followed.speaks(now) || of.followed.has_said_its_end();
            match (cancelling.step(job.is_some(), silent, now), job) {
                (Step::Ask, Some(job)) => {
                    self.cancelling += 1;
                    let token = token.clone();
                    self.work.spawn(async move {
                        let answer = client::cancel(&job, &token).await;
                        Done::Cancelled { token, answer }
                    });
                }
                (Step::Over, job) => over.push((token.clone(), job)),
                (Step::Tell(words), job) => {
                    let token = token.clone();
                    let _ = self.outbox.send(LaneEvent::NotCancelled { token, job, words });
                }
                (Step::Ask | Step::Wait, _) => {}
            }
        }
        for (token, job) in over {
            self.forget(&token);
            self.tell(LaneEvent::Cancelled { token, job });
        }
    }

    fn remove(&mut self, job: JobId, token: String) {
        self.cancelling += 1;
        self.work.spawn(async move {
            let answer = client::cancel(&job, &token).await;
            Done::Removed { job, answer }
        });
    }

    fn follow(&mut self, token: &str, directory: &Path, (name, log): (String, String), clusters: Clusters) {
        let events = sheet::events(directory, token);
        let of = OfJob {
            name,
            log,
            cancelling: None,
            followed: Followed::new(token, clusters, Instant::now()),
            sheet: sheet::sheet(directory, token),
            news: News::of(&events),
            events,
        };
        self.jobs.insert(token.to_owned(), of);
    }

    fn forget(&mut self, token: &str) {
        self.waiting.retain(|order| order.token != token);
        if let Some(of) = self.jobs.remove(token) {
            for path in [&of.sheet, &of.events, &sheet::claim(&of.sheet)] {
                // Gone already is as good.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn submit_what_fits(&mut self) {
        while self.submitting < SUBMISSIONS {
            let Some(order) = self.waiting.pop_front() else { return };
            let Order { token, directory, sheet, asked, .. } = order;
            // Slurm accepts a job whose log's folder is not there, and cannot start it (0:53).
            let logs = directory.join("slurm_logs");
            if let Err(error) = fs::create_dir_all(logs).and_then(|()| write_sheet(&directory, &sheet)) {
                let words = format!("the job's sheet cannot be written: {error}");
                self.tell(LaneEvent::Refused { token, why: Refused::for_now(words) });
                continue;
            }
            let named = (asked.name.clone(), asked.log.clone());
            self.follow(&token, &directory, named, Clusters::of(asked.clusters.as_deref()));
            self.submitting += 1;
            self.work.spawn(async move {
                let (asked, remarks) = site_facts::settle(asked).await;
                let result = client::submit(&asked, &token).await;
                Done::Submitted { token, result, remarks }
            });
        }
    }

    fn look_up(&mut self, token: String, round: u32) {
        let Some(of) = self.jobs.get(&token) else { return };
        let (clusters, name) = (of.followed.clusters().clone(), of.name.clone());
        self.work.spawn(async move {
            sleep(LOOK_UP * round.min(10)).await;
            let result = client::find(&token, &name, &clusters).await;
            Done::LookedUp { token, round, result }
        });
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Submitted { token, result, remarks } => {
                self.submitting -= 1;
                for Remark { about, notice } in remarks {
                    if self.remarked.insert(about) {
                        self.tell(LaneEvent::Notice(notice));
                    }
                }
                match result {
                    Submitted::Accepted { job } => self.accepted(token, job),
                    Submitted::Refused(why) => {
                        self.forget(&token);
                        self.tell(LaneEvent::Refused { token, why });
                    }
                    Submitted::Unsure { words, doubt } => {
                        if let Some(of) = self.jobs.get_mut(&token) {
                            of.followed.on_doubt(doubt);
                            if of.followed.job().is_some() {
                                // Its worker has said it meanwhile.
                                return;
                            }
                        }
                        if doubt == Doubt::Unnumbered {
                            tracing::info!(token, words, "the number of a job is looked for");
                            self.look_up(token, 0);
                        } else {
                            self.on_silence_about(&token, &words);
                            self.look_up(token, 1);
                        }
                    }
                }
            }
            Done::LookedUp { token, round, result } => {
                let Some(of) = self.jobs.get_mut(&token) else { return };
                if of.followed.job().is_some() {
                    // Its worker has said it meanwhile.
                    return;
                }
                match result {
                    Ok(Found::Job(job)) => self.accepted(token, job),
                    Ok(Found::Nothing) if of.followed.on_not_found(Instant::now()) => {
                        let doubt = of.followed.doubt();
                        self.forget(&token);
                        self.tell(LaneEvent::NotThere { token, doubt });
                    }
                    Ok(Found::Nothing) => self.look_up(token, round + 1),
                    Err(SlurmSilent(words)) => {
                        of.followed.on_silence();
                        self.on_silence_about(&token, &words);
                        self.look_up(token, round + 1);
                    }
                }
            }
            Done::Polled { cluster, result, took } => {
                let now = Instant::now();
                let young = self.jobs.values().map(|of| &of.followed).any(|followed| {
                    followed.is_young(now) && followed.job().is_some_and(|job| job.cluster == cluster)
                });
                let pause = if young { YOUNG_POLL } else { OLD_POLL };
                // A controller that is dead takes its time to say so, and nothing is spared by not asking it.
                let pause = if result.is_ok() { pause.max(took * BUDGET) } else { SILENT_POLL };
                self.beats.insert(cluster.clone(), Beat { asking: false, next: now + pause });
                let asked = cluster.clone().map_or(Clusters::Ours, Clusters::One);
                match result {
                    Ok(poll) => {
                        self.on_answer(&asked);
                        self.on_poll(cluster.as_deref(), &poll);
                    }
                    Err(SlurmSilent(words)) => self.on_silence(asked, &words),
                }
            }
            Done::Cancelled { token, answer } => {
                self.cancelling -= 1;
                if let Some(of) = self.jobs.get_mut(&token)
                    && let Some(cancelling) = &mut of.cancelling
                {
                    // One that cannot be ended otherwise ends by itself when its sheet is gone.
                    let _ = fs::remove_file(&of.sheet);
                    cancelling.on_answer(answer, Instant::now());
                }
            }
            Done::Removed { job, answer } => {
                self.cancelling -= 1;
                let words = match answer {
                    Cancelled::Over => return,
                    Cancelled::NotYet { state } => format!("Slurm was told, and shows it as {state}"),
                    Cancelled::Failed { words } => words,
                };
                let message = format!("job {job} could not be cancelled: {words}");
                self.tell(LaneEvent::Notice(Notice::warning(message)));
            }
        }
    }

    fn accepted(&mut self, token: String, job: JobId) {
        if let Some(OfJob { followed, .. }) = self.jobs.get_mut(&token) {
            if let Some(known) = followed.job() {
                // Its worker was faster, and knows better than words that a site's wrapper may have written.
                tracing::debug!(%known, %job, "the number of a job was known already");
                return;
            }
            followed.on_job(job.clone(), Instant::now());
            let clusters = followed.clusters().clone();
            // Of one cluster the next look at its queue says it as well.
            if clusters.leave_it_to_slurm() {
                self.on_answer(&clusters);
            }
        }
        // Why it waits, if it does, is wanted soon.
        self.ask_soon(job.cluster.clone(), YOUNG_POLL);
        self.tell(LaneEvent::Accepted { token, job });
    }

    /// Looks at the queue of a cluster in this time at the latest.
    fn ask_soon(&mut self, cluster: Option<String>, within: Duration) {
        let at = Instant::now() + within;
        let beat = self.beats.entry(cluster).or_insert(Beat { asking: false, next: at });
        beat.next = beat.next.min(at);
    }

    fn on_answer(&mut self, from: &Clusters) {
        if self.silent.remove(from) {
            let message = format!("Slurm{} answers again", place(from));
            self.tell(LaneEvent::Notice(Notice::info(message)));
        }
    }

    fn on_silence(&mut self, from: Clusters, words: &str) {
        if !self.silent.contains(&from) {
            let place = place(&from);
            let message = format!("Slurm{place} does not answer ({words}); jobs go on, and nothing is lost");
            self.silent.insert(from);
            self.tell(LaneEvent::Notice(Notice::note(message)));
        }
    }

    fn on_silence_about(&mut self, token: &str, words: &str) {
        let clusters = self.jobs.get(token).map(|of| of.followed.clusters().clone()).unwrap_or_default();
        self.on_silence(clusters, words);
    }

    fn hear_workers(&mut self) {
        let now = Instant::now();
        let mut heard = Vec::new();
        let mut placed = Vec::new();
        for (token, of) in &mut self.jobs {
            for message in of.news.read() {
                if let Some(job) = of.followed.on_worker(&message, now) {
                    placed.push(job.clone());
                    heard.push(LaneEvent::Accepted { token: token.clone(), job });
                }
                if of.followed.has_said_its_end()
                    && let Some(cancelling) = &mut of.cancelling
                {
                    cancelling.on_over(now);
                }
                if message != FromWorker::Alive {
                    heard.push(LaneEvent::Worker { token: token.clone(), message });
                }
            }
        }
        for job in placed {
            self.ask_soon(job.cluster, YOUNG_POLL);
        }
        for event in heard {
            self.tell(event);
        }
    }

    /// Says of jobs that are over before their work was.
    fn report_ended(&mut self) {
        let now = Instant::now();
        let over: Vec<(String, Over)> = self
            .jobs
            .iter()
            .filter_map(|(token, of)| of.followed.over(now).map(|over| (token.clone(), over)))
            .collect();
        for (token, Over { job, end, lingers, concluded }) in over {
            let Some(of) = self.jobs.get_mut(&token) else { continue };
            if let Some(cancelling) = &mut of.cancelling {
                cancelling.on_over(now);
                continue;
            }
            // What nobody says Slurm may have written down.
            let end = if concluded { logged_end(&of.log, &job).unwrap_or(end) } else { end };
            if lingers {
                self.remove(job.clone(), token.clone());
            }
            self.forget(&token);
            self.tell(LaneEvent::Ended { token, end, job: Some(job) });
        }
    }

    fn poll_if_due(&mut self) {
        let now = Instant::now();
        let mut by_cluster: HashMap<Option<String>, (Vec<JobId>, Vec<JobId>)> = HashMap::new();
        for followed in self.jobs.values().map(|of| &of.followed) {
            let Some(job) = followed.open_job() else { continue };
            let (jobs, doubtful) = by_cluster.entry(job.cluster.clone()).or_default();
            jobs.push(job.clone());
            if followed.is_doubtful(now) {
                doubtful.push(job.clone());
            }
        }
        for (cluster, (jobs, doubtful)) in by_cluster {
            let beat = self.beats.entry(cluster.clone()).or_insert(Beat { asking: false, next: now });
            if beat.asking || now < beat.next {
                continue;
            }
            beat.asking = true;
            self.work.spawn(async move {
                let result = poll(cluster.as_deref(), &jobs, &doubtful).await;
                Done::Polled { cluster, result, took: now.elapsed() }
            });
        }
    }

    fn on_poll(&mut self, cluster: Option<&str>, poll: &Poll) {
        let now = Instant::now();
        let mut news = Vec::new();
        for (token, OfJob { followed, .. }) in &mut self.jobs {
            let Some(job) = followed.open_job().filter(|job| job.cluster.as_deref() == cluster).cloned()
            else {
                continue;
            };
            let denied = poll.unknown.contains(&job);
            let (queue, accounting) = (poll.queue.get(&job), poll.accounting.get(&job));
            if let Some(seen) = followed.on_look(queue, accounting, denied, now) {
                news.push(LaneEvent::Changed { token: token.clone(), seen: seen.clone() });
            }
        }
        for event in news {
            self.tell(event);
        }
    }
}

/// As much of a log is looked through for Slurm's own words.
const LOG_TAIL: u64 = 16 * 1024;

/// How a job ended, as far as Slurm has written that into its log.
fn logged_end(pattern: &str, job: &JobId) -> Option<JobEnd> {
    let path = client::log_of(pattern, job);
    let mut file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes).ok()?;
    end_in_log(&String::from_utf8_lossy(&bytes))
}

/// Which Slurm, for the user; nothing where there is one.
fn place(clusters: &Clusters) -> String {
    match clusters {
        Clusters::Ours => String::new(),
        Clusters::One(name) => format!(" on {name}"),
        Clusters::Several(names) => format!(" on one of {}", names.join(", ")),
        Clusters::All => " on some cluster".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::slurm::answers::parse_queue;

    #[tokio::test]
    async fn a_cluster_speaks_of_its_own_jobs_only() {
        let (outbox, mut told) = unbounded_channel();
        let mut lane = Loop {
            outbox,
            jobs: HashMap::new(),
            waiting: VecDeque::new(),
            work: JoinSet::new(),
            submitting: 0,
            cancelling: 0,
            beats: HashMap::new(),
            silent: HashSet::new(),
            remarked: HashSet::new(),
        };
        let both = Clusters::of(Some("lab,maxwell"));
        for (token, cluster) in [("a-1", "lab"), ("b-1", "maxwell")] {
            lane.follow(token, Path::new("/nowhere"), (String::new(), String::new()), both.clone());
            lane.accepted(token.to_owned(), JobId::on(Some(cluster), 7));
        }
        // The same number on both; the cluster that answers does not have the other's token.
        let (_, seen) = parse_queue("7|CANCELLED||main|(null)|amore:a-1|None").unwrap();
        let poll = Poll { queue: HashMap::from([(JobId::on(Some("lab"), 7), seen)]), ..Poll::default() };
        lane.on_poll(Some("lab"), &poll);
        assert_eq!(lane.jobs["a-1"].followed.open_job(), None);
        assert!(lane.jobs["b-1"].followed.open_job().is_some());
        // One that does not answer is named, and answers for itself.
        lane.on_silence(Clusters::One("maxwell".to_owned()), "connection refused");
        lane.on_answer(&Clusters::One("lab".to_owned()));
        lane.on_answer(&Clusters::One("maxwell".to_owned()));
        let mut words = Vec::new();
        while let Ok(event) = told.try_recv() {
            if let LaneEvent::Notice(notice) = event {
                words.push(notice.to_string());
            }
        }
        assert_eq!(
            words,
            [
                "note: Slurm on maxwell does not answer (connection refused); jobs go on, and nothing is lost",
                "Slurm on maxwell answers again"
            ]
        );
    }
}
