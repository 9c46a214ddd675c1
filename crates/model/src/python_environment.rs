//! What of a user's shell reaches the Python that executes context files: one rule, here and in Slurm jobs.

use std::path::Path;

/// Where Python looks for modules.
pub const PYTHONPATH: &str = "PYTHONPATH";

/// Variables of the submitting command's environment that the Python in a job is given. Where a secret might stand in one, it
/// does not belong here: the sheet is read by the proposal's group.
pub const HANDED_ON: [&str; 20] = [
    PYTHONPATH,
    "PYTHONUSERBASE",
    "PYTHONNOUSERSITE",
    "PYTHONHASHSEED",
    "PYTHONOPTIMIZE",
    "PYTHONUTF8",
    "PYTHONIOENCODING",
    "PYTHONWARNINGS",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONDEVMODE",
    "MPLBACKEND",
    "MPLCONFIGDIR",
    "MATPLOTLIBRC",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "HDF5_PLUGIN_PATH",
    "HDF5_USE_FILE_LOCKING",
];

/// Variables that no context file's Python is given: they are about one interpreter, or about one that somebody types to.
pub const LEFT_OUT: [&str; 4] = ["PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONEXECUTABLE"];

/// A search path whose folders do not depend on the working directory. An empty one names that directory, as in Python.
pub fn absolute_search_path(value: &str, directory: &Path) -> String {
    let absolute = |folder: &str| {
        if folder.is_empty() { directory.to_owned() } else { directory.join(folder) }.display().to_string()
    };
    value.split(':').map(absolute).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_search_path_become_absolute() {
        let here = Path::new("/db");
        assert_eq!(absolute_search_path("lib:/x/y", here), "/db/lib:/x/y");
        assert_eq!(absolute_search_path(":/x", here), "/db:/x");
    }
}
