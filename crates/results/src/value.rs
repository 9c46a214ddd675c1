//! Values to be stored: arrays, objects, and their metadata.

use amore_model::{
    AttemptToken, PlanStamp,
    precedence::{AttemptMade, Made},
};
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

/// Location of an array's content.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Bytes in the array's type and byte order.
    Bytes(&'a [u8]),
    /// Texts (for [`Dtype::Text`]).
    Text(Vec<String>),
    /// In a finished array file.
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

    /// Number of elements of the shape; `None` if it exceeds 64 bits.
    pub(crate) fn count(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, length| product.checked_mul(*length))
    }

    /// Checks that the content matches the shape.
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

/// An object as stored in HDF5.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// `_damnit_objtype`: dataarray, dataset, image, PlotlyFigure, series, dataframe, timestamp; none for plain.
    pub objtype: Option<String>,
    /// Its layout.
    pub layout: Layout<'a>,
    /// `_damnit_returned`: how to restore the returned value. None if the stored form is sufficient.
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
    /// One contiguous, uncompressed dataset.
    Plain(ArrayData<'a>),
    /// A netCDF-4 group.
    Netcdf {
        /// Dimensions in order of first use. Those without a variable of their name become scales without data.
        dims: Vec<Dim>,
        /// Variables including coordinates, already CF-encoded.
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
    /// Whether it is compressed with shuffle and deflate 1.
    pub compress: bool,
    /// Attributes, including `_FillValue`.
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

/// Metadata of a summary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SummaryAttrs {
    /// Largest difference within the value.
    pub max_diff: Option<f64>,
    /// Name of the reducing numpy function.
    pub summary_method: Option<String>,
    /// "trendline", or none.
    pub summary_type: Option<String>,
    /// Whether it is shown in bold.
    pub bold: Option<bool>,
    /// Background colour: red, green, blue.
    pub background: Option<[u8; 3]>,
    /// Physical units.
    pub units: Option<String>,
}

/// A variable's value and everything that is stored with it.
#[derive(Clone, Debug, Default)]
pub struct Value<'a> {
    /// The value itself; none for a cell that has a summary or preview only.
    pub data: Option<Object<'a>>,
    /// Shown instead of the value.
    pub preview: Option<Object<'a>>,
    /// Shown in the table.
    pub summary: Option<ArrayData<'a>>,
    /// Metadata of the summary; not stored without a summary.
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

/// Origin of a result, stored as JSON in `/.provenance/<variable>`. Unknown fields of later versions are ignored; missing fields
/// get their default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The plan that requested it.
    pub stamp: PlanStamp,
    /// Attempt number of its task, from 1.
    pub attempt: u32,
    /// Token of the attempt; none from an earlier version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<AttemptToken>,
    /// How often Slurm had requeued the attempt's job.
    #[serde(skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// The task's id; for results of other programs the root attribute `provenance` of their file.
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
    /// Why the stored value differs from the returned one, so that dependents in other processes compute it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
    /// The user's traceback, for errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// Whether it was written by a program without provenance; `stamp.micros` is then the time of its file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

impl Provenance {
    /// When the result was created, as [`amore_model::precedence`] compares it.
    pub fn made(&self) -> Made {
        if self.foreign {
            Made::Foreign { micros: self.stamp.micros }
        } else {
            let attempt = AttemptMade::new(self.token.as_ref(), self.restarts, self.attempt);
            Made::Planned { stamp: self.stamp, attempt }
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
