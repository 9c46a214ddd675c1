//! Divides an array into a grid of buckets. Pure.

/// A grid over an array whose elements come in C order.
#[derive(Debug)]
pub(crate) struct Grid {
    shape: Vec<u64>,
    /// Number of buckets of each axis.
    counts: Vec<u64>,
    /// For each axis and index, where its bucket is in a list of all buckets.
    places: Vec<Vec<u32>>,
    /// Index of the next element.
    at: Vec<u64>,
}

/// Numbers of buckets whose product is at most `points`: no axis gets more than it has elements, and all others the same number.
pub(crate) fn within(shape: &[u64], points: u64) -> Vec<u64> {
    let with = |most: u64| -> Vec<u64> { shape.iter().map(|length| (*length).min(most)).collect() };
    let fits = |most: u64| {
        let product = with(most).iter().try_fold(1u64, |product, count| product.checked_mul(*count));
        product.is_some_and(|product| product <= points)
    };
    let (mut low, mut high) = (1, points.max(1));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    with(low)
}

/// First index of each bucket, and the length.
fn edges(length: u64, buckets: u64) -> Vec<u64> {
    let edge = |bucket: u64| u128::from(bucket) * u128::from(length) / u128::from(buckets.max(1));
    (0..=buckets).map(|bucket| edge(bucket) as u64).collect()
}

impl Grid {
    /// For an array of this shape, with these numbers of buckets.
    pub fn new(shape: &[u64], counts: Vec<u64>) -> Self {
        let mut stride = 1;
        let mut places = vec![Vec::new(); shape.len()];
        for axis in (0..shape.len()).rev() {
            for (bucket, edge) in edges(shape[axis], counts[axis]).windows(2).enumerate() {
                let place = (bucket as u64 * stride) as u32;
                places[axis].extend(std::iter::repeat_n(place, (edge[1] - edge[0]) as usize));
            }
            stride *= counts[axis];
        }
        Grid { shape: shape.to_vec(), counts, places, at: vec![0; shape.len()] }
    }

    /// Number of all buckets.
    pub fn buckets(&self) -> usize {
        self.counts.iter().product::<u64>() as usize
    }

    /// Number of buckets of each axis.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Of each axis, the first index of each bucket, and the length.
    pub fn edges(&self) -> Vec<Vec<u64>> {
        self.shape.iter().zip(&self.counts).map(|(length, buckets)| edges(*length, *buckets)).collect()
    }

    /// Where the bucket of the next element is.
    pub fn next_place(&mut self) -> usize {
        let place: u32 = self.places.iter().zip(&self.at).map(|(places, at)| places[*at as usize]).sum();
        for axis in (0..self.at.len()).rev() {
            self.at[axis] += 1;
            if self.at[axis] < self.shape[axis] {
                break;
            }
            self.at[axis] = 0;
        }
        place as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_axes_leave_more_buckets_for_long_ones() {
        assert_eq!(within(&[2, 10_000, 10_000], 20_000), [2, 100, 100]);
        assert_eq!(within(&[3, 4], 100), [3, 4]);
        assert_eq!(within(&[], 100), [] as [u64; 0]);
        assert_eq!(within(&[0, 5], 1), [0, 1]);
    }

    #[test]
    fn each_element_belongs_to_one_bucket() {
        let mut grid = Grid::new(&[3, 4], vec![2, 2]);
        assert_eq!((grid.buckets(), grid.edges()), (4, vec![vec![0, 1, 3], vec![0, 2, 4]]));
        let places: Vec<usize> = (0..12).map(|_| grid.next_place()).collect();
        assert_eq!(places, [0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]);
    }
}
