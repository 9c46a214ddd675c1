use amore_model::{Proposal, Run};

use super::*;
use crate::ArrivedData;

const NOW: f64 = 1_000_000.0;

fn arrival(number: i64) -> Arrival {
    Arrival {
        number: ArrivalNo(number),
        subject: Subject { proposal: Proposal(1234), run: Run(42), data: ArrivedData::Raw },
        is_complete: true,
        is_forced: false,
        only: BTreeSet::new(),
        received: NOW,
    }
}

fn directory(name: &str) -> PathBuf {
    PathBuf::from(format!("/db/{name}"))
}

fn found(digest: &str, last: Option<Generation>) -> Result<Looked, String> {
    let folder =
        FolderLook { files: 2, newest: NOW, digest: digest.to_owned(), changed: NOW, has_marker: false };
    let last = last.map(|generation| last_of(generation, Settled::Done, &["a"]));
    Ok(Looked { directories: [directory("a")].into(), folder: Some(folder), last })
}

/// What the store knows of data.
fn last_of(generation: Generation, state: Settled, directories: &[&str]) -> Last {
    Last { arrival: ArrivalNo(0), at: NOW, state, generation, directories: words(directories) }
}

fn words(directories: &[&str]) -> BTreeMap<String, String> {
    directories.iter().map(|name| (directory(name).display().to_string(), "3 values".to_owned())).collect()
}

fn change(name: &str, digest: &str) -> Change {
    let subject = arrival(1).subject;
    Change { subject, directory: directory(name), digest: digest.to_owned(), again: false }
}

/// What a look finds for two directories.
fn found_for_two(digest: &str, last: Option<Last>) -> Result<Looked, String> {
    let looked = found(digest, None)?;
    Ok(Looked { directories: [directory("a"), directory("b")].into(), last, ..looked })
}

/// What is written at the end of an arrival.
fn end_facts(effects: &[Effect]) -> (Settled, Facts) {
    let ends = effects.iter().filter_map(|effect| match effect {
        Effect::Write { state, facts, .. } if *state != Settled::Open => Some((*state, facts.clone())),
        _ => None,
    });
    let [end] = &ends.collect::<Vec<_>>()[..] else { panic!("{effects:?}") };
    end.clone()
}

fn generation(number: u32, digest: &str) -> Generation {
    Generation { number, digest: digest.to_owned(), changed: Some(NOW) }
}

fn intake() -> Intake {
    Intake::new(SettleRule { quiet_seconds: 10.0, ..SettleRule::default() })
}

fn processed(number: i64, name: &str) -> Input {
    let end = DirectoryEnd::Processed { words: "3 values".to_owned() };
    Input::Ended(ArrivalNo(number), directory(name), end)
}

/// The directories that get a request.
fn given(effects: &[Effect]) -> Vec<(i64, PathBuf, Urgency)> {
    let given = effects.iter().filter_map(|effect| match effect {
        Effect::Dispatch { number, directory, urgency, .. } => Some((number.0, directory.clone(), *urgency)),
        _ => None,
    });
    given.collect()
}

/// The arrivals that end, and how.
fn ended(effects: &[Effect]) -> Vec<(i64, Settled, Option<String>)> {
    let ended = effects.iter().filter_map(|effect| match effect {
        Effect::Write { number, state, facts } if *state != Settled::Open => {
            Some((number.0, *state, facts.why.clone()))
        }
        _ => None,
    });
    ended.collect()
}

#[test]
fn an_event_becomes_a_request_and_ends_with_it() {
    let mut intake = intake();
    let effects = intake.on(NOW, Input::Arrived(arrival(1)));
    assert!(matches!(effects[..], [Effect::Look { number: ArrivalNo(1), .. }]));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    assert_eq!(given(&effects), [(1, directory("a"), Urgency::Live)]);
    assert!(ended(&effects).is_empty(), "it stays open until the run is processed");
    let effects = intake.on(NOW, processed(1, "a"));
    assert_eq!(ended(&effects), [(1, Settled::Done, None)]);
    assert_eq!(intake.depth(), 0);
}

