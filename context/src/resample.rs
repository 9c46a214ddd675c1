//! Scales an axis to the size of a thumbnail: determines which source pixels contribute to an output pixel.
//!
//! The rules are those of Anti-Grain Geometry as matplotlib uses it, fixed-point steps included: for strong
//! reductions the rounding of the step through the filter widens it noticeably.

/// Positions have 8 fractional bits.
const SUBPIXELS: i64 = 256;
/// Largest reduction the filter is widened for; also limits the product of both axes.
const SCALE_LIMIT: f64 = 200.0;

/// The source pixels whose mean is an output pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct Taps {
    /// Index of a source pixel (one may occur twice, by reflection at the border) and its weight; the weights sum to 1.
    pub weights: Vec<(usize, f32)>,
}

/// How much the filter is widened along rows and columns, for an image of that many rows and columns.
pub fn filter_scales(rows: usize, columns: usize, output: usize) -> (f64, f64) {
    let (mut down, mut across) = (rows as f64 / output as f64, columns as f64 / output as f64);
    if across * down > SCALE_LIMIT {
        // The second division sees the result of the first: only one of them is really reduced.
        across = SCALE_LIMIT / down;
        down = SCALE_LIMIT / across;
    }
    (down.clamp(1.0, SCALE_LIMIT), across.clamp(1.0, SCALE_LIMIT))
}

/// For each of these centres, the window of a Hann filter over `length` source pixels, which are reflected at the
/// borders. `scale` is this axis' part of [`filter_scales`].
pub fn hann(length: usize, centres: &[i64], scale: f64) -> Vec<Taps> {
    let radius = (scale * SUBPIXELS as f64).round() as i64;
    let step = (SUBPIXELS as f64 / scale).round() as i64;
    centres
        .iter()
        .map(|centre| {
            let start = centre + SUBPIXELS / 2 - radius;
            let first = start.div_euclid(SUBPIXELS);
            let phase = ((SUBPIXELS - 1 - start.rem_euclid(SUBPIXELS)) * step) / SUBPIXELS;
            let mut weights: Vec<(usize, f32)> = (phase..2 * SUBPIXELS)
                .step_by(step as usize)
                .zip(first..)
                .map(|(place, pixel)| (reflected(pixel, length), window(place) as f32))
                .collect();
            let total: f32 = weights.iter().map(|&(_, weight)| weight).sum();
            for (_, weight) in &mut weights {
                *weight /= total;
            }
            Taps { weights }
        })
        .collect()
}

/// For each of `output` pixels, the source pixel under its centre; the smaller one, where that is on an edge.
pub fn nearest(length: usize, output: usize) -> Vec<usize> {
    // The centre is at (2 at + 1) length / (2 output); exact in integers, rounded up, less one.
    (0..output).map(|at| ((2 * at + 1) * length).div_ceil(2 * output) - 1).collect()
}

/// Centres of the output pixels on the source axis, in subpixels, each rounded by itself: as rows have them.
pub fn row_centres(length: usize, output: usize) -> Vec<i64> {
    (0..output).map(|at| centre(at, length, output)).collect()
}

/// Centres of the output pixels on the source axis, in subpixels, in whole steps on a line between two rounded
/// ends: as columns have them.
pub fn column_centres(length: usize, output: usize) -> Vec<i64> {
    let count = output as i64;
    let start = centre(0, length, output);
    let distance = centre(output, length, output) - start;
    let surplus = (distance - 1).rem_euclid(count) + 1;
    let step = (distance - surplus) / count;
    (0..count).map(|at| start + step * at + (surplus * (at + 1) - 1) / count).collect()
}

fn centre(at: usize, length: usize, output: usize) -> i64 {
    ((at as f64 + 0.5) * length as f64 / output as f64 * SUBPIXELS as f64).round() as i64
}

/// The Hann window over 512 places.
fn window(place: i64) -> f64 {
    let distance = (place - SUBPIXELS) as f64 / SUBPIXELS as f64;
    0.5 + 0.5 * (std::f64::consts::PI * distance).cos()
}

/// The index inside `0..length` that `at` shows when the axis is mirrored at both ends, again and again.
fn reflected(at: i64, length: usize) -> usize {
    let length = length as i64;
    let within = at.rem_euclid(2 * length);
    (if within < length { within } else { 2 * length - 1 - within }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_repeats_the_border_pixel() {
        let seen: Vec<usize> = (-4..7).map(|at| reflected(at, 3)).collect();
        assert_eq!(seen, [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]);
        assert_eq!(reflected(-9, 1), 0);
    }

    #[test]
    fn an_edge_shows_the_smaller_pixel() {
        assert_eq!(nearest(2, 4), [0, 0, 1, 1]);
        assert_eq!(nearest(4, 2), [0, 2]);
        assert_eq!(nearest(1, 3), [0, 0, 0]);
        assert_eq!(nearest(6, 6), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn centres_of_columns_are_those_of_rows_but_for_a_subpixel() {
        for length in [1, 7, 299, 300, 301, 1000, 70_000] {
            let centres = column_centres(length, 300);
            for (column, row) in centres.iter().zip(row_centres(length, 300)) {
                assert!((column - row).abs() <= 1, "{length}: {column} {row}");
            }
        }
    }

    #[test]
    fn weights_sum_to_one_and_stay_inside() {
        for length in [1, 3, 100, 299, 320, 1000, 70_000] {
            let (scale, _) = filter_scales(length, 1, 300);
            for taps in hann(length, &column_centres(length, 300), scale) {
                let total: f32 = taps.weights.iter().map(|&(_, weight)| weight).sum();
                assert!((total - 1.0).abs() < 1e-5, "{length}: {total}");
                assert!(taps.weights.iter().all(|&(pixel, _)| pixel < length));
            }
        }
    }

    #[test]
    fn the_filter_is_centred_on_the_output_pixel() {
        for taps in hann(600, &row_centres(600, 300), 2.0).iter().enumerate().skip(5).take(290) {
            let (at, taps) = taps;
            let mean: f32 = taps.weights.iter().map(|&(pixel, weight)| (pixel as f32 + 0.5) * weight).sum();
            assert!((mean - 2.0 * (at as f32 + 0.5)).abs() < 0.02, "{at}: {mean}");
        }
    }

    #[test]
    fn only_one_axis_is_limited_in_large_images() {
        assert_eq!(filter_scales(900, 150, 300), (3.0, 1.0));
        assert_eq!(filter_scales(6000, 6000, 300), (20.0, 10.0));
    }
}
