//! Attributes of groups and datasets.

use std::ffi::{c_char, c_void};

use hdf5_metno_sys::{h5, h5a, h5i::hid_t, h5p, h5p::H5P_DEFAULT};

use super::{
    H5Error, H5Result, Handle, Node, Type, c_string,
    dataset::{is_null_space, make_space, space_shape, take_texts, text_pointers},
    locked,
    node::Names,
};
use crate::{dtype::Dtype, text::escaped};

/// Content of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Held {
    /// Neither a number nor a text (`h5py.Empty`).
    Empty,
    /// Text; shape `[]` is a scalar.
    Texts(Vec<u64>, Vec<String>),
    /// Numbers as bytes.
    Numbers(Dtype, Vec<u64>, Vec<u8>),
}

/// Creation properties of an attribute: a non-ASCII name is marked as UTF-8.
fn attribute_options(name: &std::ffi::CStr) -> H5Result<Option<Handle>> {
    if name.to_bytes().is_ascii() {
        return Ok(None);
    }
    // SAFETY: plain calls on a valid property list.
    let list = Handle::open("naming", || unsafe { h5p::H5Pcreate(*h5p::H5P_CLS_ATTRIBUTE_CREATE) })?;
    locked("naming", || unsafe {
        h5p::H5Pset_char_encoding(list.id(), hdf5_metno_sys::h5t::H5T_cset_t::H5T_CSET_UTF8)
    })?;
    Ok(Some(list))
}

extern "C" fn note_attribute(
    _: hid_t,
    name: *const c_char,
    _: *const h5a::H5A_info_t,
    names: *mut c_void,
) -> h5::herr_t {
    // SAFETY: the library passes a name that is valid during the call, and the address that was passed to it.
    unsafe { Names::note(names, name) };
    0
}

impl Node {
    fn create_attribute(&self, name: &str, kind: &Type, space: &Handle) -> H5Result<Handle> {
        let name = c_string(name)?;
        let list = attribute_options(&name)?;
        let list_id = list.as_ref().map_or(H5P_DEFAULT, Handle::id);
        // SAFETY: a plain call with valid handles and a NUL-terminated name.
        Handle::open("creating an attribute", || unsafe {
            h5a::H5Acreate2(self.id(), name.as_ptr(), kind.id(), space.id(), list_id, H5P_DEFAULT)
        })
    }

    pub(crate) fn set_text(&self, name: &str, value: &str) -> H5Result<()> {
        self.set_texts(name, &[], &[value.to_owned()])
    }

    pub(crate) fn set_texts(&self, name: &str, shape: &[u64], values: &[String]) -> H5Result<()> {
        if shape.iter().product::<u64>() as usize != values.len() {
            return Err(H5Error::new("writing an attribute", "its shape and its content differ"));
        }
        let kind = Type::text()?;
        let attribute = self.create_attribute(name, &kind, &make_space(shape)?)?;
        if values.is_empty() {
            return Ok(());
        }
        let (_owned, pointers) = text_pointers(values)?;
        // SAFETY: one address for each element; the strings behind them live until the end of this function.
        locked("writing an attribute", || unsafe {
            h5a::H5Awrite(attribute.id(), kind.id(), pointers.as_ptr().cast())
        })
        .map(drop)
    }

    pub(crate) fn set_numbers(&self, name: &str, dtype: &Dtype, shape: &[u64], bytes: &[u8]) -> H5Result<()> {
        let kind = Type::of(dtype)?;
        let needed = shape.iter().product::<u64>() as usize * kind.size()?;
        if needed != bytes.len() || kind.is_variable_length() {
            return Err(H5Error::new(
                "writing an attribute",
                format!("{needed} bytes expected, {} given", bytes.len()),
            ));
        }
        let attribute = self.create_attribute(name, &kind, &make_space(shape)?)?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the buffer has as many bytes as shape and type require, checked above.
        locked("writing an attribute", || unsafe {
            h5a::H5Awrite(attribute.id(), kind.id(), bytes.as_ptr().cast())
        })
        .map(drop)
    }

