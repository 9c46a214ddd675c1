//! Arrays as PNG images. Pure.

use std::str::FromStr;

use super::grid::Grid;

/// Colours for numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colors {
    /// From dark blue to yellow; equal steps look equal.
    #[default]
    Viridis,
    /// From black to white.
    Gray,
}

impl FromStr for Colors {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "viridis" => Ok(Colors::Viridis),
            "gray" => Ok(Colors::Gray),
            _ => Err("colours are viridis or gray"),
        }
    }
}

/// Viridis at equal distances.
const VIRIDIS: [[u8; 3]; 10] = [
    [0x44, 0x01, 0x54],
    [0x48, 0x28, 0x78],
    [0x3e, 0x49, 0x89],
    [0x31, 0x68, 0x8e],
    [0x26, 0x82, 0x8e],
    [0x1f, 0x9e, 0x89],
    [0x35, 0xb7, 0x79],
    [0x6e, 0xce, 0x58],
    [0xb5, 0xde, 0x2b],
    [0xfd, 0xe7, 0x25],
];

impl Colors {
    /// The colour for a number between 0 and 1.
    fn of(self, part: f64) -> [u8; 3] {
        match self {
            Colors::Gray => [(part * 255.0).round() as u8; 3],
            Colors::Viridis => {
                let place = part * (VIRIDIS.len() - 1) as f64;
                let low = (place as usize).min(VIRIDIS.len() - 2);
                let mix = |channel: usize| {
                    let (from, to) = (f64::from(VIRIDIS[low][channel]), f64::from(VIRIDIS[low + 1][channel]));
                    (from + (to - from) * (place - low as f64)).round() as u8
                };
                [mix(0), mix(1), mix(2)]
            }
        }
    }
}

/// Rows and columns of the picture of so many rows and columns whose longer side has at most `size` pixels: in the same ratio, as
/// far as whole pixels allow it.
pub(crate) fn fitting(rows: u64, columns: u64, size: u64) -> [u64; 2] {
    let longest = u128::from(rows.max(columns));
    [rows, columns].map(|length| {
        if longest <= u128::from(size) {
            length
        } else {
            let pixels = (u128::from(length) * u128::from(size) + longest / 2) / longest;
            pixels.max(1) as u64
        }
    })
}

/// The pixels of a matrix, as RGBA: numbers outside of the range get the colours of its ends, NaN is transparent.
pub(crate) fn colored(values: &[f64], (low, high): (f64, f64), colors: Colors) -> Vec<u8> {
    // The width of a range may be beyond all numbers, that of its half is not.
    let scale = if (high - low).is_finite() { 1.0 } else { 0.5 };
    let width = high * scale - low * scale;
    values
        .iter()
        .flat_map(|value| {
            if value.is_nan() {
                return [0; 4];
            }
            let part = (value.clamp(low, high) * scale - low * scale) / width;
            let [red, green, blue] = colors.of(if width > 0.0 { part.clamp(0.0, 1.0) } else { 0.5 });
            [red, green, blue, 255]
        })
        .collect()
}

/// Makes a picture of 3 (RGB) or 4 (RGBA) bytes for each pixel smaller: each new pixel is the mean of what it stands for.
#[derive(Debug)]
pub(crate) struct Shrunk {
    grid: Grid,
    channels: usize,
    /// Sums of the colours, weighted with their opacity, the sum of the opacities, and the number of pixels.
    sums: Vec<([u64; 4], u64)>,
}

impl Shrunk {
    /// For a picture with this grid of pixels.
    pub fn new(grid: Grid, channels: usize) -> Self {
        Shrunk { sums: vec![Default::default(); grid.buckets()], channels, grid }
    }

    /// Takes the next pixels.
    pub fn add(&mut self, bytes: &[u8]) {
        for pixel in bytes.chunks_exact(self.channels) {
            let (sums, count) = &mut self.sums[self.grid.next_place()];
            let opacity = u64::from(pixel.get(3).copied().unwrap_or(u8::MAX));
            for (sum, color) in sums.iter_mut().zip(&pixel[..3]) {
                *sum += u64::from(*color) * opacity;
            }
            sums[3] += opacity;
            *count += 1;
        }
    }

    /// The new pixels.
    pub fn pixels(&self) -> Vec<u8> {
        let mean = |sum: u64, weight: u64| ((sum + weight / 2) / weight.max(1)) as u8;
        let mut pixels = Vec::with_capacity(self.sums.len() * self.channels);
        for ([red, green, blue, opacity], count) in &self.sums {
            let pixel =
                [mean(*red, *opacity), mean(*green, *opacity), mean(*blue, *opacity), mean(*opacity, *count)];
            pixels.extend_from_slice(&pixel[..self.channels]);
        }
        pixels
    }
}

/// A PNG of pixels with 1 (gray), 3 (RGB) or 4 (RGBA) bytes.
pub(crate) fn png(width: u32, height: u32, channels: u64, pixels: &[u8]) -> Result<Vec<u8>, String> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_color(match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels));
    written.map_err(|error| error.to_string())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_show_the_range_and_what_is_missing() {
        let values = [0.0, 0.5, 1.0, -7.0, f64::INFINITY, f64::NAN];
        let gray = colored(&values, (0.0, 1.0), Colors::Gray);
        let first: Vec<(u8, u8)> = gray.chunks(4).map(|pixel| (pixel[0], pixel[3])).collect();
        assert_eq!(first, [(0, 255), (128, 255), (255, 255), (0, 255), (255, 255), (0, 0)]);
        assert_eq!(&colored(&[1.0], (0.0, 1.0), Colors::Viridis)[..3], &VIRIDIS[9]);
        assert_eq!(&colored(&[3.0], (3.0, 3.0), Colors::Gray)[..3], &[128; 3]);
    }

    #[test]
    fn the_width_of_a_range_may_be_beyond_all_numbers() {
        let gray = colored(&[f64::MIN, 0.0, f64::MAX], (f64::MIN, f64::MAX), Colors::Gray);
        assert_eq!(gray.chunks(4).map(|pixel| pixel[0]).collect::<Vec<_>>(), [0, 128, 255]);
    }

    #[test]
    fn pictures_keep_their_ratio() {
        for (shape, size, expected) in [
            ((300, 400), 100, [75, 100]),
            ((400, 300), 100, [100, 75]),
            ((300, 400), 400, [300, 400]),
            ((300, 400), 4096, [300, 400]),
            ((1, 100_000), 1024, [1, 1024]),
            ((7, 5), 1, [1, 1]),
            ((1 << 40, 1 << 39), 4096, [4096, 2048]),
        ] {
            assert_eq!(fitting(shape.0, shape.1, size), expected, "{shape:?}");
        }
    }

    #[test]
    fn a_smaller_picture_has_the_means_of_the_colours_that_are_seen() {
        let rgb = [[0, 100, 7], [255, 101, 7], [10, 10, 10], [20, 30, 50]].concat();
        let mut shrunk = Shrunk::new(Grid::new(&[1, 4], vec![1, 2]), 3);
        shrunk.add(&rgb[..6]);
        shrunk.add(&rgb[6..]);
        assert_eq!(shrunk.pixels(), [128, 101, 7, 15, 20, 30]);
        let rgba = [[200, 0, 0, 255], [9, 9, 9, 0], [9, 9, 9, 0], [7, 7, 7, 0]].concat();
        let mut shrunk = Shrunk::new(Grid::new(&[1, 4], vec![1, 2]), 4);
        shrunk.add(&rgba);
        assert_eq!(shrunk.pixels(), [200, 0, 0, 128, 0, 0, 0, 0]);
    }
}
