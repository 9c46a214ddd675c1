//! Files: built in memory while they are small, then on disk, always under a temporary name.

use std::path::Path;

use hdf5_metno_sys::{h5::hbool_t, h5f, h5p, h5p::H5P_DEFAULT};

use super::{H5Error, H5Result, Handle, Node, locked};

/// An open file.
#[derive(Debug)]
pub(crate) struct File {
    handle: Handle,
}

/// Metadata of a file on disk is allocated in blocks of this size, so that it is written in few pieces.
const METADATA_BLOCK: u64 = 64 * 1024;
/// A file in memory grows by this much.
const MEMORY_STEP: usize = 256 * 1024;

fn access() -> H5Result<Handle> {
    // SAFETY: plain calls on a valid property list.
    let list =
        Handle::open("preparing to open a file", || unsafe { h5p::H5Pcreate(*h5p::H5P_CLS_FILE_ACCESS) })?;
    locked("preparing to open a file", || unsafe {
        let bounds = h5p::H5Pset_libver_bounds(
            list.id(),
            h5f::H5F_libver_t::H5F_LIBVER_EARLIEST,
            h5f::H5F_libver_t::H5F_LIBVER_V110,
        );
        // Files never change once they have their final name, so there is nothing to lock, and the library's locks would only
        // disturb other programs.
        let locking = h5p::H5Pset_file_locking(list.id(), false as hbool_t, true as hbool_t);
        let close = h5p::H5Pset_fclose_degree(list.id(), h5f::H5F_close_degree_t::H5F_CLOSE_WEAK);
        bounds.min(locking).min(close)
    })?;
    Ok(list)
}

fn path_string(path: &Path) -> H5Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes())
        .map_err(|_| H5Error::new("opening", "the path contains a NUL character"))
}

impl File {
    /// Opens a file for reading.
    pub(crate) fn open(path: &Path) -> H5Result<File> {
        Self::open_with(path, h5f::H5F_ACC_RDONLY)
    }

    /// Opens a temporary file for further writing.
    pub(crate) fn open_private(path: &Path) -> H5Result<File> {
        Self::open_with(path, h5f::H5F_ACC_RDWR)
    }

    fn open_with(path: &Path, flags: u32) -> H5Result<File> {
        let (path, access) = (path_string(path)?, access()?);
        // SAFETY: a NUL-terminated path and a valid property list.
        let handle = Handle::open("opening", || unsafe { h5f::H5Fopen(path.as_ptr(), flags, access.id()) })?;
        Ok(File { handle })
    }

    /// Creates a file in memory; see [`File::image`]. Nothing is written to `path`, but it must be unique: the library
    /// takes two files in memory with the same name for the same file.
    pub(crate) fn in_memory(path: &Path) -> H5Result<File> {
        let access = access()?;
        // SAFETY: a valid property list.
        locked("preparing a file in memory", || unsafe {
            h5p::H5Pset_fapl_core(access.id(), MEMORY_STEP, false as hbool_t)
        })?;
        Self::create_with(path_string(path)?, access)
    }

    /// Creates a file on disk in place of an empty one, which the caller has created with the permissions that it wants.
    pub(crate) fn create_over(path: &Path) -> H5Result<File> {
        let access = access()?;
        // SAFETY: a valid property list.
        locked("preparing a file", || unsafe { h5p::H5Pset_meta_block_size(access.id(), METADATA_BLOCK) })?;
        Self::create_with(path_string(path)?, access)
    }

    fn create_with(path: std::ffi::CString, access: Handle) -> H5Result<File> {
        // SAFETY: a NUL-terminated path and a valid property list.
        let handle = Handle::open("creating", || unsafe {
            h5f::H5Fcreate(path.as_ptr(), h5f::H5F_ACC_TRUNC, H5P_DEFAULT, access.id())
        })?;
        Ok(File { handle })
    }

    /// The whole file as bytes.
    pub(crate) fn image(&self) -> H5Result<Vec<u8>> {
        self.flush()?;
        let id = self.handle.id();
        // SAFETY: the first call only queries the size; the second gets a buffer of that size.
        let size = locked("copying a file out of memory", || unsafe {
            h5f::H5Fget_file_image(id, std::ptr::null_mut(), 0)
        })?;
        let mut image = vec![0u8; size as usize];
        locked("copying a file out of memory", || unsafe {
            h5f::H5Fget_file_image(id, image.as_mut_ptr().cast(), image.len())
        })?;
        Ok(image)
    }

    pub(crate) fn flush(&self) -> H5Result<()> {
        // SAFETY: a valid file.
        locked("writing", || unsafe { h5f::H5Fflush(self.handle.id(), h5f::H5F_scope_t::H5F_SCOPE_LOCAL) })
            .map(drop)
    }

    /// Flushes and closes the file. All its objects must have been closed before.
    pub(crate) fn close(self) -> H5Result<()> {
        self.flush()?;
        self.handle.close("closing")
    }

    /// The root group.
    pub(crate) fn root(&self) -> H5Result<Node> {
        Node::open_id(self.handle.id(), "/")
    }
}
