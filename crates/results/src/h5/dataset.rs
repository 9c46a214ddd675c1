//! Datasets: plain, in chunks, virtual.

use hdf5_metno_sys::{h5d, h5p, h5p::H5P_DEFAULT, h5s, h5t};

use super::{H5Error, H5Result, Handle, Node, Type, c_string, locked, node::link_options, read_name};
use crate::text::escaped;

/// Filters applied to a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkFilters {
    /// Shuffle and deflate.
    All,
    /// Only shuffle, because deflate would have made it larger.
    ShuffleOnly,
}

/// The one source of a virtual dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VirtualSource {
    /// File, relative to the directory of the file with the virtual dataset.
    pub file: String,
    /// Path of the dataset in it.
    pub dataset: String,
}

/// A regular part of a dataset: for each dimension the first index, the distance of two, and their number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub start: &'a [u64],
    pub step: &'a [u64],
    pub count: &'a [u64],
}

/// Storage layout of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Contiguous.
    Contiguous,
    /// Contiguous, with its space allocated before it is written.
    ContiguousEarly,
    /// In chunks of this shape, with shuffle and deflate 1.
    Chunked(Vec<u64>),
    /// No storage: the dataset only represents a dimension.
    Empty,
    /// In another file.
    Virtual(VirtualSource),
}

/// Properties of a new dataset.
#[derive(Debug)]
pub(crate) struct DatasetOptions<'a> {
    pub kind: &'a Type,
    pub shape: &'a [u64],
    pub storage: Storage,
    /// The fill value.
    pub fill: Option<&'a [u8]>,
}

fn space(shape: &[u64]) -> H5Result<Handle> {
    // SAFETY: the shape is read during the call only.
    Handle::open("making a shape", || unsafe {
        if shape.is_empty() {
            h5s::H5Screate(h5s::H5S_class_t::H5S_SCALAR)
        } else {
            h5s::H5Screate_simple(shape.len() as i32, shape.as_ptr(), std::ptr::null())
        }
    })
}

pub(super) fn space_shape(space: &Handle) -> H5Result<Vec<u64>> {
    // SAFETY: a valid dataspace, and a buffer with one place for each dimension.
    let rank = locked("reading a shape", || unsafe { h5s::H5Sget_simple_extent_ndims(space.id()) })?;
    let mut shape = vec![0u64; rank as usize];
    locked("reading a shape", || unsafe {
        h5s::H5Sget_simple_extent_dims(space.id(), shape.as_mut_ptr(), std::ptr::null_mut())
    })?;
    Ok(shape)
}

/// Whether nothing is stored in this space.
pub(super) fn is_null_space(space: &Handle) -> bool {
    // SAFETY: a valid dataspace.
    let class = hdf5_metno::sync::sync(|| unsafe { h5s::H5Sget_simple_extent_type(space.id()) });
    class == h5s::H5S_class_t::H5S_NULL
}

pub(super) fn make_space(shape: &[u64]) -> H5Result<Handle> {
    space(shape)
}

/// Strings for the library: pointers to NUL-terminated text.
pub(super) fn text_pointers(strings: &[String]) -> H5Result<(Vec<std::ffi::CString>, Vec<*const i8>)> {
    let owned = strings.iter().map(|text| c_string(text)).collect::<H5Result<Vec<_>>>()?;
    let pointers = owned.iter().map(|text| text.as_ptr().cast()).collect();
    Ok((owned, pointers))
}

/// Copies the text that the library has stored in `pointers` and frees its memory.
pub(super) fn take_texts(kind: &Type, space: &Handle, pointers: &mut [*mut i8]) -> H5Result<Vec<Vec<u8>>> {
    let texts = pointers
        .iter()
        .map(|pointer| {
            if pointer.is_null() {
                return Vec::new();
            }
            // SAFETY: the library has stored a NUL-terminated string of its own at this address.
            unsafe { std::ffi::CStr::from_ptr(pointer.cast()) }.to_bytes().to_vec()
        })
        .collect();
    // SAFETY: type, shape and buffer are those of the read that filled the buffer.
    locked("giving text back", || unsafe {
        h5t::H5Treclaim(kind.id(), space.id(), H5P_DEFAULT, pointers.as_mut_ptr().cast())
    })?;
    Ok(texts)
}