#[test]
fn duplicates_before_during_and_after_the_processing_do_nothing() {
    let mut intake = intake();
    for number in [1, 2] {
        intake.on(NOW, Input::Arrived(arrival(number)));
    }
    intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(2), found("d1", None)));
    assert!(given(&effects).is_empty());
    assert_eq!(ended(&effects).len(), 1);
    intake.on(NOW, processed(1, "a"));
    intake.on(NOW, Input::Arrived(arrival(3)));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(3), found("d1", Some(generation(1, "d1")))));
    let why = Some("these data were processed (generation 1)".to_owned());
    assert_eq!(ended(&effects), [(3, Settled::Done, why)]);
}

#[test]
fn a_run_that_is_migrated_again_or_arrives_in_pieces_is_processed_again() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    intake.on(NOW, Input::Arrived(arrival(2)));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(2), found("d2", None)));
    assert_eq!(given(&effects).len(), 1, "also while the first piece is processed");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Write { facts, .. }
        if facts.generation == Some(generation(2, "d2")))));
}

#[test]
fn a_user_may_want_the_same_data_again() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(Arrival { is_forced: true, ..arrival(1) }));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", Some(generation(4, "d1")))));
    assert_eq!(given(&effects), [(1, directory("a"), Urgency::Asked)]);
}

#[test]
fn a_run_that_is_being_written_is_not_taken_too_early() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(Arrival { is_complete: false, ..arrival(1) }));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    assert!(effects.is_empty());
    assert_eq!(intake.next_wakeup(), Some(NOW + 10.0));
    let effects = intake.on(NOW + 10.0, Input::Tick);
    assert!(matches!(effects[..], [Effect::Look { .. }]));
    let effects = intake.on(NOW + 10.0, Input::Looked(ArrivalNo(1), found("d2", None)));
    assert!(given(&effects).is_empty(), "it has grown");
    intake.on(NOW + 20.0, Input::Tick);
    let effects = intake.on(NOW + 20.0, Input::Looked(ArrivalNo(1), found("d2", None)));
    assert_eq!(given(&effects).len(), 1);
}

#[test]
fn old_data_that_are_found_do_not_overtake_users() {
    let mut intake = intake();
    let late = NOW + 2.0 * LIVE_SECONDS;
    intake.on(late, Input::Arrived(Arrival { is_complete: false, ..arrival(1) }));
    let effects = intake.on(late, Input::Looked(ArrivalNo(1), found("d1", None)));
    assert_eq!(given(&effects), [(1, directory("a"), Urgency::Bulk)]);
}

#[test]
fn an_event_that_comes_before_its_data_is_tried_again_and_given_up_in_the_end() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    let nothing = Looked { directories: [directory("a")].into(), folder: None, last: None };
    let mut now = NOW;
    let mut looks = 0;
    let failed = loop {
        let effects = intake.on(now, Input::Looked(ArrivalNo(1), Ok(nothing.clone())));
        looks += 1;
        if let [(1, Settled::Failed, why)] = &ended(&effects)[..] {
            break why.clone();
        }
        now = intake.next_wakeup().unwrap();
        assert!(matches!(intake.on(now, Input::Tick)[..], [Effect::Look { .. }]));
    };
    assert_eq!(looks, pace::ATTEMPTS);
    assert_eq!(failed.as_deref(), Some("the run has no raw data on disk"));
    assert_eq!(intake.depth(), 0);
}

#[test]
fn data_that_come_long_after_their_event_are_taken_when_their_folder_changes() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    let nothing = Looked { directories: [directory("a")].into(), folder: None, last: None };
    let mut now = NOW;
    for _ in 0..12 {
        intake.on(now, Input::Looked(ArrivalNo(1), Ok(nothing.clone())));
        now = intake.next_wakeup().unwrap();
        intake.on(now, Input::Tick);
    }
    intake.on(now, Input::Looked(ArrivalNo(1), Ok(nothing)));
    assert!(intake.next_wakeup().unwrap() > now + 1000.0, "it is tried less and less often");
    let other = Subject { run: Run(43), ..arrival(1).subject };
    assert!(intake.on(now + 1.0, Input::Changed(other)).is_empty());
    let effects = intake.on(now + 1.0, Input::Changed(arrival(1).subject));
    assert!(matches!(effects[..], [Effect::Look { .. }]));
    assert_eq!(given(&intake.on(now + 1.0, Input::Looked(ArrivalNo(1), found("d1", None)))).len(), 1);
}

