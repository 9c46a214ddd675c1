//! The `.npy` format, version 1.0, in C order.

use crate::dtype::Dtype;

/// The header of a file with such an array. Its content follows.
pub(crate) fn header(dtype: &Dtype, shape: &[u64]) -> Vec<u8> {
    let lengths: Vec<String> = shape.iter().map(u64::to_string).collect();
    let tuple = if let [only] = lengths.as_slice() {
        format!("({only},)")
    } else {
        format!("({})", lengths.join(", "))
    };
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {tuple}, }}");
    // Magic, version and length take 10 bytes. The total is padded to a multiple of 64 and ends in a newline.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file
}

/// A whole file.
pub(crate) fn file(dtype: &Dtype, shape: &[u64], bytes: &[u8]) -> Vec<u8> {
    let mut file = header(dtype, shape);
    file.extend_from_slice(bytes);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_aligned() {
        let dtype = Dtype::Float { bytes: 8, big_endian: false };
        for shape in [&[3][..], &[2, 150], &[1, 2, 3], &[]] {
            let header = header(&dtype, shape);
            assert_eq!(header.len() % 64, 0);
            assert_eq!(header.last(), Some(&b'\n'));
        }
        assert!(header(&dtype, &[3]).windows(24).any(|part| part == b"'descr': '<f8', 'fortran"));
    }
}