impl Node {
    /// Creates a dataset in this group.
    pub(crate) fn create_dataset(&self, name: &str, options: &DatasetOptions<'_>) -> H5Result<Node> {
        const DOING: &str = "creating a dataset";
        let name = c_string(name)?;
        let space = space(options.shape)?;
        // SAFETY: here and below: plain calls with valid handles and buffers that live through the call.
        let list = Handle::open(DOING, || unsafe { h5p::H5Pcreate(*h5p::H5P_CLS_DATASET_CREATE) })?;
        locked(DOING, || unsafe { h5p::H5Pset_obj_track_times(list.id(), 0) })?;
        if let Some(fill) = options.fill {
            locked(DOING, || unsafe {
                h5p::H5Pset_fill_value(list.id(), options.kind.id(), fill.as_ptr().cast())
            })?;
        }
        match &options.storage {
            Storage::Contiguous | Storage::Empty => {}
            Storage::ContiguousEarly => {
                locked(DOING, || unsafe {
                    h5p::H5Pset_alloc_time(list.id(), h5d::H5D_alloc_time_t::H5D_ALLOC_TIME_EARLY)
                        .min(h5p::H5Pset_fill_time(list.id(), h5d::H5D_fill_time_t::H5D_FILL_TIME_NEVER))
                })?;
            }
            Storage::Chunked(chunk) => {
                locked(DOING, || unsafe {
                    h5p::H5Pset_chunk(list.id(), chunk.len() as i32, chunk.as_ptr())
                        .min(h5p::H5Pset_shuffle(list.id()))
                        .min(h5p::H5Pset_deflate(list.id(), 1))
                })?;
            }
            Storage::Virtual(source) => {
                let (file, dataset) = (c_string(&source.file)?, c_string(&source.dataset)?);
                locked(DOING, || unsafe {
                    h5p::H5Pset_virtual(list.id(), space.id(), file.as_ptr(), dataset.as_ptr(), space.id())
                })?;
            }
        }
        let links = link_options(&name)?;
        Handle::open(DOING, || unsafe {
            h5d::H5Dcreate2(
                self.id(),
                name.as_ptr(),
                options.kind.id(),
                space.id(),
                links.id(),
                list.id(),
                H5P_DEFAULT,
            )
        })
        .map(Node)
    }

