//! Recorded output of real Slurms, for tests.

use std::{fs, path::PathBuf};

/// Reads a recorded file of each version, as pairs of version and text.
pub fn recorded(file: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../slurm-tests/recorded");
    ["22.05", "24.11", "26.05"]
        .iter()
        .map(|version| {
            let path = folder.join(format!("{version}-compose")).join(file);
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            ((*version).to_owned(), text)
        })
        .collect()
}

/// The names in a list from Slurm's manual.
pub fn manual(file: &str) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../slurm-tests/manual").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

use proptest::prelude::*;

proptest! {
    #[test]
    fn no_line_is_too_odd(line in "\\PC{0,80}") {
        let _ = (crate::squeue::parse_queue(&line), crate::sacct::parse_accounting(&line, &crate::sacct::ACCOUNTED, &|_| None));
        let _ = (crate::scontrol::parse_shown(&line), crate::job_log::end_in_log(&line));
        let _ = (crate::squeue::parse_exit_code(&line), crate::printed::words_of(&line), crate::token::tokens_in(&line));
        let _ = crate::sbatch::parse_submitted(&line, &line, &crate::clusters::Clusters::Ours);
    }
}
