//! Parses the output of `scontrol show job`.

use crate::{
    job_status::{Columns, JobStatus},
    token::tokens_in,
};

/// Parses a line of `scontrol -o show job NUMBER`: the status of a job according to the controller.
pub fn parse_shown(line: &str) -> Option<(String, JobStatus)> {
    let line = format!(" {line}");
    let value = |name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}="))?;
        Some(rest.split(' ').next().unwrap_or_default().to_owned())
    };
    let none = |text: String| if text == "(null)" { String::new() } else { text };
    let state = value("JobState")?;
    let (nodes, partition) =
        (none(value("NodeList").unwrap_or_default()), value("Partition").unwrap_or_default());
    let (reservation, exit) =
        (none(value("Reservation").unwrap_or_default()), value("ExitCode").unwrap_or_default());
    let reason = value("Reason").unwrap_or_default();
    let columns = Columns {
        state: &state,
        exit: &exit,
        nodes: &nodes,
        partition: &partition,
        reservation: &reservation,
        reason: &reason,
    };
    let tokens = line.split_once(" Comment=").map(|(_, rest)| tokens_in(rest)).unwrap_or_default();
    Some((value("JobId")?, columns.status(tokens, &|_| None)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use amore_model::JobState;

    use crate::{job_end::JobEnd, recorded::recorded};

    #[test]
    fn the_controller_says_how_one_job_stands() {
        for (version, text) in recorded("scontrol-show-job.txt") {
            let shown: Vec<(String, JobStatus)> = text.lines().filter_map(parse_shown).collect();
            assert!(shown.len() > 5, "{version}");
            assert!(
                shown.iter().any(|(_, seen)| seen.state == JobState::Running && !seen.nodes.is_empty()),
                "{version}"
            );
            assert!(shown.iter().any(|(_, seen)| seen.waits() && seen.nodes.is_empty()), "{version}");
            assert!(shown.iter().all(|(job, _)| job.parse::<u64>().is_ok()), "{version}");
        }
        let line = "JobId=7 JobName=x JobState=CANCELLED Reason=None ExitCode=0:15 Partition=main NodeList=n1 Comment=wg=7 amore:a-1 WorkDir=/";
        let (_, seen) = parse_shown(line).unwrap();
        assert_eq!((seen.is_of("a-1"), seen.end), (true, Some(JobEnd::Cancelled { by: None })));
    }
}
