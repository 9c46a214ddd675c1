//! Thumbnails: small pictures of two-dimensional arrays for the run table.

use crate::colormap::{Limits, MISSING, Rgba, colour};
use crate::pixels::{Extended, Half, ImageError, Infinities, Pixel, Pixels};
use crate::quantile::limits;
use crate::resample::{Taps, column_centres, filter_scales, hann, nearest, row_centres};

/// Rows and columns of a thumbnail.
pub const SIZE: usize = 300;
/// 300 dots per inch.
const PIXELS_PER_METRE: u32 = 11811;

/// How to draw an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Whether it has coordinates. Labelled arrays are never smoothed, and infinities are left out. In other arrays,
    /// infinities are replaced by the largest finite number; they are smoothed when scaled by less than 3, except by 1 or 2.
    pub labelled: bool,
    /// The first row is at the bottom, not at the top.
    pub flip_rows: bool,
    /// The first column is at the right, not at the left.
    pub flip_columns: bool,
}

/// Draws an array of elements of NumPy's `dtype` as a PNG of [`SIZE`] by [`SIZE`] pixels.
///
/// Colours span the 1 % to 99 % quantiles; NaN counts as 0. Memory needed beside the array does not grow with it
/// beyond a row.
///
/// # Safety
/// Every element that `shape` and `strides` (bytes) reach from `address` is readable until this returns.
pub unsafe fn png(
    address: *const u8,
    shape: &[isize],
    strides: &[isize],
    dtype: &str,
    style: Style,
) -> Result<Vec<u8>, ImageError> {
    let native = if cfg!(target_endian = "little") { '<' } else { '>' };
    let kind = dtype.strip_prefix([native, '|', '=']).unwrap_or(dtype);
    // SAFETY: contract of this function, for each element type.
    let picture = unsafe {
        match kind {
            "b1" | "u1" => draw::<u8>(address, shape, strides, style),
            "i1" => draw::<i8>(address, shape, strides, style),
            "u2" => draw::<u16>(address, shape, strides, style),
            "i2" => draw::<i16>(address, shape, strides, style),
            "u4" => draw::<u32>(address, shape, strides, style),
            "i4" => draw::<i32>(address, shape, strides, style),
            "u8" => draw::<u64>(address, shape, strides, style),
            "i8" => draw::<i64>(address, shape, strides, style),
            "f2" => draw::<Half>(address, shape, strides, style),
            "f4" => draw::<f32>(address, shape, strides, style),
            "f8" => draw::<f64>(address, shape, strides, style),
            "f16" if cfg!(target_arch = "x86_64") => draw::<Extended>(address, shape, strides, style),
            _ => Err(ImageError::Dtype(dtype.to_owned())),
        }
    }?;
    Ok(encoded(&picture))
}

/// # Safety
/// As [`png`].
unsafe fn draw<T: Pixel>(
    address: *const u8,
    shape: &[isize],
    strides: &[isize],
    style: Style,
) -> Result<Vec<Rgba>, ImageError> {
    let infinities = if style.labelled { Infinities::Kept } else { Infinities::Largest };
    // SAFETY: contract of this function.
    let pixels = unsafe { Pixels::<T>::new(address, shape, strides, infinities) }?;
    let (rows, columns) = (pixels.rows(), pixels.columns());
    if rows == 0 || columns == 0 {
        return if style.labelled { Err(ImageError::Empty) } else { Ok(vec![MISSING; SIZE * SIZE]) };
    }
    let mut limits = limits(&pixels);
    if style.labelled {
        limits = limits.with_room();
    }
    let mut picture = if style.labelled || (keeps_pixels(rows) && keeps_pixels(columns)) {
        pick(&pixels, limits)
    } else if rows.max(columns) * 3 <= SIZE {
        // Much enlarged: between values rather than between colours.
        smooth(&pixels, |value| [limits.fraction(value) as f32, 0.0, 0.0, 0.0])
            .into_iter()
            .map(|[fraction, ..]| colour(f64::from(fraction)))
            .collect()
    } else {
        smooth(&pixels, |value| colour(limits.fraction(value)))
    };
    // Turned last: which pixel is taken at an edge depends on the array's order.
    match (style.flip_rows, style.flip_columns) {
        (false, false) => {}
        (true, true) => picture.reverse(),
        (true, false) => picture = picture.chunks_exact(SIZE).rev().flatten().copied().collect(),
        (false, true) => picture.chunks_exact_mut(SIZE).for_each(<[Rgba]>::reverse),
    }
    Ok(picture)
}

/// Whether an axis of this length is enlarged so that its pixels remain equal squares or large ones.
fn keeps_pixels(length: usize) -> bool {
    length * 3 < SIZE || length == SIZE || length * 2 == SIZE
}

/// Each pixel of the thumbnail is the colour of one pixel of the image.
fn pick<T: Pixel>(pixels: &Pixels<'_, T>, limits: Limits) -> Vec<Rgba> {
    let columns = nearest(pixels.columns(), SIZE);
    nearest(pixels.rows(), SIZE)
        .into_iter()
        .flat_map(|row| columns.iter().map(move |&column| (row, column)))
        .map(|(row, column)| colour(limits.fraction(pixels.at(row, column).value())))
        .collect()
}

