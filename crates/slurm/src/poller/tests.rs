//! Scenes: inputs, and the actions that follow.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use amore_model::{JobId, Notice, Urgency, WorkerReport};
use proptest::prelude::*;

use super::Poller;
use crate::{
    JobEnd,
    adjust::Remark,
    clusters::Clusters,
    exchange::{Action, Adoption, Answer, Command, Input, JobEvent, Submission, WorkerMessage},
    job_status::JobStatus,
    poll::{Question, Reply},
    refused::Refused,
    squeue::parse_queue,
    submission::{Cancelled, Doubt, Found, JobOptions, SlurmUnavailable, Submitted},
};

/// A poller with its clock, and the actions that it requested.
struct Scene {
    poller: Poller<&'static str>,
    start: Instant,
    at: Duration,
    wake: Option<Instant>,
    /// Commands that have not been answered yet.
    commands: Vec<Command>,
    told: Vec<JobEvent<&'static str>>,
    /// Files that were written and removed.
    files: Vec<String>,
    /// The end of each job's log.
    log: Option<String>,
    /// Queues of the clusters that answer at once; `None`: they fail at once.
    queues: BTreeMap<Option<String>, Option<BTreeMap<JobId, JobStatus>>>,
    /// Number of queries of the queue.
    looks: usize,
}

impl Scene {
    fn new() -> Self {
        Scene {
            poller: Poller::default(),
            start: Instant::now(),
            at: Duration::ZERO,
            wake: None,
            commands: Vec::new(),
            told: Vec::new(),
            files: Vec::new(),
            log: None,
            queues: BTreeMap::new(),
            looks: 0,
        }
    }

    fn now(&self) -> Instant {
        self.start + self.at
    }

