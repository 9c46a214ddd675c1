//! Asks the metadata catalogue MyMdC about a run.
//!
//! Three modules: [`credentials`] reads the proposal's token, [`client`] sends the requests, and [`error`] says what went
//! wrong and what to do. The token leaves [`credentials`] only as a header of a request to the server that the same file
//! names: it is in no error, and `Debug` does not print it.

pub mod client;
pub mod credentials;
pub mod error;

pub use client::{Answers, Client, Patience};
pub use credentials::{Credentials, Token};
pub use error::MymdcError;
