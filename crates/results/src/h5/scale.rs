//! Dimension scales (the library's high-level part, which the sys crate does not declare).

use std::ffi::{c_char, c_int, c_uint, c_void};

use hdf5_metno_sys::{h5::herr_t, h5i::hid_t, h5o};

use super::{H5Result, Node, c_string, locked, read_name};

#[link(name = "hdf5_hl", kind = "static")]
unsafe extern "C" {
    fn H5DSset_scale(dataset: hid_t, name: *const c_char) -> herr_t;
    fn H5DSattach_scale(dataset: hid_t, scale: hid_t, dimension: c_uint) -> herr_t;
    fn H5DSis_scale(dataset: hid_t) -> c_int;
    fn H5DSget_scale_name(dataset: hid_t, name: *mut c_char, size: usize) -> isize;
    fn H5DSget_num_scales(dataset: hid_t, dimension: c_uint) -> c_int;
    fn H5DSiterate_scales(
        dataset: hid_t,
        dimension: c_uint,
        index: *mut c_int,
        visitor: Option<unsafe extern "C" fn(hid_t, c_uint, hid_t, *mut c_void) -> herr_t>,
        data: *mut c_void,
    ) -> herr_t;
}

/// Identifies an object within its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(h5o::H5O_token_t);

fn token_of(id: hid_t) -> H5Result<Token> {
    // SAFETY: a plain structure of numbers, for which zero is valid.
    let mut info: h5o::H5O_info2_t = unsafe { std::mem::zeroed() };
    // SAFETY: an open object, and space for the answer.
    locked("asking for an object", || unsafe { h5o::H5Oget_info3(id, &raw mut info, h5o::H5O_INFO_BASIC) })?;
    Ok(Token(info.token))
}

extern "C" fn note_scale(_: hid_t, _: c_uint, scale: hid_t, out: *mut c_void) -> herr_t {
    // SAFETY: `out` is the vector that was passed to H5DSiterate_scales, and nobody else uses it in the meantime.
    let out = unsafe { &mut *out.cast::<Vec<Token>>() };
    match token_of(scale) {
        Ok(token) => {
            out.push(token);
            0
        }
        Err(_) => -1,
    }
}

impl Node {
    /// Turns this dataset into a scale.
    pub(crate) fn make_scale(&self, name: &str) -> H5Result<()> {
        let name = c_string(name)?;
        // SAFETY: a valid dataset and a NUL-terminated name.
        locked("making a scale", || unsafe { H5DSset_scale(self.id(), name.as_ptr()) }).map(drop)
    }

    /// Attaches a scale of the same file to one of this dataset's dimensions.
    pub(crate) fn attach_scale(&self, scale: &Node, dimension: usize) -> H5Result<()> {
        // SAFETY: two valid datasets.
        locked("attaching a scale", || unsafe {
            H5DSattach_scale(self.id(), scale.id(), dimension as c_uint)
        })
        .map(drop)
    }

    /// Whether this dataset is a scale.
    pub(crate) fn is_scale(&self) -> H5Result<bool> {
        // SAFETY: a valid dataset.
        locked("asking for a scale", || unsafe { H5DSis_scale(self.id()) }).map(|answer| answer > 0)
    }

    /// Name of a scale.
    pub(crate) fn scale_name(&self) -> H5Result<String> {
        // SAFETY: the buffer is passed with its length.
        read_name("reading a scale", |buffer, size| unsafe { H5DSget_scale_name(self.id(), buffer, size) })
    }

    /// Identifies this object within its file.
    pub(crate) fn token(&self) -> H5Result<Token> {
        token_of(self.id())
    }

    /// The scales attached to a dimension, as tokens. (Names are slow: to find the name of an object from a reference, the
    /// library searches the whole file.)
    pub(crate) fn scales_of(&self, dimension: usize) -> H5Result<Vec<Token>> {
        let mut scales: Vec<Token> = Vec::new();
        // SAFETY: a valid dataset; the callback only uses `scales`, which outlives the call.
        if locked("reading scales", || unsafe { H5DSget_num_scales(self.id(), dimension as c_uint) })? > 0 {
            locked("reading scales", || unsafe {
                H5DSiterate_scales(
                    self.id(),
                    dimension as c_uint,
                    std::ptr::null_mut(),
                    Some(note_scale),
                    (&raw mut scales).cast(),
                )
            })?;
        }
        Ok(scales)
    }
}
