//! The native core of the Python package `damnit_ctx`, loaded as `damnit_ctx._core`: what Python cannot do, or not fast
//! enough. `_core.pyi` documents the functions for callers in Python.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

pub mod colormap;
pub mod copy;
pub mod pixels;
pub mod quantile;
pub mod resample;
pub mod thumbnail;
pub mod trendline;

use copy::LayoutError;
use pixels::ImageError;

impl From<LayoutError> for PyErr {
    fn from(error: LayoutError) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

impl From<ImageError> for PyErr {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Dtype(_) | ImageError::Empty => PyTypeError::new_err(error.to_string()),
            ImageError::NotTwoDimensional(_) | ImageError::Layout(_) => {
                PyValueError::new_err(error.to_string())
            }
        }
    }
}

#[pymodule]
mod _core {
    use std::os::unix::ffi::OsStrExt;
    use std::ptr::NonNull;
    use std::slice;

    use nix::sys::prctl;
    use nix::sys::signal::Signal;
    use pyo3::exceptions::{PyOSError, PyValueError};
    use pyo3::prelude::*;
    use pyo3::types::{PyBytes, PyDict};
    use sha2::{Digest, Sha256};

    use crate::copy::Layout;
    use crate::thumbnail::{Style, png};
    use crate::trendline::bytes;

    /// Has the kernel kill this process (SIGKILL) when the thread that started it ends.
    #[pyfunction]
    fn die_with_parent() -> PyResult<()> {
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| {
            PyOSError::new_err((errno as i32, format!("PR_SET_PDEATHSIG failed: {}", errno.desc())))
        })
    }

    /// The environment as C code sees it: `os.environ` does not contain what `os.putenv` and libraries set.
    #[pyfunction]
    fn environment(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let found = PyDict::new(py);
        for (name, value) in std::env::vars_os() {
            found.set_item(PyBytes::new(py, name.as_bytes()), PyBytes::new(py, value.as_bytes()))?;
        }
        Ok(found)
    }

    /// SHA-256 of some bytes, hexadecimal.
    #[pyfunction]
    fn sha256(data: &[u8]) -> String {
        hex::encode(Sha256::digest(data))
    }

    /// Copies elements `start..start + count`, in C order, of a strided array to the memory at `destination`.
    #[pyfunction]
    #[expect(
        clippy::too_many_arguments,
        reason = "abi3 before Python 3.11 has no buffer protocol to carry them"
    )]
    fn copy_array(
        py: Python<'_>,
        address: usize,
        shape: Vec<isize>,
        strides: Vec<isize>,
        itemsize: isize,
        destination: usize,
        start: isize,
        count: isize,
    ) -> PyResult<usize> {
        let not_negative = |name: &str, value: isize| {
            usize::try_from(value)
                .map_err(|_| PyValueError::new_err(format!("{name} is {value}; it must not be negative")))
        };
        let layout = Layout::new(&shape, &strides, not_negative("itemsize", itemsize)?)?;
        let (start, count) = (not_negative("start", start)?, not_negative("count", count)?);
        if layout.bytes(start, count)? == 0 {
            return Ok(0);
        }
        if address == 0 || destination == 0 {
            return Err(PyValueError::new_err("address and destination must not be 0"));
        }
        // SAFETY: the caller in Python vouches for both addresses and keeps both objects alive during the call.
        let copied =
            py.detach(|| unsafe { layout.copy(address as *const u8, destination as *mut u8, start, count) })?;
        Ok(copied)
    }

    /// Draws a two-dimensional array as a PNG thumbnail.
    #[pyfunction]
    #[pyo3(signature = (address, shape, strides, dtype, flip_rows, flip_columns, labelled = false))]
    #[expect(
        clippy::too_many_arguments,
        reason = "abi3 before Python 3.11 has no buffer protocol to carry them"
    )]
    fn thumbnail(
        py: Python<'_>,
        address: usize,
        shape: Vec<isize>,
        strides: Vec<isize>,
        dtype: &str,
        flip_rows: bool,
        flip_columns: bool,
        labelled: bool,
    ) -> PyResult<Py<PyBytes>> {
        let style = Style { labelled, flip_rows, flip_columns };
        if address == 0 && !shape.contains(&0) {
            return Err(PyValueError::new_err("address must not be 0"));
        }
        // SAFETY: the caller in Python vouches for the array and keeps it alive during the call.
        let png = py.detach(|| unsafe { png(address as *const u8, &shape, &strides, dtype, style) })?;
        Ok(PyBytes::new(py, &png).unbind())
    }

    /// Reduces a line of contiguous float64 coordinates to about 150 points.
    #[pyfunction]
    fn trendline(
        py: Python<'_>,
        x_address: usize,
        y_address: usize,
        n: isize,
    ) -> PyResult<(Py<PyBytes>, usize)> {
        let points = usize::try_from(n)
            .ok()
            .filter(|&points| points <= isize::MAX as usize / size_of::<f64>())
            .ok_or_else(|| PyValueError::new_err(format!("n is {n}; it must not be negative")))?;
        let axis = |name: &str, address: usize| match address {
            // For an empty array NumPy may return any address; nothing is read there.
            _ if points == 0 => Ok(NonNull::<f64>::dangling().as_ptr().addr()),
            0 => Err(PyValueError::new_err(format!("{name} must not be 0"))),
            _ if !address.is_multiple_of(align_of::<f64>()) => {
                Err(PyValueError::new_err(format!("{name} must be aligned for float64; pass a copy")))
            }
            _ => Ok(address),
        };
        let (x, y) = (axis("x_address", x_address)?, axis("y_address", y_address)?);
        let (line, kept) = py.detach(|| {
            // SAFETY: not null and aligned as checked; the caller in Python vouches for `points` float64 at
            // both addresses and keeps both arrays alive and unchanged during the call.
            let (x, y) = unsafe {
                (
                    slice::from_raw_parts(x as *const f64, points),
                    slice::from_raw_parts(y as *const f64, points),
                )
            };
            bytes(x, y)
        });
        Ok((PyBytes::new(py, &line).unbind(), kept))
    }
}
