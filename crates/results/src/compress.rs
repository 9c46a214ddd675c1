//! Splits an array into chunks that are contiguous in its C-order stream, and compresses them like HDF5's shuffle and
//! deflate filters.

use std::cell::RefCell;

use libdeflater::{CompressionLvl, Compressor};

use crate::h5::ChunkFilters;

/// Target size of a chunk: the default size of HDF5's chunk cache.
pub(crate) const CHUNK_BYTES: u64 = 1 << 20;

/// How an array is split into chunks. Each chunk takes the next bytes of the stream; chunks at the end of an axis may be padded
/// with zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkPlan {
    shape: Vec<u64>,
    chunk: Vec<u64>,
    item_size: usize,
    /// The axis that is split; the axes before it have chunk length 1, those after it are complete.
    axis: usize,
    /// Bytes of one step along that axis.
    step_bytes: u64,
}

impl ChunkPlan {
    /// `None` for arrays that cannot be in chunks: scalars and empty ones.
    pub(crate) fn new(shape: &[u64], item_size: usize, target: u64) -> Option<ChunkPlan> {
        if shape.is_empty() || shape.contains(&0) {
            return None;
        }
        let mut chunk = vec![1; shape.len()];
        let mut step_bytes = item_size as u64;
        let mut axis = shape.len() - 1;
        loop {
            let length = shape[axis];
            if axis > 0 && step_bytes.saturating_mul(length) <= target {
                chunk[axis] = length;
                step_bytes *= length;
                axis -= 1;
                continue;
            }
            // As few chunks as the target allows, all of about the same length.
            let most = (target / step_bytes).clamp(1, length);
            chunk[axis] = length.div_ceil(length.div_ceil(most));
            return Some(ChunkPlan { shape: shape.to_vec(), chunk, item_size, axis, step_bytes });
        }
    }

    pub(crate) fn chunk_shape(&self) -> &[u64] {
        &self.chunk
    }

    pub(crate) fn chunk_bytes(&self) -> usize {
        (self.chunk[self.axis] * self.step_bytes) as usize
    }

    fn along(&self) -> u64 {
        self.shape[self.axis].div_ceil(self.chunk[self.axis])
    }

    pub(crate) fn count(&self) -> u64 {
        self.shape[..self.axis].iter().product::<u64>() * self.along()
    }

    /// How many bytes of the stream chunk `index` takes.
    pub(crate) fn stream_bytes(&self, index: u64) -> usize {
        let first = (index % self.along()) * self.chunk[self.axis];
        (self.chunk[self.axis].min(self.shape[self.axis] - first) * self.step_bytes) as usize
    }

    /// Where chunk `index` begins in the array.
    pub(crate) fn offset(&self, index: u64) -> Vec<u64> {
        let mut offset = vec![0; self.shape.len()];
        offset[self.axis] = (index % self.along()) * self.chunk[self.axis];
        let mut rest = index / self.along();
        for axis in (0..self.axis).rev() {
            offset[axis] = rest % self.shape[axis];
            rest /= self.shape[axis];
        }
        offset
    }

    /// Shuffles and deflates the stream's bytes of one chunk.
    pub(crate) fn pack(&self, bytes: &[u8]) -> (ChunkFilters, Vec<u8>) {
        thread_local! {
            static TOOLS: RefCell<(Compressor, Vec<u8>)> =
                // (The library's "fastest" level does not compress at all.)
                RefCell::new((Compressor::new(CompressionLvl::new(1).unwrap_or_default()), Vec::new()));
        }
        TOOLS.with_borrow_mut(|(compressor, shuffled)| {
            shuffled.clear();
            shuffled.resize(self.chunk_bytes(), 0);
            if bytes.len() == self.chunk_bytes() {
                shuffle(bytes, self.item_size, shuffled);
            } else {
                let mut whole = bytes.to_vec();
                whole.resize(self.chunk_bytes(), 0);
                shuffle(&whole, self.item_size, shuffled);
            }
            let mut packed = vec![0; compressor.zlib_compress_bound(shuffled.len())];
            match compressor.zlib_compress(shuffled, &mut packed) {
                Ok(length) if length < shuffled.len() => {
                    packed.truncate(length);
                    (ChunkFilters::All, packed)
                }
                // Not smaller (the output bound guarantees that it fits): the chunk is marked so that readers skip deflate.
                _ => (ChunkFilters::ShuffleOnly, shuffled.clone()),
            }
        })
    }
}

