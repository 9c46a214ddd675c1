//! Messages about context files with problems.

use std::fmt::Write;

use amore_model::{Problem, ProblemKind, RunData, Severity, VariableSpec};
use amore_plan::{NodeNo, check, merged};

use crate::declare::{Declare, variable};

/// The problems as their author reads them.
fn said(variables: Vec<VariableSpec>) -> String {
    let checked = check(variables);
    assert_eq!(checked.dag.is_none(), !checked.problems.is_empty());
    let mut text = String::new();
    for problem in &checked.problems {
        assert_eq!(problem.severity, Severity::Error);
        let line = problem.line.map_or("-".to_owned(), |line| line.to_string());
        writeln!(text, "{line}: {}", problem.message).unwrap();
        writeln!(text, "    {}", problem.hint.as_deref().unwrap_or("no hint")).unwrap();
    }
    text
}

fn kinds(variables: Vec<VariableSpec>) -> Vec<ProblemKind> {
    check(variables).problems.into_iter().map(|problem| problem.kind).collect()
}

#[test]
fn a_good_file_has_no_problems() {
    let checked = check(vec![
        variable("a").with(&["meta#run_number", "meta#proposal", "meta#proposal_path", "meta#proposal_dir"]),
        variable("b").with(&["mymdc#sample_name", "mymdc#run_type", "mymdc#techniques", "param#threshold"]),
        variable("group.c").with(&["var#a", "var#b", "var#[ab]", "var#?"]),
    ]);
    assert!(checked.problems.is_empty(), "{:?}", checked.problems);
    let dag = checked.dag.unwrap();
    assert_eq!(dag.needs(NodeNo(2)), [NodeNo(0), NodeNo(1)]);
    assert_eq!(dag.needed_by(NodeNo(0)), [NodeNo(2)]);
}

#[test]
fn names_that_would_break_readers_of_the_table_are_refused() {
    for (name, severity) in [
        ("run", Severity::Error),
        ("proposal", Severity::Error),
        ("added_at", Severity::Error),
        ("start_time", Severity::Warning),
        ("comment", Severity::Warning),
    ] {
        let checked = check(vec![variable("a"), variable(name)]);
        let [problem] = &checked.problems[..] else { panic!("{:?}", checked.problems) };
        assert_eq!((problem.kind, problem.severity), (ProblemKind::BadName, severity), "{name}");
        assert!(problem.line.is_some());
        assert_eq!(checked.dag.is_none(), severity == Severity::Error);
        // A variable that is not stored has no column.
        let mut transient = variable(name);
        transient.transient = true;
        assert!(check(vec![transient]).problems.is_empty());
    }
    // Names are case-sensitive, and names in groups are different names.
    assert!(check(vec![variable("Run"), variable("group.run")]).problems.is_empty());
}

