//! Arrays with fewer points: the smallest and the largest element of each bucket. Pure.

use serde_json::{Value as Json, json};

use super::{
    element::{extreme_json, nested},
    grid::Grid,
};
use crate::{dtype::Dtype, number::Number};

/// Which elements of an array are numbers.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    /// Their type.
    pub dtype: Dtype,
    /// Elements that stand for no number.
    pub missing: Vec<Number>,
}

/// An element whose type has no numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOfNumbers;

impl Numbers {
    /// The elements in these bytes; `None` for NaN and what stands for no number.
    pub fn of<'a>(
        &'a self,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = Result<Option<Number>, NotOfNumbers>> + 'a {
        let size = self.dtype.item_size().unwrap_or(1).max(1);
        bytes.chunks_exact(size).map(|element| {
            let number = Number::of(&self.dtype, element).ok_or(NotOfNumbers)?;
            Ok(Some(number).filter(|number| !number.is_nan() && !self.missing.contains(number)))
        })
    }
}

/// Extremes of the buckets of an array, which gets its elements in C order.
#[derive(Debug)]
pub(crate) struct Buckets {
    numbers: Numbers,
    grid: Grid,
    /// The smallest and the largest element, if there is any.
    filled: Vec<Option<(Number, Number)>>,
    not_numbers: u64,
}

impl Buckets {
    /// For an array of numbers.
    pub fn new(numbers: Numbers, grid: Grid) -> Self {
        Buckets { numbers, filled: vec![None; grid.buckets()], not_numbers: 0, grid }
    }

    /// Takes the next elements.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), NotOfNumbers> {
        for number in self.numbers.of(bytes) {
            let bucket = &mut self.filled[self.grid.next_place()];
            match (number?, *bucket) {
                (None, _) => self.not_numbers += 1,
                (Some(number), None) => *bucket = Some((number, number)),
                (Some(number), Some((least, greatest))) => {
                    let least = if number < least { number } else { least };
                    *bucket = Some((least, if number > greatest { number } else { greatest }));
                }
            }
        }
        Ok(())
    }

    /// Smallest and largest elements, with the edges of the buckets of each axis. A bucket without numbers is `null`.
    pub fn extremes(&self) -> Json {
        let dtype = &self.numbers.dtype;
        let side = |of: fn((Number, Number)) -> Number| {
            let json = |bucket: &Option<_>| bucket.map_or(Json::Null, |both| extreme_json(dtype, of(both)));
            nested(self.grid.counts(), &mut self.filled.iter().map(json))
        };
        json!({
            "edges": self.grid.edges(),
            "min": side(|(least, _)| least),
            "max": side(|(_, greatest)| greatest),
            "not_numbers": self.not_numbers,
            "of": if matches!(dtype, Dtype::Complex { .. }) { "absolute value" } else { "value" },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::grid::within, *};

    const F64: Dtype = Dtype::Float { bytes: 8, big_endian: false };
    const I64: Dtype = Dtype::Int { bytes: 8, signed: true, big_endian: false };

    fn bytes(values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn buckets(dtype: Dtype, missing: Vec<Number>, shape: &[u64], counts: Vec<u64>) -> Buckets {
        Buckets::new(Numbers { dtype, missing }, Grid::new(shape, counts))
    }

    #[test]
    fn a_spike_is_not_lost() {
        let mut values = vec![0.0; 1000];
        values[777] = 1e6;
        values[500] = f64::NAN;
        let mut buckets = buckets(F64, vec![], &[1000], within(&[1000], 10));
        buckets.add(&bytes(&values[..333])).unwrap();
        buckets.add(&bytes(&values[333..])).unwrap();
        let json = buckets.extremes();
        assert_eq!(json["edges"][0][7], 700);
        assert_eq!(
            (&json["max"][7], &json["min"][7], &json["max"][6]),
            (&json!(1e6), &json!(0.0), &json!(0.0))
        );
        assert_eq!(json["not_numbers"], 1);
    }

    #[test]
    fn a_bucket_without_numbers_is_null() {
        let mut buckets = buckets(F64, vec![], &[4], vec![2]);
        buckets.add(&bytes(&[f64::NAN, f64::NAN, f64::INFINITY, 1.0])).unwrap();
        let json = buckets.extremes();
        assert_eq!((&json["min"], &json["max"]), (&json!([null, 1.0]), &json!([null, "Infinity"])));
    }

    #[test]
    fn integers_are_exact_and_what_is_missing_is_no_number() {
        let times = [1_700_000_000_000_000_001i64, i64::MIN, 1_700_000_000_000_000_003, i64::MIN, i64::MIN];
        let bytes: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
        let mut buckets = buckets(I64, vec![Number::Whole(i64::MIN.into())], &[5], vec![2]);
        buckets.add(&bytes).unwrap();
        let json = buckets.extremes();
        assert_eq!(json["edges"], json!([[0, 2, 5]]));
        let expected = json!([1_700_000_000_000_000_001i64, 1_700_000_000_000_000_003i64]);
        assert_eq!((&json["min"], &json["max"]), (&expected, &expected));
        assert_eq!(json["not_numbers"], 3);
    }

    #[test]
    fn what_has_no_numbers_is_refused() {
        let mut buckets = buckets(Dtype::Bytes { length: 2 }, vec![], &[2], vec![1]);
        assert_eq!(buckets.add(b"abcd"), Err(NotOfNumbers));
    }

    proptest! {
        #[test]
        fn the_extremes_of_all_buckets_are_those_of_the_array(
            shape in prop::collection::vec(1u64..8, 1..4), points in 1u64..50, seed in any::<i64>()
        ) {
            let count = shape.iter().product::<u64>();
            let values: Vec<i64> = (0..count).map(|at| seed.wrapping_mul(at as i64 * 2 + 1)).collect();
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let mut buckets = buckets(I64, vec![], &shape, within(&shape, points));
            buckets.add(&bytes).unwrap();
            prop_assert!(buckets.filled.len() as u64 <= points);
            let all: Vec<(Number, Number)> = buckets.filled.iter().map(|bucket| bucket.unwrap()).collect();
            let whole = |number: Number| match number { Number::Whole(value) => value, Number::Real(_) => panic!() };
            let least = all.iter().map(|(least, _)| whole(*least)).min().unwrap();
            let greatest = all.iter().map(|(_, greatest)| whole(*greatest)).max().unwrap();
            prop_assert_eq!(least, i128::from(*values.iter().min().unwrap()));
            prop_assert_eq!(greatest, i128::from(*values.iter().max().unwrap()));
        }
    }
}
