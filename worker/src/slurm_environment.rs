//! Which of the variables that Slurm sets in a job's environment are not inherited by programs started by variables.
//!
//! Slurm's commands interpret such variables as options. If a variable submits a job, the options of the surrounding job would
//! apply and conflict with its own: `srun` fails with "SLURM_MEM_PER_CPU, SLURM_MEM_PER_GPU, and SLURM_MEM_PER_NODE are mutually
//! exclusive".

/// Prefixes of variables that are always removed. A step of this job gets the job's memory without them.
const ALWAYS: [&str; 12] = [
    "SBATCH_",
    "SRUN_",
    "SALLOC_",
    "SLURM_MEM_PER_",
    "SLURM_EXPORT_ENV",
    "SLURM_GET_USER_ENV",
    "SLURM_CPU_BIND",
    "SLURM_MEM_BIND",
    "SLURM_DISTRIBUTION",
    "SLURM_DIST_",
    "SLURM_HINT",
    "SLURM_EXCLUSIVE",
];
/// The task layout of a job. With one task, a step has the same layout without them; a variable that requested more tasks
/// or nodes keeps them for its `srun`.
const LAYOUT: [&str; 12] = [
    "SLURM_NTASKS",
    "SLURM_NPROCS",
    "SLURM_TASKS_PER_NODE",
    "SLURM_CPUS_PER_TASK",
    "SLURM_CPUS_PER_GPU",
    "SLURM_TRES_PER_TASK",
    "SLURM_GPUS_PER_",
    "SLURM_GRES_FLAGS",
    "SLURM_THREADS_PER_CORE",
    "SLURM_CORE_SPEC",
    "SLURM_THREAD_SPEC",
    "SLURM_OVERCOMMIT",
];

/// Variables of a job that are hidden from the process of a variable. `command`: the process is a command (`job=`), which
/// sees the task layout as any job script does.
pub fn taken_away(given: &[(String, String)], command: bool) -> Vec<String> {
    let value = |name: &str| given.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    let many =
        |name: &str| value(name).and_then(|text| text.parse::<u32>().ok()).is_some_and(|count| count > 1);
    let keeps_layout = command || many("SLURM_NTASKS") || many("SLURM_JOB_NUM_NODES");
    let begins = |name: &str, list: &[&str]| list.iter().any(|begin| name.starts_with(begin));
    given
        .iter()
        .map(|(name, _)| name)
        .filter(|name| begins(name, &ALWAYS) || (!keeps_layout && begins(name, &LAYOUT)))
        .cloned()
        .collect()
}

/// Whether a function may still read it: variables that describe the size of the job, but not options of commands.
pub fn is_readable(name: &str) -> bool {
    name.starts_with("SLURM_") && !matches!(name, "SLURM_EXPORT_ENV" | "SLURM_GET_USER_ENV")
}

/// The same for this process's environment.
pub fn taken_away_here(command: bool) -> Vec<String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    let given: Vec<(String, String)> = std::env::vars_os().filter_map(text).collect();
    taken_away(&given, command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(ntasks: &str) -> Vec<(String, String)> {
        let names = [
            ("SLURM_JOB_ID", "7"),
            ("SLURM_JOB_NODELIST", "n1"),
            ("SLURM_CPUS_ON_NODE", "4"),
            ("SLURM_JOB_CPUS_PER_NODE", "4"),
            ("SLURM_MEM_PER_NODE", "400"),
            ("SLURM_MEM_PER_CPU", "100"),
            ("SLURM_CPUS_PER_TASK", "4"),
            ("SLURM_NTASKS", ntasks),
            ("SLURM_TASKS_PER_NODE", ntasks),
            ("SBATCH_EXPORT", "NONE"),
            ("SLURM_EXPORT_ENV", "ALL"),
            ("PATH", "/bin"),
        ];
        names.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn what_would_be_options_of_another_job_is_taken_away() {
        assert_eq!(
            taken_away(&job("1"), false),
            [
                "SLURM_MEM_PER_NODE",
                "SLURM_MEM_PER_CPU",
                "SLURM_CPUS_PER_TASK",
                "SLURM_NTASKS",
                "SLURM_TASKS_PER_NODE",
                "SBATCH_EXPORT",
                "SLURM_EXPORT_ENV"
            ]
        );
    }

    #[test]
    fn a_step_with_many_tasks_finds_its_layout() {
        let left = ["SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SBATCH_EXPORT", "SLURM_EXPORT_ENV"];
        assert_eq!(taken_away(&job("8"), false), left);
        assert_eq!(taken_away(&job("1"), true), left);
    }
}
