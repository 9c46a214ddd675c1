"""The native extension of ``damnit_ctx``, written in Rust (crate ``amore-context``).

One build serves Python 3.9 and later. Arrays are described by their memory layout, because the
stable ABI has no buffer protocol before Python 3.11: ``address`` is ``array.__array_interface__["data"][0]``,
``shape`` is ``array.shape``, ``strides`` is ``array.strides`` (bytes, any sign), ``dtype`` is ``array.dtype.str``.
The caller keeps the array alive and unchanged during a call; every function that reads an array releases the
GIL. A wrong address cannot be detected and crashes the process.
"""

def die_with_parent() -> None:
    """Makes the kernel kill this process with SIGKILL as soon as the thread that started it ends.

    The parent may have died before this call: compare ``os.getppid()`` with the pid of the expected parent
    *after* it, and exit if they differ. The setting is not inherited by children, and it is cleared when a
    set-user-ID program is executed. Raises ``OSError`` if the kernel refuses.
    """

def environment() -> dict[bytes, bytes]:
    """The environment as seen by C code: ``os.environ`` does not contain what ``os.putenv`` and libraries have set."""

def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal digits. (``hashlib`` loads OpenSSL, which takes longer than the rest of this package.)"""

def copy_array(
    address: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    itemsize: int,
    destination: int,
    start: int,
    count: int,
) -> int:
    """Copies elements ``start .. start + count``, counted in C order, of an array to memory at ``destination``.

    Any strides are supported (negative, zero, overlapping); contiguous parts are copied at memory speed. The
    elements are stored consecutively, so ``destination`` must have room for ``count * itemsize`` bytes; this
    number is returned. Source and destination must not overlap.

    Raises ``ValueError`` if shape and strides differ in length, a number is negative, ``itemsize`` is 0, an
    address is 0, or the range is not inside the array.
    """

def thumbnail(
    address: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: str,
    flip_rows: bool,
    flip_columns: bool,
    labelled: bool = False,
) -> bytes:
    """Draws a two-dimensional array as a PNG of 300 x 300 pixels (RGBA) in the colours of viridis.

    The colours span the (exact) 1 % to 99 % quantiles of the pixels. NaN counts as 0. The array is read
    in place, whatever its strides; the additional memory does not grow with the number of rows.

    ``labelled=False`` draws a NumPy array: infinities count as the largest finite number of the dtype, and the
    image is smoothed unless both axes are shown 1:1, 1:2 or enlarged more than three times.
    ``labelled=True`` draws the values of an ``xarray.DataArray``: never smoothed, infinities left white.

    ``flip_rows`` puts the first row at the bottom, ``flip_columns`` the first column at the right. For a NumPy
    array both are False. A DataArray is drawn with its coordinates growing upwards and to the right, and
    positions replace missing coordinates. Therefore:

    ===========  =================  ====================
    coordinate   ``flip_rows`` (y)  ``flip_columns`` (x)
    ===========  =================  ====================
    none         True               False
    increasing   True               False
    decreasing   False              True
    ===========  =================  ====================

    where y is the first dimension and x the second. The rule for any coordinates::

        def runs_backwards(values):  # values of the index coordinate of a dimension
            if values.dtype.kind in "US" or len(values) < 2:
                return False
            half_step = 0.5 * (values[1] - values[0])
            return bool(values[0] - half_step > values[-1] + half_step)

        y, x = (array[dim].values for dim in array.dims)  # positions, if there is no coordinate
        flip_rows, flip_columns = not runs_backwards(y), runs_backwards(x)

    An empty array gives a white image; with ``labelled=True`` it raises ``TypeError``. Complex
    numbers, objects, strings and foreign byte orders raise ``TypeError``, which the caller reports as
    ``<thumbnail error>``. Any other number of dimensions, and impossible strides, raise ``ValueError``.
    """

def trendline(x_address: int, y_address: int, n: int) -> tuple[bytes, int]:
    """Reduces a line to about 150 points that keep its peaks and valleys (FPCS; the same as package ``fpcs``).

    ``x_address`` and ``y_address`` are those of two contiguous, aligned float64 arrays of ``n`` elements, ``x``
    not decreasing. The window is ``max(1, int(n / 120))`` points; lines of fewer than 240 points are kept whole.
    Points that are not finite in both coordinates are omitted.

    Returns the points as the bytes of a little-endian float64 array of shape ``(2, N)`` in C order, x first, and
    ``N``: ``numpy.frombuffer(line, "<f8").reshape(2, N)``. Raises ``ValueError`` for a negative ``n``, an
    address that is 0 (unless ``n`` is), or one that is not aligned.
    """