    /// Writes a whole dataset from bytes in C order, in the dataset's own type.
    pub(crate) fn write_bytes(&self, bytes: &[u8]) -> H5Result<()> {
        let kind = self.dataset_type()?;
        let needed = self.shape()?.iter().product::<u64>() as usize * kind.size()?;
        if needed != bytes.len() || kind.is_variable_length() {
            return Err(H5Error::new("writing", format!("{needed} bytes expected, {} given", bytes.len())));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the buffer has as many bytes as the dataset's shape and type require, checked above.
        locked("writing", || unsafe {
            h5d::H5Dwrite(
                self.id(),
                kind.id(),
                h5s::H5S_ALL,
                h5s::H5S_ALL,
                H5P_DEFAULT,
                bytes.as_ptr().cast(),
            )
        })
        .map(drop)
    }

    /// Writes a whole dataset of text.
    pub(crate) fn write_texts(&self, strings: &[String]) -> H5Result<()> {
        let needed = self.shape()?.iter().product::<u64>() as usize;
        if needed != strings.len() {
            return Err(H5Error::new("writing", format!("{needed} texts expected, {} given", strings.len())));
        }
        if strings.is_empty() {
            return Ok(());
        }
        let kind = Type::text()?;
        let (_owned, pointers) = text_pointers(strings)?;
        // SAFETY: one address for each element; the strings behind them live until the end of this function.
        locked("writing", || unsafe {
            h5d::H5Dwrite(
                self.id(),
                kind.id(),
                h5s::H5S_ALL,
                h5s::H5S_ALL,
                H5P_DEFAULT,
                pointers.as_ptr().cast(),
            )
        })
        .map(drop)
    }

    /// Writes one chunk to which the filters have already been applied.
    pub(crate) fn write_chunk(&self, offset: &[u64], filters: ChunkFilters, bytes: &[u8]) -> H5Result<()> {
        // Deflate is the second filter of the pipeline.
        let skipped = match filters {
            ChunkFilters::All => 0,
            ChunkFilters::ShuffleOnly => 0b10,
        };
        if offset.len() != self.shape()?.len() {
            return Err(H5Error::new(
                "writing a chunk",
                "the chunk's place has another number of dimensions",
            ));
        }
        // SAFETY: the offset has the dataset's rank, checked above; the buffer is given with its length.
        locked("writing a chunk", || unsafe {
            h5d::H5Dwrite_chunk(
                self.id(),
                H5P_DEFAULT,
                skipped,
                offset.as_ptr(),
                bytes.len(),
                bytes.as_ptr().cast(),
            )
        })
        .map(drop)
    }

    /// Byte offset in the file of a contiguous dataset.
    pub(crate) fn offset_in_file(&self) -> H5Result<u64> {
        // SAFETY: a valid dataset.
        let offset = hdf5_metno::sync::sync(|| unsafe { h5d::H5Dget_offset(self.id()) });
        if offset == u64::MAX {
            Err(H5Error::new("placing a dataset", "it has no place yet"))
        } else {
            Ok(offset)
        }
    }

    pub(crate) fn shape(&self) -> H5Result<Vec<u64>> {
        // SAFETY: a valid dataset.
        let space = Handle::open("reading a shape", || unsafe { h5d::H5Dget_space(self.id()) })?;
        space_shape(&space)
    }

    /// Whether it has neither elements nor a shape (`h5py.Empty`).
    pub(crate) fn is_null(&self) -> H5Result<bool> {
        // SAFETY: a valid dataset.
        let space = Handle::open("reading a shape", || unsafe { h5d::H5Dget_space(self.id()) })?;
        Ok(is_null_space(&space))
    }

    pub(crate) fn dataset_type(&self) -> H5Result<Type> {
        // SAFETY: a valid dataset.
        Handle::open("reading a type", || unsafe { h5d::H5Dget_type(self.id()) }).map(Type::from_handle)
    }

    /// Reads a whole dataset as bytes in its own type (not for variable-length types); none of one without elements.
    pub(crate) fn read_bytes(&self) -> H5Result<Vec<u8>> {
        if self.is_null()? {
            return Ok(Vec::new());
        }
        let kind = self.dataset_type()?;
        if kind.is_variable_length() {
            return Err(H5Error::new("reading", "the dataset's type has no fixed size"));
        }
        let mut bytes = vec![0u8; self.shape()?.iter().product::<u64>() as usize * kind.size()?];
        if !bytes.is_empty() {
            // SAFETY: the buffer has as many bytes as the dataset's shape and type require.
            locked("reading", || unsafe {
                h5d::H5Dread(
                    self.id(),
                    kind.id(),
                    h5s::H5S_ALL,
                    h5s::H5S_ALL,
                    H5P_DEFAULT,
                    bytes.as_mut_ptr().cast(),
                )
            })?;
        }
        Ok(bytes)
    }

    /// Reads a whole dataset of variable-length text; bytes that are not UTF-8 are escaped.
    pub(crate) fn read_texts(&self) -> H5Result<Vec<String>> {
        if self.is_null()? {
            return Ok(Vec::new());
        }
        let kind = self.dataset_type()?;
        if !kind.is_variable_length() {
            return Err(H5Error::new("reading", "the dataset does not hold variable-length text"));
        }
        // SAFETY: here and below: a valid dataset, and one address for each of its elements.
        let space = Handle::open("reading", || unsafe { h5d::H5Dget_space(self.id()) })?;
        let count = space_shape(&space)?.iter().product::<u64>() as usize;
        let mut pointers = vec![std::ptr::null_mut::<i8>(); count];
        if count > 0 {
            locked("reading", || unsafe {
                h5d::H5Dread(
                    self.id(),
                    kind.id(),
                    h5s::H5S_ALL,
                    h5s::H5S_ALL,
                    H5P_DEFAULT,
                    pointers.as_mut_ptr().cast(),
                )
            })?;
        }
        let texts = take_texts(&kind, &space, &mut pointers)?;
        Ok(texts.iter().map(|text| escaped(text)).collect())
    }

    /// Reads a regular part of a dataset as bytes in its own type (not for variable-length types).
    pub(crate) fn read_part(&self, part: &Part<'_>) -> H5Result<Vec<u8>> {
        let kind = self.dataset_type()?;
        if kind.is_variable_length() {
            return Err(H5Error::new("reading", "the dataset's type has no fixed size"));
        }
        let mut bytes = vec![0u8; part.count.iter().product::<u64>() as usize * kind.size()?];
        if bytes.is_empty() {
            return Ok(bytes);
        }
        let (in_file, in_memory) = self.select(part)?;
        // SAFETY: the buffer has as many bytes as the selection and the type require.
        locked("reading", || unsafe {
            h5d::H5Dread(
                self.id(),
                kind.id(),
                in_memory.id(),
                in_file.id(),
                H5P_DEFAULT,
                bytes.as_mut_ptr().cast(),
            )
        })?;
        Ok(bytes)
    }

    /// Reads a regular part of a dataset of variable-length text, which need not be UTF-8.
    pub(crate) fn read_text_part(&self, part: &Part<'_>) -> H5Result<Vec<Vec<u8>>> {
        let kind = self.dataset_type()?;
        if !kind.is_variable_length() {
            return Err(H5Error::new("reading", "the dataset does not hold variable-length text"));
        }
        let mut pointers = vec![std::ptr::null_mut::<i8>(); part.count.iter().product::<u64>() as usize];
        if pointers.is_empty() {
            return Ok(Vec::new());
        }
        let (in_file, in_memory) = self.select(part)?;
        // SAFETY: one address for each selected element.
        locked("reading", || unsafe {
            h5d::H5Dread(
                self.id(),
                kind.id(),
                in_memory.id(),
                in_file.id(),
                H5P_DEFAULT,
                pointers.as_mut_ptr().cast(),
            )
        })?;
        take_texts(&kind, &in_memory, &mut pointers)
    }

    /// The selection in the file, and the shape in memory.
    fn select(&self, part: &Part<'_>) -> H5Result<(Handle, Handle)> {
        const DOING: &str = "selecting a part";
        // SAFETY: a valid dataset.
        let in_file = Handle::open(DOING, || unsafe { h5d::H5Dget_space(self.id()) })?;
        let rank = space_shape(&in_file)?.len();
        if [part.start.len(), part.step.len(), part.count.len()] != [rank; 3] {
            return Err(H5Error::new(DOING, "the part has another number of dimensions"));
        }
        if rank > 0 {
            // SAFETY: one number for each dimension, checked above.
            locked(DOING, || unsafe {
                h5s::H5Sselect_hyperslab(
                    in_file.id(),
                    h5s::H5S_seloper_t::H5S_SELECT_SET,
                    part.start.as_ptr(),
                    part.step.as_ptr(),
                    part.count.as_ptr(),
                    std::ptr::null(),
                )
            })?;
        }
        Ok((in_file, space(part.count)?))
    }

    /// Whether the content is in files of other formats, which the dataset names.
    pub(crate) fn has_foreign_storage(&self) -> H5Result<bool> {
        const DOING: &str = "asking where a dataset is stored";
        // SAFETY: here and below: plain calls with valid handles.
        let list = Handle::open(DOING, || unsafe { h5d::H5Dget_create_plist(self.id()) })?;
        locked(DOING, || unsafe { h5p::H5Pget_external_count(list.id()) }).map(|count| count > 0)
    }

    /// The fill value, read for elements that were never written or cannot be read.
    pub(crate) fn fill_value(&self) -> H5Result<Vec<u8>> {
        const DOING: &str = "reading a fill value";
        let kind = self.dataset_type()?;
        let mut fill = vec![0u8; kind.size()?];
        // SAFETY: a valid dataset, and a buffer with room for one element of its type.
        let list = Handle::open(DOING, || unsafe { h5d::H5Dget_create_plist(self.id()) })?;
        locked(DOING, || unsafe { h5p::H5Pget_fill_value(list.id(), kind.id(), fill.as_mut_ptr().cast()) })?;
        Ok(fill)
    }

    /// The sources of a virtual dataset; empty for other datasets.
    pub(crate) fn virtual_sources(&self) -> H5Result<Vec<VirtualSource>> {
        const DOING: &str = "reading a virtual dataset's sources";
        // SAFETY: here and below: plain calls with valid handles; buffers are given with their length.
        let list = Handle::open(DOING, || unsafe { h5d::H5Dget_create_plist(self.id()) })?;
        let layout = hdf5_metno::sync::sync(|| unsafe { h5p::H5Pget_layout(list.id()) });
        if layout != h5d::H5D_layout_t::H5D_VIRTUAL {
            return Ok(Vec::new());
        }
        let mut count = 0usize;
        locked(DOING, || unsafe { h5p::H5Pget_virtual_count(list.id(), &raw mut count) })?;
        (0..count)
            .map(|index| {
                Ok(VirtualSource {
                    file: read_name(DOING, |buffer, size| unsafe {
                        h5p::H5Pget_virtual_filename(list.id(), index, buffer, size)
                    })?,
                    dataset: read_name(DOING, |buffer, size| unsafe {
                        h5p::H5Pget_virtual_dsetname(list.id(), index, buffer, size)
                    })?,
                })
            })
            .collect()
    }
}
