//! Rows that the first version wrote to the ledger stay readable forever, and the rows of this version are pinned.

use std::{collections::BTreeMap, path::PathBuf};

use amore_core::{
    after_job::Tries,
    journal::{AttemptAsked, RequestDetail, TaskFacts, TaskSpec},
    request::{Compute, Request, Runs},
    task::{Common, RetryState},
};
use amore_model::{
    Argument, DatabaseDir, JobId, JobOutcome, JobSpec, JobState, MymdcField, PlanStamp, Resources, Run,
    RunData, Urgency,
};
use amore_plan::{Place, PlannedJob, PlannedStep, PlannedTask, SharedHere, TaskReason};
use amore_wire::{
    ended::Ended,
    task::{ContextSource, Limits},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Checks that the recorded row can be read, and that this version writes the same.
fn pin<T: Serialize + DeserializeOwned>(name: &str, row: &T, recorded: &str) {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_json_snapshot!(name, row);
    });
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let read: T = serde_json::from_value(recorded.clone()).unwrap();
    // Nothing is lost. Fields that were added since then may appear.
    assert!(holds(&serde_json::to_value(&read).unwrap(), &recorded), "{recorded}");
    // An owner of the first version that takes over this row finds everything that it expects.
    assert!(holds(&serde_json::to_value(row).unwrap(), &recorded), "{recorded}");
}

