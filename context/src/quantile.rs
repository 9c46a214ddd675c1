//! Exact quantiles of an image without sorting or copying it.

use crate::colormap::Limits;
use crate::pixels::{Pixel, Pixels};

const DIGIT_VALUES: usize = 1 << 16;

/// The 1 % and 99 % quantiles, interpolated linearly between the two nearest pixels; NaN for an image without
/// pixels, and where infinities make the interpolation meaningless.
///
/// Reads the image once per 16 bits of its elements and needs at most 2 MB, whatever the image's size.
pub fn limits<T: Pixel>(pixels: &Pixels<'_, T>) -> Limits {
    let count = pixels.rows() * pixels.columns();
    let Some(last) = count.checked_sub(1) else {
        return Limits { low: f64::NAN, high: f64::NAN };
    };
    let places = [0.01, 0.99].map(|quantile| {
        let position = quantile * last as f64;
        let below = (position.floor() as usize).min(last);
        (below, (below + 1).min(last), position - below as f64)
    });
    let [low, high] = places;
    let values = select(pixels, [low.0, low.1, high.0, high.1]);
    Limits { low: between(values[0], values[1], low.2), high: between(values[2], values[3], high.2) }
}

/// Interpolates from the nearer end, so that both ends are met exactly.
fn between(below: f64, above: f64, fraction: f64) -> f64 {
    let distance = above - below;
    if fraction < 0.5 { below + distance * fraction } else { above - distance * (1.0 - fraction) }
}

/// The values that would be at these places, were the pixels sorted.
///
/// From the most significant 16-bit digit on: a histogram of the digit among the pixels that agree in the
/// digits before says which digit the pixel at a place has, and its place among those that have it too.
fn select<T: Pixel, const N: usize>(pixels: &Pixels<'_, T>, mut places: [usize; N]) -> [f64; N] {
    let mut keys = [0_u64; N];
    for digit in (0..T::KEY_DIGITS).rev() {
        let shift = 16 * digit;
        let mut prefixes: Vec<u64> = keys.to_vec();
        prefixes.sort_unstable();
        prefixes.dedup();
        let mut histograms = vec![0_usize; prefixes.len() * DIGIT_VALUES];
        pixels.for_each(|pixel| {
            let shifted = pixel.key() >> shift;
            let prefix = shifted >> 16;
            for (candidate, histogram) in prefixes.iter().zip(histograms.chunks_exact_mut(DIGIT_VALUES)) {
                if prefix == *candidate {
                    histogram[(shifted & 0xffff) as usize] += 1;
                }
            }
        });
        for (key, place) in keys.iter_mut().zip(&mut places) {
            let histogram = histograms
                .chunks_exact(DIGIT_VALUES)
                .zip(&prefixes)
                .find_map(|(histogram, prefix)| (prefix == key).then_some(histogram))
                .expect("the prefixes are the keys");
            let mut value = 0;
            while *place >= histogram[value] {
                *place -= histogram[value];
                value += 1;
            }
            *key = *key << 16 | value as u64;
        }
    }
    keys.map(T::value_of_key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::Infinities;

    fn limits_of<T: Pixel>(values: &[T]) -> Limits {
        let (shape, strides) = ([values.len() as isize, 1], [T::SIZE as isize, 0]);
        // SAFETY: the slice has as many elements as the shape.
        limits(
            &unsafe { Pixels::<T>::new(values.as_ptr().cast(), &shape, &strides, Infinities::Kept) }.unwrap(),
        )
    }

    #[test]
    fn places_are_interpolated() {
        assert_eq!(limits_of(&[7_u8]), Limits { low: 7.0, high: 7.0 });
        assert_eq!(limits_of(&[0.0, 100.0]), Limits { low: 1.0, high: 99.0 });
        assert_eq!(limits_of(&[i64::MAX, i64::MIN]).low, i64::MIN as f64 + 0.01 * 2.0_f64.powi(64));
        let hundred_and_one: Vec<f32> = (0..=100).rev().map(|value| value as f32 - 50.0).collect();
        assert_eq!(limits_of(&hundred_and_one), Limits { low: -49.0, high: 49.0 });
        assert!(limits_of::<f64>(&[]).low.is_nan());
    }

    #[test]
    fn selection_agrees_with_sorting() {
        let mut state = 1_u64;
        let mut next = || {
            // Knuth's MMIX generator: enough to scatter values over many magnitudes and to repeat some.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (((state >> 33) % 2001) as f64 - 1000.0).powi(3) * 1e-4
        };
        let values: Vec<f64> = (0..5000).map(|_| next()).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        // SAFETY: 50 rows of 100 columns are 5000 values.
        let image = unsafe {
            Pixels::<f64>::new(values.as_ptr().cast(), &[100, 50], &[8, 800], Infinities::Kept).unwrap()
        };
        for place in [0, 1, 49, 50, 2500, 4949, 4998, 4999] {
            let other = 4999 - place;
            assert_eq!(select(&image, [place, other]), [sorted[place], sorted[other]]);
        }
    }
}