#[test]
fn all_problems_are_told_at_once_by_line() {
    insta::assert_snapshot!(said(vec![
        variable("energy").titled("XGM energy").with(&["var#pulses_", "meta#run_no", "mymdc#sample"]),
        variable("pulses").with(&["var#XGM energy", "var#nothing_like_it", "var#x*", "var#Energy"]),
        variable("flux").data(RunData::Raw).with(&["var#middle"]),
        variable("middle").with(&["var#detector"]),
        variable("detector").data(RunData::Proc),
        variable("ring1").with(&["var#ring2"]),
        variable("ring2").with(&["var#ring1"]),
        variable("twin").titled("XGM energy"),
        variable("unknown").with(&["vars#energy", "int", "energy", "self#energy", "var#", "nonsense#x"]),
        variable("<lambda>"),
    ]), @r#"
    -: "<lambda>" is not a valid variable name
        A name is a Python identifier, or several joined by dots as in group.variable
    50: Argument a1 of energy asks for meta#run_no, which does not exist
        There are meta#run_number, meta#proposal, meta#proposal_path, meta#proposal_dir
    50: Argument a2 of energy asks for mymdc#sample, which does not exist
        Did you mean mymdc#sample_name?
    50: energy depends on pulses_, which does not exist
        Did you mean var#pulses?
    60: flux has data="raw" but depends on middle, which needs proc data, because detector has data="proc"
        Remove data="raw" from flux, or make it data="proc"
    160: pulses depends on XGM energy, which does not exist
        "XGM energy" is the title of energy: write var#energy
    160: pulses depends on nothing_like_it, which does not exist
        Dependencies are function names; is an @Variable missing?
    160: pulses depends on "x*", which matches no variable
        Patterns match names, not titles, and are case-sensitive; * matches any text, ? any character, [ab] one of these
    160: pulses depends on Energy, which does not exist
        Did you mean var#energy?
    180: 2 variables depend on each other in a cycle: ring1 → ring2 → ring1
        Each needs the value of the next (→): remove one of these dependencies
    200: 2 variables have the title "XGM energy": energy, twin; the first is energy (line 50)
        Titles are the column headings of the table: give each variable a unique title
    210: Argument a0 of unknown has an annotation without a meaning: "vars#energy"
        Did you mean "var#energy"?
    210: Argument a1 of unknown has an annotation without a meaning: "int"
        Annotations are strings that start with var#, param#, mymdc#, meta# or job#; remove others, or write them without quotes
    210: Argument a2 of unknown has an annotation without a meaning: "energy"
        To depend on the variable, write "var#energy"
    210: Argument a3 of unknown has an annotation without a meaning: "self#energy"
        self# is only allowed in methods of a Group; use var# elsewhere
    210: Argument a4 of unknown is annotated "var#", without a name
        Write a name after the #, as in "var#foo"
    210: Argument a5 of unknown has an annotation without a meaning: "nonsense#x"
        Annotations start with var#, param#, mymdc#, meta# or job#
    "#);
}

#[test]
fn names_are_python_identifiers_joined_by_dots() {
    for good in ["a", "_a1", "group.inner.a", "größe", "π"] {
        assert_eq!(kinds(vec![variable(good)]), [], "{good}");
    }
    for bad in ["", "1a", "a b", "a-b", "a..b", ".a", "a.", "a\nb", "a/b", "a'", "a*"] {
        assert_eq!(kinds(vec![variable(bad)]), [ProblemKind::BadName], "{bad:?}");
    }
}

#[test]
fn empty_tags_and_units_and_data_all_are_problems() {
    let mut a = variable("a").data(RunData::All);
    a.tags = vec!["x".to_owned(), String::new()];
    a.units = Some(String::new());
    assert_eq!(kinds(vec![a]), [ProblemKind::BadData, ProblemKind::BadTags, ProblemKind::BadUnits]);
}

#[test]
fn a_missing_dependency_is_a_problem_even_with_a_default() {
    let mut a = variable("a").with(&["var#zzzzzz"]);
    a.arguments[0].has_default = true;
    assert_eq!(kinds(vec![a]), [ProblemKind::MissingDependency]);
}

#[test]
fn the_member_of_a_group_is_found_for_its_bare_name() {
    let problems = check(vec![variable("xgm.intensity"), variable("b").with(&["var#intensity"])]).problems;
    assert_eq!(problems[0].hint.as_deref(), Some("Did you mean var#xgm.intensity?"));
}

#[test]
fn rings_are_named_once_from_their_first_member() {
    insta::assert_snapshot!(said(vec![
        variable("a").with(&["var#c"]),
        variable("b").with(&["var#a"]),
        variable("c").with(&["var#b"]),
        variable("downstream").with(&["var#c"]),
        variable("e").with(&["var#e"]),
        variable("f").with(&["var#f*", "var#a"]),
        variable("g").with(&["var#h", "var#i"]),
        variable("h").with(&["var#g"]),
        variable("i").with(&["var#g"]),
    ]), @r#"
    10: 3 variables depend on each other in a cycle: a → c → b → a
        Each needs the value of the next (→): remove one of these dependencies
    50: e depends on itself: e → e
        Remove that dependency
    60: f depends on itself: f → f, by the pattern "f*"
        Use a pattern that does not match the variable's own name
    70: 2 variables depend on each other in a cycle: g → h → g
        Each needs the value of the next (→): remove one of these dependencies
    70: 2 variables depend on each other in a cycle: g → i → g
        Each needs the value of the next (→): remove one of these dependencies
    "#);
}

#[test]
fn a_ring_of_ten_thousand_is_one_problem_of_readable_length() {
    let count = 10_000;
    let variables: Vec<_> = (0..count)
        .map(|at| variable(&format!("v{at}")).with(&[&format!("var#v{}", (at + 1) % count)]))
        .collect();
    insta::assert_snapshot!(said(variables), @"
    220: 10000 variables depend on each other in a cycle: v0 → v1 → v2 → v3 → (9992 more) → v9996 → v9997 → v9998 → v9999 → v0
        Each needs the value of the next (→): remove one of these dependencies
    ");
}

#[test]
fn of_a_large_knot_a_short_ring_is_named() {
    let all: Vec<String> = (0..40).map(|at| format!("var#v{at}")).collect();
    let variables: Vec<_> = (0..40)
        .map(|at| {
            let others: Vec<&str> = all
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != at)
                .map(|(_, name)| name.as_str())
                .collect();
            variable(&format!("v{at}")).with(&others)
        })
        .collect();
    let problems = check(variables).problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "40 variables depend on each other in cycles; a short one: v0 → v1 → v0");
    assert_eq!(problems[0].variables, ["v0", "v1"]);
}

#[test]
fn duplicate_names_and_titles_name_everyone_concerned() {
    insta::assert_snapshot!(said(vec![
        variable("a"),
        variable("b").titled("Energy"),
        variable("a").titled("again"),
        variable("c").titled("Energy"),
        variable("d").titled("Energy"),
    ]), @r#"
    10: The name a is already taken by another variable (line 10)
        Rename one of the functions or groups
    30: 3 variables have the title "Energy": b, c, d; the first is b (line 20)
        Titles are the column headings of the table: give each variable a unique title
    "#);
}

#[test]
fn raw_on_proc_counts_only_where_raw_was_written() {
    let proc = || variable("p").data(RunData::Proc);
    assert_eq!(kinds(vec![proc(), variable("a").with(&["var#p"])]), []);
    assert_eq!(
        kinds(vec![
            proc(),
            variable("q").with(&["var#p"]),
            variable("r").data(RunData::Raw).with(&["var#q"]),
            variable("s").with(&["var#r"]),
        ]),
        [ProblemKind::RawDependsOnProc]
    );
}

#[test]
fn resources_without_a_slurm_job_are_a_warning() {
    let mut alone = variable("a");
    alone.resources.cpus = Some(8);
    let mut promoted = variable("c").with(&["var#b"]);
    promoted.resources.cpus = Some(8);
    let checked = check(vec![alone, variable("b").cluster(), promoted]);
    assert!(checked.dag.is_some());
    let [problem] = checked.problems.as_slice() else { panic!("{:?}", checked.problems) };
    assert_eq!((problem.kind, problem.severity), (ProblemKind::BadResources, Severity::Warning));
    assert_eq!(problem.message, "a requests 8 CPUs, which has no effect unless it runs in a Slurm job");
    assert_eq!(problem.hint.as_deref(), Some("Add cluster=True"));
}

#[test]
fn variables_in_one_job_cannot_ask_for_different_partitions() {
    let file = |transient: bool| {
        let mut events = variable("events").partition("upex");
        events.transient = transient;
        vec![
            events,
            variable("sum").partition("allgpu").with(&["var#events"]),
            variable("mean").cpus(8).with(&["var#events"]),
        ]
    };
    assert!(check(file(false)).problems.is_empty());
    let checked = check(file(true));
    assert!(checked.dag.is_none());
    let [problem] = checked.problems.as_slice() else { panic!("{:?}", checked.problems) };
    assert_eq!((problem.kind, problem.line), (ProblemKind::BadResources, Some(190)));
    assert_eq!(
        problem.message,
        "Variables that must run in one Slurm job, because the value of events cannot be stored, request \
         partition=\"upex\" (events), partition=\"allgpu\" (sum)"
    );
    assert_eq!(problem.variables, ["events", "sum"]);
}

#[test]
fn variables_in_one_job_are_charged_to_one_account() {
    let asking = |account: &str, qos: &str, mut variable: amore_model::VariableSpec| {
        variable.resources.account = Some(account.to_owned());
        variable.resources.qos = Some(qos.to_owned());
        variable
    };
    let file = |account: &str, qos: &str| {
        vec![
            asking("spb", "normal", variable("events").cluster().transient()),
            asking(account, qos, variable("sum").cluster().with(&["var#events"])),
        ]
    };
    assert!(check(file("spb", "normal")).problems.is_empty());
    let problems = check(file("mid", "express")).problems;
    let ends: Vec<&str> = problems
        .iter()
        .filter_map(|problem| problem.message.split_once("request "))
        .map(|(_, end)| end)
        .collect();
    assert_eq!(
        ends,
        ["account=\"spb\" (events), account=\"mid\" (sum)", "qos=\"normal\" (events), qos=\"express\" (sum)"]
    );
}

#[test]
fn problems_of_other_files_keep_their_file() {
    let mut a = variable("a").with(&["var#zzzzzz"]);
    a.file = Some("helpers.py".to_owned());
    let problems = check(vec![a, variable("b").with(&["var#zzzzzz"])]).problems;
    let places: Vec<_> = problems.iter().map(|problem| (problem.file.as_deref(), problem.line)).collect();
    assert_eq!(places, [(None, Some(20)), (Some("helpers.py"), Some(10))]);
}

#[test]
fn ten_thousand_wrong_names_are_each_reported() {
    let variables: Vec<_> =
        (0..10_000).map(|at| variable(&format!("v{at}")).with(&[&format!("var#w{at}")])).collect();
    let problems = check(variables).problems;
    assert_eq!(problems.len(), 10_000);
    assert_eq!(problems[7].message, "v7 depends on w7, which does not exist");
    assert_eq!(problems[7].hint.as_deref(), Some("Did you mean var#v7?"));
}

#[test]
fn what_python_and_the_planner_both_found_is_told_once() {
    let found = |kind, line, name: &str| Problem {
        line: Some(line),
        variables: vec![name.to_owned()],
        ..Problem::error(kind, name)
    };
    let described =
        vec![found(ProblemKind::BadTags, 30, "from python"), Problem::error(ProblemKind::Import, "import")];
    let planned = vec![
        found(ProblemKind::BadTags, 30, "from python"),
        found(ProblemKind::BadTags, 30, "another"),
        found(ProblemKind::Cycle, 7, "ring"),
    ];
    let messages: Vec<_> = merged(described, planned).into_iter().map(|problem| problem.message).collect();
    assert_eq!(messages, ["import", "ring", "from python", "another"]);
}
