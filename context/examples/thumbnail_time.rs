//! Prints how long the thumbnail of an image of 1000 x 1000 `float32` takes, the best of several.

use std::time::Instant;

use _core::thumbnail::{Style, png};

fn main() {
    let values: Vec<f32> =
        (0..1_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 8) as f32).collect();
    let best = (0..20)
        .map(|_| {
            let start = Instant::now();
            // SAFETY: 1000 rows of 1000 values of 4 bytes.
            let drawn =
                unsafe { png(values.as_ptr().cast(), &[1000, 1000], &[4000, 4], "<f4", Style::default()) };
            (start.elapsed(), drawn.map(|png| png.len()))
        })
        .min_by_key(|(elapsed, _)| *elapsed);
    if let Some((elapsed, Ok(size))) = best {
        #[expect(clippy::print_stdout, reason = "printing is what it is for")]
        {
            println!("1000 x 1000 float32: {:.1} ms, {size} bytes", elapsed.as_secs_f64() * 1e3);
        }
    }
}
