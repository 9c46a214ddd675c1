//! HDF5 types for numpy's types, as in h5py.

use hdf5_metno_sys::{h5i::hid_t, h5t};

use super::{H5Result, Handle, c_string, locked};
use crate::dtype::{Dtype, Record};

/// An HDF5 type.
#[derive(Debug)]
pub(crate) struct Type(Handle);

fn copy_of(id: impl FnOnce() -> hid_t) -> H5Result<Handle> {
    // SAFETY: `id` names a type of the library.
    Handle::open("copying a type", || unsafe { h5t::H5Tcopy(id()) })
}

// The sys crate exports each built-in type as a reference to the library's own variable.
macro_rules! builtin {
    ($name:ident) => {
        copy_of(|| *h5t::$name)
    };
}

impl Type {
    pub(crate) fn from_handle(handle: Handle) -> Self {
        Type(handle)
    }

    pub(crate) fn id(&self) -> hid_t {
        self.0.id()
    }

    /// The type that h5py uses for this numpy type.
    pub(crate) fn of(dtype: &Dtype) -> H5Result<Type> {
        Ok(Type(match *dtype {
            Dtype::Record(ref fields) => record(fields)?,
            Dtype::Int { bytes, signed, big_endian } => integer(bytes, signed, big_endian)?,
            Dtype::Float { bytes, big_endian } => float(bytes, big_endian)?,
            Dtype::Complex { bytes, big_endian } => complex(bytes, big_endian)?,
            Dtype::Bool => boolean()?,
            Dtype::Bytes { length } => fixed_ascii(length, h5t::H5T_str_t::H5T_STR_NULLPAD)?,
            Dtype::Text => text()?,
        }))
    }

    /// Variable-length UTF-8.
    pub(crate) fn text() -> H5Result<Type> {
        text().map(Type)
    }

    pub(crate) fn size(&self) -> H5Result<usize> {
        // SAFETY: a valid type. (A size of zero means an error.)
        hdf5_metno::sync::sync(|| match unsafe { h5t::H5Tget_size(self.id()) } {
            0 => Err(super::H5Error::new("measuring a type", super::take_error_stack())),
            size => Ok(size),
        })
    }

    fn class(&self) -> h5t::H5T_class_t {
        // SAFETY: a valid type.
        hdf5_metno::sync::sync(|| unsafe { h5t::H5Tget_class(self.id()) })
    }

    /// Whether it contains references to objects in its own file.
    pub(crate) fn is_reference(&self) -> bool {
        // SAFETY: a valid type.
        hdf5_metno::sync::sync(|| unsafe {
            h5t::H5Tdetect_class(self.id(), h5t::H5T_class_t::H5T_REFERENCE) > 0
        })
    }

    /// Whether it contains pointers to other memory (variable-length parts).
    pub(crate) fn is_variable_length(&self) -> bool {
        // SAFETY: a valid type.
        hdf5_metno::sync::sync(|| unsafe {
            h5t::H5Tdetect_class(self.id(), h5t::H5T_class_t::H5T_VLEN) > 0
                || h5t::H5Tis_variable_str(self.id()) > 0
        })
    }

    /// The numpy type that h5py would read; `None` if [`Dtype`] has no equivalent.
    pub(crate) fn dtype(&self) -> H5Result<Option<Dtype>> {
        let size = self.size()?;
        // SAFETY: a valid type.
        let big_endian = hdf5_metno::sync::sync(
            || unsafe { h5t::H5Tget_order(self.id()) } == h5t::H5T_order_t::H5T_ORDER_BE,
        );
        Ok(match self.class() {
            h5t::H5T_class_t::H5T_INTEGER => {
                // SAFETY: a valid integer type.
                let sign = hdf5_metno::sync::sync(|| unsafe { h5t::H5Tget_sign(self.id()) });
                Some(Dtype::Int { bytes: size, signed: sign == h5t::H5T_sign_t::H5T_SGN_2, big_endian })
            }
            h5t::H5T_class_t::H5T_FLOAT if size <= 16 => Some(Dtype::Float { bytes: size, big_endian }),
            h5t::H5T_class_t::H5T_STRING => {
                // SAFETY: a valid string type.
                let variable = locked("asking a type", || unsafe { h5t::H5Tis_variable_str(self.id()) })? > 0;
                Some(if variable { Dtype::Text } else { Dtype::Bytes { length: size } })
            }
            h5t::H5T_class_t::H5T_ENUM if size == 1 => Some(Dtype::Bool),
            h5t::H5T_class_t::H5T_COMPOUND => self.complex_parts(size)?,
            _ => None,
        })
    }

