//! A two-dimensional array of numbers in memory, read pixel by pixel without copying it.

use std::marker::PhantomData;

use thiserror::Error;

use crate::copy::{Layout, LayoutError};

/// Why an array cannot be read as an image.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ImageError {
    /// Not two dimensions.
    #[error("an image has 2 dimensions, this array has {0}")]
    NotTwoDimensional(usize),
    /// Shape and strides are invalid.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The elements are not real numbers, or not in the byte order of this machine.
    #[error(
        "elements of dtype {0:?} cannot be shown as colours; use bool, integers or real floats in native byte order"
    )]
    Dtype(String),
    /// A labelled array without elements.
    #[error("a labelled array without elements cannot be drawn")]
    Empty,
}

/// How infinities are replaced. NaN is always replaced by 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Infinities {
    /// The largest finite number of the element type, with the sign.
    Largest,
    /// They are kept.
    Kept,
}

/// An element type: how to read it, its value, and a key that sorts as the values do.
pub trait Pixel: Copy {
    /// Number of 16-bit digits of the key.
    const KEY_DIGITS: u32;
    /// Size of an element in memory, in bytes.
    const SIZE: usize;

    /// Reads an element.
    ///
    /// # Safety
    /// `SIZE` bytes are readable at `address`, of any alignment.
    unsafe fn read(address: *const u8) -> Self;

    /// Replaces NaN by 0, and infinities as requested.
    fn cleaned(self, infinities: Infinities) -> Self;

    /// The value, rounded to `f64` where that is narrower.
    fn value(self) -> f64;

    /// An unsigned number that sorts as the (cleaned) values do.
    fn key(self) -> u64;

    /// The value that has this key.
    fn value_of_key(key: u64) -> f64;
}

macro_rules! integer_pixels {
    ($($integer:ty, $unsigned:ty, $digits:literal);* $(;)?) => {$(
        impl Pixel for $integer {
            const KEY_DIGITS: u32 = $digits;
            const SIZE: usize = size_of::<$integer>();

            unsafe fn read(address: *const u8) -> Self {
                // SAFETY: contract of the trait.
                unsafe { address.cast::<$integer>().read_unaligned() }
            }

            fn cleaned(self, _: Infinities) -> Self {
                self
            }

            fn value(self) -> f64 {
                self as f64
            }

            fn key(self) -> u64 {
                // MIN is 0 for unsigned types; for signed ones it is the sign bit, which flipped sorts rightly.
                u64::from((self ^ <$integer>::MIN) as $unsigned)
            }

            fn value_of_key(key: u64) -> f64 {
                ((key as $integer) ^ <$integer>::MIN) as f64
            }
        }
    )*};
}

integer_pixels! {
    u8, u8, 1; i8, u8, 1; u16, u16, 1; i16, u16, 1; u32, u32, 2; i32, u32, 2; u64, u64, 4; i64, u64, 4;
}

macro_rules! float_pixels {
    ($($float:ty, $bits:ty, $digits:literal);* $(;)?) => {$(
        impl Pixel for $float {
            const KEY_DIGITS: u32 = $digits;
            const SIZE: usize = size_of::<$float>();

            unsafe fn read(address: *const u8) -> Self {
                // SAFETY: contract of the trait.
                unsafe { address.cast::<$float>().read_unaligned() }
            }

            fn cleaned(self, infinities: Infinities) -> Self {
                if self.is_nan() {
                    0.0
                } else if infinities == Infinities::Largest {
                    self.clamp(<$float>::MIN, <$float>::MAX)
                } else {
                    self
                }
            }

            fn value(self) -> f64 {
                f64::from(self)
            }

            fn key(self) -> u64 {
                const SIGN: $bits = 1 << (<$bits>::BITS - 1);
                let bits = self.to_bits();
                u64::from(if bits & SIGN == 0 { bits | SIGN } else { !bits })
            }

            fn value_of_key(key: u64) -> f64 {
                const SIGN: $bits = 1 << (<$bits>::BITS - 1);
                let key = key as $bits;
                f64::from(<$float>::from_bits(if key & SIGN == 0 { !key } else { key & !SIGN }))
            }
        }
    )*};
}

float_pixels! { f32, u32, 2; f64, u64, 4; }

/// A half-precision float, widened.
#[derive(Debug, Clone, Copy)]
pub struct Half(f32);

impl Pixel for Half {
    const KEY_DIGITS: u32 = f32::KEY_DIGITS;
    const SIZE: usize = 2;

