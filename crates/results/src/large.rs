//! Arrays that are too large to be copied each time their run file is rewritten. Each is in its own immutable file, to
//! which the run file refers with a virtual dataset.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use amore_model::{Proposal, Run};
use amore_shared_files::own_folder;
use rayon::prelude::*;

use crate::{
    compress::{CHUNK_BYTES, ChunkPlan},
    dtype::Dtype,
    error::{DoingTo, InFile, ResultsError},
    h5::{DatasetOptions, File, Node, Storage, Type},
    names::{self, ARRAYS, WRITING},
    readers::{self, Readers},
    sync_directory::sync_directory,
};

/// Arrays of at least this many bytes are stored in their own file.
pub const LARGE: u64 = 32 << 20;

/// The dataset in an array file.
pub(crate) const DATASET: &str = "data";

/// Maximum number of chunks in memory at the same time, each in its original, shuffled and compressed form.
const CHUNKS_AT_ONCE: usize = 24;

/// A finished array file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeArray {
    pub(crate) path: PathBuf,
    /// Relative to `extracted_data`, with slashes.
    pub(crate) relative: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
}

impl LargeArray {
    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Type of its elements.
    pub fn dtype(&self) -> &Dtype {
        &self.dtype
    }

    /// Its shape.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }
}

/// Writes an array file from a stream of bytes in C order. If it is dropped before [`LargeArrayWriter::finish`], it leaves
/// nothing behind.
///
/// Compressed arrays are compressed on all cores. Memory use stays below 100 MB, whatever the size of the array.
#[derive(Debug)]
pub struct LargeArrayWriter {
    directory: PathBuf,
    /// Path while it is being written.
    path: PathBuf,
    /// Final file name.
    file_name: String,
    stem: String,
    variable: String,
    dtype: Dtype,
    shape: Vec<u64>,
    expected: u64,
    written: u64,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Written directly to the dataset's location in the file.
    Plain { file: fs::File, offset: u64 },
    /// In chunks. The dataset is declared first, so that it is closed before its file.
    Packed { dataset: Node, file: File, plan: ChunkPlan, next: u64, part: Vec<u8>, whole: Vec<Vec<u8>> },
    /// Closed.
    Done,
}

impl LargeArrayWriter {
    /// Creates an array file for `variable` under `extracted_data/arrays/`.
    ///
    /// # Errors
    /// A name or type that cannot be stored; text (which has no fixed size); an error of the file system.
    pub fn create(
        extracted_data: &Path,
        proposal: Proposal,
        run: Run,
        variable: &str,
        dtype: Dtype,
        shape: &[u64],
        compress: bool,
    ) -> Result<Self, ResultsError> {
        names::check_variable(variable)?;
        let bad = |reason: String| ResultsError::BadValue { variable: variable.to_owned(), reason };
        let (Some(item_size), true) = (dtype.item_size(), dtype.can_be_missing()) else {
            return Err(bad(format!("{dtype} cannot be stored in a separate file")));
        };
        let expected = shape
            .iter()
            .try_fold(item_size as u64, |product, length| product.checked_mul(*length))
            .ok_or_else(|| bad(format!("its shape {shape:?} is too large")))?;
        let stem = names::run_stem(proposal, run);
        let directory = extracted_data.join(ARRAYS).join(&stem);
        own_folder::open(extracted_data).doing("cannot use", extracted_data)?;
        create_directories(extracted_data, &directory)?;
        let random = names::random_hex().doing("cannot name a file in", &directory)?;
        let token = format!("{}-{random}", names::file_name_part(variable));
        let path = directory.join(format!("{token}{WRITING}"));
        fs::File::options().write(true).create_new(true).open(&path).doing("cannot create", &path)?;
        // The run may be collected by another user, who could not change the permissions of this file.
        if let Ok(run_file) = Readers::of(&names::run_file(extracted_data, proposal, run)) {
            let _ = run_file.give_to(&path);
        }

        let mut writer = LargeArrayWriter {
            directory,
            path,
            file_name: format!("{token}.h5"),
            stem,
            variable: variable.to_owned(),
            dtype,
            shape: shape.to_vec(),
            expected,
            written: 0,
            way: Way::Done,
        };
        // From here on, dropping the writer removes the file.
        writer.begin(compress.then(|| ChunkPlan::new(shape, item_size, CHUNK_BYTES)).flatten())?;
        Ok(writer)
    }

    fn begin(&mut self, plan: Option<ChunkPlan>) -> Result<(), ResultsError> {
        let path = &self.path;
        let file = File::create_over(path).writing(path)?;
        let kind = Type::of(&self.dtype).writing(path)?;
        let storage = match &plan {
            Some(plan) => Storage::Chunked(plan.chunk_shape().to_vec()),
            None => Storage::ContiguousEarly,
        };
        let options = DatasetOptions { kind: &kind, shape: &self.shape, storage, fill: None };
        let root = file.root().writing(path)?;
        root.set_text("variable", &self.variable).writing(path)?;
        let dataset = root.create_dataset(DATASET, &options).writing(path)?;
        self.way = match plan {
            Some(plan) => Way::Packed { dataset, file, plan, next: 0, part: Vec::new(), whole: Vec::new() },
            None => {
                let offset = if self.expected == 0 { 0 } else { dataset.offset_in_file().writing(path)? };
                drop((root, dataset));
                file.close().writing(path)?;
                let file = fs::File::options().write(true).open(path).doing("cannot open", path)?;
                Way::Plain { file, offset }
            }
        };
        Ok(())
    }

