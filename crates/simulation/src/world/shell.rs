//! Slurm's commands in the simulation. The simulated Slurm answers the queries of [`amore_slurm::commands`] at once, and
//! the time that they take is added up.

use std::{
    pin::pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use amore_slurm::{
    adjust::{Remark, adjust},
    clusters::Clusters,
    commands::{self, Commands, NoAnswer, Output},
    environment::SiteCommands,
    exchange::{Answer, Command},
    reservation::{Reservation, parse_reservations},
    script::{Template, render},
    site_facts::{SiteAnswers, SiteFacts},
    submission::JobOptions,
};

use crate::{
    Moment,
    slurm::{Caller, SimulatedSlurm},
};

/// The user who runs Amore.
pub(super) const USER: &str = "alice";

/// A sequence of Slurm commands.
pub(super) struct Shell<'a> {
    slurm: Mutex<&'a mut SimulatedSlurm>,
    caller: Caller,
    now: Moment,
    took: Mutex<Duration>,
    of_site: SiteCommands,
}

impl<'a> Shell<'a> {
    /// Starts at this moment.
    pub(super) fn new(slurm: &'a mut SimulatedSlurm, now: Moment) -> Self {
        let caller = slurm.caller(USER).unwrap_or_else(|| Caller {
            user: USER.to_owned(),
            uid: 2001,
            cluster: String::new(),
            seconds: true,
        });
        let slurm = Mutex::new(slurm);
        Shell { slurm, caller, now, took: Mutex::default(), of_site: SiteCommands::default() }
    }

    /// Runs a command of the poller. Returns the answer, and how long it took.
    pub(super) fn perform(&self, command: Command) -> (Answer, Duration) {
        let answer = ready(commands::perform(self, command));
        (answer, *self.took.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the site offers, if the controller answers.
    pub(super) fn facts(&self, cluster: Option<&str>) -> Option<SiteFacts> {
        let text = |program: &str, cluster, arguments: &[&str]| {
            let lines = ready(commands::lines(self, program, cluster, arguments));
            lines.map(|lines| lines.join("\n"))
        };
        let user = self.caller.user.clone();
        let answers = SiteAnswers {
            partitions: text("scontrol", cluster, &SiteAnswers::PARTITIONS).ok()?,
            nodes: text("sinfo", cluster, &SiteAnswers::NODES).unwrap_or_default(),
            config: String::new(),
            associations: text("sacctmgr", None, &SiteAnswers::associations(&format!("user={user}"))),
            default_account: String::new(),
            parents: String::new(),
        };
        let groups = [user.clone(), "lab_a".to_owned()].into();
        Some(SiteFacts::of(answers, user, false, groups))
    }

    fn reservations(&self, cluster: Option<&str>) -> Option<Vec<Reservation>> {
        let lines = ready(commands::lines(self, "scontrol", cluster, &["show", "reservation", "-o"]));
        Some(parse_reservations(&lines.ok()?.join("\n")))
    }
}

/// The result of a future that never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("nothing in a simulation is waited for"),
    }
}

impl Commands for Shell<'_> {
    async fn run(
        &self,
        program: &str,
        arguments: &[String],
        input: Option<&str>,
    ) -> Result<Output, NoAnswer> {
        let words: Vec<&str> = std::iter::once(program).chain(arguments.iter().map(String::as_str)).collect();
        let mut slurm = self.slurm.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = slurm.command(self.now, &self.caller, &words, input.unwrap_or_default());
        *self.took.lock().unwrap_or_else(PoisonError::into_inner) += answer.delay;
        Ok(Output { stdout: answer.stdout, stderr: answer.stderr, code: Some(answer.code) })
    }

    async fn pause(&self, time: Duration) {
        *self.took.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }

    async fn adjust(&self, asked: JobOptions) -> (JobOptions, Vec<Remark>) {
        let clusters = Clusters::of(asked.clusters.as_deref());
        let now = i64::try_from(self.now.seconds()).unwrap_or(i64::MAX);
        if clusters.chosen_by_slurm() {
            return adjust(asked, None, None, now);
        }
        let facts = self.facts(clusters.only());
        let reservations = asked.reservation.is_some().then(|| self.reservations(clusters.only())).flatten();
        adjust(asked, facts.as_ref(), reservations.as_deref(), now)
    }

    fn script(&self, asked: &JobOptions) -> Result<String, String> {
        render(&Template::built_in(), &asked.script).map_err(|error| error.to_string())
    }

    fn uid(&self) -> String {
        self.caller.uid.to_string()
    }

    fn user_name(&self, uid: u32) -> Option<String> {
        match uid {
            0 => Some("root".to_owned()),
            2001 => Some(USER.to_owned()),
            _ => None,
        }
    }

    fn site(&self) -> &SiteCommands {
        &self.of_site
    }

    fn unknown_fields(&self) -> Vec<String> {
        Vec::new()
    }

    fn note_unknown_field(&self, _: &str) {}
}
