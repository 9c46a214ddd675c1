//! Names of variables, of files, and of the objects in them.

use std::{
    io,
    path::{Path, PathBuf},
};

use amore_model::{Proposal, Run};

/// A name that cannot be used in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be {what}: {why}")]
pub struct NameError {
    /// The name as given.
    pub name: String,
    /// What the name is for.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The variable that holds the run's first train.
pub(crate) const START_TIME: &str = "start_time";
/// Attribute of its group, which exists only if a mock run set it.
pub(crate) const MOCK: &str = "mock";
/// Group of errors.
pub(crate) const ERRORS: &str = ".errors";
/// The error class under which a skip is stored there. DAMNIT, and Amore when it reads DAMNIT's files, identify a skip by
/// this class.
pub(crate) const SKIP: &str = "Skip";
/// Group of summaries.
pub(crate) const REDUCED: &str = ".reduced";
/// Group of previews.
pub(crate) const PREVIEW: &str = ".preview";
/// Group of provenance.
pub(crate) const PROVENANCE: &str = ".provenance";
/// All groups with an entry for each variable.
pub(crate) const SIDE_GROUPS: [&str; 4] = [ERRORS, REDUCED, PREVIEW, PROVENANCE];
/// Attribute with the kind of an object.
pub(crate) const OBJTYPE: &str = "_damnit_objtype";
/// Attribute that describes how dependents restore the returned value.
pub(crate) const RETURNED: &str = "_damnit_returned";
/// Directory of the array files, in `extracted_data`.
pub(crate) const ARRAYS: &str = "arrays";
/// Suffix of a file that is being written.
pub(crate) const WRITING: &str = ".writing.h5";
/// Suffix of a finished fragment.
pub(crate) const READY: &str = ".ready.h5";
/// Suffix of a fragment that was set aside.
pub(crate) const BROKEN: &str = ".broken.h5";

/// Checks a variable's name: Python identifiers, joined by dots.
pub(crate) fn check_variable(name: &str) -> Result<(), NameError> {
    let refuse = |why| Err(NameError { name: name.to_owned(), what: "a variable's name", why });
    if name.len() > 1000 {
        return refuse("it is longer than 1000 bytes");
    }
    for part in name.split('.') {
        let mut characters = part.chars();
        match characters.next() {
            None => return refuse("it is empty, or has an empty part between its dots"),
            Some(first) if first.is_alphabetic() || first == '_' => {}
            Some(_) => return refuse("it does not start with a letter"),
        }
        if !characters.all(|c| c.is_alphanumeric() || c == '_' || c == '\u{b7}') {
            return refuse("it may contain only letters, digits, underscores and dots");
        }
    }
    Ok(())
}

/// Checks a netCDF name: it must be a single component of a path in a file.
pub(crate) fn check_netcdf(name: &str, what: &'static str) -> Result<(), NameError> {
    let refuse = |why| Err(NameError { name: name.to_owned(), what, why });
    match name {
        "" => refuse("it is empty"),
        "." | ".." => refuse("it denotes a directory, not a name"),
        _ if name.contains('/') => refuse("a slash separates the parts of a path"),
        _ if name.contains('\0') => refuse("it contains a NUL character"),
        _ if name.len() > 1000 => refuse("it is longer than 1000 bytes"),
        _ => Ok(()),
    }
}

/// Eight random hexadecimal digits, which are unlikely to occur twice.
///
/// # Errors
/// The system provides no random numbers.
pub(crate) fn random_hex() -> io::Result<String> {
    Ok(format!("{:08x}", getrandom::u32()?))
}

/// `p1234_r42`
pub(crate) fn run_stem(proposal: Proposal, run: Run) -> String {
    format!("p{proposal}_r{run}")
}

/// The run file: `extracted_data/p1234_r42.h5`.
pub fn run_file(extracted_data: &Path, proposal: Proposal, run: Run) -> PathBuf {
    extracted_data.join(format!("{}.h5", run_stem(proposal, run)))
}

/// Parses the file name of a finished fragment: `p1234_r42.<anything>.ready.h5`.
pub fn parse_fragment(file_name: &str) -> Option<(Proposal, Run)> {
    let (proposal, rest) = file_name.strip_suffix(READY)?.strip_prefix('p')?.split_once("_r")?;
    let (run, token) = rest.split_once('.')?;
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    if token.is_empty() {
        return None;
    }
    Some((Proposal(number(proposal)?), Run(number(run)?)))
}

/// Shortens a variable's name so that it fits in a file name.
pub(crate) fn file_name_part(variable: &str) -> &str {
    let mut end = variable.len().min(180);
    while !variable.is_char_boundary(end) {
        end -= 1;
    }
    &variable[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_dotted_identifiers() {
        for good in ["a", "_x1", "grp.sub.var", "énergie", "Δt"] {
            assert_eq!(check_variable(good), Ok(()), "{good}");
        }
        for bad in
            ["", ".", "a.", ".reduced", "1a", "a b", "a/b", "../x", "a\nb", "a'b", "a\"b", "a\0b", "a..b"]
        {
            assert!(check_variable(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fragments_are_known_by_their_names() {
        assert_eq!(parse_fragment("p1234_r42.0011aabb.ready.h5"), Some((Proposal(1234), Run(42))));
        assert_eq!(parse_fragment("p1234_r42.x_y.ready.h5"), Some((Proposal(1234), Run(42))));
        for other in [
            "p1234_r42.h5",
            "p1234_r42..ready.h5",
            "p1_r2.x.writing.h5",
            "px_r2.x.ready.h5",
            "p1_r+2.x.ready.h5",
        ] {
            assert_eq!(parse_fragment(other), None, "{other}");
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = "é".repeat(200);
        assert_eq!(file_name_part(&name).len(), 180);
        assert_eq!(file_name_part("short"), "short");
    }
}
