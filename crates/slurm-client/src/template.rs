//! Finds the template of job scripts.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use amore_slurm::script::{self, JobScript, NAME, Template};

/// No template can be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It exists, but cannot be read.
    #[error("the template {0} cannot be read: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// The folder of templates does not exist.
    #[error("AMORE_TEMPLATES names {0}, which is not a directory")]
    NoFolder(PathBuf),
    /// It belongs to the database, whose users would execute commands outside of the sandbox.
    #[error(
        "the template {} belongs to the database: in a sandbox, only the site's template is used; remove the file", .0.display()
    )]
    OutsideSandbox(PathBuf),
    /// Its content is invalid.
    #[error(transparent)]
    Invalid(#[from] script::TemplateError),
}

/// The template for jobs of a database directory: `.amore/templates/slurm-job.sh.tera` there, the one in the folder named
/// by `AMORE_TEMPLATES`, or the built-in one.
///
/// # Errors
/// A template cannot be read, or the folder of templates does not exist; or there is a sandbox, and the database has its
/// own template.
pub fn find(directory: &Path, sandboxed: bool) -> Result<Template, TemplateError> {
    let own = directory.join(".amore/templates").join(NAME);
    if sandboxed && own.symlink_metadata().is_ok() {
        return Err(TemplateError::OutsideSandbox(own));
    }
    let site = env::var_os("AMORE_TEMPLATES").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    if let Some(folder) = site.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(TemplateError::NoFolder(folder.clone()));
    }
    let site = site.map(|folder| folder.join(NAME));
    for path in std::iter::once(own).chain(site) {
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(Template { name: path.display().to_string(), text }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(TemplateError::Read(path, error)),
        }
    }
    Ok(Template::built_in())
}

/// Renders the script for a job of this database directory.
///
/// # Errors
/// Which template is invalid, and why.
pub fn render(directory: &Path, script: &JobScript) -> Result<String, TemplateError> {
    Ok(script::render(&find(directory, script.sandboxed)?, script)?)
}

/// Checks the template for jobs of this database directory, and returns its name.
///
/// # Errors
/// The template cannot be used.
pub fn check(directory: &Path, sandboxed: bool) -> Result<String, TemplateError> {
    let template = find(directory, sandboxed)?;
    script::check(&template)?;
    Ok(template.name)
}