#[test]
fn a_broken_context_file_of_one_directory_does_not_stop_another() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    let Ok(looked) = found("d1", None) else { unreachable!() };
    let directories = [directory("a"), directory("b")].into();
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(1), Ok(Looked { directories, ..looked })));
    assert_eq!(given(&effects).len(), 2);
    let refused = DirectoryEnd::Refused { why: "context.py:3: invalid syntax".to_owned() };
    intake.on(NOW, Input::Ended(ArrivalNo(1), directory("a"), refused));
    let effects = intake.on(NOW, processed(1, "b"));
    assert!(ended(&effects).is_empty());
    let due = intake.next_wakeup().unwrap();
    let effects = intake.on(due, Input::Tick);
    assert_eq!(given(&effects), [(1, directory("a"), Urgency::Live)], "only the one that refused");
    assert_eq!(ended(&intake.on(due, processed(1, "a"))), [(1, Settled::Done, None)]);
}

#[test]
fn a_directory_that_was_lost_gets_the_request_again() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    intake.on(NOW, Input::Ended(ArrivalNo(1), directory("a"), DirectoryEnd::Lost));
    let due = intake.next_wakeup().unwrap();
    assert_eq!(given(&intake.on(due, Input::Tick)).len(), 1);
    assert_eq!(intake.next_wakeup(), None, "it is given once");
}

#[test]
fn after_a_restart_only_directories_that_have_not_ended_get_the_request() {
    let mut before = intake();
    before.on(NOW, Input::Arrived(arrival(1)));
    let Ok(looked) = found("d1", None) else { unreachable!() };
    let looked = Looked { directories: [directory("a"), directory("b")].into(), ..looked };
    before.on(NOW, Input::Looked(ArrivalNo(1), Ok(looked.clone())));
    let effects = before.on(NOW, processed(1, "a"));
    let [Effect::Write { facts, state: Settled::Open, .. }] = &effects[..] else { panic!("{effects:?}") };
    let text = serde_json::to_string(facts).unwrap();
    let mut after = intake();
    let facts = serde_json::from_str(&text).unwrap();
    after.on(NOW, Input::Started(vec![OpenArrival { arrival: arrival(1), facts }]));
    let effects = after.on(NOW, Input::Looked(ArrivalNo(1), Ok(looked)));
    assert_eq!(given(&effects), [(1, directory("b"), Urgency::Live)]);
}

#[test]
fn an_event_of_a_proposal_without_a_database_ends_at_once_and_a_user_can_drop_any() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    let nobody = Looked { directories: BTreeSet::new(), folder: None, last: None };
    assert_eq!(ended(&intake.on(NOW, Input::Looked(ArrivalNo(1), Ok(nobody)))).len(), 1);
    intake.on(NOW, Input::Arrived(arrival(2)));
    intake.on(NOW, Input::Looked(ArrivalNo(2), Err("the data root cannot be listed".to_owned())));
    assert!(matches!(ended(&intake.on(NOW, dropped(2)))[..], [(2, Settled::Dropped, Some(_))]));
    assert!(ended(&intake.on(NOW, dropped(2))).is_empty());
}

fn dropped(number: i64) -> Input {
    Input::Dropped(ArrivalNo(number), "dropped by alice".to_owned())
}

