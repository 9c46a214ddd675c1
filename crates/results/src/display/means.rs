//! Means of the buckets of an array, for pictures. Pure.

use std::cmp::Ordering;

use super::{
    buckets::{NotOfNumbers, Numbers},
    grid::Grid,
};
use crate::{dtype::Dtype, number::Number};

/// Means of the finite elements of each bucket of an array, which gets its elements in C order.
///
/// Integers are added without rounding, and distances between their means are rounded once: large numbers that differ little, as
/// times do, would otherwise all be the same.
#[derive(Debug)]
pub(crate) struct Means {
    numbers: Numbers,
    grid: Grid,
    filled: Vec<Mean>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    whole: i128,
    real: f64,
    count: u64,
}

/// A number as the sum of two, the first of them exact. Of an array of integers, the second one is less than 1; otherwise, and
/// where 128 bits are not enough, the first one is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Exact {
    whole: i128,
    part: f64,
}

/// Means as the numbers that a picture shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scaled {
    /// In C order, of integers as distances from the lowest number of the range; NaN where there is no mean.
    pub values: Vec<f64>,
    /// The range on the scale of these values.
    pub range: (f64, f64),
    /// The range as numbers of the array.
    pub numbers: (f64, f64),
}

impl Exact {
    const ZERO: Exact = Exact { whole: 0, part: 0.0 };

    /// The distance from another one.
    fn from(self, other: Exact) -> f64 {
        (self.whole - other.whole) as f64 + (self.part - other.part)
    }

    fn to_f64(self) -> f64 {
        self.whole as f64 + self.part
    }

    fn order(&self, other: &Exact) -> Ordering {
        self.whole.cmp(&other.whole).then(self.part.total_cmp(&other.part))
    }
}

impl Mean {
    /// `None` without any number, and if the sum is beyond all numbers.
    fn exact(&self) -> Option<Exact> {
        let count = i128::from(self.count);
        let whole = self.whole.checked_div(count)?;
        let part = ((self.whole % count) as f64 + self.real) / self.count as f64;
        Some(Exact { whole, part })
    }
}

impl Means {
    /// For an array of numbers.
    pub fn new(numbers: Numbers, grid: Grid) -> Self {
        Means { numbers, filled: vec![Mean::default(); grid.buckets()], grid }
    }

