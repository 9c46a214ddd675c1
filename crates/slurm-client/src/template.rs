//! Finding the template of job scripts.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use amore_slurm::script::{self, JobScript, NAME, Template};

/// No template can be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It is there, and cannot be read.
    #[error("the template {0} cannot be read: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// Templates are not where they are said to be.
    #[error("AMORE_TEMPLATES names {0}, which is no directory")]
    NoFolder(PathBuf),
    /// What it says is wrong.
    #[error(transparent)]
    Unfit(#[from] script::TemplateError),
}

/// The template for jobs of a database directory: `.amore/templates/slurm-job.sh.tera` there, the one in the folder that
/// `AMORE_TEMPLATES` names, or the one that is built in.
///
/// # Errors
/// One is there, or said to be there, and cannot be read.
pub fn find(directory: &Path) -> Result<Template, TemplateError> {
    let own = directory.join(".amore/templates").join(NAME);
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
/// Which template is wrong, and where.
pub fn render(directory: &Path, script: &JobScript) -> Result<String, TemplateError> {
    Ok(script::render(&find(directory)?, script)?)
}

/// Says which template jobs of this database directory are made of, having tried it.
///
/// # Errors
/// It cannot be used.
pub fn check(directory: &Path) -> Result<String, TemplateError> {
    let template = find(directory)?;
    script::check(&template)?;
    Ok(template.name)
}