#[test]
fn a_failed_one_is_tried_again_from_the_beginning_and_where_it_was_processed_it_is_not() {
    let mut intake = intake();
    let facts = Facts {
        generation: Some(generation(1, "d1")),
        attempts: pace::ATTEMPTS,
        why: Some("/b: broken".to_owned()),
        directories: BTreeMap::from([(directory("a").display().to_string(), "2 values".to_owned())]),
        only: BTreeSet::new(),
    };
    let effects = intake.on(NOW, Input::Retried(OpenArrival { arrival: arrival(1), facts }));
    assert!(
        matches!(&effects[..], [Effect::Write { state: Settled::Open, facts, .. }, Effect::Look { .. }] if facts.attempts == 0)
    );
    let Ok(looked) = found("d1", None) else { unreachable!() };
    let looked = Looked { directories: [directory("a"), directory("b")].into(), ..looked };
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(1), Ok(looked)));
    assert_eq!(given(&effects), [(1, directory("b"), Urgency::Live)]);
}

#[test]
fn one_that_waits_is_tried_at_once_when_a_user_says_so() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    let refused = DirectoryEnd::Refused { why: "context.py:3: invalid syntax".to_owned() };
    intake.on(NOW, Input::Ended(ArrivalNo(1), directory("a"), refused));
    let retried = Input::Retried(OpenArrival { arrival: arrival(1), facts: Facts::default() });
    assert_eq!(given(&intake.on(NOW + 0.1, retried.clone())).len(), 1);
    assert!(given(&intake.on(NOW + 0.2, retried)).is_empty(), "the directory has it");
    intake.on(NOW, Input::Arrived(arrival(2)));
    intake.on(NOW, Input::Looked(ArrivalNo(2), Err("hung".to_owned())));
    let retried = Input::Retried(OpenArrival { arrival: arrival(2), facts: Facts::default() });
    assert!(matches!(intake.on(NOW + 0.1, retried)[..], [Effect::Look { .. }]));
}

#[test]
fn data_that_change_while_they_are_looked_at_are_looked_at_again() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    let subject = arrival(1).subject;
    assert!(intake.knows_of(&change("a", "d2")));
    intake.on(NOW, Input::Changed(subject));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    assert!(matches!(effects[..], [Effect::Look { number: ArrivalNo(1), .. }]), "{effects:?}");
    assert_eq!(given(&intake.on(NOW, Input::Looked(ArrivalNo(1), found("d2", None)))).len(), 1);
}

#[test]
fn data_that_change_while_they_are_processed_need_another_event() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    assert!(intake.knows_of(&change("a", "d1")), "the files are as they were");
    assert!(!intake.knows_of(&change("a", "d2")));
    intake.on(NOW, processed(1, "a"));
    assert!(intake.knows_of(&change("a", "d1")), "the store may not know it yet");
    assert!(!intake.knows_of(&change("a", "d2")));
}

#[test]
fn what_has_just_been_processed_is_known_before_the_store_knows_it() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    intake.on(NOW, processed(1, "a"));
    intake.on(NOW, Input::Arrived(arrival(2)));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(2), found("d1", None)));
    assert!(given(&effects).is_empty() && ended(&effects).len() == 1, "{effects:?}");
}

