//! The memory of a task's jobs: how much more there is, and the error of a variable that needed more than that.

use crate::after_job::more_memory;

/// What is known of the memory of a task's jobs, in MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobMemory {
    /// What the last one asked for.
    pub(crate) had: Option<u64>,
    /// The most that it can have on one node.
    pub(crate) most: Option<u64>,
    /// The site takes `--mem`.
    pub(crate) may_be_asked_for: bool,
}

impl JobMemory {
    /// What the next job asks for after this one ran out of memory; `None`: there is no more.
    pub(crate) fn more(&self) -> Option<u64> {
        more_memory(self.had, self.most).filter(|_| self.may_be_asked_for)
    }

    /// The error of a variable that needed more.
    pub(crate) fn error(&self, words: &str) -> String {
        let had = match self.had {
            Some(had) => format!("with {} in the last attempt", amount(had)),
            None => "with the default memory of its partition".to_owned(),
        };
        let (most, hint) = match self.most {
            _ if !self.may_be_asked_for => (
                String::new(),
                "Amore requests no memory here (slurm_mem is none): a partition with larger nodes may help, @Variable(cluster=True, partition=\"NAME\")",
            ),
            Some(most) if self.had.is_some_and(|had| had >= most) => (
                format!("; the largest node available to it has {}", amount(most)),
                "reduce its memory, or use larger nodes (`sinfo -o '%P %m'`): @Variable(cluster=True, partition=\"NAME\", mem=\"…\")",
            ),
            Some(most) => (
                format!("; the largest node available to it has {}", amount(most)),
                "give it more memory: @Variable(cluster=True, mem=\"…\")",
            ),
            None => (String::new(), "give it more memory: @Variable(cluster=True, mem=\"128G\")"),
        };
        format!("{words} while this variable was being computed, {had}{most}\n{hint}")
    }
}

/// With the largest unit that is exact.
pub(crate) fn amount(mem_mib: u64) -> String {
    if mem_mib.is_multiple_of(1024) { format!("{} GiB", mem_mib / 1024) } else { format!("{mem_mib} MiB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_says_what_it_had_what_there_is_and_what_to_do() {
        for (had, most, may_be_asked_for, expected) in [
            (
                Some(4096),
                Some(4096),
                true,
                "with 4 GiB in the last attempt; the largest node available to it has 4 GiB\nreduce its memory",
            ),
            (
                Some(2500),
                Some(4000),
                true,
                "with 2500 MiB in the last attempt; the largest node available to it has 4000 MiB\ngive it more",
            ),
            (None, None, true, "the default memory of its partition\ngive it more memory"),
            (None, Some(4000), false, "the default memory of its partition\nAmore requests no memory here"),
        ] {
            let error = JobMemory { had, most, may_be_asked_for }.error("job 7 ran out of memory");
            assert!(
                error.starts_with("job 7 ran out of memory while this variable was being computed, with "),
                "{error}"
            );
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn there_is_no_more_where_the_site_takes_no_such_option() {
        let memory = JobMemory { had: Some(1000), most: Some(4000), may_be_asked_for: true };
        assert_eq!(memory.more(), Some(2000));
        assert_eq!(JobMemory { may_be_asked_for: false, ..memory }.more(), None);
        assert_eq!(JobMemory { had: Some(4000), ..memory }.more(), None);
    }
}
