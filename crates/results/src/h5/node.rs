//! Groups and datasets, and how to traverse them.

use std::ffi::{CStr, c_char, c_void};

use hdf5_metno_sys::{h5, h5g, h5i, h5l, h5o, h5p, h5p::H5P_DEFAULT};

use super::{H5Error, H5Result, Handle, c_string, locked};

/// Kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Group,
    Dataset,
    /// A named type. Our files have none.
    Other,
}

/// An open group or dataset.
#[derive(Debug)]
pub(crate) struct Node(pub(super) Handle);

impl Node {
    pub(super) fn open_id(parent: h5i::hid_t, path: &str) -> H5Result<Node> {
        let path = c_string(path)?;
        // SAFETY: a NUL-terminated path below a valid object.
        Handle::open("opening an object", || unsafe { h5o::H5Oopen(parent, path.as_ptr(), H5P_DEFAULT) })
            .map(Node)
    }

    pub(crate) fn id(&self) -> h5i::hid_t {
        self.0.id()
    }

    /// Opens a member by its name (or by a path of names that all exist).
    pub(crate) fn open(&self, path: &str) -> H5Result<Node> {
        Self::open_id(self.id(), path)
    }

    /// Opens a member if it exists.
    pub(crate) fn get(&self, name: &str) -> H5Result<Option<Node>> {
        if self.has(name)? { self.open(name).map(Some) } else { Ok(None) }
    }

    /// Whether this group has a member of that name.
    pub(crate) fn has(&self, name: &str) -> H5Result<bool> {
        let name = c_string(name)?;
        // SAFETY: a NUL-terminated name in a valid group.
        locked("looking for an object", || unsafe { h5l::H5Lexists(self.id(), name.as_ptr(), H5P_DEFAULT) })
            .map(|answer| answer > 0)
    }

    /// Whether a member is in this file: not a link to another object or another file.
    pub(crate) fn is_own(&self, name: &str) -> H5Result<bool> {
        let name = c_string(name)?;
        let mut info = h5l::H5L_info2_t::default();
        // SAFETY: a NUL-terminated name in a valid group, and space for the answer.
        locked("looking at a link", || unsafe {
            h5l::H5Lget_info2(self.id(), name.as_ptr(), &raw mut info, H5P_DEFAULT)
        })?;
        Ok(info.type_ == h5l::H5L_type_t::H5L_TYPE_HARD)
    }

    /// Creates a group.
    pub(crate) fn create_group(&self, name: &str) -> H5Result<Node> {
        let name = c_string(name)?;
        // SAFETY: plain calls with valid handles and a NUL-terminated name.
        let options =
            Handle::open("creating a group", || unsafe { h5p::H5Pcreate(*h5p::H5P_CLS_GROUP_CREATE) })?;
        locked("creating a group", || unsafe { h5p::H5Pset_obj_track_times(options.id(), 0) })?;
        let links = link_options(&name)?;
        Handle::open("creating a group", || unsafe {
            h5g::H5Gcreate2(self.id(), name.as_ptr(), links.id(), options.id(), H5P_DEFAULT)
        })
        .map(Node)
    }

    /// Names of a group's members, in alphabetical order.
    pub(crate) fn names(&self) -> H5Result<Vec<String>> {
        let mut names = Names::default();
        // SAFETY: a valid group; the callback only uses `names`, which outlives the call.
        locked("listing a group", || unsafe {
            h5l::H5Literate2(
                self.id(),
                h5::H5_index_t::H5_INDEX_NAME,
                h5::H5_iter_order_t::H5_ITER_INC,
                std::ptr::null_mut(),
                Some(note_link),
                (&raw mut names).cast(),
            )
        })?;
        names.finish("listing a group")
    }

    pub(crate) fn kind(&self) -> Kind {
        // SAFETY: a valid object.
        match hdf5_metno::sync::sync(|| unsafe { h5i::H5Iget_type(self.id()) }) {
            h5i::H5I_type_t::H5I_GROUP => Kind::Group,
            h5i::H5I_type_t::H5I_DATASET => Kind::Dataset,
            _ => Kind::Other,
        }
    }

    /// Copies a member of this group, and everything below it, to another group (usually of another file).
    pub(crate) fn copy_to(&self, name: &str, to: &Node, to_name: &str, attributes: bool) -> H5Result<()> {
        let (name, to_name) = (c_string(name)?, c_string(to_name)?);
        // SAFETY: plain calls with valid handles and NUL-terminated names.
        let options = Handle::open("copying", || unsafe { h5p::H5Pcreate(*h5p::H5P_CLS_OBJECT_COPY) })?;
        if !attributes {
            locked("copying", || unsafe {
                h5p::H5Pset_copy_object(options.id(), h5o::H5O_COPY_WITHOUT_ATTR_FLAG)
            })?;
        }
        let links = link_options(&to_name)?;
        locked("copying", || unsafe {
            h5o::H5Ocopy(self.id(), name.as_ptr(), to.id(), to_name.as_ptr(), options.id(), links.id())
        })
        .map(drop)
    }

    /// Removes a member of this group, in a file that is being written.
    pub(crate) fn remove(&self, name: &str) -> H5Result<()> {
        let name = c_string(name)?;
        // SAFETY: a NUL-terminated name in a valid group.
        locked("removing an object", || unsafe { h5l::H5Ldelete(self.id(), name.as_ptr(), H5P_DEFAULT) })
            .map(drop)
    }
}

/// Collects names in a callback of the library.
#[derive(Default)]
pub(super) struct Names {
    names: Vec<String>,
    foreign: bool,
}

impl Names {
    /// # Safety
    /// `name` is a NUL-terminated string and `names` the address of a `Names`.
    pub(super) unsafe fn note(names: *mut c_void, name: *const c_char) {
        // SAFETY: as promised by the caller.
        let (names, name) = unsafe { (&mut *names.cast::<Names>(), CStr::from_ptr(name)) };
        match name.to_str() {
            Ok(name) => names.names.push(name.to_owned()),
            Err(_) => names.foreign = true,
        }
    }

    pub(super) fn finish(self, action: &'static str) -> H5Result<Vec<String>> {
        if self.foreign {
            Err(H5Error::new(action, "a name in the file is not UTF-8"))
        } else {
            Ok(self.names)
        }
    }
}

extern "C" fn note_link(
    _: h5i::hid_t,
    name: *const c_char,
    _: *const h5l::H5L_info2_t,
    names: *mut c_void,
) -> h5::herr_t {
    // SAFETY: the library passes a name that is valid during the call, and the address that was passed to it.
    unsafe { Names::note(names, name) };
    0
}

/// Creation properties of a link: a name that is not ASCII is marked as UTF-8, as h5py does. (For ASCII names the mark is
/// omitted: it would turn the group into one of the newer, larger kind.)
pub(super) struct LinkOptions(Option<Handle>);

impl LinkOptions {
    pub(super) fn id(&self) -> h5i::hid_t {
        self.0.as_ref().map_or(H5P_DEFAULT, Handle::id)
    }
}

pub(super) fn link_options(name: &CStr) -> H5Result<LinkOptions> {
    if name.to_bytes().is_ascii() {
        return Ok(LinkOptions(None));
    }
    // SAFETY: plain calls on a valid property list.
    let links = Handle::open("naming", || unsafe { h5p::H5Pcreate(*h5p::H5P_CLS_LINK_CREATE) })?;
    locked("naming", || unsafe {
        h5p::H5Pset_char_encoding(links.id(), hdf5_metno_sys::h5t::H5T_cset_t::H5T_CSET_UTF8)
    })?;
    Ok(LinkOptions(Some(links)))
}
