//! The command of a variable (`job=`).

use amore_model::PlanStamp;
use amore_plan::PlannedJob;
use amore_wire::{mymdc::MymdcValues, task::ContextSource};

use crate::tasks::RunKey;

/// What the arguments of a command are made from.
#[derive(Clone, Debug)]
pub struct CommandSpec {
    /// Its run.
    pub key: RunKey,
    /// The plan's stamp.
    pub stamp: PlanStamp,
    /// The command as written.
    pub job: PlannedJob,
    /// Variables of other tasks that it depends on.
    pub given: Vec<String>,
    /// What the metadata catalogue says of the run.
    pub mymdc: MymdcValues,
    /// The context file.
    pub context: ContextSource,
}
