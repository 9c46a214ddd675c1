//! Values of run files for display, in a service or a page: their description, parts of their arrays, fewer points, pictures.
//!
//! The content of a run file is not trusted here ([`contained`]), and of an array never more than a few megabytes are in memory.
//! A missing array file is an error, never fill values.

mod answer;
mod buckets;
mod contained;
mod element;
mod error;
mod grid;
mod means;
mod picture;
mod selection;
mod stored;

use std::path::Path;

use amore_model::{Proposal, Run};

pub(crate) use self::element::element_json;
pub use self::{
    answer::{Answer, Form, Limits, Pieces},
    error::DisplayError,
    picture::Colors,
    selection::{Selection, SelectionError},
    stored::{ArrayDescription, Description, ObjectKind, Part},
};
use self::{contained::RunFile, stored::Object};
use crate::{
    error::InFile,
    names::{PROVENANCE, check_variable},
    value::Provenance,
};

/// Which value is read.
#[derive(Clone, Debug)]
pub struct ValueOf<'a> {
    /// Directory of the run files.
    pub extracted_data: &'a Path,
    /// The proposal.
    pub proposal: Proposal,
    /// The run.
    pub run: Run,
    /// The variable.
    pub variable: &'a str,
    /// Its value or its preview.
    pub part: Part,
}

impl ValueOf<'_> {
    /// Describes it, without reading arrays; `None` if it is not stored.
    ///
    /// # Errors
    /// The run file is missing, cannot be read or is damaged.
    pub fn describe(&self) -> Result<Option<Description>, DisplayError> {
        let file = RunFile::open(self.extracted_data, self.proposal, self.run)?;
        Ok(Object::find(&file, self.variable, self.part)?.map(|object| object.describe()))
    }

    /// Where it comes from, as recorded in the run file; `None` if nothing is recorded.
    ///
    /// # Errors
    /// The run file is missing, cannot be read or is damaged.
    pub fn provenance(&self) -> Result<Option<Provenance>, DisplayError> {
        check_variable(self.variable)?;
        let file = RunFile::open(self.extracted_data, self.proposal, self.run)?;
        let Some(group) = file.member(file.root(), PROVENANCE)? else { return Ok(None) };
        let Some(entry) = file.member(&group, self.variable)? else { return Ok(None) };
        let (entry, _other) = file.content(self.variable, entry)?;
        let text = entry.read_texts().reading(file.path())?.concat();
        Ok(serde_json::from_str(&text).ok())
    }

    /// Reads a part of it, and the version of the run file: another text for each file that was there. `None` if it is not stored.
    ///
    /// # Errors
    /// The run file or the file of an array is missing, cannot be read or is damaged; the selection or the form does not fit the
    /// value.
    pub fn read(
        &self,
        array: Option<&str>,
        selection: &Selection,
        form: &Form,
        limits: Limits,
    ) -> Result<Option<(Answer, String)>, DisplayError> {
        let file = RunFile::open(self.extracted_data, self.proposal, self.run)?;
        let Some(object) = Object::find(&file, self.variable, self.part)? else { return Ok(None) };
        let version = file.version().to_owned();
        let answer = answer::read(file, object, self.variable, array, selection, form, limits)?;
        Ok(Some((answer, version)))
    }
}
