//! Why the catalogue has no value, and what to do.

use std::{error::Error, io, path::PathBuf, sync::Arc};

/// Why a value of the catalogue is not known. No message contains the token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MymdcError {
    /// The proposal has no credentials.
    #[error("there are no credentials for MyMdC: {} does not exist", path.display())]
    NoCredentials {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read: permissions, or a failure of the file system.
    #[error("the credentials for MyMdC cannot be read from {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The file does not contain what it should.
    #[error("the credentials for MyMdC in {} cannot be used: {why}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the content.
        why: String,
    },
    /// 401 or 403.
    #[error("MyMdC does not accept the proposal's token (status {status} from {address}){details}")]
    Refused {
        /// What was asked for.
        address: String,
        /// The status.
        status: u16,
        /// What the server says, with a colon before it.
        details: String,
    },
    /// 404, or an empty list.
    #[error("MyMdC does not know {what} (asked at {address}){details}")]
    NotThere {
        /// What it does not know.
        what: String,
        /// What was asked for.
        address: String,
        /// What the server says, with a colon before it.
        details: String,
    },
    /// The run is known, and this of it is not entered.
    #[error("MyMdC knows the run, but {what} is not entered")]
    NotEntered {
        /// What is missing.
        what: &'static str,
    },
    /// 5xx.
    #[error("MyMdC has a failure (status {status} from {address}){details}")]
    ServerFailed {
        /// What was asked for.
        address: String,
        /// The status.
        status: u16,
        /// What the server says, with a colon before it.
        details: String,
    },
    /// No answer in time.
    #[error("MyMdC has not answered in {seconds} s (asked at {address})")]
    TimedOut {
        /// What was asked for.
        address: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection failed.
    #[error("MyMdC cannot be reached at {address}: {}", innermost(source.as_ref()))]
    Unreachable {
        /// What was asked for.
        address: String,
        /// Why.
        source: Arc<reqwest::Error>,
    },
    /// The HTTP library cannot be set up.
    #[error("requests to MyMdC cannot be prepared: {}", innermost(source.as_ref()))]
    NoClient {
        /// Why.
        source: Arc<reqwest::Error>,
    },
    /// It sends to another place, which the token is not for.
    #[error(
        "the answer of MyMdC leads to another server ({to}), which does not get the token (asked at {address})"
    )]
    LeadsAway {
        /// What was asked for.
        address: String,
        /// Scheme, host and port of the other place.
        to: String,
    },
    /// Another answer than MyMdC gives.
    #[error("the answer of {address} is not one of MyMdC: {why}")]
    WrongAnswer {
        /// What was asked for.
        address: String,
        /// What is wrong.
        why: String,
    },
}

impl MymdcError {
    /// The class of the error of a variable that needed the value.
    pub fn class(&self) -> &'static str {
        match self {
            MymdcError::NoCredentials { .. }
            | MymdcError::Unreadable { .. }
            | MymdcError::Invalid { .. }
            | MymdcError::Refused { .. } => "MymdcCredentialsError",
            MymdcError::NotThere { .. } | MymdcError::NotEntered { .. } => "MymdcNotFoundError",
            MymdcError::ServerFailed { .. }
            | MymdcError::TimedOut { .. }
            | MymdcError::NoClient { .. }
            | MymdcError::Unreachable { .. } => "MymdcUnavailableError",
            MymdcError::LeadsAway { .. } | MymdcError::WrongAnswer { .. } => "MymdcAnswerError",
        }
    }

    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            MymdcError::NoCredentials { .. } => {
                "write token: and server: into this file; at European XFEL, extra_proposal's Proposal(NUMBER).title() requests it"
            }
            MymdcError::Unreadable { .. } => {
                "check that you may read the file; it should be readable by the proposal's group"
            }
            MymdcError::Invalid { .. } => {
                "the file needs two lines, token: TOKEN and server: https://ADDRESS; correct it, or remove it and request a new one"
            }
            MymdcError::Refused { .. } => {
                "the token may have expired or belong to another proposal: remove usr/mymdc-credentials.yml, request a new one, and reprocess the run"
            }
            MymdcError::NotThere { .. } => {
                "check the run and the address of the server in usr/mymdc-credentials.yml; a new run may be entered later: then reprocess it"
            }
            MymdcError::NotEntered { .. } => "enter it in MyMdC, then reprocess the run",
            MymdcError::ServerFailed { .. } | MymdcError::TimedOut { .. } => {
                "reprocess the run when MyMdC works again"
            }
            MymdcError::Unreachable { .. } => {
                "check the address of the server in usr/mymdc-credentials.yml, and whether this machine may reach it; then reprocess the run"
            }
            MymdcError::NoClient { .. } => "check the certificates of this machine, and report this",
            MymdcError::LeadsAway { .. } | MymdcError::WrongAnswer { .. } => {
                "check the address of the server in usr/mymdc-credentials.yml"
            }
        }
    }
}

/// The cause that says most: the last one.
fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