#[test]
fn other_data_of_the_same_arrival_are_another_request() {
    let mut before = intake();
    before.on(NOW, Input::Arrived(arrival(1)));
    let effects = before.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    let [Effect::Write { facts, .. }, Effect::Dispatch { generation: first, .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    let request = |digest: &str| {
        let mut after = intake();
        let open = OpenArrival { arrival: arrival(1), facts: facts.clone() };
        after.on(NOW, Input::Started(vec![open]));
        let effects = after.on(NOW, Input::Looked(ArrivalNo(1), found(digest, None)));
        let given = effects.iter().find_map(|effect| match effect {
            Effect::Dispatch { generation, .. } => Some(*generation),
            _ => None,
        });
        given.unwrap()
    };
    assert_eq!(request("d1"), *first);
    assert_ne!(request("d2"), *first);
}

#[test]
fn an_arrival_that_ends_with_another_does_not_count_as_processed() {
    let mut intake = intake();
    let half = Facts {
        generation: Some(generation(1, "d1")),
        directories: BTreeMap::from([(directory("a").display().to_string(), "2 values".to_owned())]),
        ..Facts::default()
    };
    let open = |number, facts| OpenArrival { arrival: arrival(number), facts };
    intake.on(NOW, Input::Started(vec![open(1, Facts::default()), open(2, half)]));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(2), found("d1", None)));
    let [Effect::Write { facts, state: Settled::Done, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(facts.generation, None, "another directory may not have them");
}

#[test]
fn a_folder_that_changes_without_its_data_is_known_afterwards() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    let Ok(looked) = found("d1", Some(Generation { changed: Some(NOW - 5.0), ..generation(3, "d1") })) else {
        unreachable!()
    };
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(1), Ok(looked)));
    let [Effect::Write { facts, state: Settled::Done, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(facts.generation, Some(generation(3, "d1")));
    assert!(facts.why.is_some() && intake.knows_of(&change("a", "d1")));
}

#[test]
fn a_directory_that_is_added_gets_the_data_and_the_others_compute_nothing_again() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    assert!(!intake.knows_of(&change("b", "d1")), "also while the first one has it");
    intake.on(NOW, processed(1, "a"));
    assert!(intake.knows_of(&change("a", "d1")) && !intake.knows_of(&change("b", "d1")));
    intake.on(NOW, Input::Arrived(Arrival { is_complete: false, ..arrival(2) }));
    intake.on(NOW + 99.0, Input::Tick);
    let effects = intake.on(NOW + 99.0, Input::Looked(ArrivalNo(2), found_for_two("d1", None)));
    assert_eq!(given(&effects), [(2, directory("b"), Urgency::Live)]);
    let (state, facts) = end_facts(&intake.on(NOW + 99.0, processed(2, "b")));
    assert_eq!((state, facts.generation), (Settled::Done, Some(generation(1, "d1"))));
    assert_eq!(facts.directories, words(&["a", "b"]), "one record has all");
}

#[test]
fn a_directory_that_is_added_while_another_processes_the_data_joins_in() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    intake.on(NOW, Input::Arrived(arrival(2)));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(2), found_for_two("d1", None)));
    assert_eq!(given(&effects), [(1, directory("b"), Urgency::Live)]);
    assert_eq!(ended(&effects).len(), 1);
    assert!(intake.knows_of(&change("b", "d1")));
    assert!(ended(&intake.on(NOW, processed(1, "a"))).is_empty());
    let (_, facts) = end_facts(&intake.on(NOW, processed(1, "b")));
    assert_eq!(facts.directories, words(&["a", "b"]));
}

#[test]
fn a_table_that_was_made_anew_gets_the_data_again_and_the_other_one_does_not() {
    let mut intake = intake();
    let again = Change { again: true, ..change("a", "d1") };
    let only = Arrival { only: [directory("a").display().to_string()].into(), ..arrival(2) };
    let last = Some(last_of(generation(1, "d1"), Settled::Done, &["a", "b"]));
    intake.on(NOW, Input::Arrived(arrival(1)));
    assert!(!intake.knows_of(&again), "it may end without doing anything");
    intake.on(NOW, Input::Looked(ArrivalNo(1), found_for_two("d1", last.clone())));
    assert!(!intake.knows_of(&again));
    intake.on(NOW, Input::Arrived(only));
    assert!(intake.knows_of(&again));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(2), found_for_two("d1", last)));
    assert_eq!(given(&effects), [(2, directory("a"), Urgency::Live)]);
    assert!(intake.knows_of(&again));
    let (_, facts) = end_facts(&intake.on(NOW, processed(2, "a")));
    assert_eq!(facts.directories, words(&["a", "b"]));
}

#[test]
fn data_that_change_before_one_directory_gets_them_again_go_to_all() {
    let mut intake = intake();
    let only = Arrival { only: [directory("a").display().to_string()].into(), ..arrival(1) };
    let last = Some(last_of(generation(1, "d1"), Settled::Done, &["a", "b"]));
    intake.on(NOW, Input::Arrived(only));
    assert_eq!(given(&intake.on(NOW, Input::Looked(ArrivalNo(1), found_for_two("d2", last)))).len(), 2);
}

