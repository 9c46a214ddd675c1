//! Copying a range of a strided array into contiguous memory, in C order.

use std::ptr;

use thiserror::Error;

/// Why the description of an array's memory is invalid.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// Shape and strides have different numbers of dimensions.
    #[error("shape has {shape} dimensions, strides has {strides}")]
    Dimensions {
        /// Length of the shape.
        shape: usize,
        /// Length of the strides.
        strides: usize,
    },
    /// A dimension is negative.
    #[error("dimension {axis} of the shape is {length}; it must not be negative")]
    NegativeLength {
        /// Which dimension.
        axis: usize,
        /// Its length.
        length: isize,
    },
    /// Elements of size 0 cannot be copied.
    #[error("itemsize is 0; an element has at least one byte")]
    NoItemSize,
    /// The array would not fit into the address space.
    #[error("the array's size or reach overflows the address space")]
    TooLarge,
    /// The requested elements are not all in the array.
    #[error("elements {start}..{start}+{count} were requested, but the array has {elements}")]
    OutOfRange {
        /// First requested element.
        start: usize,
        /// Number of requested elements.
        count: usize,
        /// Number of elements in the array.
        elements: usize,
    },
}

/// Shape, strides (in bytes) and element size of an array in memory. Dimensions of length 1 are dropped and
/// neighbouring dimensions that continue each other are merged, so the innermost loop is as long as it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    axes: Vec<Axis>,
    itemsize: usize,
    elements: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Axis {
    length: usize,
    stride: isize,
}

impl Layout {
    /// Checks a description as NumPy gives it (`shape`, `strides` in bytes, any sign, and `itemsize`).
    pub fn new(shape: &[isize], strides: &[isize], itemsize: usize) -> Result<Self, LayoutError> {
        if shape.len() != strides.len() {
            return Err(LayoutError::Dimensions { shape: shape.len(), strides: strides.len() });
        }
        if itemsize == 0 {
            return Err(LayoutError::NoItemSize);
        }
        let mut elements = 1_usize;
        let mut lengths = Vec::with_capacity(shape.len());
        for (axis, &length) in shape.iter().enumerate() {
            let wanted = usize::try_from(length).map_err(|_| LayoutError::NegativeLength { axis, length })?;
            lengths.push(wanted);
        }
        if lengths.contains(&0) {
            return Ok(Self { axes: Vec::new(), itemsize, elements: 0 });
        }
        let mut reach = 0_isize;
        for (&length, &stride) in lengths.iter().zip(strides) {
            elements = elements.checked_mul(length).ok_or(LayoutError::TooLarge)?;
            let span = stride.checked_mul((length - 1) as isize).ok_or(LayoutError::TooLarge)?;
            reach =
                span.checked_abs().and_then(|span| reach.checked_add(span)).ok_or(LayoutError::TooLarge)?;
        }
        if elements.checked_mul(itemsize).is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(LayoutError::TooLarge);
        }
        let mut axes: Vec<Axis> = Vec::with_capacity(shape.len());
        for (&length, &stride) in lengths.iter().zip(strides).filter(|&(&length, _)| length != 1) {
            match axes.last_mut() {
                Some(outer) if stride.checked_mul(length as isize) == Some(outer.stride) => {
                    *outer = Axis { length: outer.length * length, stride };
                }
                _ => axes.push(Axis { length, stride }),
            }
        }
        Ok(Self { axes, itemsize, elements })
    }

    /// Number of elements of the array.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// The size in bytes of elements `start..start + count` (counted in C order) after copying.
    pub fn bytes(&self, start: usize, count: usize) -> Result<usize, LayoutError> {
        if start.checked_add(count).is_none_or(|end| end > self.elements) {
            return Err(LayoutError::OutOfRange { start, count, elements: self.elements });
        }
        Ok(count * self.itemsize)
    }

    /// Copies elements `start..start + count`, in C order, to `destination`; returns the bytes written.
    ///
    /// # Safety
    /// `source` is the address of the array's first element and every element this layout reaches is readable;
    /// `destination` has room for [`Layout::bytes`] and does not overlap the array.
    pub unsafe fn copy(
        &self,
        source: *const u8,
        destination: *mut u8,
        start: usize,
        count: usize,
    ) -> Result<usize, LayoutError> {
        let bytes = self.bytes(start, count)?;
        if count == 0 {
            return Ok(0);
        }
        let Some((inner, outer)) = self.axes.split_last() else {
            // All dimensions have length 1.
            // SAFETY: one element at `source`, room for it at `destination` (contract of this function).
            unsafe { ptr::copy_nonoverlapping(source, destination, self.itemsize) };
            return Ok(bytes);
        };

        // Position of the first row, one index per outer dimension, and where in that row to begin.
        let mut column = start % inner.length;
        let mut row = start / inner.length;
        let mut index = vec![0_usize; outer.len()];
        for (position, axis) in index.iter_mut().zip(outer).rev() {
            *position = row % axis.length;
            row /= axis.length;
        }
        let mut written = 0_usize;
        while written < bytes {
            let here = (inner.length - column).min((bytes - written) / self.itemsize);
            let offset = index.iter().zip(outer).map(|(&at, axis)| at as isize * axis.stride).sum::<isize>()
                + column as isize * inner.stride;
            // SAFETY: the indices are within the shape, so the offset stays in the array; `written` plus this
            // row's bytes is at most `bytes`, for which there is room.
            unsafe {
                copy_row(source.offset(offset), inner.stride, destination.add(written), self.itemsize, here);
            }
            written += here * self.itemsize;
            column = 0;
            for (position, axis) in index.iter_mut().zip(outer).rev() {
                *position += 1;
                if *position < axis.length {
                    break;
                }
                *position = 0;
            }
        }
        Ok(bytes)
    }
}

