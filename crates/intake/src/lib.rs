//! What a service makes of events about runs, as a synchronous state machine: [`Intake::on`] takes an [`Input`] at a time and
//! gives [`Effect`]s.
//!
//! An event says that raw or calibrated data of a run have arrived; here it is an [`Arrival`]. It is stored before it comes here,
//! and stays open in the store until every directory of its proposal has processed the run. So nothing is lost when a process
//! dies, and an event that comes twice, late or in another order does no harm:
//!
//! * The data on disk decide. Files of a run have a digest; a directory that has processed the data with this digest last does
//!   not process them again.
//! * What is on disk and was reported by nobody is found ([`judge`]).
//! * Data that are still being written are looked at again later ([`SettleRule`]).
//! * Of several arrivals of the same data, one is processed, and the others end with it.
//! * A directory that refuses a request, for example because its context file has errors, is asked again, less and less often.
//!
//! No I/O, no clock, no randomness: times are arguments, in seconds since 1970.

mod arrival;
mod finding;
mod intake;
mod look;
mod pace;

pub use arrival::{Arrival, ArrivalNo, ArrivedData, Facts, Generation, Last, OpenArrival, Subject};
pub use finding::{Before, Finding, Found, InTable, Records, judge};
pub use intake::{Change, DirectoryEnd, Effect, Input, Intake, Looked, Settled};
pub use look::{FolderLook, SettleRule};
