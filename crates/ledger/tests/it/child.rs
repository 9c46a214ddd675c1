//! A coordinator in a process of its own, to be stopped and killed: this test binary, started once more.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use amore_ledger::{Acquired, Ledger, LedgerError, OpenOptions, Phase};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::bench::*;

const PLACE: &str = "AMORE_TEST_CHILD_PLACE";
const JOB: &str = "AMORE_TEST_CHILD_JOB";
pub const TASKS: usize = 6;

/// The process, as its parent sees it. Dropped, it is killed.
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// `job`: "wait" or "write" (see [`run`]).
    pub fn start(place: &str, job: &str) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child::run", "--ignored", "--nocapture"]);
        command.env(PLACE, place).env(JOB, job).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, stdin, lines }
    }

    /// What it says next; `None` when it has ended.
    pub fn says(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.ok()?;
            if let Some((_, words)) = line.split_once("child: ") {
                return Some(words.to_owned());
            }
        }
    }

    /// Lets it go on.
    pub fn tell(&mut self) {
        writeln!(self.stdin, "go").unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(words: &str) {
    // Not print!: the parent may have gone, and that is no reason to panic.
    let _ = writeln!(std::io::stdout(), "child: {words}");
}

/// "wait": takes the lease, says so, waits to be told, writes, says how that went.
/// "write": takes the lease and writes requests until it is deposed or killed.
#[tokio::test]
#[ignore = "the other tests start it"]
async fn run() {
    let (Ok(place), Ok(job)) = (std::env::var(PLACE), std::env::var(JOB)) else { return };
    let options = OpenOptions { patience: Duration::from_secs(2), ..OpenOptions::new(HOST, 0.0) };
    let ledger = Ledger::open(&place, &options).await.unwrap();
    let me = std::process::id();
    let Acquired::Mine(lease) = ledger.acquire(SCOPE, &holder(me), 0.0, TERM, None).await.unwrap() else {
        return say("somebody holds the lease");
    };
    say("holds the lease");
    if job == "wait" {
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
    for number in 0.. {
        match write(&ledger, &lease, &format!("{me}-{number}")).await {
            Ok(()) => say(&format!("wrote {me}-{number}")),
            Err(LedgerError::Deposed { by, epoch, .. }) => {
                let by = by.map(|holder| holder.pid);
                return say(&format!("deposed by {by:?} under {epoch}"));
            }
            Err(error) if error.is_temporary() => say(&format!("could not write: {error}")),
            Err(error) => return say(&format!("failed: {error}")),
        }
        if job == "wait" {
            return;
        }
    }
}

/// A request of several tasks; then one of them ends.
async fn write(ledger: &Ledger, lease: &amore_ledger::Lease, id: &str) -> Result<(), LedgerError> {
    let first = format!("{id}-0");
    let mut tasks = vec![task(&first, &[])];
    tasks.extend((1..TASKS).map(|number| task(&format!("{id}-{number}"), &[&first])));
    ledger.add_request(lease, &request(id), &tasks).await?;
    let end = amore_ledger::PhaseChange {
        event: Some(event("ended", 1.0)),
        ..step(&first, Phase::Ready, Phase::Ended)
    };
    ledger.move_tasks(lease, 1.0, &[end]).await
}