/// Each pixel of the thumbnail is a weighted mean of what `sample` makes of the image's pixels around it.
fn smooth<T: Pixel>(pixels: &Pixels<'_, T>, sample: impl Fn(f64) -> Rgba) -> Vec<Rgba> {
    let (rows, columns) = (pixels.rows(), pixels.columns());
    let (down, across) = filter_scales(rows, columns, SIZE);
    let across = hann(columns, &column_centres(columns, SIZE), across);
    let contributions = by_source(&hann(rows, &row_centres(rows, SIZE), down), rows);
    let mut picture = vec![[0.0; 4]; SIZE * SIZE];
    let mut samples = vec![[0.0; 4]; columns];
    let mut narrowed = vec![[0.0; 4]; SIZE];
    for (row, contributions) in contributions.iter().enumerate().filter(|(_, to)| !to.is_empty()) {
        for (column, made) in samples.iter_mut().enumerate() {
            *made = sample(pixels.at(row, column).value());
        }
        for (mean, taps) in narrowed.iter_mut().zip(&across) {
            *mean = taps
                .weights
                .iter()
                .fold([0.0; 4], |sum, &(column, weight)| added(sum, samples[column], weight));
        }
        for &(target, weight) in contributions {
            for (sum, mean) in picture[target * SIZE..][..SIZE].iter_mut().zip(&narrowed) {
                *sum = added(*sum, *mean, weight);
            }
        }
    }
    picture
}

fn added(sum: Rgba, colour: Rgba, weight: f32) -> Rgba {
    std::array::from_fn(|channel| sum[channel] + colour[channel] * weight)
}

/// For each source row, the output rows it contributes to and the weights: so every source row is read once.
fn by_source(taps: &[Taps], length: usize) -> Vec<Vec<(usize, f32)>> {
    let mut contributions = vec![Vec::new(); length];
    for (target, taps) in taps.iter().enumerate() {
        for &(source, weight) in &taps.weights {
            contributions[source].push((target, weight));
        }
    }
    contributions
}

fn encoded(picture: &[Rgba]) -> Vec<u8> {
    // A rounding error just below a whole number must not cost a step.
    let bytes: Vec<u8> =
        picture.iter().flatten().map(|channel| (f64::from(*channel) * 255.0 + 1e-3) as u8).collect();
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, SIZE as u32, SIZE as u32);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: PIXELS_PER_METRE,
        yppu: PIXELS_PER_METRE,
        unit: png::Unit::Meter,
    }));
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&bytes))
        .expect("memory takes all that is written, and the buffer has the size of the picture");
    png
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The four corners of the thumbnail of a 2 x 2 array: upper left, upper right, lower left, lower right.
    fn corners(values: [f64; 4], style: Style) -> [Rgba; 4] {
        // SAFETY: 2 rows of 2 columns are 4 values.
        let picture = unsafe { draw::<f64>(values.as_ptr().cast(), &[2, 2], &[16, 8], style) }.unwrap();
        [picture[0], picture[SIZE - 1], picture[SIZE * (SIZE - 1)], picture[SIZE * SIZE - 1]]
    }

    #[test]
    fn flips_turn_the_picture() {
        let style = |flip_rows, flip_columns| Style { flip_rows, flip_columns, ..Style::default() };
        let [a, b, c, d] = corners([1.0, 2.0, 3.0, 4.0], style(false, false));
        assert!(a != b && b != c && c != d);
        assert_eq!(corners([1.0, 2.0, 3.0, 4.0], style(true, false)), [c, d, a, b]);
        assert_eq!(corners([1.0, 2.0, 3.0, 4.0], style(false, true)), [b, a, d, c]);
        assert_eq!(corners([1.0, 2.0, 3.0, 4.0], style(true, true)), [d, c, b, a]);
    }

    #[test]
    fn infinities_are_large_or_missing() {
        let labelled = Style { labelled: true, ..Style::default() };
        assert_eq!(corners([f64::INFINITY, 1.0, 2.0, 3.0], labelled)[0], MISSING);
        assert_eq!(corners([f64::INFINITY, 1.0, 2.0, 3.0], Style::default())[0], colour(1.0));
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let values = [0.0_f64; 4];
        // SAFETY: no more than 4 values are described.
        let drawn = |shape: &[isize], dtype: &str, labelled: bool| unsafe {
            let strides = vec![8; shape.len()];
            png(values.as_ptr().cast(), shape, &strides, dtype, Style { labelled, ..Style::default() })
        };
        for dtype in ["<c16", "|O", "<U3", ">f8", "<M8[ns]", ""] {
            assert_eq!(drawn(&[1, 2], dtype, false), Err(ImageError::Dtype(dtype.to_owned())));
        }
        assert_eq!(drawn(&[2], "<f8", false), Err(ImageError::NotTwoDimensional(1)));
        assert_eq!(drawn(&[0, 2], "<f8", true), Err(ImageError::Empty));
        assert_eq!(&drawn(&[0, 2], "<f8", false).unwrap()[..8], b"\x89PNG\r\n\x1a\n");
    }
}
