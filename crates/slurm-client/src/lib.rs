//! The I/O side of Slurm: runs its commands, caches what it says about the site, reads and writes the files of jobs, and
//! drives [`amore_slurm::poller::Poller`], which makes the decisions.
//!
//! - [`Slurm`] is the handle that everything needs: [`command`] runs one command, in its [`environment`]; `submit`, `queue`,
//!   `accounting`, `look_up` and `cancel` are the operations; [`site_facts`] has what the site offers to this user.
//! - [`tracker`] is the loop that drives the poller; [`manifest`], [`event_tail`] and [`log_tail`] are the files of jobs.
//! - [`template`] and [`site_file`] find the files of the site.

mod accounting;
mod cancel;
pub mod command;
pub mod environment;
pub mod event_tail;
pub mod growing_lines;
pub mod log_tail;
mod look_up;
pub mod manifest;
mod queue;
pub mod site_facts;
pub mod site_file;
mod slurm;
mod submit;
pub mod template;
pub mod tracker;
mod users;

pub use slurm::Slurm;