    /// As [`Self::dtype`], but `None` as well if an element of that type would be another number: of bfloat16, of other
    /// enumerations than h5py's truth values, of integers with unused bits, of records with two numbers.
    pub(crate) fn exact_dtype(&self) -> H5Result<Option<Dtype>> {
        const DOING: &str = "comparing a type";
        let Some(dtype) = self.dtype()? else { return Ok(None) };
        let same = match dtype {
            // Its order does not matter, but the library compares it.
            Dtype::Int { bytes: 1, .. } => {
                // SAFETY: here and below: valid types.
                hdf5_metno::sync::sync(|| unsafe { h5t::H5Tget_precision(self.id()) }) == 8
            }
            Dtype::Int { bytes: 2 | 4 | 8, .. }
            | Dtype::Float { bytes: 2 | 4 | 8 | 16, .. }
            | Dtype::Complex { bytes: 8 | 16 | 32, .. } => {
                let ours = Type::of(&dtype)?;
                locked(DOING, || unsafe { h5t::H5Tequal(self.id(), ours.id()) })? > 0
            }
            Dtype::Int { .. } | Dtype::Float { .. } | Dtype::Complex { .. } => false,
            Dtype::Bool if !self.is_truth()? => {
                // h5py shows the numbers of other enumerations.
                let numbers = Handle::open(DOING, || unsafe { h5t::H5Tget_super(self.id()) }).map(Type)?;
                return numbers.exact_dtype();
            }
            Dtype::Bool | Dtype::Bytes { .. } | Dtype::Text | Dtype::Record(_) => true,
        };
        Ok(same.then_some(dtype))
    }

