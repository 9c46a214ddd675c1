//! One message of each kind with all of its fields, and a minimal one if that has a different form.

use std::{collections::BTreeMap, path::PathBuf};

use amore_model::{
    JobOutcome, JobState, MymdcField, PlanStamp, Problem, ProblemKind, Proposal, Run, RunData, Sandbox,
    VariableSpec,
};
use amore_wire::{
    ended::Ended,
    host::{
        Array, Attr, ChildTask, Content, Dim, FromChild, FromHost, Layout, NetcdfVariable, StoredObject,
        ToChild, ToHost, ValueMessage,
    },
    manifest::JobManifest,
    mymdc::{MymdcValue, MymdcValues},
    task::{
        AttemptId, ContextSource, CutShort, FromWorker, Limits, Outcome, Step, Task, ToWorker, UserCommand,
    },
};
use serde_json::json;

fn text(text: &str) -> String {
    text.to_owned()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn context() -> ContextSource {
    ContextSource {
        path: PathBuf::from("/gpfs/usr/Shared/amore/context.py"),
        folders: vec![PathBuf::from("/gpfs/usr/Shared/amore"), PathBuf::from("/gpfs/usr/Software")],
        directory: Some(PathBuf::from("/gpfs/usr/Shared/amore")),
        text: text("from damnit_ctx import Variable\n"),
        sha256: text("5891b5b5"),
    }
}

fn plain_context() -> ContextSource {
    ContextSource { folders: Vec::new(), directory: None, ..context() }
}

fn steps() -> Vec<Step> {
    vec![
        Step {
            name: text("energy"),
            needs: texts(&["xgm", "roi.mean"]),
            transient: true,
            fingerprint: text("f1"),
            again: true,
            changes: texts(&["TABLE"]),
            reads: texts(&["CACHE"]),
            adds: texts(&["out.txt"]),
        },
        Step { name: text("µ"), ..Step::default() },
    ]
}

fn mymdc() -> MymdcValues {
    let error = MymdcValue::Error { class: text("MymdcUnavailableError"), message: text("no answer") };
    [(MymdcField::SampleName, MymdcValue::Value { json: text("\"Lysozyme\"") }), (MymdcField::RunType, error)]
        .into()
}

fn job_outcome() -> JobOutcome {
    JobOutcome {
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
    }
}

fn job_outcome_without_slurm() -> JobOutcome {
    JobOutcome {
        id: None,
        cluster: None,
        reason: String::new(),
        exit_code: None,
        signal: None,
        log: None,
        tail: String::new(),
        ..job_outcome()
    }
}

fn without_value() -> BTreeMap<String, Ended> {
    let error = Ended::Error { class: text("KeyError"), message: text("'beam'") };
    [(text("a"), Ended::Nothing), (text("b"), error)].into()
}

pub fn full_task() -> Task {
    Task {
        id: text("1234-42-0"),
        attempt: 2,
        token: Some(text("6b49d200-6651c8e2b3a40-a3-7").into()),
        stamp: PlanStamp { epoch: 1_800_000_000, micros: 1_800_000_000_123_456 },
        proposal: Proposal(1234),
        run: Run(42),
        directory: PathBuf::from("/gpfs/usr/Shared/amore"),
        data: RunData::All,
        mock: true,
        context: context(),
        python: PathBuf::from("/opt/python/bin/python3"),
        steps: steps(),
        given: [(text("xgm"), PathBuf::from("/gpfs/usr/Shared/amore/extracted_data/p1234_r42.h5"))].into(),
        ended: without_value(),
        give_up: without_value(),
        last_attempt: true,
        parameters: [(text("threshold"), json!({ "low": 0.5 }))].into(),
        mymdc: mymdc(),
        log: PathBuf::from("/gpfs/usr/Shared/amore/process_logs/r42-p1234.out"),
        limits: Limits { variable_seconds: Some(60.0), memory_bytes: Some(1 << 30) },
        outcomes: [(text("fit"), job_outcome()), (text("fit2"), job_outcome_without_slurm())].into(),
        command: Some(UserCommand {
            variable: text("fit"),
            words: texts(&["fit", "--run", "42"]),
            environment: [(text("OMP_NUM_THREADS"), text("1"))].into(),
            working_directory: PathBuf::from("/gpfs/usr/Shared/amore"),
            own_directory: PathBuf::from("/gpfs/usr/Shared/amore/jobs/r42/fit"),
        }),
        forget: texts(&["old"]),
        urgency: amore_model::Urgency::Live,
        sandbox: None,
    }
}

/// Messages of the version with a sandbox.
pub fn sandboxed() -> Vec<ToWorker> {
    let sandbox = Sandbox::parse("bwrap --bind '/a b'").ok();
    vec![
        ToWorker::Hello { version: 2 },
        ToWorker::Describe {
            id: text("describe-0"),
            context: plain_context(),
            python: PathBuf::from("/opt/python/bin/python3"),
            proposal: Some(Proposal(1234)),
            sandbox: sandbox.clone(),
        },
        ToWorker::Run(Box::new(Task { steps: Vec::new(), command: None, sandbox, ..plain_task() })),
    ]
}

fn plain_task() -> Task {
    Task {
        token: None,
        mock: false,
        context: plain_context(),
        data: RunData::Raw,
        given: BTreeMap::new(),
        ended: BTreeMap::new(),
        give_up: BTreeMap::new(),
        last_attempt: false,
        parameters: BTreeMap::new(),
        mymdc: BTreeMap::new(),
        limits: Limits::default(),
        outcomes: BTreeMap::new(),
        command: None,

        forget: Vec::new(),
        urgency: amore_model::Urgency::Asked,
        ..full_task()
    }
}

pub fn to_worker() -> Vec<ToWorker> {
    vec![
        ToWorker::Hello { version: 1 },
        ToWorker::Describe {
            id: text("describe-0"),
            context: context(),
            python: PathBuf::from("/opt/python/bin/python3"),
            proposal: None,
            sandbox: None,
        },
        ToWorker::Run(Box::new(full_task())),
        ToWorker::Run(Box::new(plain_task())),
        ToWorker::Cancel { id: text("1234-42-0") },
        ToWorker::Drain,
    ]
}

fn variable() -> VariableSpec {
    let spec = json!({
        "name": "fit", "title": "Fit/energy", "description": "A fit", "summary": "mean", "data": "proc",
        "cluster": true, "resources": {"cpus": 4, "mem_mib": 1000, "time_minutes": 60},
        "job": {"command": ["fit", "{run}"], "resources": {}, "check": false, "defaults": {"a": "1"}},
        "tags": ["fast"], "transient": true, "units": "mJ",
        "arguments": [{"name": "a", "annotation": "var#energy", "has_default": true}],
        "line": 12, "file": "/gpfs/other.py", "fingerprint": "f1",
        "state": [{"name": "TABLE", "changes": true, "reads": true, "together": true, "adds": true, "line": 3,
                   "file": "/gpfs/other.py"}],
    });
    serde_json::from_value(spec).unwrap()
}

fn problems() -> Vec<Problem> {
    let all = Problem {
        file: Some(text("/gpfs/other.py")),
        line: Some(3),
        column: Some(7),
        hint: Some(text("mend it")),
        traceback: Some(text("Traceback")),
        variables: texts(&["fit"]),
        ..Problem::error(ProblemKind::Import, "NameError: x")
    };
    vec![all, Problem::error(ProblemKind::Syntax, "invalid syntax")]
}

pub fn from_worker() -> Vec<FromWorker> {
    let of = || full_task().attempt_id();
    let without_attempts = AttemptId::without_attempts(&of().task);
    let ended = |name: &str, outcome| FromWorker::VariableEnded {
        of: of(),
        name: text(name),
        outcome,
        seconds: 0.25,
    };
    let task_ended = |problem: Option<&str>, cut_short| FromWorker::TaskEnded {
        of: of(),
        problem: problem.map(text),
        cut_short,
    };
    vec![
        FromWorker::Hello { version: 1, processes: 4 },
        FromWorker::Described { id: text("describe-0"), variables: vec![variable()], problems: problems() },
        FromWorker::HostFailed { of: of(), message: text("no Python"), hint: Some(text("install it")) },
        FromWorker::HostFailed { of: without_attempts, message: text("no Python"), hint: None },
        FromWorker::Notice { of: of(), message: text("run 42: a file was left out") },
        FromWorker::Placed {
            host: text("max-exfl001"),
            job: Some(text("4711")),
            restarts: 1,
            cluster: Some(text("maxwell")),
        },
        FromWorker::Placed { host: text("max-exfl001"), job: None, restarts: 0, cluster: None },
        FromWorker::Alive,
        FromWorker::Started { of: of() },
        FromWorker::VariableStarted { of: of(), name: text("energy") },
        ended("a", Outcome::Value),
        ended("b", Outcome::Nothing),
        ended("c", Outcome::Error { class: text("KeyError"), message: text("'beam'") }),
        ended("d", Outcome::Skipped { message: text("no beam") }),
        FromWorker::CommandEnded { of: of(), outcome: Box::new(job_outcome()) },
        FromWorker::Fragment {
            of: of(),
            proposal: Proposal(1234),
            run: Run(42),
            path: PathBuf::from("/gpfs/usr/Shared/amore/extracted_data/p1234_r42.0a1b2c3d.ready.h5"),
        },
        task_ended(None, None),
        task_ended(Some("the run cannot be opened"), None),
        task_ended(Some("out of memory"), Some(CutShort::OutOfMemory { variable: text("energy") })),
        task_ended(Some("cancelled"), Some(CutShort::ToldToEnd)),
        task_ended(Some("disk full"), Some(CutShort::NoSpace)),
    ]
}

pub fn manifests() -> Vec<JobManifest> {
    vec![
        JobManifest {
            version: 1,
            token: text("18c2-a3-1"),
            tasks: vec![full_task()],
            processes: 4,
            environment: [(text("PYTHONPATH"), text("/gpfs/usr/Software"))].into(),
        },
        JobManifest {
            version: 1,
            token: text("18c2-a3-2"),
            tasks: vec![plain_task()],
            processes: 1,
            environment: BTreeMap::new(),
        },
    ]
}

pub fn to_host() -> Vec<ToHost> {
    vec![ToHost::Fork { id: text("1234-42-0.1.1") }, ToHost::Preload { modules: texts(&["scipy.optimize"]) }]
}

/// Messages that a host of the first version ignores.
pub fn later_to_host() -> Vec<ToHost> {
    vec![ToHost::Signal { id: text("1234-42-0.1.1"), signal: 9 }]
}

pub fn from_host() -> Vec<FromHost> {
    let exited = |code, signal| FromHost::Exited {
        id: text("1234-42-0.1.1"),
        pid: 17,
        code,
        signal,
        max_rss_kib: 123_456,
        cpu_seconds: 1.5,
    };
    vec![
        FromHost::Ready { version: 1, python: text("3.11.9"), environment: text("e5") },
        FromHost::Unusable { message: text("numpy is missing"), hint: Some(text("install it")) },
        FromHost::Unusable { message: text("numpy is missing"), hint: None },
        FromHost::Forked { id: text("1234-42-0.1.1"), pid: 17 },
        exited(Some(0), None),
        exited(None, Some(9)),
    ]
}

fn child_task() -> ChildTask {
    ChildTask {
        proposal: 1234,
        run: 42,
        data: text("all"),
        mock: false,
        directory: text("/gpfs/usr/Shared/amore"),
        context: context(),
        steps: steps(),
        given: [(text("xgm"), text("/gpfs/usr/Shared/amore/extracted_data/p1234_r42.h5"))].into(),
        ended: without_value(),
        outcomes: [(text("fit"), job_outcome())].into(),
        parameters: [(text("threshold"), json!(0.5))].into(),
        mymdc: mymdc(),
        memory_bytes: Some(1 << 30),
        slots: 4,
        slot_bytes: 1 << 20,
    }
}

pub fn to_child() -> Vec<ToChild> {
    vec![
        ToChild::Describe { context: plain_context() },
        ToChild::Run(Box::new(child_task())),
        ToChild::Taken,
        ToChild::Free { slot: 3 },
    ]
}

fn array(content: Content) -> Array {
    Array { dtype: text("<f8"), shape: vec![2, 3], content }
}

fn value() -> ValueMessage {
    let variable = NetcdfVariable {
        name: text("trainId"),
        dims: texts(&["trainId"]),
        compress: true,
        attrs: vec![
            (text("units"), Attr::Text { value: text("mJ") }),
            (text("flags"), Attr::Texts { value: texts(&["a", "b"]) }),
            (text("_FillValue"), Attr::Numbers { dtype: text("<f8"), shape: vec![], hex: text("0f00") }),
        ],
        array: array(Content::Shm { offset: 64, bytes: 48 }),
    };
    ValueMessage {
        name: text("energy"),
        seconds: 0.25,
        cpu_seconds: 0.5,
        max_rss_kib: 123_456,
        data: Some(StoredObject {
            objtype: Some(text("dataset")),
            layout: Layout::Netcdf {
                dims: vec![Dim { name: text("trainId"), size: 6 }],
                variables: vec![variable],
                attrs: vec![],
            },
            returned: Some(text("{\"version\":1}")),
            differs: Some(text("an attribute is lost")),
        }),
        preview: Some(StoredObject {
            objtype: None,
            layout: Layout::Plain { array: array(Content::Stream) },
            returned: None,
            differs: None,
        }),
        summary: Some(Array {
            dtype: text("str"),
            shape: vec![],
            content: Content::Text { strings: texts(&["high"]) },
        }),
        max_diff: Some(f64::INFINITY),
        summary_method: Some(text("mean")),
        summary_type: Some(text("trendline")),
        bold: Some(true),
        background: Some([255, 0, 7]),
        units: Some(text("mJ")),
    }
}

fn plain_value() -> ValueMessage {
    ValueMessage {
        data: None,
        preview: None,
        summary: None,
        max_diff: Some(0.5),
        summary_method: None,
        summary_type: None,
        bold: None,
        background: None,
        units: None,
        ..value()
    }
}

pub fn from_child() -> Vec<FromChild> {
    let failed = |class: &str, skipped: Option<bool>, traceback: Option<&str>| FromChild::Failed {
        name: text("energy"),
        class: text(class),
        skipped,
        message: text("no beam"),
        traceback: traceback.map(text),
        seconds: 0.25,
    };
    vec![
        FromChild::Described { variables: vec![variable()], problems: problems() },
        FromChild::Opened { start_time: 1_800_000_000.5 },
        FromChild::CannotStart {
            class: text("FileNotFoundError"),
            message: text("no data"),
            traceback: Some(text("Traceback")),
        },
        FromChild::Started { name: text("energy") },
        FromChild::Value(Box::new(value())),
        FromChild::Value(Box::new(plain_value())),
        FromChild::Chunk { slot: 3, bytes: 1 << 20 },
        FromChild::Kept { name: text("energy"), seconds: 0.25 },
        FromChild::Nothing { name: text("energy"), seconds: 0.25 },
        failed("KeyError", Some(false), Some("Traceback")),
        failed("Skip", Some(true), None),
        FromChild::Done { imported: texts(&["scipy.optimize"]) },
    ]
}

pub fn ended() -> Vec<Ended> {
    let error = |class: &str| Ended::Error { class: text(class), message: text("no beam") };
    vec![Ended::Nothing, error("KeyError"), error("Skip"), Ended::Skipped { message: text("no beam") }]
}
