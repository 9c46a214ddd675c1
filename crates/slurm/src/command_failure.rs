//! What the failure of a Slurm command means, except for submissions (see [`refused`](crate::refused)).

/// Whether the controller was not even reached, so that it cannot have accepted anything.
pub fn is_not_reached(words: &str) -> bool {
    ["connect failure", "Connection refused"].iter().any(|text| words.contains(text))
}

/// The field that this version of sacct does not support, if that is the error.
pub fn unknown_field(words: &str) -> Option<&str> {
    let (_, rest) = words.split_once("Invalid field requested: \"")?;
    Some(rest.split_once('"')?.0)
}

/// Whether the command did not start at all, as reported by a shell (126, 127) or by the dynamic loader.
pub fn did_not_start(code: i32, words: &str) -> bool {
    let loader = [
        "error while loading shared libraries",
        "symbol lookup error",
        "cannot execute binary file",
        "Exec format error",
        "bad interpreter",
    ];
    matches!(code, 126 | 127)
        || (code != 0
            && (loader.iter().any(|text| words.contains(text))
                || words.lines().any(|line| line.contains("version `") && line.contains("not found"))))
}

/// Whether the controller does not know the job (any more).
pub fn is_unknown_job(words: &str) -> bool {
    words.contains("Invalid job id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_that_was_not_reached_has_taken_nothing() {
        assert!(is_not_reached("Unable to contact slurm controller (connect failure)"));
        assert!(!is_not_reached("Socket timed out on send/recv operation"));
    }

    #[test]
    fn a_command_that_did_not_begin_is_told_from_one_that_says_no() {
        let lost =
            "sbatch: error while loading shared libraries: libslurmfull.so: cannot open shared object file";
        assert!(did_not_start(127, lost) && did_not_start(1, lost) && did_not_start(126, ""));
        assert!(did_not_start(
            1,
            "sbatch: /lib/libc.so.6: version `GLIBC_2.38' not found (required by sbatch)"
        ));
        assert!(!did_not_start(1, "sbatch: error: Batch job submission failed: Invalid qos specification"));
        assert!(!did_not_start(0, lost) && !did_not_start(255, "sbatch: unrecognized option '--x'"));
    }
}
