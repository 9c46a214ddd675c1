//! Long doubles: numpy's `f16`. Rounded to the nearest double, ties to even, as by `numpy.astype(float)`. Pure.

/// This machine's long double, least significant byte first.
pub(crate) fn to_f64(bytes: [u8; 16]) -> f64 {
    // As in `dtype::not_a_number`.
    if cfg!(target_arch = "x86_64") { extended(bytes) } else { quadruple(bytes) }
}

/// x87's 80 bits: sign, 15 bits of exponent, 64 bits with an explicit leading one. The other six bytes are anything.
fn extended(bytes: [u8; 16]) -> f64 {
    let whole = u128::from_le_bytes(bytes);
    let (mantissa, exponent) = (whole as u64, (whole >> 64) as i32 & 0x7fff);
    let has_leading_one = mantissa >> 63 == 1;
    let magnitude = match exponent {
        0x7fff if mantissa == 1 << 63 => f64::INFINITY,
        0x7fff => f64::NAN,
        // No x87 since 1987 makes these; for all later ones they are invalid.
        1.. if !has_leading_one => f64::NAN,
        _ => rounded(mantissa.into(), exponent.max(1) - 0x3fff - 63),
    };
    if whole >> 79 & 1 == 1 { -magnitude } else { magnitude }
}

/// IEEE 754 binary128: sign, 15 bits of exponent, 112 bits of fraction.
fn quadruple(bytes: [u8; 16]) -> f64 {
    let whole = u128::from_le_bytes(bytes);
    let (fraction, exponent) = (whole & ((1 << 112) - 1), (whole >> 112) as i32 & 0x7fff);
    let magnitude = match exponent {
        0x7fff if fraction == 0 => f64::INFINITY,
        0x7fff => f64::NAN,
        0 => rounded(fraction, 1 - 0x3fff - 112),
        _ => rounded(fraction | 1 << 112, exponent - 0x3fff - 112),
    };
    if whole >> 127 == 1 { -magnitude } else { magnitude }
}

