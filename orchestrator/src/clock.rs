//! The time as it is stored and sent: seconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 for times before.
pub fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The present time, in seconds since 1970.
pub fn now() -> f64 {
    unix(SystemTime::now())
}
