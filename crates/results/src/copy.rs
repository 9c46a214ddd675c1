//! Copying results from file to file.

use crate::{
    dtype::Dtype,
    h5::{H5Error, H5Result, Kind, Node, VirtualSource},
    names::{ERRORS, PREVIEW, REDUCED},
    netcdf::{self, DimIds},
};

/// A virtual dataset and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// Path of the virtual dataset.
    pub dataset: String,
    /// Its source.
    pub source: VirtualSource,
}

/// All virtual datasets of a file.
pub(crate) fn sources_of(root: &Node) -> H5Result<Vec<Located>> {
    let mut found = Vec::new();
    for name in root.names()? {
        // Summaries, errors and provenance are always in the file itself.
        if name.starts_with('.') && name != PREVIEW {
            continue;
        }
        collect(root, &name, &format!("/{name}"), &mut found)?;
    }
    Ok(found)
}

fn collect(parent: &Node, name: &str, path: &str, found: &mut Vec<Located>) -> H5Result<()> {
    let node = parent.open(name)?;
    match node.kind() {
        Kind::Group => {
            for member in node.names()? {
                collect(&node, &member, &format!("{path}/{member}"), found)?;
            }
        }
        Kind::Dataset => {
            let sources = node.virtual_sources()?;
            found.extend(sources.into_iter().map(|source| Located { dataset: path.to_owned(), source }));
        }
        Kind::Other => {}
    }
    Ok(())
}

/// Copies a dataset from a group to another group.
pub(crate) type CopyDataset<'a> = dyn FnMut(&Node, &str, &Node, bool) -> H5Result<()> + 'a;

/// Copies variables into one new file.
pub(crate) struct Copier<'a> {
    to: &'a Node,
    ids: DimIds,
    /// How datasets are copied; `None`: unchanged, and virtual datasets as virtual datasets.
    copy_dataset: Option<Box<CopyDataset<'a>>>,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(to: &'a Node) -> Self {
        Copier { to, ids: DimIds::default(), copy_dataset: None }
    }

    /// Creates a copier with another way of copying datasets.
    pub(crate) fn with(
        to: &'a Node,
        copy_dataset: impl FnMut(&Node, &str, &Node, bool) -> H5Result<()> + 'a,
    ) -> Self {
        Copier { to, ids: DimIds::default(), copy_dataset: Some(Box::new(copy_dataset)) }
    }

    /// Copies everything of a variable except its provenance.
    pub(crate) fn variable(&mut self, from: &Node, name: &str) -> H5Result<()> {
        let to = self.to;
        if from.has(name)? {
            self.object(from, name, to)?;
        }
        for group in [REDUCED, PREVIEW, ERRORS] {
            if let Some(side) = from.get(group)?
                && side.has(name)?
            {
                self.object(&side, name, &to.open(group)?)?;
            }
        }
        Ok(())
    }

    fn object(&mut self, from: &Node, name: &str, to: &Node) -> H5Result<()> {
        let node = from.open(name)?;
        let is_group = node.kind() == Kind::Group;
        match &mut self.copy_dataset {
            Some(copy_dataset) if !is_group => copy_dataset(from, name, to, true),
            None if !is_group => copy_dataset(from, name, to, true),
            None if is_plain(&node)? && !hides_loss(&node.open("data")?)? => {
                from.copy_to(name, to, name, true)
            }
            way => {
                let group = to.create_group(name)?;
                netcdf::copy_group(&node, &group, &mut self.ids, |name: &str| match way {
                    Some(copy_dataset) => copy_dataset(&node, name, &group, false),
                    None => copy_dataset(&node, name, &group, false),
                })
            }
        }
    }
}

/// Copies a dataset. A dataset of an earlier version that would read as zeros if its array file were missing gets another
/// fill value.
fn copy_dataset(from: &Node, name: &str, to: &Node, attributes: bool) -> H5Result<()> {
    let node = from.open(name)?;
    let renewed = if hides_loss(&node)? { node.dataset_type()?.dtype()? } else { None };
    let Some(dtype) = renewed.filter(Dtype::can_be_missing) else {
        return from.copy_to(name, to, name, attributes);
    };
    let [source] = node.virtual_sources()?.try_into().map_err(|sources: Vec<_>| {
        H5Error::new("copying a dataset", format!("{name} has {} sources", sources.len()))
    })?;
    let copy = netcdf::write_virtual(to, name, &dtype, &node.shape()?, source)?;
    if attributes {
        for attribute in node.attribute_names()? {
            node.copy_attribute(&attribute, &copy)?;
        }
    }
    Ok(())
}

/// Whether the loss of this dataset's array file would read as a plausible value.
pub(crate) fn hides_loss(node: &Node) -> H5Result<bool> {
    if node.kind() != Kind::Dataset || node.virtual_sources()?.len() != 1 {
        return Ok(false);
    }
    let dtype = node.dataset_type()?.dtype()?;
    Ok(dtype.and_then(|dtype| dtype.missing()) != Some(node.fill_value()?))
}

/// Whether this is the group of a plain value without objects that the library's copy would break.
fn is_plain(group: &Node) -> H5Result<bool> {
    Ok(group.names()? == ["data"] && {
        let data = group.open("data")?;
        data.kind() == Kind::Dataset && !data.is_scale()? && !data.has_attribute("DIMENSION_LIST")?
    })
}
