//! Writes one self-contained file from a run file and its array files.

use std::path::Path;

use crate::{
    copy::{Copier, sources_of},
    error::{DoingTo, InFile, ResultsError, write_error},
    fragment::begin,
    h5::{File, H5Result, Node},
    merge::check_sources,
    names::PROVENANCE,
    output::Output,
};

/// Copies a run file to `to`, with every array inside: no virtual datasets are left. Compressed arrays stay compressed.
/// `to` appears complete or not at all; a file of that name is replaced.
///
/// # Errors
/// A damaged run file, a missing array file, a full disk.
pub fn export(run_file: &Path, to: &Path) -> Result<(), ResultsError> {
    let metadata = std::fs::metadata(run_file).doing("cannot open", run_file)?;
    let file = File::open(run_file).reading(run_file)?;
    let from = file.root().reading(run_file)?;
    check_sources(run_file, &from)?;

    let mut expected = metadata.len();
    for source in sources_of(&from).reading(run_file)? {
        let array = run_file.with_file_name(&source.source.file);
        expected += std::fs::metadata(&array).doing("cannot open", &array)?.len();
    }
    let directory = match to.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    let stem = to.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let output = Output::create(directory, &stem, expected)?;
    let path = output.path().to_owned();
    let root = output.root()?;
    let title = from.text_attribute("provenance").reading(run_file)?.unwrap_or_default();
    begin(&root, &title).writing(&path)?;
    copy_all(run_file, &from, &root).map_err(|error| {
        if error.is_write() {
            write_error(error, &path)
        } else {
            ResultsError::Damaged { path: run_file.to_owned(), reason: error.to_string() }
        }
    })?;
    drop(root);
    output.seal()?.rename_to(to)
}

fn copy_all(run_file: &Path, from: &Node, root: &Node) -> H5Result<()> {
    let mut names: std::collections::BTreeSet<String> =
        from.names()?.into_iter().filter(|name| !name.starts_with('.')).collect();
    for group in crate::names::SIDE_GROUPS {
        if let Some(group_node) = from.get(group)? {
            names.extend(group_node.names()?);
        }
    }
    let mut copier =
        Copier::with(root, |from, name, to, attributes| inline(run_file, from, name, to, attributes));
    for name in &names {
        copier.variable(from, name)?;
        if let Some(group) = from.get(PROVENANCE)?
            && group.has(name)?
        {
            group.copy_to(name, &root.open(PROVENANCE)?, name, true)?;
        }
    }
    Ok(())
}

/// Copies a dataset. If it is virtual, its source is copied.
fn inline(run_file: &Path, from: &Node, name: &str, to: &Node, attributes: bool) -> H5Result<()> {
    let node = from.open(name)?;
    let sources = if node.kind() == crate::h5::Kind::Dataset { node.virtual_sources()? } else { Vec::new() };
    let [source] = sources.as_slice() else {
        return from.copy_to(name, to, name, attributes);
    };
    let array = File::open(&run_file.with_file_name(&source.file))?;
    array.root()?.copy_to(&source.dataset, to, name, false)?;
    if attributes {
        let copy = to.open(name)?;
        for attribute in node.attribute_names()? {
            node.copy_attribute(&attribute, &copy)?;
        }
    }
    Ok(())
}
