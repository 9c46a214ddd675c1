//! A small safe layer over libhdf5: handles that close themselves, and errors that contain the library's error stack.
//!
//! The library is not thread-safe, so every call is made under one process-wide lock. The lock is never held between two
//! calls of the API of this module.

mod attribute;
mod dataset;
mod file;
mod node;
mod scale;
mod types;

pub(crate) use attribute::Held;
pub(crate) use dataset::{ChunkFilters, DatasetOptions, Part, Storage, VirtualSource};
pub(crate) use file::File;
pub(crate) use node::{Kind, Node};
pub(crate) use scale::Token;
pub(crate) use types::Type;

use std::ffi::{CStr, CString, c_char, c_uint, c_void};

use hdf5_metno_sys::{h5::herr_t, h5e, h5i, h5i::hid_t};

/// A call of the library failed: the attempted operation, and the library's error stack, innermost first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {stack}")]
pub(crate) struct H5Error {
    pub action: &'static str,
    pub stack: String,
}

impl H5Error {
    pub(crate) fn new(action: &'static str, stack: impl Into<String>) -> Self {
        H5Error { action, stack: stack.into() }
    }

    /// Whether the failed operation was a write, not a read.
    pub(crate) fn is_write(&self) -> bool {
        self.is_no_space() || self.stack.contains("write failed")
    }

    /// Whether the operating system had no space left. HDF5 gives the error number only in its messages.
    pub(crate) fn is_no_space(&self) -> bool {
        [nix::errno::Errno::ENOSPC, nix::errno::Errno::EDQUOT]
            .iter()
            .any(|errno| self.stack.contains(&format!("errno = {},", *errno as i32)))
    }
}

pub(crate) type H5Result<T> = Result<T, H5Error>;

/// Runs `call` under the library's lock. A negative result becomes an error with the stack of this call.
pub(crate) fn locked<T: PartialOrd + Default>(action: &'static str, call: impl FnOnce() -> T) -> H5Result<T> {
    hdf5_metno::sync::sync(|| {
        let answer = call();
        if answer < T::default() { Err(H5Error { action, stack: take_error_stack() }) } else { Ok(answer) }
    })
}

extern "C" fn collect_error(_: c_uint, error: *const h5e::H5E_error2_t, out: *mut c_void) -> herr_t {
    // SAFETY: the library passes an error that is valid during this call; `out` is the vector that was passed to H5Ewalk2.
    unsafe {
        let out = &mut *out.cast::<Vec<String>>();
        if !error.is_null() && !(*error).desc.is_null() {
            out.push(CStr::from_ptr((*error).desc).to_string_lossy().into_owned());
        }
    }
    0
}

fn take_error_stack() -> String {
    let mut lines: Vec<String> = Vec::new();
    // SAFETY: the callback only uses `lines`, which outlives the call.
    unsafe {
        h5e::H5Ewalk2(
            h5e::H5E_DEFAULT,
            h5e::H5E_direction_t::H5E_WALK_UPWARD,
            Some(collect_error),
            (&raw mut lines).cast(),
        );
        h5e::H5Eclear2(h5e::H5E_DEFAULT);
    }
    lines.dedup();
    if lines.is_empty() { "the library gave no reason".to_owned() } else { lines.join("; ") }
}

/// An owned identifier of the library. Its reference is released on drop.
#[derive(Debug)]
pub(crate) struct Handle(hid_t);

impl Handle {
    /// Takes ownership of the identifier that `call` opens or creates.
    pub(crate) fn open(action: &'static str, call: impl FnOnce() -> hid_t) -> H5Result<Handle> {
        locked(action, call).map(Handle)
    }

    pub(crate) fn id(&self) -> hid_t {
        self.0
    }

    /// Releases the reference and reports failures. (Closing a file writes the rest of it.)
    pub(crate) fn close(self, action: &'static str) -> H5Result<()> {
        let id = self.0;
        std::mem::forget(self);
        // SAFETY: the handle owned one reference, and is gone.
        locked(action, || unsafe { h5i::H5Idec_ref(id) }).map(drop)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // An error cannot be reported here; callers that need it use `close`.
        // SAFETY: the handle owns one reference.
        drop(locked("closing", || unsafe { h5i::H5Idec_ref(self.0) }));
    }
}

/// A name for the library. Names have been checked before (see `names`), so a NUL is a bug of the caller, and an error.
pub(crate) fn c_string(text: &str) -> H5Result<CString> {
    CString::new(text).map_err(|_| H5Error::new("naming", format!("{text:?} contains a NUL character")))
}

/// Reads a name that the library writes to a buffer. Its length is queried first.
pub(crate) fn read_name(
    action: &'static str,
    mut call: impl FnMut(*mut c_char, usize) -> isize,
) -> H5Result<String> {
    let length = locked(action, || call(std::ptr::null_mut(), 0))? as usize;
    let mut buffer = vec![0u8; length + 1];
    locked(action, || call(buffer.as_mut_ptr().cast(), buffer.len()))?;
    buffer.truncate(length);
    String::from_utf8(buffer).map_err(|_| H5Error::new(action, "a name in the file is not UTF-8"))
}
