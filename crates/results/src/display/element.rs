//! Elements of arrays as JSON. What JSON does not have is text: `"NaN"`, `"Infinity"`, `"-Infinity"`.

use serde_json::{Value as Json, json};

use crate::{
    dtype::Dtype,
    number::{Number, integer, number},
    text::without_padding,
};

/// A number in JSON.
pub(crate) fn number_json(value: f64) -> Json {
    if value.is_nan() {
        json!("NaN")
    } else if value.is_infinite() {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        json!(value)
    }
}

fn integer_json(value: i128) -> Option<Json> {
    let signed = i64::try_from(value).map(|value| json!(value));
    signed.or_else(|_| u64::try_from(value).map(|value| json!(value))).ok()
}

/// One element in JSON; `None` if it cannot be shown: bytes that are not UTF-8, a type that is not of numbers or text.
/// Complex numbers are pairs. Long doubles are rounded to double precision.
pub(crate) fn element_json(dtype: &Dtype, bytes: &[u8]) -> Option<Json> {
    match *dtype {
        Dtype::Bool => Some(json!(*bytes.first()? != 0)),
        Dtype::Int { .. } => integer_json(integer(dtype, bytes)?),
        Dtype::Float { .. } => Some(float_json(dtype, number(dtype, bytes)?)),
        Dtype::Complex { bytes: size, big_endian } => {
            let part = Dtype::Float { bytes: size / 2, big_endian };
            let (real, imaginary) = bytes.split_at_checked(size / 2)?;
            Some(json!([element_json(&part, real)?, element_json(&part, imaginary)?]))
        }
        Dtype::Bytes { .. } => Some(json!(std::str::from_utf8(without_padding(bytes)).ok()?)),
        Dtype::Text | Dtype::Record(_) => None,
    }
}

/// A number of elements of this type in JSON, as [`element_json`] shows it; of complex ones, an absolute value.
pub(crate) fn extreme_json(dtype: &Dtype, value: Number) -> Json {
    match value {
        Number::Whole(value) if *dtype == Dtype::Bool => json!(value != 0),
        Number::Whole(value) => integer_json(value).unwrap_or_else(|| number_json(value as f64)),
        Number::Real(value) => float_json(dtype, value),
    }
}

fn float_json(dtype: &Dtype, value: f64) -> Json {
    let is_single = matches!(dtype, Dtype::Float { bytes: 4, .. });
    // The shortest text for which reading it as a single-precision number gives the same number.
    if is_single && value.is_finite() { json!(shortest(value as f32)) } else { number_json(value) }
}

/// The double-precision number with the shortest text that denotes this single-precision number.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| value.into())
}

/// Nests a flat list of elements in C order.
pub(crate) fn nested(shape: &[u64], flat: &mut impl Iterator<Item = Json>) -> Json {
    match shape {
        [] => flat.next().unwrap_or(Json::Null),
        [length, rest @ ..] => Json::Array((0..*length).map(|_| nested(rest, flat)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_does_not_have_is_text() {
        let f8 = Dtype::Float { bytes: 8, big_endian: false };
        let element = |value: f64| element_json(&f8, &value.to_le_bytes()).unwrap();
        assert_eq!(element(0.1), json!(0.1));
        assert_eq!((element(f64::NAN), element(f64::INFINITY)), (json!("NaN"), json!("Infinity")));
        assert_eq!(element(f64::NEG_INFINITY), json!("-Infinity"));
        let f4 = Dtype::Float { bytes: 4, big_endian: true };
        assert_eq!(element_json(&f4, &0.1f32.to_be_bytes()).unwrap().to_string(), "0.1");
        let u8 = Dtype::Int { bytes: 8, signed: false, big_endian: false };
        assert_eq!(element_json(&u8, &u64::MAX.to_le_bytes()), Some(json!(u64::MAX)));
        let complex = Dtype::Complex { bytes: 16, big_endian: false };
        let bytes = [3f64.to_le_bytes(), 4f64.to_le_bytes()].concat();
        assert_eq!(element_json(&complex, &bytes), Some(json!([3.0, 4.0])));
        assert_eq!(Number::of(&complex, &bytes), Some(Number::Real(5.0)));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn long_doubles_are_numbers() {
        let one_and_a_half = (0x3fff_c000_0000_0000_0000_u128).to_le_bytes();
        let (little, big) =
            (Dtype::Float { bytes: 16, big_endian: false }, Dtype::Float { bytes: 16, big_endian: true });
        assert_eq!(element_json(&little, &one_and_a_half), Some(json!(1.5)));
        let reversed: Vec<u8> = one_and_a_half.iter().rev().copied().collect();
        assert_eq!(element_json(&big, &reversed), Some(json!(1.5)));
        let complex = Dtype::Complex { bytes: 32, big_endian: false };
        let pair = [one_and_a_half, [0; 16]].concat();
        assert_eq!(element_json(&complex, &pair), Some(json!([1.5, 0.0])));
        assert_eq!(Number::of(&complex, &pair), Some(Number::Real(1.5)));
    }

    #[test]
    fn what_cannot_be_shown_is_not_shown_as_something_else() {
        let element = |dtype: Dtype, bytes: &[u8]| element_json(&dtype, bytes);
        assert_eq!(element(Dtype::Bytes { length: 5 }, "aµ\0\0".as_bytes()), Some(json!("aµ")));
        assert_eq!(element(Dtype::Bytes { length: 3 }, b"5\xb5\0"), None);
        assert_eq!(element(Dtype::Float { bytes: 3, big_endian: false }, &[0; 3]), None);
        assert_eq!(element(Dtype::Text, &[0; 16]), None);
    }

    #[test]
    fn extremes_are_shown_as_elements_are() {
        let f4 = Dtype::Float { bytes: 4, big_endian: false };
        assert_eq!(extreme_json(&f4, Number::Real(0.1f32.into())), json!(0.1));
        let i8 = Dtype::Int { bytes: 8, signed: true, big_endian: false };
        assert_eq!(extreme_json(&i8, Number::Whole(i64::MIN.into())), json!(i64::MIN));
        assert_eq!(extreme_json(&Dtype::Bool, Number::Whole(1)), json!(true));
    }

    #[test]
    fn lists_are_nested_in_c_order() {
        let mut flat = (0..6).map(|at| json!(at));
        assert_eq!(nested(&[2, 3], &mut flat), json!([[0, 1, 2], [3, 4, 5]]));
        assert_eq!(nested(&[0, 3], &mut flat), json!([]));
        assert_eq!(nested(&[], &mut std::iter::once(json!(7))), json!(7));
    }
}