    /// Writes the next piece of the stream, of any size.
    ///
    /// # Errors
    /// More bytes than the shape has; a full disk.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), ResultsError> {
        if self.written + bytes.len() as u64 > self.expected {
            return Err(ResultsError::BadValue {
                variable: self.variable.clone(),
                reason: format!(
                    "more data are given than the {} bytes of its shape {:?}",
                    self.expected, self.shape
                ),
            });
        }
        let start = self.written;
        self.written += bytes.len() as u64;
        match &mut self.way {
            Way::Done => Ok(()),
            Way::Plain { file, offset } => {
                file.write_all_at(bytes, *offset + start).doing("cannot write", &self.path)
            }
            Way::Packed { dataset, plan, next, part, whole, .. } => {
                // Complete chunks are used in place; a chunk that is split between two pieces is assembled in `part`.
                let mut direct: Vec<&[u8]> = Vec::new();
                while !bytes.is_empty() {
                    let wanted = plan.stream_bytes(*next + (whole.len() + direct.len()) as u64);
                    if part.is_empty() && bytes.len() >= wanted {
                        let (chunk, rest) = bytes.split_at(wanted);
                        direct.push(chunk);
                        bytes = rest;
                    } else {
                        let (piece, rest) = bytes.split_at(bytes.len().min(wanted - part.len()));
                        part.extend_from_slice(piece);
                        bytes = rest;
                        if part.len() == wanted {
                            whole.push(std::mem::take(part));
                        }
                    }
                    if whole.len() + direct.len() >= CHUNKS_AT_ONCE {
                        pack_and_write(dataset, plan, next, whole, &mut direct).writing(&self.path)?;
                    }
                }
                if !direct.is_empty() {
                    pack_and_write(dataset, plan, next, whole, &mut direct).writing(&self.path)?;
                }
                Ok(())
            }
        }
    }

    /// Makes the file durable and renames it to its final name.
    ///
    /// # Errors
    /// Fewer bytes than the shape has; a full disk.
    pub fn finish(mut self) -> Result<LargeArray, ResultsError> {
        if self.written != self.expected {
            return Err(ResultsError::BadValue {
                variable: self.variable.clone(),
                reason: format!(
                    "only {} of the {} bytes of its shape are given",
                    self.written, self.expected
                ),
            });
        }
        match std::mem::replace(&mut self.way, Way::Done) {
            Way::Done => {}
            Way::Plain { file, .. } => file.sync_all().doing("cannot sync", &self.path)?,
            Way::Packed { dataset, file, plan, mut next, mut whole, .. } => {
                pack_and_write(&dataset, &plan, &mut next, &mut whole, &mut Vec::new())
                    .writing(&self.path)?;
                drop(dataset);
                file.close().writing(&self.path)?;
                fs::File::options()
                    .write(true)
                    .open(&self.path)
                    .and_then(|file| file.sync_all())
                    .doing("cannot sync", &self.path)?;
            }
        }
        let path = self.directory.join(&self.file_name);
        fs::rename(&self.path, &path).doing("cannot rename a new file to", &path)?;
        sync_directory(&self.directory)?;
        Ok(LargeArray {
            relative: format!("{ARRAYS}/{}/{}", self.stem, self.file_name),
            path,
            dtype: self.dtype.clone(),
            shape: self.shape.clone(),
        })
    }
}

impl Drop for LargeArrayWriter {
    fn drop(&mut self) {
        self.way = Way::Done;
        // After `finish`, the file no longer has this name.
        drop(fs::remove_file(&self.path));
    }
}

/// Compresses and writes chunks. In the stream, those of `whole` come before those of `direct`.
fn pack_and_write(
    dataset: &Node,
    plan: &ChunkPlan,
    next: &mut u64,
    whole: &mut Vec<Vec<u8>>,
    direct: &mut Vec<&[u8]>,
) -> crate::h5::H5Result<()> {
    let raw: Vec<&[u8]> = whole.iter().map(Vec::as_slice).chain(direct.iter().copied()).collect();
    let packed: Vec<_> = raw.par_iter().map(|bytes| plan.pack(bytes)).collect();
    for (filters, bytes) in packed {
        dataset.write_chunk(&plan.offset(*next), filters, &bytes)?;
        *next += 1;
    }
    whole.clear();
    direct.clear();
    Ok(())
}

/// Creates the directories between `from` and `to`, durably.
fn create_directories(from: &Path, to: &Path) -> Result<(), ResultsError> {
    if to.is_dir() {
        return Ok(());
    }
    let new: Vec<&Path> = to.ancestors().take_while(|directory| !directory.is_dir()).collect();
    fs::create_dir_all(to).doing("cannot create the directory", to)?;
    for directory in new {
        // Another user may have created the directory first, and then owns it.
        let _ = readers::open_like(from, directory);
    }
    for directory in to.ancestors().skip(1) {
        sync_directory(directory)?;
        if directory == from {
            break;
        }
    }
    Ok(())
}

/// Marks an array file that nothing refers to any more: its modification time is set to now, which starts its grace period.
pub(crate) fn note_superseded(path: &Path) -> Result<(), ResultsError> {
    let inside = path.parent().and_then(Path::parent).and_then(Path::file_name) == Some(ARRAYS.as_ref());
    if !inside {
        return Ok(());
    }
    let touched = fs::File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(std::time::SystemTime::now()));
    match touched {
        // The file belongs to another user, or is gone. The sweep handles both.
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        other => other.doing("cannot touch", path),
    }
}
