//! Fragments: files with one or more results of one run, written by a worker and merged into the run file later.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use amore_model::{COLUMNS_OF_RUNS, COMMENT, Proposal, Run};

use crate::{
    dtype::Dtype,
    error::{InFile, ResultsError},
    h5::{H5Result, Node},
    names::{
        self, ERRORS, MOCK, NameError, OBJTYPE, PREVIEW, PROVENANCE, READY, REDUCED, RETURNED, SIDE_GROUPS,
        SKIP, START_TIME,
    },
    netcdf::{self, DimIds},
    output::Output,
    value::{ArrayData, Attr, Content, Layout, Object, Provenance, StoredOutcome, SummaryAttrs, Value},
};

/// Writes one fragment. It is not visible before [`FragmentWriter::finish`]; if it is dropped before that, it leaves nothing
/// behind.
///
/// If a result cannot be stored, only that variable gets an error: earlier results stay in the fragment, and the writer can
/// continue (unless the disk is full).
#[derive(Debug)]
pub struct FragmentWriter {
    output: Output,
    extracted_data: PathBuf,
    dim_ids: DimIds,
    stored: HashSet<String>,
}

const FLOAT64: Dtype = Dtype::Float { bytes: 8, big_endian: false };

impl FragmentWriter {
    /// Creates a fragment in `extracted_data`, which must exist. `context_name` is the context file's name, for the root
    /// attribute `provenance` that DAMNIT reads.
    ///
    /// # Errors
    /// The library is out of memory.
    pub fn create(
        extracted_data: &Path,
        proposal: Proposal,
        run: Run,
        context_name: &str,
    ) -> Result<Self, ResultsError> {
        let output = Output::create(extracted_data, &names::run_stem(proposal, run), 0)?;
        begin(&output.root()?, context_name).writing(output.path())?;
        Ok(FragmentWriter {
            output,
            extracted_data: extracted_data.to_owned(),
            dim_ids: DimIds::default(),
            stored: HashSet::new(),
        })
    }

    /// Whether nothing has been stored yet (except for the start time).
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// Stores the run's first train, in seconds since 1970. That of a mock run never replaces a real one.
    ///
    /// # Errors
    /// A full disk.
    pub fn start_time(&mut self, seconds: f64, mock: bool) -> Result<(), ResultsError> {
        let bytes = seconds.to_le_bytes();
        let array = ArrayData::bytes(FLOAT64, Vec::new(), &bytes);
        self.in_root(|root, _| {
            remove_variable(root, START_TIME)?;
            let group = root.create_group(START_TIME)?;
            netcdf::write_array(&group, "data", &array, false, None)?;
            if mock {
                group.set_numbers(MOCK, &Dtype::Bool, &[], &[1])?;
            }
            netcdf::write_array(&root.open(REDUCED)?, START_TIME, &array, false, None).map(drop)
        })
    }

    /// Stores a value. If stored twice, the second one counts.
    ///
    /// # Errors
    /// An invalid name; content that does not match its shape; a full disk.
    pub fn value(
        &mut self,
        name: &str,
        value: &Value<'_>,
        provenance: &Provenance,
    ) -> Result<(), ResultsError> {
        check_stored(name)?;
        check_value(value).map_err(|reason| ResultsError::BadValue { variable: name.to_owned(), reason })?;
        self.output.expect(size_of_value(value))?;
        self.store(name, StoredOutcome::Value, provenance, |root, ids| {
            if let Some(object) = &value.data {
                write_object(root, name, object, true, ids)?;
            }
            if let Some(object) = &value.preview {
                write_object(&root.open(PREVIEW)?, name, object, false, ids)?;
            }
            if let Some(summary) = &value.summary {
                let dataset = netcdf::write_array(&root.open(REDUCED)?, name, summary, false, None)?;
                write_summary_attrs(&dataset, &value.attrs)?;
            }
            Ok(())
        })
    }

    /// Stores that a variable returned nothing: an older value will be removed.
    ///
    /// # Errors
    /// An invalid name; a full disk.
    pub fn nothing(&mut self, name: &str, provenance: &Provenance) -> Result<(), ResultsError> {
        check_name(name)?;
        self.store(name, StoredOutcome::Nothing, provenance, |_, _| Ok(()))
    }

    /// Stores that a variable failed: an older value will be removed. The class must not be "Skip", because DAMNIT
    /// identifies a skip by this name.
    ///
    /// # Errors
    /// An invalid name; a full disk.
    pub fn error(
        &mut self,
        name: &str,
        class: &str,
        message: &str,
        provenance: &Provenance,
    ) -> Result<(), ResultsError> {
        self.without_value(name, StoredOutcome::Error, class, message, provenance)
    }

