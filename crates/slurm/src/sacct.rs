//! Parses the output of `sacct`.

use crate::{
    job_status::{Columns, JobStatus, UserNames},
    token::tokens_in,
};

/// The fields that are requested. The command line comes last, because it may contain the separator.
pub const ACCOUNTED: [&str; 8] =
    ["JobID", "State", "ExitCode", "NodeList", "Partition", "Reservation", "Reason", "SubmitLine"];

/// Parses a line of `sacct -P -o FIELDS`. `fields` leaves out those that this version of Slurm does not have.
pub fn parse_accounting(line: &str, fields: &[&str], names: UserNames<'_>) -> Option<(String, JobStatus)> {
    let parts: Vec<&str> = line.splitn(fields.len(), '|').map(str::trim).collect();
    if parts.len() < fields.len() {
        return None;
    }
    let value = |name: &str| fields.iter().position(|field| *field == name).map_or("", |at| parts[at]);
    let nodes = Some(value("NodeList")).filter(|nodes| *nodes != "None assigned").unwrap_or_default();
    let columns = Columns {
        state: value("State"),
        exit: value("ExitCode"),
        nodes,
        partition: value("Partition"),
        reservation: value("Reservation"),
        reason: value("Reason"),
    };
    Some((value("JobID").to_owned(), columns.status(tokens_in(value("SubmitLine")), names)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{command_failure::unknown_field, job_end::JobEnd, recorded::recorded};

    #[test]
    fn jobs_of_the_accounting_end_as_their_states_say() {
        for (version, text) in recorded("sacct.txt") {
            let mut ends = Vec::new();
            for line in text.lines().filter(|line| !line.starts_with('#') && line.contains('|')) {
                let fields: Vec<&str> = line.split('|').collect();
                // One job has the separator in its name; Amore does not request names.
                if fields.len() != 15 {
                    continue;
                }
                let (state, exit, reason) = (fields[4], fields[5], fields[13]);
                let columns = Columns { state, exit, reason, reservation: fields[7], ..Columns::default() };
                let end = columns.end(&|_| Some("alice".to_owned()));
                let word = state.split(' ').next().unwrap();
                match word {
                    "PENDING" | "RUNNING" | "REQUEUED" => assert_eq!(end, None, "{version}: {line}"),
                    _ => assert!(end.is_some(), "{version}: {line}"),
                }
                ends.extend(end);
            }
            assert!(ends.contains(&JobEnd::Completed), "{version}");
            assert!(ends.contains(&JobEnd::TimeLimit), "{version}");
            assert!(ends.iter().any(|end| matches!(end, JobEnd::Cancelled { by: Some(_) })), "{version}");
        }
    }

    #[test]
    fn a_script_that_was_killed_is_no_launch_failure() {
        let line = "29|FAILED|0:9|n1|main||JobLaunchFailure|sbatch";
        let (_, seen) = parse_accounting(line, &ACCOUNTED, &|_| None).unwrap();
        assert_eq!(seen.end, Some(JobEnd::Failed { code: (0, 9), launch: false }));
        let line = "30|FAILED|0:53|n1|main||None|sbatch";
        assert_eq!(
            parse_accounting(line, &ACCOUNTED, &|_| None).unwrap().1.end,
            Some(JobEnd::Failed { code: (0, 53), launch: true })
        );
    }

    #[test]
    fn a_field_that_sacct_does_not_know_is_named() {
        for words in [
            "fatal: Invalid field requested: \"SubmitLine\"",
            "Invalid field requested: \"SubmitLine\"; more",
        ] {
            assert_eq!(unknown_field(words), Some("SubmitLine"));
        }
        assert_eq!(unknown_field("Slurm accounting storage is disabled"), None);
        let fields: Vec<&str> = ACCOUNTED.iter().copied().filter(|name| *name != "SubmitLine").collect();
        let names = |uid| (uid == 0).then(|| "root".to_owned());
        let (job, seen) = parse_accounting("17|CANCELLED by 0|0:0|n1|main||None", &fields, &names).unwrap();
        assert_eq!((job.as_str(), seen.end), ("17", Some(JobEnd::Cancelled { by: Some("root".to_owned()) })));
        assert_eq!(seen.tokens, Vec::<String>::new());
    }
}