#[test]
fn a_table_that_is_made_anew_while_another_directory_still_has_the_data_gets_them_again() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found_for_two("d1", None)));
    intake.on(NOW, processed(1, "a"));
    assert!(!intake.knows_of(&Change { again: true, ..change("a", "d1") }));
    let only = Arrival { only: [directory("a").display().to_string()].into(), ..arrival(2) };
    intake.on(NOW, Input::Arrived(only));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(2), found_for_two("d1", None)));
    assert_eq!(given(&effects), [(1, directory("a"), Urgency::Live)]);
    assert!(ended(&intake.on(NOW, processed(1, "b"))).is_empty());
    assert_eq!(ended(&intake.on(NOW, processed(1, "a"))), [(1, Settled::Done, None)]);
}

#[test]
fn to_wait_for_the_list_of_databases_is_no_attempt_and_keeps_the_reason() {
    let mut intake = intake();
    let facts = Facts { attempts: 7, why: Some("/db/a: broken".to_owned()), ..Facts::default() };
    intake.on(NOW, Input::Started(vec![OpenArrival { arrival: arrival(1), facts }]));
    let mut now = NOW;
    for _ in 0..100 {
        assert!(intake.on(now, Input::Unready(ArrivalNo(1), None)).is_empty(), "nothing is written");
        now = intake.next_wakeup().unwrap();
        assert!(matches!(intake.on(now, Input::Tick)[..], [Effect::Look { .. }]));
    }
    let effects = intake.on(now, Input::Looked(ArrivalNo(1), Err("hung".to_owned())));
    let [Effect::Write { facts, state: Settled::Open, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(facts.attempts, 8);
}

#[test]
fn dropped_data_stay_dropped_until_they_change_or_a_user_wants_them() {
    let mut intake = intake();
    let incomplete = |number| Arrival { is_complete: false, ..arrival(number) };
    intake.on(NOW, Input::Arrived(incomplete(1)));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", None)));
    let (state, facts) = end_facts(&intake.on(NOW, dropped(1)));
    assert_eq!((state, facts.generation), (Settled::Dropped, Some(generation(1, "d1"))));
    assert!(intake.knows_of(&change("a", "d1")) && !intake.knows_of(&change("a", "d2")));
    // After a restart, the store knows it.
    for mut intake in [intake, self::intake()] {
        let last = Some(last_of(generation(1, "d1"), Settled::Dropped, &[]));
        intake.on(NOW, Input::Arrived(arrival(2)));
        let effects = intake.on(NOW, Input::Looked(ArrivalNo(2), found_for_two("d1", last.clone())));
        let (state, facts) = end_facts(&effects);
        assert!(given(&effects).is_empty() && state == Settled::Done && facts.generation.is_none());
        assert!(facts.why.unwrap().contains("were dropped"));
        intake.on(NOW, Input::Arrived(Arrival { is_forced: true, ..arrival(3) }));
        let effects = intake.on(NOW, Input::Looked(ArrivalNo(3), found_for_two("d1", last.clone())));
        assert_eq!(given(&effects).len(), 2);
        intake.on(NOW, Input::Arrived(arrival(4)));
        let effects = intake.on(NOW, Input::Looked(ArrivalNo(4), found_for_two("d2", last)));
        assert_eq!(given(&effects).len(), 2);
    }
}

#[test]
fn what_was_dropped_says_how_to_process_it() {
    for (data, command) in
        [(ArrivedData::Raw, "amore trigger 42"), (ArrivedData::Proc, "amore trigger 42 --proc")]
    {
        let mut intake = intake();
        let subject = Subject { data, ..arrival(2).subject };
        intake.on(NOW, Input::Arrived(Arrival { subject, ..arrival(2) }));
        let last = Some(last_of(generation(1, "d1"), Settled::Dropped, &[]));
        let effects = intake.on(NOW, Input::Looked(ArrivalNo(2), found_for_two("d1", last)));
        let words =
            "these data were dropped (event 0); to process them: in the database directory, ".to_owned();
        assert_eq!(end_facts(&effects).1.why, Some(words + command));
    }
}

/// What is noted of open arrivals.
fn noted(effects: &[Effect]) -> Vec<(i64, Option<String>)> {
    let noted = effects.iter().filter_map(|effect| match effect {
        Effect::Write { number, state: Settled::Open, facts } => Some((number.0, facts.why.clone())),
        _ => None,
    });
    noted.collect()
}

#[test]
fn an_event_says_what_hinders_its_directory_until_that_goes_on() {
    let mut intake = intake();
    let hindered = |why: &str| Input::Hindered(directory("a"), why.to_owned());
    let why = |words: &str| Some(format!("/db/a: {words}"));
    intake.on(NOW, Input::Arrived(arrival(1)));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found_for_two("d1", None)));
    let lost = Input::Ended(ArrivalNo(1), directory("a"), DirectoryEnd::Lost);
    assert!(noted(&intake.on(NOW, lost.clone())).is_empty());
    assert_eq!(noted(&intake.on(NOW, hindered("no space left"))), [(1, why("no space left"))]);
    assert!(intake.on(NOW, hindered("no space left")).is_empty(), "it is known");
    // It waits for the other directory as well, and a later event for both.
    assert_eq!(noted(&intake.on(NOW, processed(1, "b"))), [(1, why("no space left"))]);
    let subject = Subject { run: Run(43), ..arrival(2).subject };
    intake.on(NOW, Input::Arrived(Arrival { subject, ..arrival(2) }));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(2), found_for_two("d2", None)));
    assert_eq!(noted(&effects), [(2, why("no space left"))]);
    // What was lost may be lost again; what has only waited goes on.
    let effects = intake.on(NOW, Input::Resumed(directory("a")));
    assert_eq!(noted(&effects), [(1, why("tried again, after: no space left")), (2, None)]);
    assert_eq!(
        noted(&intake.on(NOW, hindered("other words"))),
        [(1, why("other words")), (2, why("other words"))]
    );
    assert_eq!(ended(&intake.on(NOW, processed(1, "a"))), [(1, Settled::Done, None)]);
    intake.on(NOW, processed(2, "a"));
    assert_eq!(ended(&intake.on(NOW, processed(2, "b"))), [(2, Settled::Done, None)]);
    assert!(intake.on(NOW, Input::Resumed(directory("a"))).is_empty());
}

