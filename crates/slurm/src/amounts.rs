//! Times and amounts of memory in Slurm's notation.

/// The largest amount: 1 EiB. What is more than that is a typing error.
const MOST_BYTES: f64 = (1_u64 << 60) as f64;

/// Parses an amount of memory such as `512M`, `32G` or `1.5T`, in bytes. As in Slurm, a plain number is in megabytes.
pub fn memory_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = match text.char_indices().last()? {
        (at, unit) if unit.is_ascii_alphabetic() => (&text[..at], unit.to_ascii_uppercase()),
        _ => (text, 'M'),
    };
    let factor = match unit {
        'K' => 1u64 << 10,
        'M' => 1 << 20,
        'G' => 1 << 30,
        'T' => 1 << 40,
        _ => return None,
    };
    let bytes = digits.parse::<f64>().ok()? * factor as f64;
    (bytes > 0.0 && bytes <= MOST_BYTES).then_some(bytes as u64)
}

/// Like [`memory_bytes`], rounded up to MiB.
pub fn memory_mib(text: &str) -> Option<u64> {
    memory_bytes(text).map(|bytes| bytes.div_ceil(1 << 20))
}

/// Parses a time in any of Slurm's forms, rounded up to minutes: `minutes`, `minutes:seconds`, `hours:minutes:seconds`,
/// `days-hours`, `days-hours:minutes`, `days-hours:minutes:seconds` (sbatch(1)).
pub fn minutes(text: &str) -> Option<u32> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u32>().ok()?), rest),
        None => (None, text),
    };
    let parts: Vec<u32> = rest.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match (days, parts.as_slice()) {
        (None, [minutes]) => (0, *minutes, 0),
        (None, [minutes, seconds]) => (0, *minutes, *seconds),
        (Some(_), [hours]) => (*hours, 0, 0),
        (Some(_), [hours, minutes]) => (*hours, *minutes, 0),
        (_, [hours, minutes, seconds]) => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let total = u64::from(days.unwrap_or(0)) * 1440
        + u64::from(hours) * 60
        + u64::from(minutes)
        + u64::from(seconds).div_ceil(60);
    u32::try_from(total).ok().filter(|minutes| *minutes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_slurm_does() {
        for (text, expected) in
            [("90", 90), ("90:30", 91), ("2:00:00", 120), ("1-0", 1440), ("1-2:30", 1590), ("0-0:0:59", 1)]
        {
            assert_eq!(minutes(text), Some(expected), "{text}");
        }
        for bad in ["", "0", "2h", "1:2:3:4", "-1", "1-"] {
            assert_eq!(minutes(bad), None, "{bad}");
        }
    }

    #[test]
    fn memory_is_written_as_slurm_does() {
        assert_eq!(memory_bytes("512M"), Some(512 << 20));
        assert_eq!(memory_bytes("1.5g"), Some(3 << 29));
        assert_eq!(memory_bytes("100"), Some(100 << 20));
        assert_eq!(memory_mib("1K"), Some(1));
        for bad in ["", "G", "-1G", "1X", "much", "inf", "1e30G", "0"] {
            assert_eq!(memory_bytes(bad), None, "{bad}");
        }
    }
}
