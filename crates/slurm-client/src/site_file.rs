//! Finds and reads the site's file.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use amore_slurm::site_file::{InvalidSiteFile, SiteFile};

/// The path of the site's file: `AMORE_SITE_CONFIG`, or the first that exists of `etc/amore.toml` in the installation and
/// `/etc/amore/amore.toml`. A file named by `AMORE_SITE_CONFIG` must exist.
pub fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os("AMORE_SITE_CONFIG").filter(|named| !named.is_empty()) {
        return Some(PathBuf::from(named));
    }
    let own = env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let tree = own.as_deref().and_then(Path::parent).and_then(Path::parent);
    tree.map(|tree| tree.join("etc/amore.toml"))
        .into_iter()
        .chain([PathBuf::from("/etc/amore/amore.toml")])
        .find(|path| path.exists())
}

/// The site's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SiteFileError {
    /// It exists or was named, but cannot be read.
    #[error("the site's file {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its content is invalid.
    #[error(transparent)]
    Invalid(#[from] InvalidSiteFile),
}

/// Reads the site's file, if there is one.
///
/// # Errors
/// The file cannot be read, or its content is invalid.
pub fn load() -> Result<Option<SiteFile>, SiteFileError> {
    let Some(path) = find() else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(SiteFile::parse(&path, &text)?)),
        Err(source) => Err(SiteFileError::Unreadable { path, source }),
    }
}
