//! Worker ↔ context host and its children. The Python half is `damnit_ctx/host.py` and `damnit_ctx/child.py`;
//! `docs/design/host-protocol.md` tells the conversation in words.

use std::collections::BTreeMap;

use amore_model::{JobOutcome, Problem, VariableSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ended::Ended,
    task::{ContextSource, Step},
};

/// Worker → host, on the control socket (file descriptor in `AMORE_CONTROL_FD`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ToHost {
    /// Fork a child. Four descriptors travel with this line (SCM_RIGHTS), in this order: the child's end of its
    /// socket, the run's log (opened for appending), the shared memory (a memfd), and a memfd of this child alone for
    /// what `faulthandler` writes.
    Fork {
        /// Comes back in `Forked` and `Exited`.
        id: String,
    },
    /// Import these installed modules before the next fork (learned from earlier children).
    Preload {
        /// Dotted names.
        modules: Vec<String>,
    },
}

/// Host → worker, on the control socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "snake_case")]
pub enum FromHost {
    /// Imports are done; forks may be asked for.
    Ready {
        /// [`crate::VERSION`].
        version: u32,
        /// `sys.version.split()[0]`.
        python: String,
        /// Short digest of interpreter and versions of the installed packages that matter.
        environment: String,
    },
    /// This Python cannot be a host.
    Unusable {
        /// What is missing.
        message: String,
        /// What to do.
        #[serde(default)]
        hint: Option<String>,
    },
    /// A child runs.
    Forked {
        /// The request's.
        id: String,
        /// Its process, also its process group.
        pid: i32,
    },
    /// A child was reaped.
    Exited {
        /// The request's.
        id: String,
        /// Its process.
        pid: i32,
        /// Exit code, if it exited.
        #[serde(default)]
        code: Option<i32>,
        /// Signal, if one killed it.
        #[serde(default)]
        signal: Option<i32>,
        /// Peak resident memory in KiB.
        max_rss_kib: u64,
        /// User and system CPU seconds.
        cpu_seconds: f64,
    },
}

/// Worker → child, on the child's socket. First one of `Describe` or `Run`, later `Taken` and `Free`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ToChild {
    /// Say what the file declares.
    Describe {
        /// The file.
        context: ContextSource,
    },
    /// Execute variables.
    Run(Box<ChildTask>),
    /// The worker has taken the value out of the shared memory; go on.
    Taken,
    /// A slot of the shared memory is free again (streams only).
    Free {
        /// Index of the slot.
        slot: u32,
    },
}

/// What a child is to do: a task, or what a dead child left of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChildTask {
    /// Proposal number.
    pub proposal: u32,
    /// Run number.
    pub run: u32,
    /// "raw" or "all": what `open_run` is asked for.
    pub data: String,
    /// A fake run object.
    pub mock: bool,
    /// The database directory; the child's working directory.
    pub directory: String,
    /// The file.
    pub context: ContextSource,
    /// In this order.
    pub steps: Vec<Step>,
    /// Values to read: variable → file.
    pub given: BTreeMap<String, String>,
    /// Dependencies that ended without a value before this child: variable → how.
    pub ended: BTreeMap<String, Ended>,
    /// How the jobs of variables ended: variable → outcome.
    pub outcomes: BTreeMap<String, JobOutcome>,
    /// `param#` values.
    pub parameters: BTreeMap<String, Value>,
    /// Address space limit in bytes.
    pub memory_bytes: Option<u64>,
    /// Shared memory: number of slots and bytes of each. A value that fits into `slots × slot_bytes` crosses at
    /// once, packed from offset 0; larger arrays are streamed slot by slot.
    pub slots: u32,
    /// Bytes of one slot.
    pub slot_bytes: u64,
}

/// Child → worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "snake_case")]
pub enum FromChild {
    /// Answer to `Describe`.
    Described {
        /// As far as the file could be read.
        variables: Vec<VariableSpec>,
        /// What is wrong with it.
        problems: Vec<Problem>,
    },
    /// The run is open; `start_time` is known (seconds since 1970).
    Opened {
        /// The run's first train.
        start_time: f64,
    },
    /// The run (or the context file) could not be opened: no step can run.
    CannotStart {
        /// Exception class.
        class: String,
        /// Message.
        message: String,
        /// The user's traceback.
        #[serde(default)]
        traceback: Option<String>,
    },
    /// A function is about to be called.
    Started {
        /// The variable.
        name: String,
    },
    /// It returned a value that is now in shared memory (or will be streamed). The worker answers `Taken` when
    /// all of it has been taken.
    Value(Box<ValueMessage>),
    /// A piece of a streamed array, in C order: the slot holds `bytes` bytes. Answered by `Free`.
    Chunk {
        /// Index of the slot.
        slot: u32,
        /// How many of its bytes count.
        bytes: u64,
    },
    /// It returned a value that is not stored (transient).
    Kept {
        /// The variable.
        name: String,
        /// Wall seconds.
        seconds: f64,
    },
    /// It returned `None`.
    Nothing {
        /// The variable.
        name: String,
        /// Wall seconds.
        seconds: f64,
    },
    /// It failed, skipped, or could not be stored. Nothing of its value stays.
    Failed {
        /// The variable.
        name: String,
        /// Exception class; "Skip" of a skip.
        class: String,
        /// Is it a skip? None from an older host: there every class "Skip" is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skipped: Option<bool>,
        /// Message.
        message: String,
        /// The user's traceback.
        #[serde(default)]
        traceback: Option<String>,
        /// Wall seconds.
        seconds: f64,
    },
    /// All steps are done. `imported` lists installed modules that the steps imported and the host had not.
    Done {
        /// Top-level and dotted names.
        #[serde(default)]
        imported: Vec<String>,
    },
}