/// Whether `all` contains everything in `part`.
fn holds(all: &Value, part: &Value) -> bool {
    match (all, part) {
        (Value::Object(all), Value::Object(part)) => {
            part.iter().all(|(field, value)| all.get(field).is_some_and(|found| holds(found, value)))
        }
        (Value::Array(all), Value::Array(part)) => {
            all.len() == part.len() && all.iter().zip(part).all(|(found, value)| holds(found, value))
        }
        (all, part) => all == part,
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn resources() -> Resources {
    Resources {
        cpus: Some(4),
        mem_mib: Some(8000),
        gpus: Some(1),
        time_minutes: Some(120),
        nodes: Some(2),
        ntasks: Some(8),
        constraint: Some(text("A100")),
        partition: Some(text("upex")),
        reservation: Some(text("shift7")),
        account: Some(text("p1234")),
        qos: Some(text("fast")),
    }
}

fn step() -> PlannedStep {
    PlannedStep {
        name: text("energy"),
        needs: texts(&["xgm", "roi.mean"]),
        transient: true,
        fingerprint: text("f1"),
        again: true,
        changes: texts(&["TABLE"]),
        reads: texts(&["CACHE"]),
        adds: texts(&["out.txt"]),
        mymdc: [MymdcField::RunType].into(),
    }
}

fn spec() -> TaskSpec {
    TaskSpec {
        planned: PlannedTask {
            place: Place::Cluster,
            resources: resources(),
            reason: TaskReason::Joined { transient: texts(&["energy"]) },
            steps: vec![step(), PlannedStep { name: text("µ"), ..PlannedStep::default() }],
            job: None,
            waits_for: vec![0, 2],
            given: texts(&["xgm"]),
            shares: vec![SharedHere { state: text("TABLE"), variables: texts(&["energy", "µ"]) }],
        },
        data: RunData::All,
        forget: texts(&["old"]),
        stamp: PlanStamp { epoch: 1_800_000_000, micros: 1_800_000_000_123_456 },
    }
}

#[test]
fn what_a_task_is() {
    pin("task_spec", &spec(), include_str!("../../tests/recorded/ledger/task_spec.json"));
}

#[test]
fn what_a_command_is() {
    let job = PlannedJob {
        variable: text("fit"),
        spec: JobSpec {
            command: texts(&["fit", "{run}"]),
            resources: resources(),
            check: false,
            defaults: [(text("a"), text("1"))].into(),
        },
        arguments: vec![Argument { name: text("a"), annotation: text("var#energy"), has_default: true }],
    };
    let spec = TaskSpec {
        planned: PlannedTask {
            job: Some(job),
            ..PlannedTask::new(Place::Local, Resources::default(), TaskReason::Command)
        },
        data: RunData::Raw,
        forget: Vec::new(),
        ..spec()
    };
    pin(
        "task_spec_of_a_command",
        &spec,
        include_str!("../../tests/recorded/ledger/task_spec_of_a_command.json"),
    );
}

#[test]
fn what_is_known_of_a_task() {
    let outcome = JobOutcome {
        id: Some(text("4711")),
        cluster: Some(text("maxwell")),
        state: JobState::Failed,
        reason: text("NonZeroExitCode"),
        exit_code: Some(3),
        signal: Some(9),
        directory: PathBuf::from("/gpfs/scratch/r42"),
        log: Some(PathBuf::from("/gpfs/scratch/r42.log")),
        elapsed: 12.5,
        tail: text("no such file\n"),
    };
    let error = Ended::Error { class: text("MemoryError"), message: text("out of memory") };
    let facts = TaskFacts {
        retry: RetryState {
            submissions: 3,
            tries: Tries { faults: 1, misfortunes: 2, limits_without_progress: 1, raised_memory: 1 },
            results_before: 5,
            running: Some(text("energy")),
            mem_mib: Some(16_000),
            out_of_memory: Some(text("energy")),
            mem_before: Some(8000),
            reservation_alone: true,
            leave_reservation: true,
            log_mark: Some(text("x1")),
            avoid: texts(&["max-exfl001"]),
            give_up: [(text("a"), Ended::Nothing), (text("energy"), error)].into(),
            outcomes: [(text("fit"), outcome)].into(),
            began: Some(1_800_000_000.5),
            hopeless: true,
            here: true,
            cancelled: true,
        },
        attempt: 2,
        token: Some(text("18c2-a3-1")),
        job: Some(JobId::on(Some("maxwell"), 4711)),
    };
    pin("task_facts", &facts, include_str!("../../tests/recorded/ledger/task_facts.json"));
}

#[test]
fn what_was_known_of_a_task_at_first() {
    // A row from before commands, raised memory and other later fields existed.
    let facts: TaskFacts =
        serde_json::from_str(r#"{"journey":{"submissions":1},"attempt":1,"token":null,"job":null}"#).unwrap();
    assert_eq!(facts.retry, RetryState { submissions: 1, ..RetryState::default() });
}

#[test]
fn what_was_asked() {
    let detail = RequestDetail {
        asked: Request::Compute(Compute {
            runs: Runs::These([Run(1), Run(42)].into()),
            proposal: Some(amore_model::Proposal(1234)),
            matches: texts(&["Energy"]),
            names: texts(&["energy"]),
            mock: true,
            trigger: None,
        }),
        urgency: Urgency::Bulk,
        common: Common {
            dir: DatabaseDir::at(PathBuf::from("/gpfs/usr/Shared/amore")),
            context: ContextSource {
                path: PathBuf::from("/gpfs/usr/Shared/amore/context.py"),
                folders: vec![PathBuf::from("/gpfs/usr/Shared/amore")],
                directory: Some(PathBuf::from("/gpfs/usr/Shared/amore")),
                text: text("from damnit_ctx import Variable\n"),
                sha256: text("5891b5b5"),
            },
            python: PathBuf::from("/opt/python/bin/python3"),
            mock: true,
            limits: Limits { variable_seconds: Some(60.0), memory_bytes: Some(1 << 30) },
        },
    };
    pin("request_detail", &detail, include_str!("../../tests/recorded/ledger/request_detail.json"));
}

#[test]
fn what_an_attempt_asked_slurm_for() {
    let asked = AttemptAsked {
        time_minutes: 120,
        cpus: Some(4),
        mem_mib: Some(8000),
        gpus: Some(1),
        nodes: Some(2),
        constraint: Some(text("A100")),
        ntasks: Some(8),
        account: Some(text("p1234")),
        qos: Some(text("fast")),
        clusters: Some(text("maxwell,lab")),
    };
    pin("attempt_asked", &asked, include_str!("../../tests/recorded/ledger/attempt_asked.json"));
    let nothing: AttemptAsked = serde_json::from_value(Value::Object(serde_json::Map::new())).unwrap();
    assert_eq!(nothing.clusters, None);
}

#[test]
fn a_row_that_lost_a_field_is_noticed() {
    let all: BTreeMap<&str, u32> = [("a", 1), ("b", 2)].into();
    let all = serde_json::to_value(all).unwrap();
    let part = serde_json::json!({"a": 1});
    assert!(holds(&all, &part) && !holds(&part, &all) && !holds(&all, &serde_json::json!({"a": 2})));
}
