//! Files of results. This is the only crate that links libhdf5.
//!
//! A worker writes *fragments* ([`FragmentWriter`]); [`merge`] merges them into the run file. Large arrays are in their own
//! immutable files ([`LargeArrayWriter`]). `docs/design/run-files.md` describes the content of the files, and why they are
//! replaced in the way they are.

mod answered;
mod compress;
mod copy;
mod display;
mod dtype;
mod error;
mod export;
mod fragment;
mod h5;
mod large;
mod long_double;
mod merge;
mod names;
mod netcdf;
mod npy;
mod number;
mod output;
mod readers;
mod reduced;
mod scalar;
mod sweep;
mod sync_directory;
mod text;
mod value;
mod verify;

pub use answered::{StoredResult, answered};
pub use display::{
    Answer, ArrayDescription, Colors, Description, DisplayError, Form, Limits, ObjectKind, Part, Pieces,
    Selection, SelectionError, ValueOf,
};
pub use dtype::{Dtype, DtypeError, Field};
pub use error::ResultsError;
pub use export::export;
pub use fragment::FragmentWriter;
pub use large::{LARGE, LargeArray, LargeArrayWriter};
pub use merge::{FewerReaders, MergeError, MergeReport, merge};
pub use names::{NameError, parse_fragment, run_file};
pub use reduced::{ReducedRow, ReducedValue, RunFileSummary, read_reduced};
pub use scalar::{Scalar, read_scalar};
pub use sweep::sweep;
pub use value::{
    ArrayData, Attr, Content, Dim, Layout, NetcdfVariable, Object, Provenance, StoredOutcome, SummaryAttrs,
    Value,
};
pub use verify::{Finding, verify};
