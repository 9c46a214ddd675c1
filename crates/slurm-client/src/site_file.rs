//! Finding and reading the site's file.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use amore_slurm::site_file::{SiteFile, WrongInSiteFile};

/// Where the site's file would be: `AMORE_SITE_CONFIG`, `etc/amore.toml` of the installed tree, or
/// `/etc/amore/amore.toml`; the first that exists. One that is named must exist.
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
    /// It is there, or was named, and cannot be read.
    #[error("the site's file {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says something that cannot be meant.
    #[error(transparent)]
    Wrong(#[from] WrongInSiteFile),
}

/// Reads the site's file, if there is one.
///
/// # Errors
/// It cannot be read, or says something that cannot be meant.
pub fn load() -> Result<Option<SiteFile>, SiteFileError> {
    let Some(path) = find() else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(SiteFile::parse(&path, &text)?)),
        Err(source) => Err(SiteFileError::Unreadable { path, source }),
    }
}
