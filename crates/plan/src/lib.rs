//! From the variables of a context file to the tasks of a run: check, promote, select, split.
//!
//! All functions are pure: no I/O, no clock, no randomness. They are linear in the number of variables and dependencies
//! and do not recurse, so a chain of ten thousand variables is not a special case.
//!
//! ```
//! use amore_plan::{check, plan, Request};
//! # let variables = Vec::new();
//! let checked = check(variables);
//! if let Some(dag) = &checked.dag {
//!     let plan = plan(dag, &Request::default()).expect("everything is selected");
//!     println!("{}", amore_plan::describe(&plan));
//! }
//! ```

mod after;
mod check;
mod check_jobs;
mod check_state;
mod cut;
mod cycles;
mod dag;
mod glob;
mod jobs;
mod local_parts;
mod nearest;
mod numbers;
mod plan;
mod problem_at;
mod promote;
mod select;
mod state;
mod task_order;
mod words;

pub use check::{Checked, check, merged};
pub use dag::Dag;
pub use glob::Pattern;
pub use numbers::NodeNo;
pub use plan::{
    Availability, LeftOut, LeftOutReason, Place, PlaceReason, Plan, PlannedJob, PlannedStep, PlannedTask,
    PlannedVariable, Request, Selection, SharedHere, TaskReason, Why, plan,
};
pub use select::{SelectError, UnknownName, check_names};
pub use words::describe;
