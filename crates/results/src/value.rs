//! What is stored: arrays, objects, and what stands beside them.

use amore_model::PlanStamp;
use serde::{Deserialize, Serialize};

use crate::{dtype::Dtype, large::LargeArray};

/// An array, or a scalar (shape `[]`).
#[derive(Clone, Debug)]
pub struct ArrayData<'a> {
    /// Its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Its content, in C order.
    pub content: Content<'a>,
}

/// Where an array's content is.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Here, in the array's own type and byte order.
    Bytes(&'a [u8]),
    /// Here, as text (for [`Dtype::Text`]).
    Text(Vec<String>),
    /// In an array file that is finished.
    Large(LargeArray),
}

impl<'a> ArrayData<'a> {
    /// Numbers.
    pub fn bytes(dtype: Dtype, shape: Vec<u64>, bytes: &'a [u8]) -> Self {
        ArrayData { dtype, shape, content: Content::Bytes(bytes) }
    }

    /// One text.
    pub fn text(text: impl Into<String>) -> Self {
        ArrayData { dtype: Dtype::Text, shape: Vec::new(), content: Content::Text(vec![text.into()]) }
    }

    /// How many elements the shape has; `None` if the number is beyond 64 bits.
    pub(crate) fn count(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, length| product.checked_mul(*length))
    }

    /// Does the content fill the shape? If not, what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Some(count) = self.count() else {
            return Err(format!("its shape {:?} is too large", self.shape));
        };
        if self.shape.len() > 32 {
            return Err(format!("it has {} dimensions; HDF5 has at most 32", self.shape.len()));
        }
        match (&self.content, self.dtype.item_size()) {
            (Content::Text(texts), None) if texts.len() as u64 == count => Ok(()),
            (Content::Text(texts), None) => Err(format!(
                "its shape {:?} has {count} elements, but {} texts are given",
                self.shape,
                texts.len()
            )),
            (Content::Bytes(bytes), Some(size))
                if Some(bytes.len() as u64) == count.checked_mul(size as u64) =>
            {
                Ok(())
            }
            (Content::Bytes(bytes), Some(_)) => Err(format!(
                "{} bytes are given for shape {:?} of type {}",
                bytes.len(),
                self.shape,
                self.dtype
            )),
            (Content::Large(large), Some(_)) if large.dtype == self.dtype && large.shape == self.shape => {
                Ok(())
            }
            (Content::Large(large), _) => Err(format!(
                "its array file has shape {:?} of type {}, not shape {:?} of type {}",
                large.shape, large.dtype, self.shape, self.dtype
            )),
            (Content::Text(_), Some(_)) => Err(format!("text is given for type {}", self.dtype)),
            (Content::Bytes(_), None) => Err("bytes are given for text".to_owned()),
        }
    }
}

/// An object as it goes into HDF5.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// `_damnit_objtype`: dataarray, dataset, image, PlotlyFigure, series, dataframe, timestamp; none for plain.
    pub objtype: Option<String>,
    /// How it is laid out.
    pub layout: Layout<'a>,
    /// `_damnit_returned`: how dependents get back what was returned. None where the stored form says all.
    pub returned: Option<String>,
}

impl<'a> Object<'a> {
    /// A plain array.
    pub fn plain(array: ArrayData<'a>) -> Self {
        Object { objtype: None, layout: Layout::Plain(array), returned: None }
    }
}

/// One dataset, or a netCDF group.
#[derive(Clone, Debug)]
pub enum Layout<'a> {
    /// One dataset, in one piece and not compressed.
    Plain(ArrayData<'a>),
    /// A netCDF-4 group.
    Netcdf {
        /// Dimensions in order of first use. Those without a variable of their name become scales without data.
        dims: Vec<Dim>,
        /// Variables, coordinates included, CF-encoded already.
        variables: Vec<NetcdfVariable<'a>>,
        /// Attributes of the group.
        attrs: Vec<(String, Attr)>,
    },
}

/// A netCDF dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dim {
    /// Name.
    pub name: String,
    /// Length.
    pub size: u64,
}

/// A netCDF variable.
#[derive(Clone, Debug)]
pub struct NetcdfVariable<'a> {
    /// Name, without `/`.
    pub name: String,
    /// Its dimensions.
    pub dims: Vec<String>,
    /// Shuffle and deflate 1, or neither.
    pub compress: bool,
    /// Attributes, `_FillValue` included.
    pub attrs: Vec<(String, Attr)>,
    /// Its content.
    pub array: ArrayData<'a>,
}

/// An attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// One text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// Numbers; shape `[]` is a scalar.
    Numbers {
        /// Their type; not text.
        dtype: Dtype,
        /// Their shape.
        shape: Vec<u64>,
        /// Their bytes, in C order and in that type's byte order.
        bytes: Vec<u8>,
    },
}

/// What stands beside a summary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SummaryAttrs {
    /// Largest difference within the value.
    pub max_diff: Option<f64>,
    /// Name of the reducing numpy function.
    pub summary_method: Option<String>,
    /// "trendline", or none.
    pub summary_type: Option<String>,
    /// Shown in bold?
    pub bold: Option<bool>,
    /// Shown on this colour: red, green, blue.
    pub background: Option<[u8; 3]>,
    /// Physical units.
    pub units: Option<String>,
}

/// A variable's value and all that is stored with it.
#[derive(Clone, Debug, Default)]
pub struct Value<'a> {
    /// The value itself; none for a cell that has a summary or preview only.
    pub data: Option<Object<'a>>,
    /// Shown instead of the value.
    pub preview: Option<Object<'a>>,
    /// Shown in the table.
    pub summary: Option<ArrayData<'a>>,
    /// Attributes of the summary; without a summary they are not stored.
    pub attrs: SummaryAttrs,
}

/// How the computation of a variable ended, as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredOutcome {
    /// With a value.
    #[default]
    Value,
    /// It returned nothing.
    Nothing,
    /// It failed.
    Error,
    /// It skipped this run.
    Skipped,
    /// The context file no longer has it.
    Removed,
}

/// Where a result came from; stored as JSON in `/.provenance/<variable>`. Fields that a later version adds are
/// ignored, fields that are missing have their default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The plan that asked for it.
    pub stamp: PlanStamp,
    /// Which try of its task, from 1.
    pub attempt: u32,
    /// The task's id; for foreign results what their file says made them (its root attribute `provenance`).
    pub task: String,
    /// How it ended. Set by the writer.
    pub outcome: StoredOutcome,
    /// SHA-256 of the context file's text, hex.
    pub context_sha256: String,
    /// Fingerprint of the function and what it uses, hex.
    pub fingerprint: String,
    /// Digest of the Python environment.
    pub environment: String,
    /// Python's version.
    pub python: String,
    /// The host it ran on.
    pub host: String,
    /// The Slurm job it ran in.
    pub slurm_job: Option<String>,
    /// Unix time in seconds.
    pub started_at: f64,
    /// Wall seconds.
    pub seconds: f64,
    /// CPU seconds.
    pub cpu_seconds: f64,
    /// Peak resident memory in KiB.
    pub max_rss_kib: u64,
    /// Why the stored value is not what was returned, so that dependents in other processes have it computed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
    /// The user's traceback, for errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// Written by a program that keeps no provenance; `stamp.micros` is its file's time then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}
