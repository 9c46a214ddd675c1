//! Why the service cannot be started.

use std::{io, path::PathBuf};

use amore_ledger::LedgerError;
use amore_listener_db::ListenerDbError;

use super::{configuration::ConfigurationError, kafka::KafkaError};
use crate::{advice::Advice, api::TlsError, coordinate::CoordinateError};

/// Why the service cannot be started, or cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Its log cannot be opened.
    #[error("cannot open the log {}: {source}", path.display())]
    Log { path: PathBuf, source: io::Error },
    /// Its configuration is invalid.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// The certificate of the API, or its key, cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The API cannot be started.
    #[error("the API cannot be started: {0}")]
    Api(io::Error),
    /// Kafka cannot be used as it is configured.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// It cannot receive signals.
    #[error("cannot receive signals: {0}")]
    Signals(io::Error),
    /// The operating system refuses a thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// The list of its directories cannot be read.
    #[error(transparent)]
    Listener(#[from] ListenerDbError),
    /// The inbox cannot be opened.
    #[error("cannot open the inbox: {0}")]
    Ledger(#[from] LedgerError),
    /// The place of the inbox cannot be used.
    #[error("cannot open the inbox: {0}")]
    Place(#[from] CoordinateError),
    /// Another process has become the service of this directory.
    #[error("another process serves this directory now: {why}")]
    Deposed { why: String },
    /// The operating system has no random numbers.
    #[error("cannot get random numbers: {0}")]
    Random(getrandom::Error),
    /// There is nothing to serve.
    #[error("{} is neither a database directory nor the directory of a service", directory.display())]
    NothingToServe { directory: PathBuf },
}

impl Advice for ServiceError {
    fn hint(&self) -> Option<String> {
        match self {
            ServiceError::Log { .. } => Some("the service writes amore.log into its directory".to_owned()),
            ServiceError::Signals(_)
            | ServiceError::Api(_)
            | ServiceError::Random(_)
            | ServiceError::Thread(_) => None,
            ServiceError::Tls(error) => error.hint(),
            ServiceError::Deposed { .. } => {
                Some("start this one again, as a stand-by; systemd and Supervisor do that by themselves".to_owned())
            }
            ServiceError::Configuration(error) => error.hint(),
            ServiceError::Kafka(error) => error.hint(),
            ServiceError::Ledger(error) => Advice::hint(error),
            ServiceError::Place(error) => error.hint(),
            ServiceError::Listener(error) => error.hint(),
            ServiceError::NothingToServe { .. } => Some(
                "give a database directory, or add databases to this one: amore listener add <proposal> [DIR]"
                    .to_owned(),
            ),
        }
    }
}
