//! Parses the output of `squeue`.

use crate::{
    job_status::{Columns, JobStatus},
    token::tokens_in,
};

/// Parses a line of `squeue -o '%i|%T|%N|%P|%v|%k|%r'`: the job's number and its status.
pub fn parse_queue(line: &str) -> Option<(String, JobStatus)> {
    let mut parts = line.splitn(6, '|');
    let mut next = || parts.next().map(str::trim);
    let (job, state, nodes, partition, reservation, rest) =
        (next()?, next()?, next()?, next()?, next()?, next()?);
    // A comment may contain the separator; a reason may contain it only if there is no comment.
    let (comment, reason) = match rest.strip_prefix("(null)|") {
        Some(reason) => ("", reason),
        None => rest.rsplit_once('|').unwrap_or((rest, "")),
    };
    let reservation = if reservation == "(null)" || reservation == "N/A" { "" } else { reservation };
    let columns = Columns { state, exit: "", nodes, partition, reservation, reason };
    // squeue does not show who cancelled the job.
    Some((job.to_owned(), columns.status(tokens_in(comment), &|_| None)))
}

/// Parses a line of `squeue -O 'JobArrayID:|,exit_code:|'`: job, exit code and signal. squeue prints the status of wait(2)
/// (22.05), or both with a colon (26.05).
pub fn parse_exit_code(line: &str) -> Option<(String, (i32, i32))> {
    let (job, status) = line.trim().trim_end_matches('|').split_once('|')?;
    let code = match status.trim().split_once(':') {
        Some((code, signal)) => (code.parse().ok()?, signal.parse().ok()?),
        None => {
            let status: i32 = status.trim().parse().ok()?;
            let signal = status & 0x7f;
            (if signal == 0 { (status >> 8) & 0xff } else { 0 }, signal)
        }
    };
    Some((job.trim().to_owned(), code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_may_hold_anything() {
        let line = "7|PENDING||main|(null)|(null)|Nodes required for job are DOWN, DRAINED | or (odd)";
        let (job, seen) = parse_queue(line).unwrap();
        assert_eq!((job.as_str(), seen.waits()), ("7", true));
        assert!(seen.reason.ends_with("| or (odd)"));
    }

    #[test]
    fn exit_codes_are_those_of_wait() {
        for (line, job, code) in [
            ("4|0|", "4", (0, 0)),
            ("1|10752|", "1", (42, 0)),
            ("2|9|", "2", (0, 9)),
            // scontrol shows 0:53.
            ("3|4021|", "3", (0, 53)),
            ("12_7|256|", "12_7", (1, 0)),
            ("159|42:0|", "159", (42, 0)),
            ("161|0:53|", "161", (0, 53)),
        ] {
            assert_eq!(parse_exit_code(line), Some((job.to_owned(), code)), "{line}");
        }
        for line in ["", "|", "4", "4|N/A|"] {
            assert_eq!(parse_exit_code(line), None, "{line}");
        }
    }
}