    pub(crate) fn set_i32s(&self, name: &str, shape: &[u64], values: &[i32]) -> H5Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.set_numbers(name, &Dtype::Int { bytes: 4, signed: true, big_endian: false }, shape, &bytes)
    }

    fn open_attribute(&self, name: &str) -> H5Result<Option<Handle>> {
        let name = c_string(name)?;
        // SAFETY: plain calls with a NUL-terminated name.
        if locked("looking for an attribute", || unsafe { h5a::H5Aexists(self.id(), name.as_ptr()) })? == 0 {
            return Ok(None);
        }
        Handle::open("opening an attribute", || unsafe {
            h5a::H5Aopen(self.id(), name.as_ptr(), H5P_DEFAULT)
        })
        .map(Some)
    }

    pub(crate) fn has_attribute(&self, name: &str) -> H5Result<bool> {
        self.open_attribute(name).map(|attribute| attribute.is_some())
    }

    /// Names of all attributes, in alphabetical order.
    pub(crate) fn attribute_names(&self) -> H5Result<Vec<String>> {
        let mut names = Names::default();
        // SAFETY: a valid object; the callback only uses `names`, which outlives the call.
        locked("listing attributes", || unsafe {
            h5a::H5Aiterate2(
                self.id(),
                h5::H5_index_t::H5_INDEX_NAME,
                h5::H5_iter_order_t::H5_ITER_INC,
                std::ptr::null_mut(),
                Some(note_attribute),
                (&raw mut names).cast(),
            )
        })?;
        names.finish("listing attributes")
    }

    /// Reads an attribute; `None` if it does not exist or has a type that we do not write.
    pub(crate) fn attribute(&self, name: &str) -> H5Result<Option<Held>> {
        const DOING: &str = "reading an attribute";
        let Some(attribute) = self.open_attribute(name)? else { return Ok(None) };
        // SAFETY: here and below: a valid attribute, and buffers as large as its type and shape require.
        let kind =
            Handle::open(DOING, || unsafe { h5a::H5Aget_type(attribute.id()) }).map(Type::from_handle)?;
        let space = Handle::open(DOING, || unsafe { h5a::H5Aget_space(attribute.id()) })?;
        if is_null_space(&space) {
            // netCDF stores an empty text in this way.
            let is_text = matches!(kind.dtype()?, Some(Dtype::Text | Dtype::Bytes { .. }));
            return Ok(Some(if is_text {
                Held::Texts(Vec::new(), vec![String::new()])
            } else {
                Held::Empty
            }));
        }
        let shape = space_shape(&space)?;
        let count = shape.iter().product::<u64>() as usize;
        match kind.exact_dtype()? {
            None => Ok(None),
            Some(Dtype::Text) => {
                let mut pointers = vec![std::ptr::null_mut::<i8>(); count];
                if count > 0 {
                    locked(DOING, || unsafe {
                        h5a::H5Aread(attribute.id(), kind.id(), pointers.as_mut_ptr().cast())
                    })?;
                }
                let texts = take_texts(&kind, &space, &mut pointers)?;
                Ok(Some(Held::Texts(shape, texts.iter().map(|text| escaped(text)).collect())))
            }
            Some(dtype) => {
                let mut bytes = vec![0u8; count * kind.size()?];
                if count > 0 {
                    locked(DOING, || unsafe {
                        h5a::H5Aread(attribute.id(), kind.id(), bytes.as_mut_ptr().cast())
                    })?;
                }
                Ok(Some(Held::Numbers(dtype, shape, bytes)))
            }
        }
    }

    /// A scalar text attribute, of fixed or variable length.
    pub(crate) fn text_attribute(&self, name: &str) -> H5Result<Option<String>> {
        Ok(match self.attribute(name)? {
            Some(Held::Texts(_, texts)) => texts.into_iter().next(),
            Some(Held::Numbers(Dtype::Bytes { .. }, _, bytes)) => {
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                Some(escaped(&bytes[..end]))
            }
            _ => None,
        })
    }

    /// Copies an attribute of any type to another object. References are not copied, because they are meaningless in another file.
    pub(crate) fn copy_attribute(&self, name: &str, to: &Node) -> H5Result<()> {
        const DOING: &str = "copying an attribute";
        let Some(attribute) = self.open_attribute(name)? else { return Ok(()) };
        // SAFETY: here and below: a valid attribute, and a buffer as large as its type and shape require.
        let kind =
            Handle::open(DOING, || unsafe { h5a::H5Aget_type(attribute.id()) }).map(Type::from_handle)?;
        if kind.is_reference() {
            return Ok(());
        }
        let space = Handle::open(DOING, || unsafe { h5a::H5Aget_space(attribute.id()) })?;
        let count = space_shape(&space)?.iter().product::<u64>() as usize;
        let copy = to.create_attribute(name, &kind, &space)?;
        if count == 0 {
            return Ok(());
        }
        // Pointers of variable-length parts must be aligned.
        let mut buffer = vec![0u64; (count * kind.size()?).div_ceil(8)];
        locked(DOING, || unsafe { h5a::H5Aread(attribute.id(), kind.id(), buffer.as_mut_ptr().cast()) })?;
        let written =
            locked(DOING, || unsafe { h5a::H5Awrite(copy.id(), kind.id(), buffer.as_ptr().cast()) });
        if kind.is_variable_length() {
            locked(DOING, || unsafe {
                hdf5_metno_sys::h5t::H5Treclaim(
                    kind.id(),
                    space.id(),
                    H5P_DEFAULT,
                    buffer.as_mut_ptr().cast(),
                )
            })?;
        }
        written.map(drop)
    }
}
