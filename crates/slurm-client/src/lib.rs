//! The side of Slurm that does I/O: runs its commands, remembers what it says of the site, reads and writes the files of
//! jobs, and drives [`amore_slurm::poller::Poller`], which decides what is done.
//!
//! - [`Slurm`] is the handle that everything needs: [`command`] runs one command, in the [`environment`] that it needs;
//!   `submit`, `queue`, `accounting`, `look_up` and `cancel` are what is asked by them; [`site_facts`] is what the site
//!   offers to this user.
//! - [`tracker`] is the loop that drives the poller, with [`manifest`], [`event_tail`] and [`log_tail`] as files of jobs.
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
