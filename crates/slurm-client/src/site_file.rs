//! Finding the site's file.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

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

/// The site's file is there, or was named, and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the site's file {path} cannot be read: {source}")]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Its path and text, if there is one.
///
/// # Errors
/// It cannot be read.
pub fn read() -> Result<Option<(PathBuf, String)>, Unreadable> {
    let Some(path) = find() else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(source) => Err(Unreadable { path, source }),
    }
}
