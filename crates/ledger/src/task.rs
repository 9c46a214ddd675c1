//! Adding and reading tasks.

use std::{collections::HashMap, fmt, str::FromStr};

use amore_model::{Proposal, Run};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Ledger, LedgerError, Phase, UnknownWord,
    engine::{Mode, Work},
    statement::{Row, Statement},
};

/// Where a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// On the coordinator's host.
    Local,
    /// In a Slurm job.
    Cluster,
}

impl Place {
    /// The word in the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Place::Local => "local",
            Place::Cluster => "cluster",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Place {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "local" => Ok(Place::Local),
            "cluster" => Ok(Place::Cluster),
            _ => Err(UnknownWord { what: "place", word: word.to_owned() }),
        }
    }
}

/// A new task: [`Phase::Waiting`] if it waits for others, else [`Phase::Ready`].
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// Unique among all ledgers.
    pub id: String,
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// A higher number is more urgent.
    pub priority: i32,
    /// Where it runs.
    pub place: Place,
    /// Facts about its state, for the state machine.
    pub facts: Value,
    /// What to compute; never changes.
    pub spec: Value,
    /// Tasks that must end first: of the same request, or already in the ledger.
    pub waits_for: Vec<String>,
}

/// A task as the ledger has it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRow {
    /// Its id.
    pub id: String,
    /// The request that it belongs to.
    pub request: String,
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// A higher number is more urgent.
    pub priority: i32,
    /// Where it runs.
    pub place: Place,
    /// Its phase.
    pub phase: Phase,
    /// Facts about its state.
    pub facts: Value,
    /// What to compute.
    pub spec: Value,
    /// The tasks that it waits or waited for, ordered by id.
    pub waits_for: Vec<String>,
    /// The number of its last attempt; 0 before the first.
    pub attempt: u32,
    /// When it was added, in seconds since 1970.
    pub created: f64,
    /// When it last moved or its facts changed.
    pub changed: f64,
    /// The epoch of the coordinator that made this change.
    pub epoch: u64,
}

/// Number of tasks in each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Phase::ALL.len()]);

impl Counts {
    /// The number of tasks in this phase.
    pub fn of(&self, phase: Phase) -> u64 {
        self.0[phase as usize]
    }

    /// The number of tasks that have not ended.
    pub fn open(&self) -> u64 {
        self.0.iter().sum::<u64>() - self.of(Phase::Ended)
    }
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, request, proposal, run, priority, place, phase, CAST(facts AS TEXT), CAST(spec AS TEXT), ",
            "attempt, created, changed, epoch FROM task ",
            $rest
        )
    };
}

macro_rules! waits {
    ($rest:literal) => {
        concat!(
            "SELECT task, on_task FROM task_wait JOIN task ON task.id = task_wait.task ",
            $rest,
            " ORDER BY task, on_task"
        )
    };
}

const OPEN: &str = columns!("WHERE scope = $1 AND phase <> 'ended' ORDER BY priority DESC, created, id");
const OPEN_WAITS: &str = waits!("WHERE scope = $1 AND phase <> 'ended'");
const OF_RUN: &str =
    columns!("WHERE scope = $1 AND proposal = $2 AND run = $3 ORDER BY created DESC, id LIMIT $4");
const OF_RUN_WAITS: &str = waits!("WHERE scope = $1 AND proposal = $2 AND run = $3");
const ONE: &str = columns!("WHERE scope = $1 AND id = $2");
const ONE_WAITS: &str = waits!("WHERE scope = $1 AND task = $2");
const COUNT: &str = "SELECT phase, count(*) FROM task WHERE scope = $1 AND phase <> 'ended' GROUP BY phase \
                     UNION ALL SELECT 'ended', count(*) FROM task WHERE scope = $1 AND phase = 'ended'";

impl Ledger {
    /// All tasks that have not ended, the most urgent first, then the oldest.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn open_tasks(&self, scope: &str) -> Result<Vec<TaskRow>, LedgerError> {
        self.tasks(Statement::new(OPEN).text(scope), Statement::new(OPEN_WAITS).text(scope)).await
    }

    /// The tasks of a run, the newest first, at most `limit`.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn tasks_of_run(
        &self,
        scope: &str,
        proposal: Proposal,
        run: Run,
        limit: u32,
    ) -> Result<Vec<TaskRow>, LedgerError> {
        let select = |text| Statement::new(text).text(scope).int(proposal.0.into()).int(run.0.into());
        self.tasks(select(OF_RUN).int(limit.into()), select(OF_RUN_WAITS)).await
    }

    /// One task; `None` if the scope does not have it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn task(&self, scope: &str, id: &str) -> Result<Option<TaskRow>, LedgerError> {
        let select = |text| Statement::new(text).text(scope).text(id);
        Ok(self.tasks(select(ONE), select(ONE_WAITS)).await?.pop())
    }

    /// The number of tasks of the scope in each phase. The cost grows with their number, so do not call it often.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn counts(&self, scope: &str) -> Result<Counts, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "count the tasks").await?;
        let rows = work.fetch(&Statement::new(COUNT).text(scope)).await?;
        work.commit().await?;
        let mut counts = Counts::default();
        for mut row in rows {
            let phase: Phase = row.word("phase")?;
            counts.0[phase as usize] = row.number()?;
        }
        Ok(counts)
    }

    async fn tasks(&self, select: Statement, select_waits: Statement) -> Result<Vec<TaskRow>, LedgerError> {
        let mut work = self.engine.begin(Mode::Read, "read tasks").await?;
        let rows = work.fetch(&select).await?;
        let mut waits =
            if rows.is_empty() { HashMap::new() } else { waits(&mut *work, &select_waits).await? };
        work.commit().await?;
        rows.into_iter().map(|row| task(row, &mut waits)).collect()
    }
}

async fn waits(work: &mut dyn Work, select: &Statement) -> Result<HashMap<String, Vec<String>>, LedgerError> {
    let mut waits: HashMap<String, Vec<String>> = HashMap::new();
    for mut row in work.fetch(select).await? {
        waits.entry(row.text()?).or_default().push(row.text()?);
    }
    Ok(waits)
}

fn task(mut row: Row, waits: &mut HashMap<String, Vec<String>>) -> Result<TaskRow, LedgerError> {
    let id = row.text()?;
    Ok(TaskRow {
        waits_for: waits.remove(&id).unwrap_or_default(),
        id,
        request: row.text()?,
        proposal: row.proposal()?,
        run: row.run()?,
        priority: row.number()?,
        place: row.word("place")?,
        phase: row.word("phase")?,
        facts: row.json()?,
        spec: row.json()?,
        attempt: row.number()?,
        created: row.real()?,
        changed: row.real()?,
        epoch: row.number()?,
    })
}
