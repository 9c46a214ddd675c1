//! Basic types: proposals, runs, variables, problems.
//!
//! Nothing here does I/O, reads a clock or uses randomness.

mod attempt_token;
mod database_dir;
mod identifier;
mod ids;
mod job;
mod job_id;
mod job_state;
pub mod lease;
mod mymdc_field;
mod nearest;
mod notice;
pub mod planted;
pub mod precedence;
mod problem;
pub mod python_environment;
mod resources;
mod run_columns;
mod sandbox;
pub mod service_environment;
mod setting_value;
mod severity;
pub mod shell;
mod urgency;
mod variable;
mod worker_report;

pub use attempt_token::{AttemptRank, AttemptToken};
pub use database_dir::DatabaseDir;
pub use identifier::identifier;
pub use ids::{IdError, PlanStamp, Proposal, Run, parse_runs};
pub use job::{JobOutcome, JobSpec, LoneBrace, PLACEHOLDERS, Piece, pieces};
pub use job_id::{JobId, NotAJob, is_cluster_name};
pub use job_state::JobState;
pub use mymdc_field::MymdcField;
pub use nearest::nearest_setting;
pub use notice::Notice;
pub use problem::{Problem, ProblemKind};
pub use resources::Resources;
pub use run_columns::{COLUMNS_OF_RUNS, COMMENT};
pub use sandbox::{InvalidSandbox, Sandbox};
pub use setting_value::SettingValue;
pub use severity::Severity;
pub use urgency::Urgency;
pub use variable::{Argument, Dependency, RunData, StateUse, VariableSpec};
pub use worker_report::WorkerReport;
