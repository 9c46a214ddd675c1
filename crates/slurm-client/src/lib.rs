//! The I/O side of Slurm: runs its commands, caches what it says about the site, reads and writes the files of jobs, and
//! drives [`amore_slurm::poller::Poller`], which makes the decisions.
//!
//! - [`Slurm`] is the handle that everything needs: [`command`] runs one command, in its [`environment`], for
//!   [`amore_slurm::commands`], which decides what is asked; [`site_facts`] has what the site offers to this user.
//! - [`tracker`] is the loop that drives the poller; [`manifest`], [`event_tail`] and [`log_tail`] are the files of jobs.
//! - [`template`] and [`site_file`] find the files of the site.

mod background;
pub mod calls;
pub mod command;
pub mod environment;
pub mod event_tail;
pub mod growing_lines;
pub mod log_tail;
pub mod manifest;
pub mod site_facts;
pub mod site_file;
mod slurm;
pub mod template;
pub mod tracker;
mod users;

pub use slurm::Slurm;
