//! Worker ↔ context host and its children. The Python side is `damnit_ctx/host.py` and `damnit_ctx/child.py`; the protocol
//! is described in `docs/design/host-protocol.md`.

use std::collections::BTreeMap;

use amore_model::{JobOutcome, Problem, VariableSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ended::Ended,
    mymdc::MymdcValues,
    task::{ContextSource, Step},
};

/// Worker → host, on the control socket (file descriptor in `AMORE_CONTROL_FD`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ToHost {
    /// Fork a child. Four descriptors are sent with this line (SCM_RIGHTS), in this order: the child's end of its socket,
    /// the run's log (opened for appending), the shared memory (a memfd), and a memfd for this child only, which
    /// `faulthandler` writes to.
    Fork {
        /// Repeated in `Forked` and `Exited`.
        id: String,
    },
    /// Import these installed modules before the next fork (as learned from earlier children).
    Preload {
        /// Dotted names.
        modules: Vec<String>,
    },
    /// Send a signal to a child's process group. The worker cannot do that itself if a sandbox gives processes other
    /// numbers, or another account.
    Signal {
        /// The id of the fork.
        id: String,
        /// SIGKILL, or SIGUSR2 for a traceback.
        signal: i32,
    },
}

/// Host → worker, on the control socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "snake_case")]
pub enum FromHost {
    /// Imports are done; forks can be requested.
    Ready {
        /// [`crate::VERSION`].
        version: u32,
        /// `sys.version.split()[0]`.
        python: String,
        /// Short digest of the interpreter and the versions of the relevant packages.
        environment: String,
    },
    /// This Python cannot run a host.
    Unusable {
        /// What is missing.
        message: String,
        /// What to do.
        #[serde(default)]
        hint: Option<String>,
    },
    /// A child was forked.
    Forked {
        /// The id of the request.
        id: String,
        /// Its process ID, also its process group.
        pid: i32,
    },
    /// A child was reaped.
    Exited {
        /// The id of the request.
        id: String,
        /// Its process ID.
        pid: i32,
        /// Exit code, if it exited.
        #[serde(default)]
        code: Option<i32>,
        /// Signal, if it was killed by one.
        #[serde(default)]
        signal: Option<i32>,
        /// Peak resident memory in KiB.
        max_rss_kib: u64,
        /// User and system CPU seconds.
        cpu_seconds: f64,
    },
}

/// Worker → child, on the child's socket. First `Describe` or `Run`, later `Taken` and `Free`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ToChild {
    /// Describe what the file declares.
    Describe {
        /// The file.
        context: ContextSource,
    },
    /// Execute variables.
    Run(Box<ChildTask>),
    /// The worker has copied the value from the shared memory; continue.
    Taken,
    /// A slot of the shared memory is free again (streams only).
    Free {
        /// Index of the slot.
        slot: u32,
    },
}

/// The work of a child: a task, or what is left of one after a child died.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChildTask {
    /// Proposal number.
    pub proposal: u32,
    /// Run number.
    pub run: u32,
    /// "raw" or "all": the argument of `open_run`.
    pub data: String,
    /// Use a fake run object.
    pub mock: bool,
    /// The database directory; the child's working directory.
    pub directory: String,
    /// The file.
    pub context: ContextSource,
    /// What to execute, in this order.
    pub steps: Vec<Step>,
    /// Values to read: variable → file.
    pub given: BTreeMap<String, String>,
    /// Dependencies that ended without a value before this child: variable → why.
    pub ended: BTreeMap<String, Ended>,
    /// How the jobs of variables ended: variable → outcome.
    pub outcomes: BTreeMap<String, JobOutcome>,
    /// `param#` values.
    pub parameters: BTreeMap<String, Value>,
    /// Values of `mymdc#` arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mymdc: MymdcValues,
    /// Address space limit in bytes.
    pub memory_bytes: Option<u64>,
    /// Shared memory: number of slots and size of each. A value that fits into `slots × slot_bytes` is sent at once, packed
    /// from offset 0; larger arrays are streamed slot by slot.
    pub slots: u32,
    /// Size of a slot in bytes.
    pub slot_bytes: u64,
}

