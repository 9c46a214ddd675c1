//! Subcommands of DAMNIT that Amore does not implement itself. They tell the user what to use instead.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use super::failure::Failure;
use crate::database_dir::{locate, must_have_run_table};

/// Open the table in DAMNIT's graphical interface (the PyPI package damnit[gui]).
#[derive(Debug, clap::Args)]
pub struct Gui {
    /// Proposal number or database directory.
    proposal_or_dir: Option<String>,
    /// Use software OpenGL.
    #[arg(long)]
    software_opengl: bool,
}

/// Replaces this process with DAMNIT's interface.
pub fn gui(arguments: &Gui) -> Result<ExitCode, Failure> {
    let dir = locate(arguments.proposal_or_dir.as_deref())?;
    must_have_run_table(&dir)?;
    let missing = "the graphical interface is part of DAMNIT, which is not installed here";
    let program = peer_program().ok_or_else(|| {
        Failure::new(missing)
            .hint("pip install 'damnit[gui]' in an environment on your PATH; it can open this directory")
    })?;
    let mut command = Command::new(&program);
    command.arg("gui").arg(dir.path());
    if arguments.software_opengl {
        command.arg("--software-opengl");
    }
    let error = command.exec();
    Err(Failure::new(format!("cannot start {}: {error}", program.display())))
}

/// A `damnit` on PATH that is not this program.
fn peer_program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?.canonicalize().ok()?;
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join("damnit"))
        .find(|candidate| candidate.canonicalize().is_ok_and(|path| path != own && Path::is_file(&path)))
}
