//! Kafka: events about runs come in, DAMNIT's update messages go out.
//!
//! Without I/O: [`triggers`] says what a message means, and [`updates`] what DAMNIT's messages look like. With it:
//! [`connection`] holds the settings of a connection and reads its secrets, [`source`] receives messages and commits their
//! offsets once they are stored, [`publisher`] sends without ever waiting for a broker.

pub mod connection;
pub mod publisher;
pub mod source;
pub mod triggers;
mod trouble;
pub mod updates;

pub use connection::{Connection, ConnectionError};
pub use publisher::Publisher;
pub use source::{Received, Source};
pub use triggers::{EventRule, Reading, read};
pub use updates::Update;
