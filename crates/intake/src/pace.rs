//! How often something that failed is tried again.

/// After how many attempts something is given up: about a day.
pub(crate) const ATTEMPTS: u32 = 30;
const FIRST: f64 = 2.0;
const LONGEST: f64 = 3600.0;

/// Seconds until the next attempt, after so many in vain.
pub(crate) fn pause(attempts: u32) -> f64 {
    (FIRST * 2f64.powi(attempts.saturating_sub(1).min(30) as i32)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_and_last_about_a_day() {
        assert_eq!((pause(1), pause(2), pause(99)), (2.0, 4.0, 3600.0));
        let all: f64 = (1..=ATTEMPTS).map(pause).sum();
        assert!((18.0..30.0).contains(&(all / 3600.0)), "{all}");
    }
}