    /// Takes the next elements.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), NotOfNumbers> {
        for number in self.numbers.of(bytes) {
            let mean = &mut self.filled[self.grid.next_place()];
            match number? {
                Some(Number::Whole(value)) => {
                    mean.whole += value;
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

    /// The means, and the range of numbers in which they are shown; without one, that of the means.
    pub fn scaled(&self, range: Option<(f64, f64)>) -> Scaled {
        let of_integers = matches!(self.numbers.dtype, Dtype::Int { .. } | Dtype::Bool);
        let exact = |number: f64| {
            /// All integers up to here, and their distances, have a place in 128 bits.
            const LARGEST: f64 = 1e37;
            if of_integers && number.abs() < LARGEST {
                Exact { whole: number.trunc() as i128, part: number.fract() }
            } else {
                Exact { whole: 0, part: number }
            }
        };
        let means: Vec<Option<Exact>> = self.filled.iter().map(Mean::exact).collect();
        let (low, high) = match range {
            Some((low, high)) => (exact(low), exact(high)),
            None => {
                let finite = || means.iter().flatten().copied().filter(|mean| mean.part.is_finite());
                let ends = finite().min_by(Exact::order).zip(finite().max_by(Exact::order));
                ends.unwrap_or((exact(0.0), exact(1.0)))
            }
        };
        // Distances of real numbers may be beyond all numbers.
        let base = if of_integers { low } else { Exact::ZERO };
        Scaled {
            values: means.iter().map(|mean| mean.map_or(f64::NAN, |mean| mean.from(base))).collect(),
            range: (low.from(base), high.from(base)),
            numbers: range.unwrap_or((low.to_f64(), high.to_f64())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const I64: Dtype = Dtype::Int { bytes: 8, signed: true, big_endian: false };
    const U64: Dtype = Dtype::Int { bytes: 8, signed: false, big_endian: false };

    fn means(dtype: Dtype, missing: Vec<Number>, shape: &[u64], counts: Vec<u64>) -> Means {
        Means::new(Numbers { dtype, missing }, Grid::new(shape, counts))
    }

    fn of_integers<const N: usize>(dtype: Dtype, elements: &[[u8; 8]; N]) -> Means {
        let mut means = means(dtype, vec![], &[N as u64], vec![N as u64]);
        means.add(elements.as_flattened()).unwrap();
        means
    }

    #[test]
    fn only_finite_numbers_have_a_mean() {
        let mut means = means(Dtype::Float { bytes: 8, big_endian: false }, vec![], &[6], vec![3]);
        let values = [f64::NAN, f64::INFINITY, 1.0, f64::NAN, 1.0, 2.0];
        means.add(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        let found = means.scaled(None);
        assert!(found.values[0].is_nan());
        assert_eq!(found.values[1..], [1.0, 1.5]);
        assert_eq!((found.range, found.numbers), ((1.0, 1.5), (1.0, 1.5)));
        assert_eq!(means.scaled(Some((0.5, 7.0))).range, (0.5, 7.0));
    }

    #[test]
    fn without_numbers_there_is_some_range() {
        for dtype in [Dtype::Float { bytes: 8, big_endian: false }, I64] {
            let found = means(dtype, vec![], &[1], vec![1]).scaled(None);
            assert!(found.values[0].is_nan());
            assert_eq!((found.range, found.numbers), ((0.0, 1.0), (0.0, 1.0)));
        }
    }

    #[test]
    fn large_integers_that_differ_little_are_different() {
        let times: [i64; 4] = [1_700_000_000_000_000_001, 1_700_000_000_000_000_003, i64::MIN, i64::MAX];
        let bytes: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
        let mut means = means(I64, vec![Number::Whole(i64::MIN.into())], &[4], vec![4]);
        means.add(&bytes).unwrap();
        let found = means.scaled(None);
        assert_eq!(found.values[..2], [0.0, 2.0]);
        assert!(found.values[2].is_nan());
        assert_eq!(found.values[3], (i64::MAX - times[0]) as f64);
        assert_eq!(found.numbers, (1.7e18, i64::MAX as f64));
        let asked = means.scaled(Some((1.7e18, 1.7e18 + 512.0)));
        assert_eq!((&asked.values[..2], asked.range), (&[1.0, 3.0][..], (0.0, 512.0)));
    }

    /// The order of the elements does not matter: none of them is the one from which distances are taken.
    #[test]
    fn one_far_integer_leaves_the_others_apart() {
        let near = [1u64, 2, 3, 1 << 60, (1 << 60) + 1].map(u64::to_le_bytes);
        for far in [0, 5] {
            let mut elements = near.to_vec();
            elements.insert(far, u64::MAX.to_le_bytes());
            let elements: [[u8; 8]; 6] = elements.try_into().unwrap();
            let means = of_integers(U64, &elements);
            let mut found = means.scaled(Some((0.0, 15.0)));
            assert_eq!(found.values.remove(far), u64::MAX as f64);
            assert_eq!(found.values[..3], [1.0, 2.0, 3.0]);
            assert_eq!(means.scaled(None).numbers, (1.0, u64::MAX as f64));
            let mut found = means.scaled(Some(((1u64 << 60) as f64, u64::MAX as f64)));
            found.values.remove(far);
            assert_eq!(found.values[3..], [0.0, 1.0]);
        }
        let ends = of_integers(I64, &[i64::MAX, i64::MIN, 0, -1].map(i64::to_le_bytes));
        assert_eq!(ends.scaled(None).numbers, (i64::MIN as f64, i64::MAX as f64));
        assert_eq!(ends.scaled(Some((-1.5, 1e300))).values[2..], [1.5, 0.5]);
        assert_eq!(ends.scaled(Some((-1e300, 1e300))).range, (0.0, 2e300));
    }

    #[test]
    fn means_of_integers_have_fractions() {
        let mut means = means(I64, vec![], &[6], vec![2]);
        let values = [-1i64, 0, 0, (1 << 62) + 1, 1 << 62, 1 << 62];
        means.add(values.map(i64::to_le_bytes).as_flattened()).unwrap();
        let found = means.scaled(Some((-1.0, 1.0)));
        assert_eq!(found.values[0], 1.0 - 1.0 / 3.0);
        assert_eq!(means.scaled(None).numbers.0, -1.0 / 3.0);
        let found = means.scaled(Some(((1u64 << 62) as f64, f64::MAX)));
        assert_eq!(found.values[1], 1.0 / 3.0);
    }
}