/// A value and everything that is stored beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueMessage {
    /// The variable.
    pub name: String,
    /// Wall seconds in the function.
    pub seconds: f64,
    /// CPU seconds in the function.
    pub cpu_seconds: f64,
    /// Peak resident memory of the child so far, KiB.
    pub max_rss_kib: u64,
    /// The value itself; `None` for a `Cell` with only a summary or preview.
    #[serde(default)]
    pub data: Option<Stored>,
    /// `Cell(preview=…)`.
    #[serde(default)]
    pub preview: Option<Stored>,
    /// What the table shows.
    #[serde(default)]
    pub summary: Option<Array>,
    /// `max_diff` of the value; JSON has no infinity, so that crosses as "inf".
    #[serde(default, with = "infinity")]
    pub max_diff: Option<f64>,
    /// Name of the reducing numpy function.
    #[serde(default)]
    pub summary_method: Option<String>,
    /// "trendline", or `None`.
    #[serde(default)]
    pub summary_type: Option<String>,
    /// `Cell(bold=…)`.
    #[serde(default)]
    pub bold: Option<bool>,
    /// `Cell(background=…)`.
    #[serde(default)]
    pub background: Option<[u8; 3]>,
    /// Units.
    #[serde(default)]
    pub units: Option<String>,
}

/// Floats beyond JSON's: infinity and NaN cross as text.
mod infinity {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Crossing {
        Number(f64),
        Text(String),
    }

    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        let crossing = value.map(|number| {
            if number.is_finite() { Crossing::Number(number) } else { Crossing::Text(number.to_string()) }
        });
        crossing.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        match Option::<Crossing>::deserialize(deserializer)? {
            None => Ok(None),
            Some(Crossing::Number(number)) => Ok(Some(number)),
            Some(Crossing::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
        }
    }
}

/// An object as it goes into HDF5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// `_damnit_objtype`: dataarray, dataset, image, PlotlyFigure, series, dataframe, timestamp; none for plain.
    #[serde(default)]
    pub objtype: Option<String>,
    /// How it is laid out.
    pub layout: Layout,
    /// JSON of `damnit_ctx`: how the stored form becomes what was returned, or that it does not. None where the stored
    /// form says all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<String>,
    /// Why the stored form does not give back what was returned; dependents in other processes have it computed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

/// Plain dataset or netCDF group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Layout {
    /// One dataset.
    Plain {
        /// Its content.
        array: Array,
    },
    /// A netCDF-4 group.
    Netcdf {
        /// Dimensions in order of first use: name and length. Those without a variable of their name become
        /// scales without data.
        dims: Vec<Dim>,
        /// Variables, coordinates included, CF-encoded already.
        variables: Vec<NetcdfVariable>,
        /// Attributes of the group.
        attrs: Vec<(String, Attr)>,
    },
}

/// A netCDF dimension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dim {
    /// Name.
    pub name: String,
    /// Length.
    pub size: u64,
}

/// A netCDF variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetcdfVariable {
    /// Name, `/` replaced already.
    pub name: String,
    /// Its dimensions.
    pub dims: Vec<String>,
    /// Deflate 1 and shuffle (data variables), or plain (coordinates).
    pub compress: bool,
    /// Attributes, `_FillValue` included.
    pub attrs: Vec<(String, Attr)>,
    /// Its content.
    pub array: Array,
}

/// An HDF5 attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Attr {
    /// Variable-length UTF-8 scalar.
    Text {
        /// Content.
        value: String,
    },
    /// List of variable-length UTF-8 strings.
    Texts {
        /// Content.
        value: Vec<String>,
    },
    /// Numbers: little-endian bytes, base16. `shape` of `[]` is a scalar.
    Numbers {
        /// numpy's `dtype.str`: `<f8`, `<i4`, `|u1`, `|b1`.
        dtype: String,
        /// Shape.
        shape: Vec<u64>,
        /// Hexadecimal bytes, C order.
        hex: String,
    },
}

/// An array (or scalar, shape `[]`) and where its content is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// numpy's `dtype.str` (`<f4`, `>i8`, `|u1`, `|b1`, `<c16`, …, `|S5` fixed bytes), `"str"` for variable-length UTF-8
    /// text, or of records a JSON object: `{"size": 12, "fields": [{"name": "a", "offset": 0, "dtype": "<i4", "shape": []}]}`.
    pub dtype: String,
    /// Shape; `[]` is a scalar.
    pub shape: Vec<u64>,
    /// Where.
    #[serde(flatten)]
    pub content: Content,
}

/// Where an array's content is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "snake_case")]
pub enum Content {
    /// In the shared memory.
    Shm {
        /// Byte offset from its start.
        offset: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Comes as `Chunk`s after this message, one array after the other in the order of this message.
    Stream,
    /// Text, C order (dtype "str").
    Text {
        /// The strings.
        strings: Vec<String>,
    },
}