    /// Stores that a variable skipped the run: an older value will be removed.
    ///
    /// # Errors
    /// An invalid name; a full disk.
    pub fn skipped(
        &mut self,
        name: &str,
        message: &str,
        provenance: &Provenance,
    ) -> Result<(), ResultsError> {
        self.without_value(name, StoredOutcome::Skipped, SKIP, message, provenance)
    }

    fn without_value(
        &mut self,
        name: &str,
        outcome: StoredOutcome,
        class: &str,
        message: &str,
        provenance: &Provenance,
    ) -> Result<(), ResultsError> {
        check_stored(name)?;
        // HDF5 text ends at the first NUL.
        let message = ArrayData::text(message.replace('\0', "\u{fffd}"));
        let class = class.replace('\0', "\u{fffd}");
        self.store(name, outcome, provenance, |root, _| {
            let dataset = netcdf::write_array(&root.open(ERRORS)?, name, &message, false, None)?;
            dataset.set_text("type", &class)
        })
    }

    /// Stores that the context file no longer has a variable: its stored results will be removed.
    ///
    /// # Errors
    /// An invalid name; a full disk.
    pub fn forget(&mut self, name: &str, provenance: &Provenance) -> Result<(), ResultsError> {
        check_name(name)?;
        self.store(name, StoredOutcome::Removed, provenance, |_, _| Ok(()))
    }

    /// Makes the fragment durable and renames it to `p1234_r42.<8 hex>.ready.h5`. Returns its path.
    ///
    /// # Errors
    /// A full disk, or another error of the file system; nothing is left behind.
    pub fn finish(self) -> Result<PathBuf, ResultsError> {
        let path = self.extracted_data.join(format!("{}{READY}", self.output.token()));
        self.output.seal()?.rename_to(&path)?;
        Ok(path)
    }

    fn in_root(
        &mut self,
        write: impl FnOnce(&Node, &mut DimIds) -> H5Result<()>,
    ) -> Result<(), ResultsError> {
        let root = self.output.root()?;
        write(&root, &mut self.dim_ids).writing(self.output.path())
    }

    fn store(
        &mut self,
        name: &str,
        outcome: StoredOutcome,
        provenance: &Provenance,
        write: impl FnOnce(&Node, &mut DimIds) -> H5Result<()>,
    ) -> Result<(), ResultsError> {
        let again = !self.stored.insert(name.to_owned());
        let text = provenance_text(&Provenance { outcome, ..provenance.clone() });
        let stored = self.in_root(|root, ids| {
            if again {
                remove_variable(root, name)?;
            }
            let written = write(root, ids).and_then(|()| {
                let text = ArrayData::text(text);
                netcdf::write_array(&root.open(PROVENANCE)?, name, &text, false, None).map(drop)
            });
            if written.is_err() {
                remove_variable(root, name)?;
            }
            written
        });
        if stored.is_err() {
            self.stored.remove(name);
        }
        stored.map_err(|error| match error {
            ResultsError::Write { reason, .. } => {
                ResultsError::BadValue { variable: name.to_owned(), reason }
            }
            other => other,
        })
    }
}

/// Writes the initial content of every file of results.
pub(crate) fn begin(root: &Node, context_name: &str) -> H5Result<()> {
    root.set_text("provenance", context_name)?;
    for group in SIDE_GROUPS {
        root.create_group(group)?;
    }
    Ok(())
}

/// Removes everything about a variable from a file that is being written.
pub(crate) fn remove_variable(root: &Node, name: &str) -> H5Result<()> {
    if root.has(name)? {
        root.remove(name)?;
    }
    for group in SIDE_GROUPS {
        let group = root.open(group)?;
        if group.has(name)? {
            group.remove(name)?;
        }
    }
    Ok(())
}

pub(crate) fn provenance_text(provenance: &Provenance) -> String {
    // JSON has no NaN and no infinity.
    let finite = |seconds: f64| if seconds.is_finite() { seconds } else { 0.0 };
    let provenance = Provenance {
        started_at: finite(provenance.started_at),
        seconds: finite(provenance.seconds),
        cpu_seconds: finite(provenance.cpu_seconds),
        ..provenance.clone()
    };
    // Every field is a number, a text or an enumeration, so this cannot fail. NUL is escaped in JSON.
    serde_json::to_string(&provenance).unwrap_or_default()
}

