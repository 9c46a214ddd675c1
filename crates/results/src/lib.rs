//! Files of results, and the one crate that links libhdf5.
//!
//! A worker writes *fragments* ([`FragmentWriter`]); [`merge`] puts them into the run's file. Large arrays lie in
//! immutable files of their own ([`LargeArrayWriter`]). `docs/design/run-files.md` tells what is in the files, and
//! why they are replaced the way they are.

mod answered;
mod compress;
mod copy;
mod dtype;
mod error;
mod export;
mod fragment;
mod h5;
mod large;
mod merge;
mod names;
mod netcdf;
mod output;
mod readers;
mod reduced;
mod scalar;
mod sweep;
mod sync_directory;
mod value;
mod verify;

pub use answered::{StoredResult, answered};
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