    /// Gives an input and handles all actions that take no time. `heard`: new messages of workers.
    fn give(
        &mut self,
        input: Input<&'static str>,
        mut heard: Vec<(String, Vec<WorkerMessage<&'static str>>)>,
    ) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.poller.on(self.now(), input) {
                match action {
                    Action::Run(command) => match self.at_once(&command) {
                        Some(reply) => inputs.push_back(reply),
                        None => self.commands.push(command),
                    },
                    Action::Emit(event) => self.told.push(event),
                    Action::WakeAt(at) => self.wake = Some(at),
                    Action::WriteManifest { token, manifest, .. } => {
                        self.files.push(format!("write {token}: {manifest}"));
                        inputs.push_back(Input::ManifestWritten { token, result: Ok(()) });
                    }
                    Action::RemoveManifest { token, .. } => {
                        self.files.push(format!("remove manifest of {token}"))
                    }
                    Action::RemoveFiles { token, .. } => self.files.push(format!("remove {token}")),
                    Action::ReadWorkers { .. } => {
                        inputs.push_back(Input::WorkersHeard(std::mem::take(&mut heard)))
                    }
                    Action::ReadLog { token, .. } => {
                        inputs.push_back(Input::LogRead { token, tail: self.log.clone() });
                    }
                }
            }
        }
    }

    fn on(&mut self, input: Input<&'static str>) {
        self.give(input, Vec::new());
    }

    /// Lets time pass, with all timers.
    fn pass(&mut self, seconds: u64) {
        let until = self.at + Duration::from_secs(seconds);
        while let Some(wake) = self.wake.filter(|wake| *wake <= self.start + until) {
            self.at = wake - self.start;
            self.wake = None;
            self.on(Input::Timer);
        }
        self.at = until;
    }

    fn submit(&mut self, token: &str, clusters: Option<&str>) {
        let asked = JobOptions { clusters: clusters.map(str::to_owned), ..JobOptions::default() };
        self.on(Input::Submit(Box::new(Submission {
            token: token.to_owned(),
            directory: "/p".into(),
            manifest: "work".to_owned(),
            asked,
            urgency: Urgency::default(),
        })));
    }

    fn adopt(&mut self, token: &str, job: Option<JobId>) {
        self.on(Input::Adopt(Adoption {
            token: token.to_owned(),
            directory: "/p".into(),
            job,
            name: "r1-p1-damnit".to_owned(),
            log: "/p/slurm_logs/r1-p1-%j.out".to_owned(),
            clusters: Clusters::Ours,
            has_manifest: true,
        }));
    }

    fn cancel(&mut self, token: &str) {
        self.on(Input::Cancel { token: token.to_owned() });
    }

    fn hear(&mut self, token: &str, said: WorkerReport) {
        let messages = vec![WorkerMessage { report: said, message: "message" }];
        self.give(Input::WorkersHeard(vec![(token.to_owned(), messages)]), Vec::new());
    }

    /// Answers the one submission that is under way.
    fn sbatch(&mut self, result: Submitted) {
        let at = self.commands.iter().position(|command| matches!(command, Command::Submit { .. }));
        let Command::Submit { token, .. } = self.commands.remove(at.expect("a submission")) else { panic!() };
        self.on(Input::Answered(Answer::Submitted { token, result, remarks: Vec::new() }));
    }

    fn accepted(&mut self, job: JobId) {
        self.sbatch(Submitted::Accepted { job });
    }

    /// The reply to this command from a cluster that answers at once.
    fn at_once(&mut self, command: &Command) -> Option<Input<&'static str>> {
        let Command::Ask { cluster, question } = command else { return None };
        let shown = self.queues.get(cluster)?.clone();
        let reply = match question {
            Question::Queue => {
                self.looks += 1;
                Reply::Queue(shown.ok_or_else(|| SlurmUnavailable("connection refused".to_owned())))
            }
            Question::Accounting(_) => Reply::Accounting(Ok(BTreeMap::new())),
            Question::ExitCodes => Reply::ExitCodes(Ok(BTreeMap::new())),
            Question::Job(job) => Reply::Job(job.clone(), Ok(None)),
        };
        Some(Input::Answered(Answer::Replied { cluster: cluster.clone(), reply }))
    }

    /// From now on a cluster shows these lines; lets time pass.
    fn shows(&mut self, cluster: Option<&str>, lines: &[&str], seconds: u64) {
        let seen = lines.iter().filter_map(|line| parse_queue(line));
        let queue = seen.map(|(number, seen)| (JobId::on(cluster, number.parse().unwrap()), seen));
        self.queues.insert(cluster.map(str::to_owned), Some(queue.collect()));
        self.pass(seconds);
    }

    /// From now on a cluster does not answer; lets time pass.
    fn is_silent(&mut self, cluster: Option<&str>, seconds: u64) {
        self.queues.insert(cluster.map(str::to_owned), None);
        self.pass(seconds);
    }

    /// Position of a query of this cluster.
    fn asked(&self, of: Option<&str>) -> Option<usize> {
        let is_it =
            |command: &Command| matches!(command, Command::Ask { cluster, .. } if cluster.as_deref() == of);
        self.commands.iter().position(is_it)
    }

    fn looked_up(&mut self, result: Result<Found, SlurmUnavailable>) {
        let at = self.commands.iter().position(|command| matches!(command, Command::LookUp { .. }));
        let Command::LookUp { token, .. } = self.commands.remove(at.expect("a look-up")) else { panic!() };
        self.on(Input::Answered(Answer::LookedUp { token, result }));
    }

    fn cancelled(&mut self, answer: Cancelled) {
        let at = self.commands.iter().position(|command| matches!(command, Command::Cancel { .. }));
        let Command::Cancel { job, token } = self.commands.remove(at.expect("a cancellation")) else {
            panic!()
        };
        self.on(Input::Answered(Answer::Cancelled { token, job, answer }));
    }

    /// The events since the last call.
    fn told(&mut self) -> Vec<String> {
        let words = |event: JobEvent<_>| match event {
            JobEvent::Accepted { token, job } => format!("{token} is {job}"),
            JobEvent::Refused { token, why } => format!("{token} refused: {}", why.words),
            JobEvent::NotFound { token, doubt } => format!("{token} is not there ({doubt:?})"),
            JobEvent::Cancelled { token, job } => format!(
                "{token} cancelled ({})",
                job.map_or_else(|| "no number".to_owned(), |job| job.to_string())
            ),
            JobEvent::NotCancelled { token, words, .. } => format!("{token} not cancelled: {words}"),
            JobEvent::Worker { token, message } => format!("{token} says {message}"),
            JobEvent::Changed { token, seen } => format!("{token} {}", seen.state),
            JobEvent::Ended { token, end, .. } => format!("{token} ended: {end}"),
            JobEvent::Notice(notice) => notice.to_string(),
        };
        std::mem::take(&mut self.told).into_iter().map(words).collect()
    }

    fn kinds(&self) -> Vec<&'static str> {
        let kind = |command: &Command| match command {
            Command::Submit { .. } => "submit",
            Command::LookUp { .. } => "look up",
            Command::Ask { .. } => "ask",
            Command::Cancel { .. } => "cancel",
        };
        self.commands.iter().map(kind).collect()
    }
}

