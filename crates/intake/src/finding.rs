//! Whether data on disk have to be reported for a directory. Nothing depends on the time of a folder alone if something better is
//! known: a folder may be moved here with an old time, or its files may be changed without it.

use std::path::Path;

use crate::{FolderLook, Last};

/// Data on disk, as they are found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The files.
    pub look: &'a FolderLook,
    /// What was known of them before in this life of the service.
    pub before: Before,
}

/// What was known of data on disk before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// They were there when the service looked for the first time.
    There,
    /// Their folder was not there, or its files were other ones.
    Other,
}

/// What the service has recorded about a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Records<'a> {
    /// About these data.
    pub own: Option<&'a Last>,
    /// About the other kind of data of the run: calibrated ones if these are raw.
    pub other: Option<&'a Last>,
    /// Whether the other kind is being processed, or was so just now: the record of that may come later than its values.
    pub other_is_under_way: bool,
}

/// What the table of a directory has of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InTable {
    /// When the run was added, in seconds since 1970, by whatever.
    pub added: Option<f64>,
    /// When something of it was computed last by Amore or DAMNIT. What users enter or submit does not count.
    pub computed: Option<f64>,
}

impl InTable {
    /// Whether the table has lost a run since it was processed: it was made anew. It may have got the run again from a user.
    fn is_anew_since(self, processed: f64) -> bool {
        match self.added {
            Some(added) => added > processed,
            None => self.computed.is_none(),
        }
    }
}

/// Whether data have to be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is nothing to do.
    Nothing,
    /// The directory has not processed them.
    New,
    /// The directory has, but its table was made anew. It alone needs them again.
    Again,
}

/// Whether these data have to be reported for a directory.
pub fn judge(directory: &Path, found: Found<'_>, records: Records<'_>, in_table: InTable) -> Finding {
    if found.look.files == 0 {
        // They are not there yet, or were removed: there is nothing to process.
        return Finding::Nothing;
    }
    let Some(own) = records.own else { return by_table(directory, found, records, in_table) };
    if own.generation.digest != found.look.digest {
        return Finding::New;
    }
    if own.is_dropped() {
        return Finding::Nothing;
    }
    match own.is_processed_in(directory) {
        true if in_table.is_anew_since(own.at) => Finding::Again,
        true => Finding::Nothing,
        false => by_table(directory, found, records, in_table),
    }
}

