//! Several attempts store results for one plan: those of the latest attempt are kept, and late results do not replace them.

use std::path::{Path, PathBuf};

use amore_model::{AttemptRank, AttemptToken, PlanStamp};
use amore_results::Provenance;
use tempfile::TempDir;

use crate::{PROPOSAL, RUN, merge, provenance, read, run_file, scalar, writer};

/// The `serial`th attempt that this owner started.
fn attempt(epoch: u64, serial: u64, number: u32) -> Provenance {
    let token = AttemptToken::new(AttemptRank { epoch, serial }, 1, 2);
    Provenance { token: Some(token), attempt: number, ..provenance(100) }
}

/// Provenance in the format of the previous version.
fn numbered(number: u32) -> Provenance {
    Provenance { attempt: number, ..provenance(100) }
}

fn stored_by(directory: &Path, provenance: &Provenance, values: &[(&str, f64)]) -> PathBuf {
    let mut writer = writer(directory);
    for (name, value) in values {
        writer.value(name, &scalar(&value.to_le_bytes()), provenance).unwrap();
    }
    writer.finish().unwrap()
}

fn value(directory: &Path, name: &str) -> f64 {
    read(&run_file(directory), &format!("{name}/data"))[0]
}

#[test]
fn a_late_fragment_of_a_node_that_was_cut_off_changes_nothing() {
    let temp = TempDir::new().unwrap();
    let directory = temp.path();
    let first = attempt(7, 1, 1);
    merge(directory, &[stored_by(directory, &first, &[("a", 1.0)])]);
    // The second attempt did not see that result, and has computed `b` from its own `a`.
    let second = attempt(7, 2, 2);
    merge(directory, &[stored_by(directory, &second, &[("a", 2.0), ("b", 20.0)])]);
    let report = merge(directory, &[stored_by(directory, &first, &[("a", 1.5), ("b", 15.0), ("c", 3.0)])]);
    assert_eq!(report.older, ["a", "b"]);
    assert_eq!(report.stored, ["c"], "nobody else has computed it");
    assert_eq!(["a", "b", "c"].map(|name| value(directory, name)), [2.0, 20.0, 3.0]);
}

#[test]
fn the_order_of_arrival_and_what_is_merged_together_do_not_matter() {
    // From the earliest to the latest attempt, each with its own value.
    let requeued = Provenance { restarts: 1, ..attempt(7, 3, 2) };
    let attempts = [
        numbered(0),
        numbered(1),
        attempt(7, 3, 2),
        requeued,
        // It was not known whether Slurm had its predecessor.
        attempt(7, 4, 2),
        // Its owner did not know about the last attempt.
        attempt(8, 1, 2),
    ];
    for (at, latest) in attempts.iter().enumerate() {
        for (before, earlier) in attempts[..at].iter().enumerate() {
            for latest_first in [true, false] {
                for together in [true, false] {
                    let temp = TempDir::new().unwrap();
                    let directory = temp.path();
                    let mut fragments = vec![
                        stored_by(directory, latest, &[("a", at as f64)]),
                        stored_by(directory, earlier, &[("a", before as f64)]),
                    ];
                    if !latest_first {
                        fragments.reverse();
                    }
                    if together {
                        merge(directory, &fragments);
                    } else {
                        fragments
                            .iter()
                            .for_each(|fragment| drop(merge(directory, std::slice::from_ref(fragment))));
                    }
                    assert_eq!(
                        value(directory, "a"),
                        at as f64,
                        "{at} and {before}, {latest_first} {together}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_attempt_goes_on_from_the_value_that_will_be_kept() {
    let stamp = PlanStamp { epoch: 1, micros: 100 };
    let answer = |directory: &Path| {
        amore_results::answered(directory, PROPOSAL, RUN, stamp).unwrap().remove("a").unwrap()
    };
    let (first, second) = (attempt(7, 1, 1), attempt(7, 2, 2));

    // Two waiting fragments, written in either order.
    for second_first in [true, false] {
        let temp = TempDir::new().unwrap();
        let directory = temp.path();
        let mut order = [(&first, 1.0), (&second, 2.0)];
        if second_first {
            order.reverse();
        }
        for (by, number) in order {
            stored_by(directory, by, &[("a", number)]);
        }
        assert_eq!(read(&answer(directory).path, "a/data"), [2.0]);
    }

    // The run file contains the earlier result.
    let temp = TempDir::new().unwrap();
    let directory = temp.path();
    let fragment = stored_by(directory, &first, &[("a", 1.0)]);
    merge(directory, std::slice::from_ref(&fragment));
    std::fs::remove_file(&fragment).unwrap();
    stored_by(directory, &second, &[("a", 2.0)]);
    assert!(answer(directory).is_in_fragment());
    assert_eq!(read(&answer(directory).path, "a/data"), [2.0]);

    // The run file contains the later result.
    let temp = TempDir::new().unwrap();
    let directory = temp.path();
    let fragment = stored_by(directory, &second, &[("a", 2.0)]);
    merge(directory, std::slice::from_ref(&fragment));
    std::fs::remove_file(&fragment).unwrap();
    stored_by(directory, &first, &[("a", 1.0)]);
    assert!(!answer(directory).is_in_fragment());
}
