//! Means of the buckets of an array, for pictures. Pure.

use super::{
    buckets::{NotOfNumbers, Numbers},
    grid::Grid,
};
use crate::number::Number;

/// Means of the finite elements of each bucket of an array, which gets its elements in C order.
///
/// Of integers, distances from the first one are added, without rounding: large numbers that differ little, as times do, would
/// otherwise all be the same.
#[derive(Debug)]
pub(crate) struct Means {
    numbers: Numbers,
    grid: Grid,
    base: Option<i128>,
    filled: Vec<Mean>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    whole: i128,
    real: f64,
    count: u64,
}

impl Means {
    /// For an array of numbers.
    pub fn new(numbers: Numbers, grid: Grid) -> Self {
        Means { numbers, base: None, filled: vec![Mean::default(); grid.buckets()], grid }
    }

    /// Takes the next elements.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), NotOfNumbers> {
        for number in self.numbers.of(bytes) {
            let mean = &mut self.filled[self.grid.next_place()];
            match number? {
                Some(Number::Whole(value)) => {
                    mean.whole += value - *self.base.get_or_insert(value);
                    mean.count += 1;
                }
                Some(Number::Real(value)) if value.is_finite() => {
                    mean.real += value;
                    mean.count += 1;
                }
                Some(Number::Real(_)) | None => {}
            }
        }
        Ok(())
    }

    /// Distances of the means from the first integer, in C order; NaN where there is none.
    pub fn distances(&self) -> Vec<f64> {
        let of = |mean: &Mean| (mean.whole as f64 + mean.real) / mean.count as f64;
        self.filled.iter().map(of).collect()
    }

    /// The distance of a number from the first integer.
    pub fn distance(&self, number: f64) -> f64 {
        /// All integers up to here have a place in 128 bits.
        const LARGEST: f64 = 1e37;
        match self.base {
            None => number,
            Some(base) if number.abs() < LARGEST => (number.trunc() as i128 - base) as f64 + number.fract(),
            Some(_) => number,
        }
    }

    /// The number at this distance from the first integer.
    pub fn number(&self, distance: f64) -> f64 {
        match self.base {
            None => distance,
            Some(base) => (base + distance.trunc() as i128) as f64 + distance.fract(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;

    fn means(dtype: Dtype, missing: Vec<Number>, shape: &[u64], counts: Vec<u64>) -> Means {
        Means::new(Numbers { dtype, missing }, Grid::new(shape, counts))
    }

    #[test]
    fn only_finite_numbers_have_a_mean() {
        let mut means = means(Dtype::Float { bytes: 8, big_endian: false }, vec![], &[6], vec![3]);
        let values = [f64::NAN, f64::INFINITY, 1.0, f64::NAN, 1.0, 2.0];
        means.add(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        let found = means.distances();
        assert!(found[0].is_nan());
        assert_eq!(found[1..], [1.0, 1.5]);
        assert_eq!((means.distance(0.5), means.number(0.5)), (0.5, 0.5));
    }

    #[test]
    fn large_integers_that_differ_little_are_different() {
        let times: [i64; 4] = [1_700_000_000_000_000_001, 1_700_000_000_000_000_003, i64::MIN, i64::MAX];
        let bytes: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
        let dtype = Dtype::Int { bytes: 8, signed: true, big_endian: false };
        let mut means = means(dtype, vec![Number::Whole(i64::MIN.into())], &[4], vec![4]);
        means.add(&bytes).unwrap();
        let found = means.distances();
        assert_eq!(found[..2], [0.0, 2.0]);
        assert!(found[2].is_nan());
        assert_eq!(found[3], (i64::MAX - times[0]) as f64);
        assert_eq!(means.number(2.0), 1.7e18);
        assert_eq!(means.distance(1.7e18), -1.0);
    }
}