fn ours(number: u64) -> JobId {
    JobId::on(None, number)
}

fn unanswered() -> Submitted {
    Submitted::Unsure { words: "timed out".to_owned(), doubt: Doubt::Unanswered }
}

const SILENT: &str = "note: Slurm does not answer (timed out); jobs continue, and nothing is lost";

#[test]
fn a_job_is_submitted_followed_and_ended() {
    let mut scene = Scene::new();
    scene.submit("a-1", None);
    assert_eq!(scene.files, ["write a-1: work"]);
    scene.accepted(ours(7));
    scene.shows(None, &["7|PENDING||main|(null)|amore:a-1|Resources"], 3);
    scene.hear("a-1", WorkerReport::InJob { number: 7, cluster: None });
    scene.shows(None, &["7|RUNNING|n1|main|(null)|amore:a-1|None"], 3);
    scene.shows(None, &["7|TIMEOUT|n1|main|(null)|amore:a-1|TimeLimit"], 5);
    assert_eq!(
        scene.told(),
        [
            "a-1 is 7",
            "a-1 PENDING",
            "a-1 says message",
            "a-1 RUNNING",
            "a-1 TIMEOUT",
            "a-1 ended: reached its time limit (TIMEOUT)"
        ]
    );
    assert_eq!(scene.files[1..], ["remove a-1"]);
    assert!(scene.wake.is_none_or(|wake| wake <= scene.now()) && !scene.poller.is_busy());
}

#[test]
fn one_slow_answer_does_not_hide_for_minutes_that_a_job_waits() {
    let mut scene = Scene::new();
    scene.submit("a-1", None);
    scene.accepted(ours(7));
    scene.hear("a-1", WorkerReport::InJob { number: 7, cluster: None });
    scene.shows(None, &["7|RUNNING|n1|main|(null)|amore:a-1|None"], 40);
    // It takes 30 s until the answer is there.
    let queue = scene.queues.remove(&None).flatten().unwrap();
    scene.pass(30);
    let at = scene.asked(None).expect("the queue was asked for");
    scene.commands.remove(at);
    scene.on(Input::Answered(Answer::Replied { cluster: None, reply: Reply::Queue(Ok(queue)) }));
    assert_eq!(scene.told(), ["a-1 is 7", "a-1 says message", "a-1 RUNNING"]);
    scene.shows(None, &["7|PENDING||main|(null)|amore:a-1|BeginTime"], 61);
    assert_eq!(scene.told(), ["a-1 PENDING"]);
}

#[test]
fn a_manifest_that_cannot_be_written_submits_nothing() {
    let mut poller: Poller<()> = Poller::default();
    let now = Instant::now();
    let submission = Submission {
        token: "a-1".to_owned(),
        directory: "/p".into(),
        manifest: String::new(),
        asked: JobOptions::default(),
        urgency: Urgency::default(),
    };
    let actions = poller.on(now, Input::Submit(Box::new(submission)));
    assert!(matches!(actions.as_slice(), [Action::WriteManifest { .. }, Action::WakeAt(_)]), "{actions:?}");
    let result = Err("no space left on device".to_owned());
    let actions = poller.on(now, Input::ManifestWritten { token: "a-1".to_owned(), result });
    let [Action::RemoveFiles { .. }, Action::Emit(JobEvent::Refused { why, .. })] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    assert_eq!(why.words, "cannot write the job's manifest: no space left on device");
    assert!(!poller.is_busy());
}