/// The double nearest to `mantissa * 2^exponent`; the mantissa has at most 113 bits.
fn rounded(mantissa: u128, exponent: i32) -> f64 {
    const FRACTION_BITS: i32 = 52;
    /// Exponent of the smallest double.
    const LOWEST: i32 = -1074;
    if mantissa == 0 {
        return 0.0;
    }
    let length = 128 - mantissa.leading_zeros() as i32;
    // Exponent of the last bit that a double of this size has.
    let last = (length - 1 + exponent - FRACTION_BITS).max(LOWEST);
    let kept = match last - exponent {
        // Less than half of the smallest double.
        dropped if dropped > length => return 0.0,
        dropped if dropped > 0 => {
            let (kept, rest, half) =
                (mantissa >> dropped, mantissa & ((1 << dropped) - 1), 1u128 << (dropped - 1));
            kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
        }
        missing => mantissa << -missing,
    } as u64;
    if last - LOWEST >= 0x7fe {
        return f64::INFINITY;
    }
    if kept < 1 << FRACTION_BITS {
        return f64::from_bits(kept);
    }
    // What rounding carries over belongs to the exponent; beyond the largest double, that makes infinity.
    let biased = (last - LOWEST + 1) as u64;
    f64::from_bits((biased << FRACTION_BITS) + (kept - (1 << FRACTION_BITS)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The long double with the value of a normal double, plus some last bits.
    fn extended_of(value: f64, below: u64) -> [u8; 16] {
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) + 0x3fff - 0x3ff;
        let mantissa = 1 << 63 | (bits & ((1 << 52) - 1)) << 11 | below;
        let whole = u128::from(mantissa) | u128::from(exponent | bits >> 63 << 15) << 64;
        // The rest is not part of the number.
        (whole | 0x7f_fd58 << 80).to_le_bytes()
    }

    fn extended_parts(exponent: u16, mantissa: u64) -> f64 {
        extended((u128::from(mantissa) | u128::from(exponent) << 64).to_le_bytes())
    }

    #[test]
    fn special_numbers_are_read_right() {
        assert_eq!(extended([0; 16]).to_bits(), 0.0f64.to_bits());
        assert_eq!(extended_parts(0x8000, 0).to_bits(), (-0.0f64).to_bits());
        assert_eq!(extended_parts(0x7fff, 1 << 63), f64::INFINITY);
        assert_eq!(extended_parts(0xffff, 1 << 63), f64::NEG_INFINITY);
        assert!(extended_parts(0x7fff, 3 << 62).is_nan());
        // The largest and the smallest long double are no doubles.
        assert_eq!(extended_parts(0x7ffe, u64::MAX), f64::INFINITY);
        assert_eq!(extended_parts(0xfffe, u64::MAX), f64::NEG_INFINITY);
        assert_eq!(extended_parts(0, 1), 0.0);
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_double() {
        // One third in 64 bits, as numpy stores it, with what was in memory beside it.
        let third = 0x7ffd_5f58_3ffd_aaaa_aaaa_aaaa_aaab_u128.to_le_bytes();
        assert_eq!(extended(third), 1.0 / 3.0);
        let next = f64::from_bits(1f64.to_bits() + 1);
        assert_eq!(extended(extended_of(1.0, 0x3ff)), 1.0);
        assert_eq!(extended(extended_of(1.0, 0x400)), 1.0, "a tie goes to the even one");
        assert_eq!(extended(extended_of(1.0, 0x401)), next);
        assert_eq!(extended(extended_of(next, 0x400)), f64::from_bits(next.to_bits() + 1));
        assert_eq!(extended(extended_of(-1.0, 0x401)), -next);
        // All ones round up to the next power of two.
        assert_eq!(extended(extended_of(2f64.next_down(), 0x7ff)), 2.0);
        assert_eq!(extended(extended_of(f64::MAX, 0x3ff)), f64::MAX);
        assert_eq!(extended(extended_of(f64::MAX, 0x400)), f64::INFINITY);
    }

    #[test]
    fn the_smallest_doubles_are_rounded_once() {
        let smallest = f64::from_bits(1);
        // 2^-1074, its half, a bit more than its half, and one and a half of it.
        let exponent = |power: i32| (power + 0x3fff) as u16;
        assert_eq!(extended_parts(exponent(-1074), 1 << 63), smallest);
        assert_eq!(extended_parts(exponent(-1075), 1 << 63), 0.0);
        assert_eq!(extended_parts(exponent(-1075), 1 << 63 | 1), smallest);
        assert_eq!(extended_parts(exponent(-1076), u64::MAX), 0.0);
        assert_eq!(extended_parts(exponent(-1074), 3 << 62), f64::from_bits(2));
        assert_eq!(extended_parts(exponent(-1022), 1 << 63), f64::MIN_POSITIVE);
        assert_eq!(extended_parts(exponent(-1023), u64::MAX), f64::MIN_POSITIVE);
    }

    #[test]
    fn quadruple_precision_is_read_right() {
        let of = |exponent: u128, fraction: u128| quadruple((exponent << 112 | fraction).to_le_bytes());
        assert_eq!(of(0x3fff, 0), 1.0);
        assert_eq!(of(0xbfff, 1 << 111), -1.5);
        assert_eq!(of(0x3ffd, 0x5555_5555_5555_5555_5555_5555_5555), 1.0 / 3.0);
        assert_eq!(of(0x7fff, 0), f64::INFINITY);
        assert!(of(0x7fff, 1).is_nan());
        assert_eq!(of(0, 1), 0.0);
        assert_eq!(of(0x7ffe, 0), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn a_double_stays_what_it_is(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_normal());
            prop_assert_eq!(extended(extended_of(value, 0)), value);
        }
    }
}