#[test]
fn an_event_of_an_unknown_directory_says_what_hinders_that() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    intake.on(NOW, Input::Hindered(directory("a"), "no space left".to_owned()));
    let unready = || Input::Unready(ArrivalNo(1), Some(directory("a")));
    let why = Some("/db/a: no space left".to_owned());
    assert_eq!(noted(&intake.on(NOW, unready())), [(1, why)]);
    intake.on(NOW + UNREADY_PAUSE, Input::Tick);
    assert!(noted(&intake.on(NOW + UNREADY_PAUSE, unready())).is_empty(), "it is noted once");
    intake.on(NOW + 2.0 * UNREADY_PAUSE, Input::Resumed(directory("a")));
    let effects = intake.on(NOW + 2.0 * UNREADY_PAUSE, Input::Looked(ArrivalNo(1), found("d1", None)));
    assert_eq!(noted(&effects), [(1, None)]);
}

#[test]
fn to_drop_an_event_about_data_that_were_processed_does_not_forget_that() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(Arrival { is_forced: true, ..arrival(1) }));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found("d1", Some(generation(3, "d1")))));
    let (state, facts) = end_facts(&intake.on(NOW, dropped(1)));
    assert_eq!((state, facts.generation), (Settled::Dropped, None));
}

#[test]
fn what_a_user_cancels_stays_so_until_the_data_change() {
    let mut intake = intake();
    intake.on(NOW, Input::Arrived(arrival(1)));
    intake.on(NOW, Input::Looked(ArrivalNo(1), found_for_two("d1", None)));
    let end = DirectoryEnd::Cancelled { words: "cancelled by amore cancel".to_owned() };
    assert!(ended(&intake.on(NOW, Input::Ended(ArrivalNo(1), directory("a"), end))).is_empty());
    let (state, facts) = end_facts(&intake.on(NOW, processed(1, "b")));
    assert_eq!((state, facts.why.as_deref()), (Settled::Done, Some("/db/a: cancelled by amore cancel")));
    assert_eq!((intake.depth(), intake.next_wakeup()), (0, None));
    assert!(intake.knows_of(&change("a", "d1")) && !intake.knows_of(&change("a", "d2")));
    intake.on(NOW, Input::Arrived(arrival(2)));
    assert!(given(&intake.on(NOW, Input::Looked(ArrivalNo(2), found_for_two("d1", None)))).is_empty());
    intake.on(NOW, Input::Arrived(arrival(3)));
    assert_eq!(given(&intake.on(NOW, Input::Looked(ArrivalNo(3), found_for_two("d2", None)))).len(), 2);
}