    unsafe fn read(address: *const u8) -> Self {
        // SAFETY: contract of the trait.
        let bits = u32::from(unsafe { address.cast::<u16>().read_unaligned() });
        let (exponent, fraction) = (bits >> 10 & 0x1f, bits & 0x3ff);
        let magnitude = match exponent {
            0 => fraction as f32 * 2.0_f32.powi(-24),
            0x1f => f32::from_bits(0x7f80_0000 | fraction << 13),
            _ => f32::from_bits((exponent + 127 - 15) << 23 | fraction << 13),
        };
        Self(if bits & 0x8000 == 0 { magnitude } else { -magnitude })
    }

    fn cleaned(self, infinities: Infinities) -> Self {
        const LARGEST: f32 = 65504.0;
        match infinities {
            Infinities::Largest => Self(self.0.cleaned(infinities).clamp(-LARGEST, LARGEST)),
            Infinities::Kept => Self(self.0.cleaned(infinities)),
        }
    }

    fn value(self) -> f64 {
        self.0.value()
    }

    fn key(self) -> u64 {
        self.0.key()
    }

    fn value_of_key(key: u64) -> f64 {
        f32::value_of_key(key)
    }
}

/// The 80-bit float of x86 processors in its 16 bytes (NumPy's `longdouble`), rounded to `f64`; what is beyond
/// the range of `f64` becomes infinite.
#[derive(Debug, Clone, Copy)]
pub struct Extended(f64);

impl Pixel for Extended {
    const KEY_DIGITS: u32 = f64::KEY_DIGITS;
    const SIZE: usize = 16;

    unsafe fn read(address: *const u8) -> Self {
        // SAFETY: contract of the trait.
        let (mantissa, top) = unsafe {
            (address.cast::<u64>().read_unaligned(), address.add(8).cast::<u16>().read_unaligned())
        };
        let magnitude = match i32::from(top & 0x7fff) {
            0x7fff if mantissa << 1 == 0 => f64::INFINITY,
            0x7fff => f64::NAN,
            // 2^-16445 and the like are 0; halving the power keeps 2^1023 * 1.x from overflowing half way.
            exponent => {
                let power = exponent - 16383 - 63;
                mantissa as f64 * 2.0_f64.powi(power / 2) * 2.0_f64.powi(power - power / 2)
            }
        };
        Self(if top & 0x8000 == 0 { magnitude } else { -magnitude })
    }

    fn cleaned(self, infinities: Infinities) -> Self {
        Self(self.0.cleaned(infinities))
    }

    fn value(self) -> f64 {
        self.0
    }

    fn key(self) -> u64 {
        self.0.key()
    }

    fn value_of_key(key: u64) -> f64 {
        f64::value_of_key(key)
    }
}

/// An image in memory: rows and columns of elements of type `T`, read cleaned.
#[derive(Debug)]
pub struct Pixels<'a, T> {
    first: *const u8,
    rows: usize,
    columns: usize,
    row_stride: isize,
    column_stride: isize,
    infinities: Infinities,
    array: PhantomData<&'a [T]>,
}