/// # Safety
/// `count` elements are readable at `source` in steps of `stride`, and writable one after another at `destination`.
unsafe fn copy_row(source: *const u8, stride: isize, destination: *mut u8, itemsize: usize, count: usize) {
    if stride == itemsize as isize {
        // SAFETY: contiguous elements, contract of this function.
        unsafe { ptr::copy_nonoverlapping(source, destination, itemsize * count) };
        return;
    }
    // SAFETY: contract of this function; the typed copies read and write unaligned.
    unsafe {
        match itemsize {
            1 => copy_elements::<u8>(source, stride, destination, count),
            2 => copy_elements::<u16>(source, stride, destination, count),
            4 => copy_elements::<u32>(source, stride, destination, count),
            8 => copy_elements::<u64>(source, stride, destination, count),
            16 => copy_elements::<u128>(source, stride, destination, count),
            _ => {
                for at in 0..count {
                    ptr::copy_nonoverlapping(
                        source.offset(at as isize * stride),
                        destination.add(at * itemsize),
                        itemsize,
                    );
                }
            }
        }
    }
}

/// # Safety
/// As [`copy_row`], for elements of the size of `T`.
unsafe fn copy_elements<T: Copy>(source: *const u8, stride: isize, destination: *mut u8, count: usize) {
    let destination = destination.cast::<T>();
    for at in 0..count {
        // SAFETY: contract of `copy_row`; both accesses may be unaligned.
        unsafe {
            let element = source.offset(at as isize * stride).cast::<T>().read_unaligned();
            destination.add(at).write_unaligned(element);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies by the definition of C order, one element at a time.
    fn expected(values: &[u32], first: isize, shape: &[isize], strides: &[isize]) -> Vec<u32> {
        let total: isize = shape.iter().product();
        (0..total)
            .map(|flat| {
                let (mut rest, mut offset) = (flat, 0);
                for (length, stride) in shape.iter().zip(strides).rev() {
                    offset += rest % length * stride;
                    rest /= length;
                }
                values[((first * 4 + offset) / 4) as usize]
            })
            .collect()
    }

    fn check(first: isize, shape: &[isize], strides: &[isize]) {
        let values: Vec<u32> = (0..120).collect();
        let layout = Layout::new(shape, strides, 4).unwrap();
        let all = expected(&values, first, shape, strides);
        assert_eq!(layout.elements(), all.len());
        for start in 0..=all.len() {
            for count in 0..=(all.len() - start) {
                let mut out = vec![u32::MAX; count + 1];
                // SAFETY: `first`, shape and strides stay within the 120 values (`expected` indexes the same).
                let bytes = unsafe {
                    let source = values.as_ptr().offset(first).cast();
                    layout.copy(source, out.as_mut_ptr().cast(), start, count)
                };
                assert_eq!(bytes, Ok(count * 4));
                assert_eq!(&out[..count], &all[start..start + count]);
                assert_eq!(out[count], u32::MAX, "wrote beyond the end");
            }
        }
    }

    #[test]
    fn any_range_of_any_strides_is_copied_in_c_order() {
        check(0, &[], &[]);
        check(0, &[5], &[4]);
        check(4, &[5], &[-4]);
        check(7, &[5], &[0]);
        check(0, &[3, 4, 5], &[80, 20, 4]);
        check(0, &[5, 4, 3], &[4, 20, 80]);
        check(119, &[3, 1, 5], &[-160, 999, -8]);
        check(0, &[2, 3, 1, 4], &[0, 40, 0, 8]);
        check(20, &[2, 4, 5], &[160, -20, 4]);
    }

    #[test]
    fn contiguous_dimensions_are_one() {
        let layout = Layout::new(&[3, 1, 4, 5], &[80, 7, 20, 4], 4).unwrap();
        assert_eq!(layout.axes, [Axis { length: 60, stride: 4 }]);
    }

    #[test]
    fn odd_item_sizes_and_unaligned_sources() {
        let values: Vec<u8> = (0..100).collect();
        for itemsize in [1_usize, 2, 3, 4, 7, 8, 12, 16] {
            let stride = itemsize as isize + 1;
            let layout = Layout::new(&[4], &[stride], itemsize).unwrap();
            let mut out = vec![0_u8; 4 * itemsize];
            // SAFETY: 1 + 4 * 17 bytes at most are read of 100.
            unsafe { layout.copy(values.as_ptr().add(1), out.as_mut_ptr(), 0, 4).unwrap() };
            let wanted: Vec<u8> = (0..4_usize)
                .flat_map(|at| (0..itemsize).map(move |byte| (1 + at * (itemsize + 1) + byte) as u8))
                .collect();
            assert_eq!(out, wanted, "itemsize {itemsize}");
        }
    }

    #[test]
    fn an_empty_array_has_only_the_empty_range() {
        let layout = Layout::new(&[3, 0], &[0, 8], 8).unwrap();
        assert_eq!(layout.bytes(0, 0), Ok(0));
        assert_eq!(layout.bytes(0, 1), Err(LayoutError::OutOfRange { start: 0, count: 1, elements: 0 }));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Layout::new(&[3], &[], 8), Err(LayoutError::Dimensions { shape: 1, strides: 0 }));
        assert_eq!(
            Layout::new(&[2, -3], &[8, 8], 8),
            Err(LayoutError::NegativeLength { axis: 1, length: -3 })
        );
        assert_eq!(Layout::new(&[3], &[8], 0), Err(LayoutError::NoItemSize));
        assert_eq!(Layout::new(&[isize::MAX, 4], &[0, 0], 8), Err(LayoutError::TooLarge));
        assert_eq!(Layout::new(&[isize::MAX], &[0], 8), Err(LayoutError::TooLarge));
        assert_eq!(Layout::new(&[3], &[isize::MAX], 8), Err(LayoutError::TooLarge));
        let layout = Layout::new(&[3], &[8], 8).unwrap();
        for (start, count) in [(3, 1), (4, 0), (usize::MAX, 2)] {
            assert_eq!(
                layout.bytes(start, count),
                Err(LayoutError::OutOfRange { start, count, elements: 3 })
            );
        }
    }
}