#[test]
fn a_lost_answer_to_sbatch_is_looked_up_and_the_job_found() {
    let mut scene = Scene::new();
    scene.submit("a-1", None);
    scene.sbatch(unanswered());
    assert_eq!(scene.told(), [SILENT]);
    assert!(scene.kinds().is_empty(), "the look-up waits a moment");
    scene.pass(4);
    scene.looked_up(Ok(Found::Job(ours(7))));
    assert_eq!(scene.told(), ["a-1 is 7"]);
}

#[test]
fn a_submission_that_a_hung_controller_takes_later_is_not_made_twice() {
    let mut scene = Scene::new();
    scene.submit("a-1", None);
    scene.sbatch(unanswered());
    // For a while it answers that there is no such job, then it does not answer again.
    for _ in 0..5 {
        scene.pass(31);
        scene.looked_up(Ok(Found::Nothing));
        scene.pass(31);
        scene.looked_up(Err(SlurmUnavailable("timed out".to_owned())));
    }
    scene.pass(31);
    assert_eq!(scene.told(), [SILENT]);
    // The job starts: its worker reports its ID.
    scene.hear("a-1", WorkerReport::InJob { number: 7, cluster: None });
    scene.looked_up(Ok(Found::Nothing));
    assert_eq!(scene.told(), ["a-1 is 7", "a-1 says message"]);
    scene.pass(60);
    assert!(!scene.kinds().contains(&"look up"), "{:?}", scene.kinds());
}

#[test]
fn a_submission_that_was_never_made_is_given_up() {
    let mut scene = Scene::new();
    scene.submit("a-1", None);
    scene.sbatch(Submitted::Unsure { words: "timed out".to_owned(), doubt: Doubt::NotReached });
    for seconds in [3, 6, 9] {
        scene.pass(seconds);
        if scene.kinds().contains(&"look up") {
            scene.looked_up(Ok(Found::Nothing));
        }
    }
    assert_eq!(scene.told(), [SILENT, "a-1 is not there (NotReached)"]);
}

#[test]
fn a_job_that_a_controller_has_forgotten_is_gone_once_it_denies_it() {
    let mut scene = Scene::new();
    scene.adopt("a-1", Some(ours(7)));
    scene.shows(None, &["7|RUNNING|n1|main|(null)|amore:a-1|None"], 1);
    assert_eq!(scene.told(), ["a-1 RUNNING"]);
    scene.shows(None, &[], 15);
    assert_eq!(scene.told(), Vec::<String>::new());
    scene.pass(15);
    assert_eq!(scene.told(), ["a-1 ended: is no longer known to Slurm"]);
    // What Slurm wrote to the log says more than that.
    let mut scene = Scene::new();
    scene.log = Some("*** JOB 7 ON n1 CANCELLED AT 2026-11-28T14:00:00 DUE TO NODE FAILURE ***".to_owned());
    scene.adopt("a-1", Some(ours(7)));
    scene.shows(None, &[], 30);
    assert_eq!(scene.told(), ["a-1 ended: lost its node (NODE_FAIL)"]);
}

#[test]
fn a_requeued_job_goes_on() {
    let mut scene = Scene::new();
    scene.shows(None, &["7|PENDING||main|(null)|amore:a-1|BeginTime"], 0);
    scene.adopt("a-1", Some(ours(7)));
    scene.hear("a-1", WorkerReport::InJob { number: 7, cluster: None });
    scene.hear("a-1", WorkerReport::ToldToEnd);
    scene.pass(1);
    scene.hear("a-1", WorkerReport::InJob { number: 7, cluster: None });
    scene.shows(None, &["7|RUNNING|n2|main|(null)|amore:a-1|None"], 6);
    scene.hear("a-1", WorkerReport::Done);
    scene.pass(60);
    let says = "a-1 says message";
    assert_eq!(scene.told(), [says, "a-1 PENDING", says, says, "a-1 RUNNING", says]);
}