    /// Whether an enumeration of one byte has h5py's two truth values.
    fn is_truth(&self) -> H5Result<bool> {
        const DOING: &str = "asking a type";
        // SAFETY: here and below: a valid enumeration with values of one byte.
        if locked(DOING, || unsafe { h5t::H5Tget_nmembers(self.id()) })? != 2 {
            return Ok(false);
        }
        for (index, value) in [(0, 0i8), (1, 1)] {
            let mut found = -1i8;
            locked(DOING, || unsafe { h5t::H5Tget_member_value(self.id(), index, (&raw mut found).cast()) })?;
            if found != value {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn complex_parts(&self, size: usize) -> H5Result<Option<Dtype>> {
        // SAFETY: a valid compound type.
        let members = locked("asking a type", || unsafe { h5t::H5Tget_nmembers(self.id()) })?;
        if members != 2 {
            return Ok(None);
        }
        // SAFETY: the type has a member 0.
        let part = Type(Handle::open("asking a type", || unsafe { h5t::H5Tget_member_type(self.id(), 0) })?);
        Ok(match part.dtype()? {
            Some(Dtype::Float { bytes, big_endian }) if bytes * 2 == size => {
                Some(Dtype::Complex { bytes: size, big_endian })
            }
            _ => None,
        })
    }
}

fn integer(bytes: usize, signed: bool, big_endian: bool) -> H5Result<Handle> {
    match (bytes, signed, big_endian) {
        (1, true, _) => builtin!(H5T_STD_I8LE),
        (1, false, _) => builtin!(H5T_STD_U8LE),
        (2, true, false) => builtin!(H5T_STD_I16LE),
        (2, true, true) => builtin!(H5T_STD_I16BE),
        (2, false, false) => builtin!(H5T_STD_U16LE),
        (2, false, true) => builtin!(H5T_STD_U16BE),
        (4, true, false) => builtin!(H5T_STD_I32LE),
        (4, true, true) => builtin!(H5T_STD_I32BE),
        (4, false, false) => builtin!(H5T_STD_U32LE),
        (4, false, true) => builtin!(H5T_STD_U32BE),
        (_, true, false) => builtin!(H5T_STD_I64LE),
        (_, true, true) => builtin!(H5T_STD_I64BE),
        (_, false, false) => builtin!(H5T_STD_U64LE),
        (_, false, true) => builtin!(H5T_STD_U64BE),
    }
}

fn float(bytes: usize, big_endian: bool) -> H5Result<Handle> {
    match (bytes, big_endian) {
        (2, _) => half(big_endian),
        (16, _) => long_double(big_endian),
        (4, false) => builtin!(H5T_IEEE_F32LE),
        (4, true) => builtin!(H5T_IEEE_F32BE),
        (_, false) => builtin!(H5T_IEEE_F64LE),
        (_, true) => builtin!(H5T_IEEE_F64BE),
    }
}

/// IEEE 754 binary16, derived from binary32, because HDF5 1.10 has no predefined type for it.
fn half(big_endian: bool) -> H5Result<Handle> {
    let handle = float(4, big_endian)?;
    let id = handle.id();
    // SAFETY: a valid type that is not in use yet.
    locked("making a half-precision type", || unsafe {
        let fields = h5t::H5Tset_fields(id, 15, 10, 5, 0, 10);
        let size = h5t::H5Tset_size(id, 2);
        let bias = h5t::H5Tset_ebias(id, 15);
        fields.min(size).min(bias)
    })?;
    Ok(handle)
}

fn long_double(big_endian: bool) -> H5Result<Handle> {
    let handle = builtin!(H5T_NATIVE_LDOUBLE)?;
    let order = if big_endian { h5t::H5T_order_t::H5T_ORDER_BE } else { h5t::H5T_order_t::H5T_ORDER_LE };
    // SAFETY: a valid type that is not in use yet.
    locked("making a long double type", || unsafe { h5t::H5Tset_order(handle.id(), order) })?;
    Ok(handle)
}

/// A structured type, laid out as h5py does it: every field at its own offset.
fn record(record: &Record) -> H5Result<Handle> {
    const DOING: &str = "making a record type";
    // SAFETY: here and below: plain calls with valid handles, NUL-terminated names and shapes given with their rank.
    let handle =
        Handle::open(DOING, || unsafe { h5t::H5Tcreate(h5t::H5T_class_t::H5T_COMPOUND, record.size) })?;
    for field in &record.fields {
        let mut kind = Type::of(&field.dtype)?;
        if !field.shape.is_empty() {
            kind = Type(Handle::open(DOING, || unsafe {
                h5t::H5Tarray_create2(kind.id(), field.shape.len() as u32, field.shape.as_ptr())
            })?);
        }
        let name = c_string(&field.name)?;
        locked(DOING, || unsafe { h5t::H5Tinsert(handle.id(), name.as_ptr(), field.offset, kind.id()) })?;
    }
    Ok(handle)
}

fn complex(bytes: usize, big_endian: bool) -> H5Result<Handle> {
    let part = float(bytes / 2, big_endian)?;
    // SAFETY: plain calls with valid handles and NUL-terminated names.
    let handle = Handle::open("making a complex type", || unsafe {
        h5t::H5Tcreate(h5t::H5T_class_t::H5T_COMPOUND, bytes)
    })?;
    locked("making a complex type", || unsafe {
        h5t::H5Tinsert(handle.id(), c"r".as_ptr(), 0, part.id()).min(h5t::H5Tinsert(
            handle.id(),
            c"i".as_ptr(),
            bytes / 2,
            part.id(),
        ))
    })?;
    Ok(handle)
}

/// h5py's bool: an enumeration over int8.
fn boolean() -> H5Result<Handle> {
    let base = builtin!(H5T_STD_I8LE)?;
    // SAFETY: plain calls with valid handles; the values have one byte, like the base type.
    let handle = Handle::open("making a bool type", || unsafe { h5t::H5Tenum_create(base.id()) })?;
    for (name, value) in [(c"FALSE", 0i8), (c"TRUE", 1i8)] {
        locked("making a bool type", || unsafe {
            h5t::H5Tenum_insert(handle.id(), name.as_ptr(), (&raw const value).cast())
        })?;
    }
    Ok(handle)
}

fn fixed_ascii(length: usize, padding: h5t::H5T_str_t) -> H5Result<Handle> {
    let handle = builtin!(H5T_C_S1)?;
    // SAFETY: a valid type that is not in use yet.
    locked("making a text type", || unsafe {
        h5t::H5Tset_size(handle.id(), length).min(h5t::H5Tset_strpad(handle.id(), padding))
    })?;
    Ok(handle)
}

fn text() -> H5Result<Handle> {
    let handle = builtin!(H5T_C_S1)?;
    // SAFETY: a valid type that is not in use yet.
    locked("making a text type", || unsafe {
        h5t::H5Tset_size(handle.id(), h5t::H5T_VARIABLE)
            .min(h5t::H5Tset_cset(handle.id(), h5t::H5T_cset_t::H5T_CSET_UTF8))
    })?;
    Ok(handle)
}