/// Byte 0 of all elements, then byte 1 of all elements, and so on.
fn shuffle(bytes: &[u8], item_size: usize, out: &mut [u8]) {
    match item_size {
        1 => out.copy_from_slice(bytes),
        2 => shuffle_items::<2>(bytes, out),
        4 => shuffle_items::<4>(bytes, out),
        8 => shuffle_items::<8>(bytes, out),
        16 => shuffle_items::<16>(bytes, out),
        _ => {
            let count = bytes.len() / item_size;
            for (index, item) in bytes.chunks_exact(item_size).enumerate() {
                for (byte, value) in item.iter().enumerate() {
                    out[byte * count + index] = *value;
                }
            }
        }
    }
}

fn shuffle_items<const N: usize>(bytes: &[u8], out: &mut [u8]) {
    /// Elements taken together, so that each byte's row is written in one go.
    const BLOCK: usize = 32;
    let count = bytes.len() / N;
    let mut start = 0;
    while start + BLOCK <= count {
        let block = &bytes[start * N..(start + BLOCK) * N];
        for byte in 0..N {
            let mut row = [0u8; BLOCK];
            for (index, value) in row.iter_mut().enumerate() {
                *value = block[index * N + byte];
            }
            out[byte * count + start..][..BLOCK].copy_from_slice(&row);
        }
        start += BLOCK;
    }
    for index in start..count {
        for byte in 0..N {
            out[byte * count + index] = bytes[index * N + byte];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(shape: &[u64], item_size: usize, target: u64) {
        let plan = ChunkPlan::new(shape, item_size, target).unwrap();
        let total: u64 = (0..plan.count()).map(|index| plan.stream_bytes(index) as u64).sum();
        assert_eq!(total, shape.iter().product::<u64>() * item_size as u64, "{plan:?}");
        // Each chunk begins in the stream where the one before ended.
        let mut position = 0u64;
        for index in 0..plan.count() {
            let flat = plan.offset(index).iter().zip(shape).fold(0, |flat, (at, length)| flat * length + at);
            assert_eq!(flat * item_size as u64, position, "{plan:?} chunk {index}");
            position += plan.stream_bytes(index) as u64;
        }
        assert!(plan.chunk_bytes() as u64 <= target.max(item_size as u64), "{plan:?}");
    }

    #[test]
    fn chunks_cover_the_stream_in_order() {
        for shape in
            [&[7][..], &[1000], &[3, 5], &[4, 3, 100], &[2, 2, 2, 33], &[5, 1000], &[1, 1, 1], &[1024, 3]]
        {
            for item_size in [1, 2, 8, 16, 5] {
                for target in [1, 16, 64, 1000, 1 << 20] {
                    cover(shape, item_size, target);
                }
            }
        }
    }

    #[test]
    fn scalars_and_empty_arrays_have_no_chunks() {
        assert_eq!(ChunkPlan::new(&[], 8, 100), None);
        assert_eq!(ChunkPlan::new(&[3, 0], 8, 100), None);
    }

    #[test]
    fn shuffle_gathers_each_byte_of_all_elements() {
        for item_size in [1usize, 2, 3, 4, 8, 16] {
            for count in [1usize, 31, 32, 33, 100] {
                let bytes: Vec<u8> = (0..item_size * count).map(|i| (i * 7 % 251) as u8).collect();
                let mut out = vec![0; bytes.len()];
                shuffle(&bytes, item_size, &mut out);
                for index in 0..count {
                    for byte in 0..item_size {
                        assert_eq!(out[byte * count + index], bytes[index * item_size + byte]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_deflate_would_enlarge_is_left_as_it_is() {
        let plan = ChunkPlan::new(&[4], 1, 100).unwrap();
        assert_eq!(plan.pack(&[1, 200, 3, 77]), (ChunkFilters::ShuffleOnly, vec![1, 200, 3, 77]));
        let plan = ChunkPlan::new(&[4000], 1, 10_000).unwrap();
        let (filters, packed) = plan.pack(&[0; 4000]);
        assert_eq!(filters, ChunkFilters::All);
        assert!(packed.len() < 100);
    }
}