#[test]
fn a_job_is_cancelled_before_it_was_submitted() {
    let mut scene = Scene::new();
    // Three are submitted at a time; the fourth waits.
    for token in ["a-1", "a-2", "a-3", "a-4"] {
        scene.submit(token, None);
    }
    assert_eq!(scene.kinds(), ["submit"; 3]);
    scene.cancel("a-4");
    assert_eq!(scene.told(), ["a-4 cancelled (no number)"]);
    scene.accepted(ours(1));
    assert_eq!(scene.kinds(), ["submit"; 2], "the fourth is not submitted any more");
}

#[test]
fn a_job_is_cancelled_while_it_is_being_submitted() {
    let mut scene = Scene::new();
    scene.submit("a-1", None);
    scene.cancel("a-1");
    assert_eq!(scene.files[1..], ["remove manifest of a-1"]);
    scene.pass(1);
    assert_eq!(scene.kinds(), ["submit"], "it has no ID yet");
    scene.accepted(ours(7));
    scene.pass(1);
    assert!(scene.kinds().contains(&"cancel") && scene.poller.is_busy());
    scene.cancelled(Cancelled::Over);
    scene.pass(1);
    assert_eq!(scene.told(), ["a-1 is 7", "a-1 cancelled (7)"]);
}

#[test]
fn a_job_that_slurm_does_not_end_is_told_and_tried_again() {
    let mut scene = Scene::new();
    scene.adopt("a-1", Some(ours(7)));
    scene.cancel("a-1");
    for _ in 0..9 {
        scene.cancelled(Cancelled::NotYet { state: "COMPLETING".to_owned() });
        scene.pass(4);
    }
    assert_eq!(
        scene.told(),
        ["a-1 not cancelled: Slurm accepted the request, but still shows the job as COMPLETING"]
    );
}

#[test]
fn a_hung_controller_is_asked_seldom_and_told_once() {
    let mut scene = Scene::new();
    scene.adopt("a-1", Some(ours(7)));
    scene.is_silent(None, 60);
    assert!((11..=13).contains(&scene.looks), "{}", scene.looks);
    scene.shows(None, &["7|RUNNING|n1|main|(null)|amore:a-1|None"], 6);
    assert_eq!(
        scene.told(),
        [
            "note: Slurm does not answer (connection refused); jobs continue, and nothing is lost",
            "Slurm answers again",
            "a-1 RUNNING"
        ]
    );
    // A cluster that does not even fail is not queried a second time.
    scene.queues.clear();
    scene.pass(60);
    assert_eq!(scene.kinds(), ["ask"]);
    // After a slow query the pause is longer, but not so long that a job that ended stays unnoticed for minutes.
    scene.shows(None, &["7|RUNNING|n1|main|(null)|amore:a-1|None"], 0);
    let Some(Command::Ask { cluster, question: Question::Queue }) = scene.commands.pop() else { panic!() };
    let reply = Reply::Queue(Ok(BTreeMap::new()));
    scene.on(Input::Answered(Answer::Replied { cluster, reply }));
    scene.looks = 0;
    scene.pass(59);
    assert_eq!(scene.looks, 0);
    scene.pass(2);
    assert_eq!(scene.looks, 1);
}

#[test]
fn a_cluster_speaks_of_its_own_jobs_only() {
    let mut scene = Scene::new();
    for (token, cluster) in [("a-1", "lab"), ("b-1", "maxwell")] {
        scene.submit(token, Some("lab,maxwell"));
        scene.accepted(JobId::on(Some(cluster), 7));
    }
    // Both have a job with the same number; the cluster that answers does not have the other's token.
    scene.is_silent(Some("maxwell"), 0);
    scene.shows(Some("lab"), &["7|CANCELLED||main|(null)|amore:a-1|None"], 5);
    scene.shows(Some("maxwell"), &["7|RUNNING|n1|main|(null)|amore:b-1|None"], 5);
    assert_eq!(
        scene.told(),
        [
            "a-1 is 7@lab",
            "b-1 is 7@maxwell",
            "note: Slurm on maxwell does not answer (connection refused); jobs continue, and nothing is lost",
            "a-1 CANCELLED",
            "a-1 ended: was cancelled (CANCELLED)",
            "Slurm on maxwell answers again",
            "b-1 RUNNING"
        ]
    );
}