/// Child → worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "snake_case")]
pub enum FromChild {
    /// Reply to `Describe`.
    Described {
        /// The variables, as far as the file could be read.
        variables: Vec<VariableSpec>,
        /// The problems found.
        problems: Vec<Problem>,
    },
    /// The run is open, and its `start_time` is known.
    Opened {
        /// Time of the run's first train, in seconds since 1970.
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
    /// It returned a value that is now in shared memory (or will be streamed). The worker replies `Taken` when it has all of
    /// it.
    Value(Box<ValueMessage>),
    /// A part of a streamed array, in C order: the slot contains `bytes` bytes. The worker replies `Free`.
    Chunk {
        /// Index of the slot.
        slot: u32,
        /// How many of its bytes are used.
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
    /// It failed or skipped itself, or its value could not be stored. Nothing of the value is kept.
    Failed {
        /// The variable.
        name: String,
        /// Exception class; "Skip" for a skip.
        class: String,
        /// Whether it is a skip. `None` from an older host: then every class "Skip" is one.
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
    /// All steps are done.
    Done {
        /// Installed modules that the steps imported and the host had not; top-level and dotted names.
        #[serde(default)]
        imported: Vec<String>,
    },
}

/// A value, and everything that is stored with it.
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
    pub data: Option<StoredObject>,
    /// `Cell(preview=…)`.
    #[serde(default)]
    pub preview: Option<StoredObject>,
    /// Summary for the table.
    #[serde(default)]
    pub summary: Option<Array>,
    /// `max_diff` of the value. JSON has no infinity, so it is sent as "inf".
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

/// Floats that JSON cannot express: infinity and NaN are sent as text.
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

/// An object as it is stored in HDF5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredObject {
    /// `_damnit_objtype`: dataarray, dataset, image, PlotlyFigure, series, dataframe, timestamp; `None` for plain data.
    #[serde(default)]
    pub objtype: Option<String>,
    /// Its layout.
    pub layout: Layout,
    /// JSON of `damnit_ctx`: how to restore what was returned from the stored form, or that this is not possible. `None` if the
    /// stored form is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<String>,
    /// Why the stored form does not restore what was returned. Dependents in other processes compute it again.
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
        /// Dimensions in order of first use. Those without a variable of the same name become scales without data.
        dims: Vec<Dim>,
        /// Variables including coordinates, already CF-encoded.
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
    /// Name, with `/` already replaced.
    pub name: String,
    /// Its dimensions.
    pub dims: Vec<String>,
    /// Whether to apply deflate 1 and shuffle (data variables) or nothing (coordinates).
    pub compress: bool,
    /// Attributes, including `_FillValue`.
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
    /// Numbers. The shape `[]` means a scalar.
    Numbers {
        /// numpy's `dtype.str`: `<f8`, `<i4`, `|u1`, `|b1`.
        dtype: String,
        /// Shape.
        shape: Vec<u64>,
        /// Little-endian bytes in hexadecimal, C order.
        hex: String,
    },
}

/// An array (or scalar, shape `[]`), and where its content is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// numpy's `dtype.str` (`<f4`, `>i8`, `|u1`, `|b1`, `<c16`, …, `|S5` fixed bytes), `"str"` for variable-length UTF-8 text,
    /// or a JSON object for records: `{"size": 12, "fields": [{"name": "a", "offset": 0, "dtype": "<i4", "shape": []}]}`.
    pub dtype: String,
    /// Shape; `[]` is a scalar.
    pub shape: Vec<u64>,
    /// Its content.
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
        /// Number of bytes.
        bytes: u64,
    },
    /// Follows as `Chunk`s after this message; several arrays in the order of the message.
    Stream,
    /// Text, C order (dtype "str").
    Text {
        /// The strings.
        strings: Vec<String>,
    },
}
