//! Time, as an argument.

use std::time::Duration;

/// A moment, on the two clocks that the core needs. The driver reads them; the core never does.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Moment {
    /// Since the process started. Never goes back; for delays.
    pub steady: Duration,
    /// Seconds since 1970, as the host's clock shows; for what people and the ledger read. May jump.
    pub unix: f64,
}

impl Moment {
    /// Microseconds since 1970, for tokens and plan stamps. Negative and NaN clocks give 0.
    pub fn micros(self) -> u64 {
        (self.unix * 1e6) as u64
    }
}