/// The service has not processed these data in this directory. Commands or another program may have.
fn by_table(directory: &Path, found: Found<'_>, records: Records<'_>, in_table: InTable) -> Finding {
    let Some(computed) = in_table.computed else { return Finding::New };
    // Then the values are those of the other data.
    let is_of_other =
        records.other_is_under_way || records.other.is_some_and(|other| other.is_processed_in(directory));
    let is_younger = found.look.changed.max(found.look.newest) > computed;
    if is_of_other || is_younger || found.before == Before::Other { Finding::New } else { Finding::Nothing }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{ArrivalNo, Generation, Settled};

    const DIR: &str = "/db/a";

    fn look(digest: &str, changed: f64) -> FolderLook {
        FolderLook { files: 2, newest: changed, digest: digest.to_owned(), changed, has_marker: false }
    }

    fn last(digest: &str, state: Settled, directories: &[&str]) -> Last {
        Last {
            arrival: ArrivalNo(1),
            at: 500.0,
            state,
            generation: Generation { number: 1, digest: digest.to_owned(), changed: Some(100.0) },
            directories: directories
                .iter()
                .map(|dir| ((*dir).to_owned(), String::new()))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    fn processed(added: f64, computed: f64) -> InTable {
        InTable { added: Some(added), computed: Some(computed) }
    }

    fn of(look: &FolderLook, own: Option<&Last>, other: Option<&Last>, in_table: InTable) -> Finding {
        let records = Records { own, other, other_is_under_way: false };
        judge(DIR.as_ref(), Found { look, before: Before::There }, records, in_table)
    }

    #[test]
    fn values_of_data_that_are_being_processed_are_not_those_of_the_others() {
        let (found, in_table) = (look("r", 100.0), processed(90.0, 200.0));
        let finding = |other_is_under_way| {
            let records = Records { own: None, other: None, other_is_under_way };
            judge(DIR.as_ref(), Found { look: &found, before: Before::There }, records, in_table)
        };
        assert_eq!(finding(false), Finding::Nothing, "a command has processed them");
        assert_eq!(finding(true), Finding::New);
    }

    #[test]
    fn raw_data_that_come_after_the_calibrated_ones_with_an_old_time_are_new() {
        let proc = last("p", Settled::Done, &[DIR]);
        assert_eq!(of(&look("r", 10.0), None, Some(&proc), processed(500.0, 500.0)), Finding::New);
        let elsewhere = last("p", Settled::Done, &["/db/b"]);
        assert_eq!(of(&look("r", 10.0), None, Some(&elsewhere), processed(500.0, 500.0)), Finding::Nothing);
    }

    #[test]
    fn what_users_enter_does_not_count_as_processed() {
        let entered = InTable { added: Some(400.0), computed: None };
        assert_eq!(of(&look("r", 10.0), None, None, entered), Finding::New);
        assert_eq!(
            of(&look("r", 10.0), None, None, processed(300.0, 300.0)),
            Finding::Nothing,
            "by a command"
        );
        assert_eq!(of(&look("r", 350.0), None, None, processed(300.0, 300.0)), Finding::New);
        let found = Found { look: &look("r", 10.0), before: Before::Other };
        let appeared = judge(DIR.as_ref(), found, Records::default(), processed(300.0, 300.0));
        assert_eq!(appeared, Finding::New, "it was moved here while the service looked");
    }

    #[test]
    fn each_directory_counts_for_itself() {
        let other = last("r", Settled::Done, &["/db/b"]);
        assert_eq!(of(&look("r", 100.0), Some(&other), None, InTable::default()), Finding::New);
        assert_eq!(of(&look("r", 100.0), Some(&other), None, processed(300.0, 300.0)), Finding::Nothing);
        let both = last("r", Settled::Done, &[DIR, "/db/b"]);
        assert_eq!(of(&look("r", 100.0), Some(&both), None, processed(400.0, 450.0)), Finding::Nothing);
        let nameless = last("r", Settled::Done, &[]);
        assert_eq!(of(&look("r", 100.0), Some(&nameless), None, processed(400.0, 450.0)), Finding::Nothing);
    }

    #[test]
    fn a_table_that_was_made_anew_gets_its_runs_back() {
        let done = last("r", Settled::Done, &[DIR]);
        assert_eq!(of(&look("r", 100.0), Some(&done), None, InTable::default()), Finding::Again);
        let submitted = InTable { added: Some(600.0), computed: None };
        assert_eq!(of(&look("r", 100.0), Some(&done), None, submitted), Finding::Again);
        let without_values = InTable { added: Some(400.0), computed: None };
        assert_eq!(of(&look("r", 100.0), Some(&done), None, without_values), Finding::Nothing);
    }

    #[test]
    fn files_that_change_in_place_are_new_and_dropped_ones_stay_so_until_then() {
        for (state, same) in [(Settled::Done, Finding::Nothing), (Settled::Dropped, Finding::Nothing)] {
            let known = last("r", state, &[DIR]);
            assert_eq!(of(&look("r", 100.0), Some(&known), None, processed(400.0, 450.0)), same);
            assert_eq!(of(&look("r2", 100.0), Some(&known), None, processed(400.0, 450.0)), Finding::New);
        }
        let dropped = last("r", Settled::Dropped, &[]);
        assert_eq!(of(&look("r", 100.0), Some(&dropped), None, InTable::default()), Finding::Nothing);
        let failed = last("r", Settled::Failed, &[]);
        assert_eq!(of(&look("r", 100.0), Some(&failed), None, InTable::default()), Finding::New);
    }

    #[test]
    fn a_folder_without_files_is_not_reported() {
        let done = last("r", Settled::Done, &[DIR]);
        let empty = FolderLook { files: 0, ..look("", 900.0) };
        assert_eq!(of(&empty, None, None, InTable::default()), Finding::Nothing);
        assert_eq!(of(&empty, Some(&done), None, InTable::default()), Finding::Nothing);
    }
}