#[test]
fn an_adopted_job_without_a_number_is_looked_for_at_once() {
    let mut scene = Scene::new();
    scene.adopt("a-1", None);
    assert_eq!(scene.kinds(), ["look up"]);
    scene.looked_up(Ok(Found::Job(ours(7))));
    assert_eq!(scene.told(), ["a-1 is 7"]);
    // A job with a number is queried at once.
    let mut scene = Scene::new();
    scene.adopt("a-1", Some(ours(7)));
    scene.pass(1);
    assert_eq!(scene.kinds(), ["ask"]);
}

#[test]
fn a_job_that_would_stay_in_the_queue_for_ever_is_removed() {
    let mut scene = Scene::new();
    scene.adopt("a-1", Some(ours(7)));
    scene.shows(None, &["7|RESV_DEL_HOLD||main|(null)|amore:a-1|Reservation upex was deleted"], 3);
    assert_eq!(scene.kinds(), ["cancel"]);
    scene.cancelled(Cancelled::Failed { words: "Access denied".to_owned() });
    assert_eq!(
        scene.told(),
        [
            "a-1 RESV_DEL_HOLD",
            "a-1 ended: waited for the reservation upex, which no longer exists",
            "warning: job 7 could not be cancelled: Access denied"
        ]
    );
}

#[test]
fn a_forgotten_job_is_heard_of_no_more() {
    let mut scene = Scene::new();
    scene.submit("a-1", None);
    scene.on(Input::Forget { token: "a-1".to_owned() });
    assert_eq!(scene.files[1..], ["remove a-1"]);
    scene.hear("a-1", WorkerReport::Done);
    scene.pass(9);
    assert_eq!(scene.told(), Vec::<String>::new());
    assert!(scene.poller.is_busy(), "its submission is waited for");
    scene.sbatch(Submitted::Refused(Refused::temporary("later".to_owned())));
    assert!(!scene.poller.is_busy());
}

#[test]
fn the_more_urgent_is_submitted_first_and_remarks_are_told_once() {
    let mut scene = Scene::new();
    for token in ["a-1", "a-2", "a-3", "a-4"] {
        scene.submit(token, None);
    }
    scene.on(Input::Submit(Box::new(Submission {
        token: "b-1".to_owned(),
        directory: "/p".into(),
        manifest: "work".to_owned(),
        asked: JobOptions::default(),
        urgency: Urgency::Live,
    })));
    for number in [1, 2] {
        let Command::Submit { token, .. } = scene.commands.remove(0) else { panic!() };
        let remarks = vec![Remark { about: "reservation".to_owned(), notice: Notice::note("it is over") }];
        let result = Submitted::Accepted { job: ours(number) };
        scene.on(Input::Answered(Answer::Submitted { token, result, remarks }));
    }
    assert_eq!(scene.files[3..], ["write b-1: work", "write a-4: work"]);
    assert_eq!(scene.told(), ["note: it is over", "a-1 is 1", "a-2 is 2"]);
}

#[derive(Clone, Debug)]
enum Move {
    Submit(u8),
    Adopt(u8, bool),
    Forget(u8),
    Cancel(u8),
    Hear(u8, WorkerReport),
    Pass(u64),
    Answer(usize, u8),
}

fn any_move() -> impl Strategy<Value = Move> {
    let said = prop_oneof![
        Just(WorkerReport::Alive),
        Just(WorkerReport::ToldToEnd),
        Just(WorkerReport::Done),
        Just(WorkerReport::Work),
        (1_u64..5).prop_map(|number| WorkerReport::InJob { number, cluster: None }),
    ];
    prop_oneof![
        (0_u8..6).prop_map(Move::Submit),
        (0_u8..6, any::<bool>()).prop_map(|(token, known)| Move::Adopt(token, known)),
        (0_u8..6).prop_map(Move::Forget),
        (0_u8..6).prop_map(Move::Cancel),
        (0_u8..6, said).prop_map(|(token, said)| Move::Hear(token, said)),
        (0_u64..8).prop_map(Move::Pass),
        (0_usize..8, 0_u8..4).prop_map(|(which, how)| Move::Answer(which, how)),
    ]
}

