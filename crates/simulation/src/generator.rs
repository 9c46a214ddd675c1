//! The only source of randomness in a simulation.

use std::time::Duration;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A seeded generator: a seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Generator(Pcg64Mcg);

impl Generator {
    /// Creates the generator of a seed.
    pub fn seeded(seed: u64) -> Self {
        Generator(Pcg64Mcg::seed_from_u64(seed))
    }

    /// A generator for a part of the world: numbers drawn by that part do not affect other parts.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Generator::seeded(self.0.next_u64())
    }

    /// A number below `limit`; 0 if the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The bias of the remainder is too small to matter in a simulation.
        self.0.next_u64().checked_rem(limit).unwrap_or(0)
    }

    /// A whole number of milliseconds from `least` to `most`, inclusive.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_millis();
        let span = u64::try_from(span).unwrap_or(u64::MAX - 1);
        least + Duration::from_millis(self.below(span + 1))
    }

    /// True in `times` of `of` cases.
    pub fn chance(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }
}