fn is_column(name: &str) -> NameError {
    let name = name.to_owned();
    NameError { name, what: "a variable's name", why: "each run already has a column of this name" }
}

fn check_name(name: &str) -> Result<(), NameError> {
    names::check_variable(name)?;
    if name == START_TIME { Err(is_column(name)) } else { Ok(()) }
}

/// Checks the name of what is stored. An earlier value of a column of runs may be removed. The table keeps comments of users, so
/// that a variable of that name does no harm.
fn check_stored(name: &str) -> Result<(), NameError> {
    check_name(name)?;
    if COLUMNS_OF_RUNS.contains(&name) && name != COMMENT { Err(is_column(name)) } else { Ok(()) }
}

fn check_value(value: &Value<'_>) -> Result<(), String> {
    for (what, object) in [("", &value.data), ("preview: ", &value.preview)] {
        if let Some(object) = object {
            match &object.layout {
                Layout::Plain(array) => check_array(array),
                Layout::Netcdf { dims, variables, attrs } => netcdf::check(dims, variables, attrs)
                    .and_then(|()| variables.iter().try_for_each(|variable| check_array(&variable.array))),
            }
            .map_err(|reason| format!("{what}{reason}"))?;
        }
    }
    if let Some(summary) = &value.summary {
        check_array(summary).map_err(|reason| format!("summary: {reason}"))?;
        if matches!(summary.content, Content::Large(_)) {
            return Err("a summary cannot be stored in a separate file".to_owned());
        }
    }
    Ok(())
}

fn check_array(array: &ArrayData<'_>) -> Result<(), String> {
    array.check()?;
    match &array.content {
        Content::Text(texts) if texts.iter().any(|text| text.contains('\0')) => {
            Err("its text contains a NUL character, which HDF5 text cannot".to_owned())
        }
        _ => Ok(()),
    }
}

fn size_of_value(value: &Value<'_>) -> u64 {
    let array = |array: &ArrayData<'_>| match &array.content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Text(texts) => texts.iter().map(|text| text.len() as u64 + 16).sum(),
        Content::Large(_) => 0,
    };
    let object = |object: &Object<'_>| match &object.layout {
        Layout::Plain(data) => array(data),
        Layout::Netcdf { variables, .. } => variables.iter().map(|variable| array(&variable.array)).sum(),
    };
    value.data.as_ref().map_or(0, object)
        + value.preview.as_ref().map_or(0, object)
        + value.summary.as_ref().map_or(0, array)
}

/// Values are a group with a dataset `data`, previews are the dataset itself; netCDF groups are groups in both.
fn write_object(
    parent: &Node,
    name: &str,
    object: &Object<'_>,
    in_group: bool,
    ids: &mut DimIds,
) -> H5Result<()> {
    let node = match &object.layout {
        Layout::Netcdf { dims, variables, attrs } => {
            let group = parent.create_group(name)?;
            netcdf::write_group(&group, dims, variables, attrs, ids)?;
            group
        }
        Layout::Plain(array) if in_group => {
            let group = parent.create_group(name)?;
            netcdf::write_array(&group, "data", array, false, None)?;
            group
        }
        Layout::Plain(array) => netcdf::write_array(parent, name, array, false, None)?,
    };
    for (attribute, text) in [(OBJTYPE, &object.objtype), (RETURNED, &object.returned)] {
        if let Some(text) = text {
            node.set_text(attribute, text)?;
        }
    }
    Ok(())
}

fn write_summary_attrs(dataset: &Node, attrs: &SummaryAttrs) -> H5Result<()> {
    let texts = [
        ("summary_method", &attrs.summary_method),
        ("summary_type", &attrs.summary_type),
        ("units", &attrs.units),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            dataset.set_text(name, text)?;
        }
    }
    if let Some(max_diff) = attrs.max_diff {
        dataset.set_numbers("max_diff", &FLOAT64, &[], &max_diff.to_le_bytes())?;
    }
    if let Some(bold) = attrs.bold {
        dataset.set_numbers("bold", &Dtype::Bool, &[], &[bold as u8])?;
    }
    if let Some(background) = attrs.background {
        let bytes = Attr::Numbers {
            dtype: Dtype::Int { bytes: 1, signed: false, big_endian: false },
            shape: vec![3],
            bytes: background.to_vec(),
        };
        netcdf::write_attr(dataset, "background", &bytes)?;
    }
    Ok(())
}
