//! Slurm: jobs are submitted, followed and cancelled here; what a job computes is not known here.
//!
//! [`lane`] is the loop that does it, by each [`order`]; [`client`] asks Slurm, in the [`environment`] that its commands need, [`answers`] reads what it says, [`refused`] why it
//! does not take a job, [`states`] and [`reasons`] what becomes of one that it has; [`asked`] is what a job asks Slurm for; [`look`] asks how jobs
//! stand, [`followed`] is what that comes to; [`news`] reads what a worker in a job says. [`site_file`] has the administrator's defaults, and [`sourced`] settings with
//! their places; [`site_facts`] asks what the site offers to this user, [`clusters`] on which clusters, [`partition_facts`] and
//! [`person`] read that; [`partition`] and [`reservation`] judge it; [`destination`] says beforehand where a job would go, and why.

pub mod answers;
pub mod asked;
pub mod cancelling;
pub mod client;
pub mod clusters;
pub mod destination;
pub mod environment;
mod followed;
pub mod lane;
pub mod look;
pub mod news;
pub mod order;
pub mod partition;
pub mod partition_facts;
pub mod person;
pub mod reasons;
pub mod refused;
pub mod reservation;
pub mod script;
pub mod site_facts;
pub mod site_file;
pub mod sourced;
pub mod states;
