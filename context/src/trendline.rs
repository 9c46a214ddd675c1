//! Feature-preserving compensated sampling (FPCS) of a line, after Zhang et al., "Feature-Preserving Compensated
//! Sampling for Time Series Visualization" (2024).
//!
//! The line is cut into windows of equally many points. Of each window, the earlier one of its lowest and its
//! highest point is kept; the later one is carried into the next window as a candidate for the same extremum.
//! If that window surpasses it, but only after its own other extremum, the carried one is kept as well: this
//! compensates for the feature between the windows that would be lost.

/// Target number of windows: about 1.25 points are kept per window, and about 150 points are wanted.
const WINDOWS: f64 = 0.8 * 150.0;

/// The number of points in a window for a line of this many points; 1, which keeps all of them, for short ones.
pub fn window(points: usize) -> usize {
    ((points as f64 / WINDOWS) as usize).max(1)
}

/// Which of a window's extrema was carried on into the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    Lowest(usize),
    Highest(usize),
}

/// The indices, ascending, of the points `(x[i], y[i])` that carry the shape of the line.
///
/// Points that are not finite in both coordinates are never kept, yet count for the windows. The first and the
/// last finite point are always kept; a `window` of 1 or less keeps every finite point. Of equal values, the
/// first counts as lowest and the last as highest. Panics if `x` and `y` differ in length.
pub fn kept(x: &[f64], y: &[f64], window: usize) -> Vec<usize> {
    assert_eq!(x.len(), y.len(), "a line has as many x as y");
    let finite = |&index: &usize| x[index].is_finite() && y[index].is_finite();
    let Some(first) = (0..x.len()).find(finite) else {
        return Vec::new();
    };
    if window <= 1 {
        return (first..x.len()).filter(finite).collect();
    }
    let mut kept = vec![first];
    let mut keep = |index: usize| {
        if kept.last().is_none_or(|&newest| newest < index) {
            kept.push(index);
        }
    };
    let (mut lowest, mut highest, mut last) = (first, first, first);
    let mut carried = None;
    for start in (0..x.len()).step_by(window) {
        let mut points = (start..x.len().min(start + window)).filter(finite).peekable();
        if points.peek().is_none() {
            continue;
        }
        for point in points {
            last = point;
            if y[point] >= y[highest] {
                highest = point;
            } else if y[point] < y[lowest] {
                lowest = point;
            }
        }
        if lowest < highest {
            if let Some(Carried::Highest(point)) = carried
                && point != lowest
            {
                keep(point);
            }
            keep(lowest);
            carried = Some(Carried::Highest(highest));
            lowest = highest;
        } else {
            if let Some(Carried::Lowest(point)) = carried
                && point != highest
            {
                keep(point);
            }
            keep(highest);
            carried = Some(Carried::Lowest(lowest));
            highest = lowest;
        }
    }
    if let Some(Carried::Lowest(point) | Carried::Highest(point)) = carried {
        keep(point);
    }
    keep(last);
    kept
}

/// The trendline of a line of contiguous coordinates: all x of the kept points, then all y, as little-endian
/// floats of 8 bytes; and the number of points.
pub fn bytes(x: &[f64], y: &[f64]) -> (Vec<u8>, usize) {
    let kept = kept(x, y, window(x.len()));
    let of = |axis: &[f64]| kept.iter().flat_map(|&index| axis[index].to_le_bytes()).collect::<Vec<u8>>();
    ([of(x), of(y)].concat(), kept.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_of(y: &[f64], window: usize) -> Vec<usize> {
        let x: Vec<f64> = (0..y.len()).map(|at| at as f64).collect();
        kept(&x, y, window)
    }

    #[test]
    fn windows_grow_with_the_line() {
        assert_eq!([0, 1, 119, 120, 239, 240, 100_000].map(window), [1, 1, 1, 1, 1, 2, 833]);
    }

    #[test]
    fn a_window_of_one_keeps_all_finite_points() {
        assert_eq!(kept_of(&[1.0, f64::NAN, 2.0, f64::INFINITY, 3.0], 1), [0, 2, 4]);
        assert_eq!(kept_of(&[], 1), [0_usize; 0]);
        assert_eq!(kept_of(&[f64::NAN; 5], 2), [0_usize; 0]);
    }

    #[test]
    fn peaks_and_valleys_survive() {
        let mut y = vec![0.0; 100];
        (y[37], y[58]) = (9.0, -9.0);
        let kept = kept_of(&y, 10);
        assert!(
            kept.contains(&37) && kept.contains(&58) && kept[0] == 0 && kept.ends_with(&[99]),
            "{kept:?}"
        );
        assert!(kept.len() < 30);
    }

    #[test]
    fn what_the_next_window_would_lose_is_compensated() {
        // Both windows begin with their lowest point, and the second one's highest surpasses that at 2.
        assert_eq!(kept_of(&[1.0, 0.0, 5.0, 4.0, -1.0, 3.0, 7.0, 2.5], 4), [0, 1, 2, 4, 6, 7]);
        // Not surpassed, it is an extremum of both windows.
        assert_eq!(kept_of(&[1.0, 0.0, 5.0, 4.0, -1.0, 3.0, 2.0, 2.5], 4), [0, 1, 2, 4, 7]);
    }

    #[test]
    fn x_and_y_follow_each_other_as_little_endian_floats() {
        let (bytes, points) = bytes(&[1.0, 2.0], &[3.0, 4.0]);
        assert_eq!(points, 2);
        assert_eq!(bytes, [1.0_f64, 2.0, 3.0, 4.0].map(f64::to_le_bytes).concat());
    }
}
