//! Files of results, tested through the crate's public API. `tests/files/` tests what other programs read from them.

mod attempts;
mod display;
mod fragments;
mod large_arrays;
mod merging;
mod readers;
mod upkeep;

use std::path::{Path, PathBuf};

use amore_model::{PlanStamp, Proposal, Run};
use amore_results::{ArrayData, Dtype, FragmentWriter, MergeReport, Object, Provenance, Value};

const PROPOSAL: Proposal = Proposal(1234);
const RUN: Run = Run(42);
const F64: Dtype = Dtype::Float { bytes: 8, big_endian: false };

fn provenance(micros: u64) -> Provenance {
    Provenance {
        stamp: PlanStamp { epoch: 1, micros },
        attempt: 1,
        task: "t".to_owned(),
        ..Provenance::default()
    }
}

fn bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn number(bytes: &[u8]) -> ArrayData<'_> {
    ArrayData::bytes(F64, Vec::new(), bytes)
}

/// A scalar with itself as its summary.
fn scalar(bytes: &[u8]) -> Value<'_> {
    Value { data: Some(Object::plain(number(bytes))), summary: Some(number(bytes)), ..Value::default() }
}

fn writer(directory: &Path) -> FragmentWriter {
    FragmentWriter::create(directory, PROPOSAL, RUN, "context.py").unwrap()
}

/// A fragment with one scalar.
fn fragment(directory: &Path, name: &str, value: f64, micros: u64) -> PathBuf {
    let mut writer = writer(directory);
    writer.value(name, &scalar(&value.to_le_bytes()), &provenance(micros)).unwrap();
    writer.finish().unwrap()
}

fn merge(directory: &Path, fragments: &[PathBuf]) -> MergeReport {
    amore_results::merge(directory, PROPOSAL, RUN, fragments).unwrap()
}

fn run_file(directory: &Path) -> PathBuf {
    amore_results::run_file(directory, PROPOSAL, RUN)
}

fn read(file: &Path, dataset: &str) -> Vec<f64> {
    hdf5_metno::File::open(file).unwrap().dataset(dataset).unwrap().read_raw().unwrap()
}

fn has(file: &Path, path: &str) -> bool {
    hdf5_metno::File::open(file).unwrap().link_exists(path)
}

/// Names in a directory, without the lock file.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".collect.lock")
        .collect();
    names.sort();
    names
}
