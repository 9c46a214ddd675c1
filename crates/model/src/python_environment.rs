//! Which variables of a user's shell are passed to the Python that executes context files, locally and in Slurm jobs.

use std::path::{Path, PathBuf};

/// Python's module search path.
pub const PYTHONPATH: &str = "PYTHONPATH";

/// Variables of the submitting command's environment that are passed to Python in a job. Never add one that may contain a
/// secret: the proposal's group can read the job manifest.
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

/// Variables that are never passed to a context file's Python: they concern another interpreter, or an interactive one.
pub const LEFT_OUT: [&str; 4] = ["PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONEXECUTABLE"];

/// Makes the directories of a search path absolute. An empty entry is the working directory, as in Python.
pub fn absolute_search_path(value: &str, directory: &Path) -> String {
    let absolute = |folder: &str| {
        if folder.is_empty() { directory.to_owned() } else { directory.join(folder) }.display().to_string()
    };
    value.split(':').map(absolute).collect::<Vec<_>>().join(":")
}

/// Where the package `damnit_ctx` may be: next to the installed program, or to the one in the folder of a build.
pub fn package_candidates(program: &Path) -> [PathBuf; 2] {
    let folder = program.parent().unwrap_or(Path::new("/"));
    [folder.join("../lib/amore/python"), folder.join("../../context")]
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
