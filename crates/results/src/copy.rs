//! Copying results from file to file.

use crate::{
    h5::{H5Result, Kind, Node, VirtualSource},
    names::{ERRORS, PREVIEW, REDUCED},
    netcdf::{self, DimIds},
};

/// A virtual dataset and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// Path of the virtual dataset.
    pub dataset: String,
    /// What it stands for.
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

/// How a dataset goes from one file to another: its place in the group it is in, and the group it goes to.
pub(crate) type CopyDataset<'a> = dyn FnMut(&Node, &str, &Node, bool) -> H5Result<()> + 'a;

/// Copies variables into one new file.
pub(crate) struct Copier<'a> {
    to: &'a Node,
    ids: DimIds,
    /// How datasets are copied; none: as they are, virtual datasets as virtual datasets.
    copy_dataset: Option<Box<CopyDataset<'a>>>,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(to: &'a Node) -> Self {
        Copier { to, ids: DimIds::default(), copy_dataset: None }
    }

    /// With another way of copying datasets.
    pub(crate) fn with(
        to: &'a Node,
        copy_dataset: impl FnMut(&Node, &str, &Node, bool) -> H5Result<()> + 'a,
    ) -> Self {
        Copier { to, ids: DimIds::default(), copy_dataset: Some(Box::new(copy_dataset)) }
    }

    /// Copies all of a variable but its provenance.
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
            None if !is_group || is_plain(&node)? => from.copy_to(name, to, name, true),
            way => {
                let group = to.create_group(name)?;
                netcdf::copy_group(&node, &group, &mut self.ids, |name: &str| match way {
                    Some(copy_dataset) => copy_dataset(&node, name, &group, false),
                    None => node.copy_to(name, &group, name, false),
                })
            }
        }
    }
}

/// Is this the group of a plain value, with nothing in it that the library's copy would break?
fn is_plain(group: &Node) -> H5Result<bool> {
    Ok(group.names()? == ["data"] && {
        let data = group.open("data")?;
        data.kind() == Kind::Dataset && !data.is_scale()? && !data.has_attribute("DIMENSION_LIST")?
    })
}
