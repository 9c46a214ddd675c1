//! Why a run is processed now.

pub mod user_request;