impl<T: Pixel> Pixels<'_, T> {
    /// Views the array at `address`, with this shape and these strides (bytes), as an image.
    ///
    /// # Safety
    /// Every element that shape and strides reach is readable for the lifetime the caller chooses.
    pub unsafe fn new(
        address: *const u8,
        shape: &[isize],
        strides: &[isize],
        infinities: Infinities,
    ) -> Result<Self, ImageError> {
        Layout::new(shape, strides, T::SIZE)?;
        let (&[rows, columns], &[row_stride, column_stride]) = (shape, strides) else {
            return Err(ImageError::NotTwoDimensional(shape.len()));
        };
        Ok(Self {
            first: address,
            // `Layout` refused negative lengths.
            rows: rows as usize,
            columns: columns as usize,
            row_stride,
            column_stride,
            infinities,
            array: PhantomData,
        })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The pixel at `row` and `column`; panics outside of the image.
    pub fn at(&self, row: usize, column: usize) -> T {
        assert!(row < self.rows && column < self.columns, "({row}, {column}) is outside of the image");
        // SAFETY: inside of the image, which is readable (contract of `new`).
        unsafe { self.read(row as isize * self.row_stride + column as isize * self.column_stride) }
    }

    /// Calls `visit` with every pixel, in the order that is fastest in memory.
    pub fn for_each(&self, mut visit: impl FnMut(T)) {
        let rows = (self.rows, self.row_stride);
        let columns = (self.columns, self.column_stride);
        let (outer, inner) = if rows.1.abs() < columns.1.abs() { (columns, rows) } else { (rows, columns) };
        for start in (0..outer.0).map(|at| at as isize * outer.1) {
            for at in 0..inner.0 {
                // SAFETY: both indices are inside of the image (contract of `new`).
                visit(unsafe { self.read(start + at as isize * inner.1) });
            }
        }
    }

    /// # Safety
    /// `offset` is that of an element.
    unsafe fn read(&self, offset: isize) -> T {
        // SAFETY: contract of this function.
        unsafe { T::read(self.first.offset(offset)) }.cleaned(self.infinities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted_keys<T: Pixel>(ascending: &[T]) {
        for pair in ascending.windows(2) {
            assert!(pair[0].key() < pair[1].key(), "{} {}", pair[0].value(), pair[1].value());
        }
        for element in ascending {
            assert!(element.key() >> (16 * T::KEY_DIGITS - 1) <= 1, "more than {} digits", T::KEY_DIGITS);
            assert_eq!(T::value_of_key(element.key()), element.value());
        }
    }

    #[test]
    fn keys_sort_as_values() {
        sorted_keys(&[0_u8, 1, 200, 255]);
        sorted_keys(&[i8::MIN, -1, 0, 1, i8::MAX]);
        sorted_keys(&[i16::MIN, -1, 0, 1, i16::MAX]);
        sorted_keys(&[i32::MIN, -1, 0, 1, i32::MAX]);
        sorted_keys(&[i64::MIN, -1, 0, 1, i64::MAX]);
        sorted_keys(&[0, 1, u64::MAX]);
        sorted_keys(&[f32::NEG_INFINITY, f32::MIN, -1.0, -1e-40, 0.0, 1e-40, 1.0, f32::MAX, f32::INFINITY]);
        sorted_keys(&[f64::NEG_INFINITY, f64::MIN, -1.0, -5e-324, 0.0, 5e-324, 1.0, f64::MAX, f64::INFINITY]);
    }

    #[test]
    fn numbers_that_are_none_are_cleaned() {
        assert_eq!(f32::NAN.cleaned(Infinities::Kept), 0.0);
        assert_eq!(f64::NEG_INFINITY.cleaned(Infinities::Largest), f64::MIN);
        assert_eq!(f64::NEG_INFINITY.cleaned(Infinities::Kept), f64::NEG_INFINITY);
    }

    #[test]
    fn half_precision() {
        let read = |bits: u16| {
            let bytes = bits.to_ne_bytes();
            // SAFETY: two bytes.
            unsafe { Half::read(bytes.as_ptr()) }
        };
        for (bits, value) in
            [(0x0000, 0.0), (0x3c00, 1.0), (0xc000, -2.0), (0x0001, 2.0_f64.powi(-24)), (0x7bff, 65504.0)]
        {
            assert_eq!(read(bits).value(), value);
        }
        assert_eq!(read(0x7c00).cleaned(Infinities::Largest).value(), 65504.0);
        assert_eq!(read(0xfc00).cleaned(Infinities::Kept).value(), f64::NEG_INFINITY);
        assert_eq!(read(0x7e01).cleaned(Infinities::Kept).value(), 0.0);
    }

    #[test]
    fn extended_precision() {
        let read = |top: u16, mantissa: u64| {
            let mut bytes = [0xaa_u8; 16];
            bytes[..8].copy_from_slice(&mantissa.to_ne_bytes());
            bytes[8..10].copy_from_slice(&top.to_ne_bytes());
            // SAFETY: sixteen bytes.
            unsafe { Extended::read(bytes.as_ptr()) }.value()
        };
        assert_eq!(read(0, 0), 0.0);
        assert_eq!(read(16383, 1 << 63), 1.0);
        assert_eq!(read(0x8000 | 16384, 3 << 62), -3.0);
        assert_eq!(read(16383 + 1023, u64::MAX << 11), f64::MAX);
        assert_eq!(read(16383 + 1024, 1 << 63), f64::INFINITY);
        assert_eq!(read(1, 1 << 63), 0.0);
        assert_eq!(read(0x7fff, 1 << 63), f64::INFINITY);
        assert!(read(0x7fff, 3 << 62).is_nan());
    }

    #[test]
    fn strides_of_any_sign() {
        let values: Vec<i16> = (0..12).collect();
        // SAFETY: 3 rows of 4 columns are 12 values, and the last row comes first.
        let image = unsafe {
            let first = values.as_ptr().add(8).cast();
            Pixels::<i16>::new(first, &[3, 4], &[-8, 2], Infinities::Kept).unwrap()
        };
        assert_eq!(image.at(0, 0), 8);
        assert_eq!(image.at(2, 3), 3);
        let mut sum = 0;
        image.for_each(|value| sum += value);
        assert_eq!(sum, 66);
    }
}
