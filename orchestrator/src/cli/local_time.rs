//! Formats times for display, in the time zone of this machine (or that of `TZ`) and with its name.

use jiff::{Timestamp, tz::TimeZone};

/// The time zone: `TZ`, otherwise that of the machine; UTC if neither is known.
pub fn zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

/// Seconds since 1970 as `2026-11-22 09:07:03 CET`.
pub fn in_zone(seconds: f64, zone: &TimeZone) -> String {
    let shown =
        |time: Timestamp| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
    timestamp(seconds).map_or_else(|| no_date(seconds), shown)
}

/// Seconds since 1970 as `2026-11-22 08:07:03` in UTC, for programs.
pub fn utc(seconds: f64) -> String {
    let shown = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    timestamp(seconds).map_or_else(|| no_date(seconds), shown)
}

/// The time, if its year is at most 9999.
fn timestamp(seconds: f64) -> Option<Timestamp> {
    // A number that is too large becomes the largest integer, which is also out of range.
    if seconds.is_finite() { Timestamp::from_second(seconds.floor() as i64).ok() } else { None }
}

/// Formats a number that is not a valid time; other programs may write any number.
fn no_date(seconds: f64) -> String {
    if seconds.is_finite() { format!("{seconds:e} s") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time zone of Hamburg, without a time zone database.
    fn hamburg() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn the_zone_is_named_and_changes_with_the_season() {
        assert_eq!(in_zone(1_795_334_823.9, &hamburg()), "2026-11-22 09:07:03 CET");
        assert_eq!(in_zone(1_782_864_000.0, &hamburg()), "2026-07-01 02:00:00 CEST");
        assert_eq!(in_zone(951_782_400.0, &TimeZone::UTC), "2000-02-29 00:00:00 UTC");
        assert_eq!(in_zone(-0.5, &TimeZone::UTC), "1969-12-31 23:59:59 UTC");
        assert_eq!(utc(1_795_334_823.9), "2026-11-22 08:07:03");
    }

    #[test]
    fn a_number_that_is_no_date_is_shown_as_it_is() {
        for (odd, shown) in [(f64::NAN, ""), (f64::INFINITY, ""), (1e300, "1e300 s"), (-1e300, "-1e300 s")] {
            assert_eq!((in_zone(odd, &hamburg()).as_str(), utc(odd).as_str()), (shown, shown));
        }
        assert_eq!(utc(1.7e12), "1.7e12 s");
    }
}
