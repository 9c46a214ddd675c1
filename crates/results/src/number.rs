//! Numbers as they are stored. Integers are never rounded.

use std::cmp::Ordering;

use crate::{dtype::Dtype, long_double};

/// A number that can be compared with others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    /// Of a type of integers, or a truth value.
    Whole(i128),
    /// Of any other type.
    Real(f64),
}

impl Number {
    /// An element as a number: of a complex one, its absolute value. `None` if the type has no numbers.
    pub fn of(dtype: &Dtype, bytes: &[u8]) -> Option<Number> {
        match *dtype {
            Dtype::Int { .. } | Dtype::Bool => integer(dtype, bytes).map(Number::Whole),
            Dtype::Float { .. } => number(dtype, bytes).map(Number::Real),
            Dtype::Complex { .. } => {
                let (real, imaginary) = complex(dtype, bytes)?;
                Some(Number::Real(real.hypot(imaginary)))
            }
            Dtype::Bytes { .. } | Dtype::Text | Dtype::Record(_) => None,
        }
    }

    pub fn to_f64(self) -> f64 {
        match self {
            Number::Whole(value) => value as f64,
            Number::Real(value) => value,
        }
    }

    pub fn is_nan(self) -> bool {
        matches!(self, Number::Real(value) if value.is_nan())
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Number::Whole(one), Number::Whole(other)) => Some(one.cmp(other)),
            (one, other) => one.to_f64().partial_cmp(&other.to_f64()),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

/// The bytes of one element, least significant first, and zeros. `None` if there are fewer or more than `size`.
fn little_endian<const N: usize>(size: usize, big_endian: bool, bytes: &[u8]) -> Option<[u8; N]> {
    let mut wide = [0; N];
    let place = wide.get_mut(..size).filter(|_| bytes.len() == size)?;
    place.copy_from_slice(bytes);
    if big_endian {
        place.reverse();
    }
    Some(wide)
}

/// An integer or truth value. `None` for other types.
pub(crate) fn integer(dtype: &Dtype, bytes: &[u8]) -> Option<i128> {
    let (size, signed, big_endian) = match *dtype {
        Dtype::Int { bytes, signed, big_endian } => (bytes, signed, big_endian),
        Dtype::Bool => (1, false, false),
        _ => return None,
    };
    let wide = u64::from_le_bytes(little_endian(size, big_endian, bytes)?);
    // The sign is the highest bit of the element.
    let unused = 64 - 8 * u32::try_from(size).ok()?;
    Some(if signed { i128::from((wide << unused).cast_signed() >> unused) } else { i128::from(wide) })
}

/// A number, rounded to double precision if it is an integer of 8 bytes or a long double. `None` for other types.
pub(crate) fn number(dtype: &Dtype, bytes: &[u8]) -> Option<f64> {
    let Dtype::Float { bytes: size, big_endian } = *dtype else {
        return integer(dtype, bytes).map(|value| value as f64);
    };
    match size {
        2 => little_endian(size, big_endian, bytes).map(|bytes| half_to_f64(u16::from_le_bytes(bytes))),
        4 => little_endian(size, big_endian, bytes).map(|bytes| f32::from_le_bytes(bytes).into()),
        8 => little_endian(size, big_endian, bytes).map(f64::from_le_bytes),
        16 => little_endian(size, big_endian, bytes).map(long_double::to_f64),
        _ => None,
    }
}

/// Real and imaginary part. `None` for other types.
pub(crate) fn complex(dtype: &Dtype, bytes: &[u8]) -> Option<(f64, f64)> {
    let Dtype::Complex { bytes: size, big_endian } = *dtype else { return None };
    let part = Dtype::Float { bytes: size / 2, big_endian };
    let (real, imaginary) = bytes.split_at_checked(size / 2)?;
    Some((number(&part, real)?, number(&part, imaginary)?))
}

fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read_right() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f64.powi(-24)),
            (0x3555, 0.333251953125),
        ] {
            assert_eq!(half_to_f64(bits), value);
        }
        assert!(half_to_f64(0x7e00).is_nan());
        assert_eq!(half_to_f64(0xfc00), f64::NEG_INFINITY);
    }

    #[test]
    fn integers_are_exact_in_all_sizes_and_orders() {
        let int = |bytes, signed, big_endian| Dtype::Int { bytes, signed, big_endian };
        for (dtype, bytes, value) in [
            (int(1, true, false), vec![0x80], -128),
            (int(1, false, false), vec![0x80], 128),
            (int(2, true, true), vec![0xff, 0xfe], -2),
            (int(4, false, false), u32::MAX.to_le_bytes().to_vec(), u32::MAX.into()),
            (int(8, true, false), i64::MIN.to_le_bytes().to_vec(), i64::MIN.into()),
            (int(8, true, true), (i64::MAX - 1).to_be_bytes().to_vec(), i128::from(i64::MAX) - 1),
            (int(8, false, false), u64::MAX.to_le_bytes().to_vec(), u64::MAX.into()),
            (Dtype::Bool, vec![1], 1),
        ] {
            assert_eq!(integer(&dtype, &bytes), Some(value), "{dtype}");
        }
        assert_eq!(integer(&int(4, true, false), &[0; 8]), None);
        assert_eq!(integer(&int(16, true, false), &[0; 16]), None);
    }

    #[test]
    fn what_is_no_number_is_not_read_as_one() {
        for dtype in [Dtype::Float { bytes: 3, big_endian: false }, Dtype::Bytes { length: 3 }, Dtype::Text] {
            assert!(Number::of(&dtype, &[0; 3]).is_none(), "{dtype}");
        }
    }

    #[test]
    fn integers_are_compared_exactly() {
        let large = 1i128 << 60;
        assert!(Number::Whole(large) < Number::Whole(large + 1));
        assert!(Number::Whole(large) != Number::Whole(large + 1));
        assert!(Number::Whole(3) == Number::Real(3.0));
        assert!(Number::Real(f64::NAN) != Number::Real(f64::NAN));
    }
}