#[test]
fn what_has_failed_in_one_directory_is_not_computed_again_in_the_other() {
    let mut intake = intake();
    let last = Some(last_of(generation(1, "d1"), Settled::Failed, &["a"]));
    intake.on(NOW, Input::Arrived(arrival(1)));
    let effects = intake.on(NOW, Input::Looked(ArrivalNo(1), found_for_two("d1", last)));
    assert_eq!(given(&effects), [(1, directory("b"), Urgency::Live)]);
}

mod any_order {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Arrive,
        Look(usize, usize, bool),
        End(usize, u8),
        Wait,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Arrive),
            4 => (0usize..4, 0usize..3, any::<bool>()).prop_map(|(at, digest, ok)| Step::Look(at, digest, ok)),
            4 => (0usize..4, 0u8..4).prop_map(|(at, how)| Step::End(at, how)),
            2 => Just(Step::Wait),
        ]
    }

    proptest! {
        /// Whatever happens: no arrival is forgotten, none ends twice, and nothing is given to a directory twice at once.
        #[test]
        fn no_arrival_is_lost(steps in prop::collection::vec(step(), 0..80)) {
            let mut intake = intake();
            let mut now = NOW;
            let mut next = 0;
            let mut looking: Vec<i64> = Vec::new();
            let mut with_directory: Vec<i64> = Vec::new();
            let mut finished: BTreeSet<i64> = BTreeSet::new();
            let mut last: Option<Generation> = None;
            for step in steps {
                now += 1.0;
                let input = match step {
                    Step::Arrive => {
                        next += 1;
                        Input::Arrived(arrival(next))
                    }
                    Step::Look(at, digest, ok) if at < looking.len() => {
                        let number = ArrivalNo(looking.remove(at));
                        let seen = found(["d1", "d2", "d3"][digest], last.clone());
                        Input::Looked(number, if ok { seen } else { Err("hung".to_owned()) })
                    }
                    Step::End(at, how) if at < with_directory.len() => {
                        let number = with_directory.remove(at);
                        let end = match how {
                            0 => DirectoryEnd::Lost,
                            1 => DirectoryEnd::Refused { why: "broken".to_owned() },
                            _ => DirectoryEnd::Processed { words: String::new() },
                        };
                        Input::Ended(ArrivalNo(number), directory("a"), end)
                    }
                    Step::Wait => {
                        now = intake.next_wakeup().unwrap_or(now).max(now);
                        Input::Tick
                    }
                    _ => continue,
                };
                for effect in intake.on(now, input) {
                    match effect {
                        Effect::Look { number, .. } => looking.push(number.0),
                        Effect::Dispatch { number, .. } => {
                            prop_assert!(!with_directory.contains(&number.0));
                            with_directory.push(number.0);
                        }
                        Effect::Write { state: Settled::Open, .. } => {}
                        Effect::Write { number, facts, .. } => {
                            prop_assert!(finished.insert(number.0));
                            if facts.why.is_none() {
                                last = facts.generation;
                            }
                        }
                    }
                }
                prop_assert_eq!(finished.len() + intake.depth(), next as usize);
                let idle = intake.depth() - looking.len() - with_directory.len();
                prop_assert!(idle == 0 || intake.next_wakeup().is_some());
            }
        }
    }
}
