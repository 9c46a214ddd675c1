//! A file being written: in memory while it is small, then on disk under a name that readers ignore; finally synced,
//! renamed to its final name, and its directory synced. If dropped before that, it leaves nothing behind.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use amore_shared_files::own_folder;

use crate::{
    error::{DoingTo, InFile, ResultsError},
    h5::{File, Node},
    names::{self, WRITING},
    sync_directory::sync_directory,
};

/// Files up to this size are assembled in memory and written at once.
const IN_MEMORY: u64 = 32 << 20;

#[derive(Debug)]
pub(crate) struct Output {
    directory: PathBuf,
    /// Name on disk while it is being written.
    path: PathBuf,
    /// The part of the name before `.writing.h5`.
    token: String,
    file: Option<File>,
    on_disk: bool,
    bytes: u64,
}

impl Output {
    /// A new file in `directory`, named `{stem}.{8 hex}.writing.h5` once it is on disk.
    pub(crate) fn create(directory: &Path, stem: &str, expected_bytes: u64) -> Result<Output, ResultsError> {
        let random = names::random_hex().doing("cannot name a file in", directory)?;
        let token = format!("{stem}.{random}");
        let path = directory.join(format!("{token}{WRITING}"));
        let file = File::in_memory(&path).writing(&path)?;
        let mut output = Output {
            directory: directory.to_owned(),
            path,
            token,
            file: Some(file),
            on_disk: false,
            bytes: 0,
        };
        output.expect(expected_bytes)?;
        Ok(output)
    }

    /// Path for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name without its extension, `p1234_r42.00aabbcc`.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn root(&self) -> Result<Node, ResultsError> {
        match &self.file {
            Some(file) => file.root().writing(&self.path),
            None => Err(ResultsError::Write {
                path: self.path.clone(),
                reason: "it was closed by an earlier error".to_owned(),
            }),
        }
    }

    /// Announces more bytes. No object of the file may be open. A file that becomes too large for memory is moved to disk here.
    pub(crate) fn expect(&mut self, bytes: u64) -> Result<(), ResultsError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.on_disk || self.bytes <= IN_MEMORY {
            return Ok(());
        }
        let Some(file) = self.file.take() else { return Ok(()) };
        let image = file.image().writing(&self.path)?;
        drop(file);
        self.write_new(&image)?;
        self.file = Some(File::open_private(&self.path).writing(&self.path)?);
        Ok(())
    }

    fn write_new(&mut self, image: &[u8]) -> Result<fs::File, ResultsError> {
        own_folder::open(&self.directory).doing("cannot use", &self.directory)?;
        // The mode is 0666 minus the umask, so the group is determined by umask and setgid.
        let mut file = fs::File::options()
            .write(true)
            .create_new(true)
            .open(&self.path)
            .doing("cannot create", &self.path)?;
        self.on_disk = true;
        file.write_all(image).doing("cannot write", &self.path)?;
        Ok(file)
    }

    /// Makes the complete file durable, still under its temporary name.
    pub(crate) fn seal(mut self) -> Result<Sealed, ResultsError> {
        let Some(file) = self.file.take() else {
            return Err(ResultsError::Write {
                path: self.path.clone(),
                reason: "it was closed by an earlier error".to_owned(),
            });
        };
        if self.on_disk {
            file.close().writing(&self.path)?;
            let file = fs::File::options().write(true).open(&self.path).doing("cannot open", &self.path)?;
            file.sync_all().doing("cannot sync", &self.path)?;
        } else {
            let image = file.image().writing(&self.path)?;
            drop(file);
            self.write_new(&image)?.sync_all().doing("cannot sync", &self.path)?;
        }
        Ok(Sealed { output: self })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.file = None;
        if self.on_disk {
            // It may already be gone; a stale one is removed later.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// A durable file with a temporary name. It is removed when dropped.
#[derive(Debug)]
pub(crate) struct Sealed {
    output: Output,
}

impl Sealed {
    /// Its temporary path.
    pub(crate) fn path(&self) -> &Path {
        &self.output.path
    }

    /// Renames the file to its final name, replacing an existing file, and makes that durable.
    pub(crate) fn rename_to(mut self, to: &Path) -> Result<(), ResultsError> {
        fs::rename(&self.output.path, to).doing("cannot rename a new file to", to)?;
        self.output.on_disk = false;
        sync_directory(&self.output.directory)
    }
}