fn answer(command: Command, how: u8) -> Answer {
    let silent = || SlurmUnavailable("silent".to_owned());
    match command {
        Command::Submit { token, .. } => {
            let result = match how {
                0 => Submitted::Accepted { job: ours(1) },
                1 => Submitted::Refused(Refused::temporary("no".to_owned())),
                2 => unanswered(),
                _ => Submitted::Unsure { words: "?".to_owned(), doubt: Doubt::Unnumbered },
            };
            Answer::Submitted { token, result, remarks: Vec::new() }
        }
        Command::LookUp { token, .. } => {
            let result = match how {
                0 => Ok(Found::Job(ours(2))),
                1 | 2 => Ok(Found::Nothing),
                _ => Err(silent()),
            };
            Answer::LookedUp { token, result }
        }
        Command::Ask { cluster, question } => {
            let line =
                ["1|RUNNING|n1|main|||None", "1|FAILED|n1|main|||None", "2|CANCELLED||main|||None", ""];
            let seen = parse_queue(line[usize::from(how)]);
            let queue = seen.into_iter().map(|(number, seen)| (ours(number.parse().unwrap()), seen));
            let reply = match question {
                Question::Queue if how == 3 => Reply::Queue(Err(silent())),
                Question::Queue => Reply::Queue(Ok(queue.collect())),
                Question::Accounting(_) => Reply::Accounting(Err(silent())),
                Question::ExitCodes => Reply::ExitCodes(Ok([(ours(1), (0, 53))].into())),
                Question::Job(job) => Reply::Job(job, Ok(None)),
            };
            Answer::Replied { cluster, reply }
        }
        Command::Cancel { job, token } => {
            let answer = match how {
                0 | 1 => Cancelled::Over,
                2 => Cancelled::NotYet { state: "RUNNING".to_owned() },
                _ => Cancelled::Failed { words: "no".to_owned() },
            };
            Answer::Cancelled { token, job, answer }
        }
    }
}

/// Plays the moves, and returns the scene with what was requested.
fn play(start: Instant, moves: &[Move]) -> Scene {
    let mut scene = Scene { start, ..Scene::new() };
    for one in moves.iter().cloned() {
        let name = |token: u8| format!("{token:x}-1");
        match one {
            Move::Submit(token) => scene.submit(&name(token), None),
            Move::Adopt(token, known) => scene.adopt(&name(token), known.then(|| ours(u64::from(token) + 1))),
            Move::Forget(token) => scene.on(Input::Forget { token: name(token) }),
            Move::Cancel(token) => scene.cancel(&name(token)),
            Move::Hear(token, said) => scene.hear(&name(token), said),
            Move::Pass(seconds) => scene.pass(seconds),
            Move::Answer(which, how) if !scene.commands.is_empty() => {
                let command = scene.commands.remove(which % scene.commands.len());
                scene.on(Input::Answered(answer(command, how)));
            }
            Move::Answer(..) => {}
        }
    }
    scene
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_inputs_give_the_same_actions_and_all_work_comes_to_an_end(moves in prop::collection::vec(any_move(), 0..40)) {
        let start = Instant::now();
        let (mut one, other) = (play(start, &moves), play(start, &moves));
        prop_assert_eq!(&one.told, &other.told);
        prop_assert_eq!(&one.commands, &other.commands);
        prop_assert_eq!(&one.files, &other.files);
        // Once every command is answered, nothing is pending.
        for _ in 0..1000 {
            let Some(command) = one.commands.pop() else { break };
            one.on(Input::Answered(answer(command, 0)));
        }
        prop_assert!(one.commands.is_empty());
        prop_assert!(!one.poller.is_busy());
    }
}

#[test]
fn an_end_is_told_by_the_exit_code() {
    let mut scene = Scene::new();
    scene.adopt("a-1", Some(ours(1)));
    scene.pass(1);
    for _ in 0..3 {
        let Some(at) = scene.asked(None) else { break };
        let command = scene.commands.remove(at);
        scene.on(Input::Answered(answer(command, 1)));
    }
    scene.pass(2);
    let ended = scene.told.iter().any(|event| {
        matches!(event, JobEvent::Ended { end: JobEnd::Failed { code: (0, 53), launch: true }, .. })
    });
    assert!(ended, "{:?}", scene.told);
}
