//! Whether the kernel has killed a process of this job because the job ran out of memory.

use std::{fs, path::PathBuf};

/// The counter of out-of-memory kills of the job's control group.
#[derive(Debug)]
pub struct JobMemory {
    /// The file and its initial count, if available.
    counter: Option<(PathBuf, &'static str)>,
    at_start: u64,
}

impl JobMemory {
    /// Finds the counter: `memory.events` (cgroup v2) or `memory.oom_control` (v1) of our control group.
    pub fn of_this_process() -> Self {
        let counter = fs::read_to_string("/proc/self/cgroup").ok().and_then(|groups| find(&groups));
        let at_start = counter.as_ref().and_then(count).unwrap_or(0);
        JobMemory { counter, at_start }
    }

    /// Whether a process was killed since the worker started; `false` if unknown.
    pub fn was_exceeded(&self) -> bool {
        self.counter.as_ref().and_then(count).is_some_and(|now| now > self.at_start)
    }
}

fn find(groups: &str) -> Option<(PathBuf, &'static str)> {
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.trim_start_matches('/');
        let candidates = if controllers.is_empty() {
            vec![PathBuf::from("/sys/fs/cgroup").join(path).join("memory.events")]
        } else if controllers.split(',').any(|name| name == "memory") {
            // In a container, the mount shows only the container's part of the tree.
            let root = PathBuf::from("/sys/fs/cgroup/memory");
            let inner = path.split_once("slurm").map(|(_, rest)| format!("slurm{rest}"));
            std::iter::once(root.join(path))
                .chain(inner.map(|inner| root.join(inner)))
                .map(|folder| folder.join("memory.oom_control"))
                .collect()
        } else {
            continue;
        };
        if let Some(found) = candidates.into_iter().find(|file| file.is_file()) {
            return Some((found, "oom_kill"));
        }
    }
    None
}

fn count((file, word): &(PathBuf, &'static str)) -> Option<u64> {
    parse(&fs::read_to_string(file).ok()?, word)
}

fn parse(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_count_kills() {
        assert_eq!(parse("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n", "oom_kill"), Some(2));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "oom_kill"), Some(1));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\n", "oom_kill"), None);
    }
}
