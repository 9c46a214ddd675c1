//! Finds all problems of a context file's variables at once.

use std::collections::{HashMap, HashSet};

use amore_model::{
    COLUMNS_OF_RUNS, COMMENT, Dependency, MymdcField, Problem, ProblemKind, RunData, Severity, VariableSpec,
};

use crate::{
    check_jobs,
    check_state::undeclared_state,
    cycles::{Ring, rings},
    dag::{Dag, Graph, Promotion, Unmet},
    glob::Pattern,
    jobs::Units,
    nearest::{Meant, Nearest, nearest},
    numbers::{NodeNo, Number},
    problem_at::problem_at,
    promote::promotion,
};

/// Words allowed after `meta#`.
const META_WORDS: [&str; 4] = ["run_number", "proposal", "proposal_path", "proposal_dir"];
/// Prefixes before the `#`.
const SOURCES: [&str; 5] = ["var", "param", "mymdc", "meta", "job"];
/// Maximum number of names in a message; the rest is counted.
const LISTED: usize = 8;

/// Result of [`check`].
#[derive(Clone, Debug)]
pub struct Checked {
    /// The graph; `None` if there are errors.
    pub dag: Option<Dag>,
    /// All errors and warnings, by line (those of other files last).
    pub problems: Vec<Problem>,
}

/// Links the variables and finds all problems.
///
/// Checks names, titles, tags, units, annotations, missing dependencies, patterns without a match, cycles, variables with
/// `data="raw"` that depend on proc data, resources without a Slurm job, and resources that cannot be combined in one job.
///
/// If cycles share variables, enough of them are reported to cover each dependency that is part of a cycle. For a very large
/// component, one short cycle is reported.
pub fn check(variables: Vec<VariableSpec>) -> Checked {
    let mut problems = Vec::new();
    let mut by_name: HashMap<String, NodeNo> = HashMap::with_capacity(variables.len());
    for (at, variable) in variables.iter().enumerate() {
        if let Some(&first) = by_name.get(&variable.name) {
            problems.push(duplicate_name(&variables[first.index()], variable));
        } else {
            by_name.insert(variable.name.clone(), NodeNo::from_index(at));
        }
    }
    duplicate_titles(&variables, &mut problems);

    let (graph, unmet) = Graph::link(&variables, &by_name);
    for variable in &variables {
        declared(variable, &by_name, &mut problems);
    }
    let mut names = Nearest::new(&variables);
    problems.extend(unmet.iter().filter_map(|&unmet| missing(&variables, unmet, &mut names)));

    let promotion = promotion(&variables, &graph);
    let order = graph.execution_order(|at| promotion.cluster[at].is_some());
    if order.len() < variables.len() {
        problems.extend(rings(&graph).iter().map(|ring| cycle(&variables, ring)));
    }
    raw_on_proc(&variables, &graph, &promotion, &mut problems);
    resources_without_effect(&variables, &promotion, &mut problems);
    check_jobs::commands(&variables, &by_name, &mut problems);
    if order.len() == variables.len() {
        let units = Units::of(&variables, &graph, &order, |at| promotion.cluster[at].is_some());
        for tied in units.iter().filter(|members| members.len() > 1) {
            different_words(&variables, tied, &mut problems);
        }
    }

    sort(&mut problems);
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    let mut dag = (!refused).then_some({
        let in_file = variables.len();
        Dag { variables, in_file, by_name, graph, order, promotion }
    });
    let before = problems.len();
    if let Some(linked) = &dag {
        check_jobs::tied(linked, &mut problems);
    }
    if let Some(linked) = dag.as_ref().filter(|_| problems.len() == before) {
        undeclared_state(linked, &mut problems);
        sort(&mut problems);
    } else if problems.len() > before {
        sort(&mut problems);
        dag = None;
    }
    Checked { dag, problems }
}

/// Merges the problems found by Python (first) and by [`check`], sorted by line and without duplicates: of two of the same
/// kind about the same variables on the same line, the first is kept.
pub fn merged(described: Vec<Problem>, found: Vec<Problem>) -> Vec<Problem> {
    fn key(problem: &Problem) -> (ProblemKind, Option<u32>, Option<&str>, &[String]) {
        (problem.kind, problem.line, problem.file.as_deref(), &problem.variables)
    }
    let known: HashSet<_> = described.iter().map(key).collect();
    let found: Vec<Problem> = found
        .into_iter()
        .filter(|problem| problem.variables.is_empty() || !known.contains(&key(problem)))
        .collect();
    let mut problems = described;
    problems.extend(found);
    sort(&mut problems);
    problems
}

fn sort(problems: &mut [Problem]) {
    problems.sort_by(|a, b| (&a.file, a.line.unwrap_or(0)).cmp(&(&b.file, b.line.unwrap_or(0))));
}

fn place_of(variable: &VariableSpec) -> String {
    match (&variable.file, variable.line) {
        (Some(file), Some(line)) => format!(" ({file}, line {line})"),
        (None, Some(line)) => format!(" (line {line})"),
        (Some(file), None) => format!(" ({file})"),
        (None, None) => String::new(),
    }
}

fn duplicate_name(first: &VariableSpec, second: &VariableSpec) -> Problem {
    problem_at(
        second,
        ProblemKind::DuplicateName,
        format!("The name {} is already taken by another variable{}", second.name, place_of(first)),
        "Rename one of the functions or groups".to_owned(),
    )
}

fn duplicate_titles(variables: &[VariableSpec], problems: &mut Vec<Problem>) {
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(variables.len());
    let mut shared: Vec<Vec<usize>> = Vec::new();
    let mut list_of: HashMap<&str, usize> = HashMap::new();
    for (at, variable) in variables.iter().enumerate() {
        let title = variable.title.as_str();
        if let Some(&earlier) = first.get(title) {
            let list = *list_of.entry(title).or_insert_with(|| {
                shared.push(vec![earlier]);
                shared.len() - 1
            });
            shared[list].push(at);
        } else {
            first.insert(title, at);
        }
    }
    for list in shared {
        let names: Vec<&str> = list.iter().map(|&at| variables[at].name.as_str()).collect();
        let second = &variables[list[1]];
        let mut problem = problem_at(
            second,
            ProblemKind::DuplicateTitle,
            format!(
                "{} variables have the title {:?}: {}{}",
                list.len(),
                second.title,
                listed(&names),
                match place_of(&variables[list[0]]) {
                    place if place.is_empty() => place,
                    place => format!("; the first is {}{place}", names[0]),
                }
            ),
            "Titles are the column headings of the table: give each variable a unique title".to_owned(),
        );
        problem.variables = names.into_iter().map(str::to_owned).collect();
        problems.push(problem);
    }
}

/// What a variable with the name of a column of every run would cause, and whether this is an error.
fn in_place_of(column: &str) -> (&'static str, Severity) {
    match column {
        "start_time" => (
            "it holds the start time of the run, which Amore determines itself: this variable gets an error",
            Severity::Warning,
        ),
        COMMENT => ("the table shows what users entered, not this variable", Severity::Warning),
        // DAMNIT adds values to its own columns and then looks these up by name.
        _ => (
            "with a value of that name, DAMNIT's `Damnit(…).table()` can no longer read the table",
            Severity::Error,
        ),
    }
}

/// Checks a variable without considering the others (except for hints).
fn declared(variable: &VariableSpec, by_name: &HashMap<String, NodeNo>, problems: &mut Vec<Problem>) {
    let name = &variable.name;
    if !name.split('.').all(is_identifier) {
        problems.push(problem_at(
            variable,
            ProblemKind::BadName,
            format!("{name:?} is not a valid variable name"),
            "A name is a Python identifier, or several joined by dots as in group.variable".to_owned(),
        ));
    }
    // A transient variable has no column in the table.
    if COLUMNS_OF_RUNS.contains(&name.as_str()) && !variable.transient {
        let (why, severity) = in_place_of(name);
        let mut problem = problem_at(
            variable,
            ProblemKind::BadName,
            format!("{name} is a column of every table: {why}"),
            "Rename the variable".to_owned(),
        );
        problem.severity = severity;
        problems.push(problem);
    }
    // The title of a variable without a valid name is that name, which is already reported.
    let titled = variable.title != *name;
    if titled && (variable.title.trim().is_empty() || variable.title.contains(['\n', '\r'])) {
        let mut problem = problem_at(
            variable,
            ProblemKind::BadArgument,
            format!("{name} has an invalid title: {:?}", variable.title),
            "A title must be one line of text".to_owned(),
        );
        problem.severity = Severity::Warning;
        problems.push(problem);
    }
    if variable.data == Some(RunData::All) {
        problems.push(problem_at(
            variable,
            ProblemKind::BadData,
            format!("{name} has data=\"all\""),
            "Use data=\"raw\" or data=\"proc\"; variables for proc data can read raw data too".to_owned(),
        ));
    }
    if variable.tags.iter().any(String::is_empty) {
        problems.push(problem_at(
            variable,
            ProblemKind::BadTags,
            format!("{name} has an empty tag"),
            "Tags are non-empty strings".to_owned(),
        ));
    }
    if variable.units.as_deref() == Some("") {
        problems.push(problem_at(
            variable,
            ProblemKind::BadUnits,
            format!("{name} has empty units"),
            "Omit units=, or give a non-empty string".to_owned(),
        ));
    }
    for argument in &variable.arguments {
        let what = |text: &str| format!("Argument {} of {name} {text}", argument.name);
        match argument.dependency() {
            Dependency::Variable("") | Dependency::Parameter("") => problems.push(problem_at(
                variable,
                ProblemKind::BadAnnotation,
                what(&format!("is annotated {:?}, without a name", argument.annotation)),
                format!("Write a name after the #, as in {:?}", argument.annotation.clone() + "foo"),
            )),
            Dependency::Variable(_) | Dependency::Parameter(_) => {}
            Dependency::Mymdc(field) if MymdcField::from_name(field).is_some() => {}
            Dependency::Mymdc(field) => problems.push(problem_at(
                variable,
                ProblemKind::BadMymdcField,
                what(&format!("asks for mymdc#{field}, which does not exist")),
                choice("mymdc#", field, &MymdcField::ALL.map(MymdcField::as_str)),
            )),
            Dependency::Meta(word) if META_WORDS.contains(&word) => {}
            Dependency::Meta(word) => problems.push(problem_at(
                variable,
                ProblemKind::BadAnnotation,
                what(&format!("asks for meta#{word}, which does not exist")),
                choice("meta#", word, &META_WORDS),
            )),
            Dependency::Job("outcome") if variable.job.is_some() => {}
            Dependency::Job(word) => problems.push(check_jobs::not_of_a_job(variable, argument, word)),
            Dependency::Unknown(text) => problems.push(problem_at(
                variable,
                ProblemKind::BadAnnotation,
                what(&format!("has an annotation without a meaning: {text:?}")),
                annotation_hint(text, by_name),
            )),
        }
    }
}

fn choice(prefix: &str, given: &str, known: &[&str]) -> String {
    match nearest(given, known.iter().copied()) {
        Some(near) => format!("Did you mean {prefix}{near}?"),
        None => {
            let known: Vec<String> = known.iter().map(|word| format!("{prefix}{word}")).collect();
            format!("There are {}", known.join(", "))
        }
    }
}

fn annotation_hint(text: &str, by_name: &HashMap<String, NodeNo>) -> String {
    if by_name.contains_key(text) {
        return format!("To depend on the variable, write \"var#{text}\"");
    }
    match text.split_once('#') {
        Some(("self", _)) => "self# is only allowed in methods of a Group; use var# elsewhere".to_owned(),
        Some((source, rest)) => match nearest(source.trim(), SOURCES) {
            Some(near) => format!("Did you mean \"{near}#{}\"?", rest.trim()),
            None => "Annotations start with var#, param#, mymdc#, meta# or job#".to_owned(),
        },
        None => "Annotations are strings that start with var#, param#, mymdc#, meta# or job#; \
                 remove others, or write them without quotes"
            .to_owned(),
    }
}

fn missing(variables: &[VariableSpec], unmet: Unmet, names: &mut Nearest<'_>) -> Option<Problem> {
    let variable = &variables[unmet.variable.index()];
    let argument = &variable.arguments[unmet.argument];
    let wanted = argument.annotation.strip_prefix("var#").unwrap_or(&argument.annotation);
    if wanted.is_empty() {
        // Reported as a bad annotation.
        return None;
    }
    let pattern = wanted.contains(['*', '?', '[']);
    let (message, hint) = if pattern {
        (
            format!("{} depends on {wanted:?}, which matches no variable", variable.name),
            Some(
                "Patterns match names, not titles, and are case-sensitive; * matches any text, ? any character, [ab] one of these"
                    .to_owned(),
            ),
        )
    } else {
        let hint = match names.to(wanted) {
            Some(Meant::Name(near)) => format!("Did you mean var#{near}?"),
            Some(Meant::Title(name)) => format!("{wanted:?} is the title of {name}: write var#{name}"),
            None => "Dependencies are function names; is an @Variable missing?".to_owned(),
        };
        (format!("{} depends on {wanted}, which does not exist", variable.name), Some(hint))
    };
    Some(problem_at(variable, ProblemKind::MissingDependency, message, hint))
}

fn cycle(variables: &[VariableSpec], ring: &Ring) -> Problem {
    let names: Vec<&str> = ring.members.iter().map(|&at| variables[at.index()].name.as_str()).collect();
    let first = &variables[ring.members[0].index()];
    let (message, hint) = if let [only] = names.as_slice() {
        let own = first.arguments.iter().filter_map(|argument| match argument.dependency() {
            Dependency::Variable(text) => Some(text),
            _ => None,
        });
        // If its name is given without wildcards, that is the clearer reason.
        let itself = own.clone().any(|text| text == *only);
        let pattern = own.clone().find(|text| !itself && Pattern::new(text).matches(only));
        match pattern {
            Some(pattern) => (
                format!("{only} depends on itself: {only} → {only}, by the pattern {pattern:?}"),
                "Use a pattern that does not match the variable's own name".to_owned(),
            ),
            _ => (format!("{only} depends on itself: {only} → {only}"), "Remove that dependency".to_owned()),
        }
    } else {
        let shown = shortened(&names).join(" → ");
        let message = match ring.knot {
            None => format!("{} variables depend on each other in a cycle: {shown}", names.len()),
            Some(knot) => {
                format!("{knot} variables depend on each other in cycles; a short one: {shown}")
            }
        };
        (message, "Each needs the value of the next (→): remove one of these dependencies".to_owned())
    };
    let mut problem = problem_at(first, ProblemKind::Cycle, message, hint);
    problem.variables = names.into_iter().map(str::to_owned).collect();
    problem
}

/// A cycle for display, with its first member repeated at the end; long ones are abbreviated.
fn shortened(names: &[&str]) -> Vec<String> {
    const SHOWN: usize = 12;
    const ENDS: usize = 4;
    let mut shown: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    if names.len() > SHOWN {
        let more = format!("({} more)", names.len() - 2 * ENDS);
        shown.splice(ENDS..names.len() - ENDS, [more]);
    }
    shown.push(names[0].to_owned());
    shown
}

fn raw_on_proc(
    variables: &[VariableSpec],
    graph: &Graph,
    promotion: &Promotion,
    problems: &mut Vec<Problem>,
) {
    for (node, variable) in (0..).map(NodeNo).zip(variables) {
        if variable.data != Some(RunData::Raw) {
            continue;
        }
        let Some(origin) = promotion.proc[node] else { continue };
        let needs: Vec<&str> = graph
            .needs
            .of(node)
            .iter()
            .filter(|&&need| promotion.proc[need].is_some())
            .map(|&need| variables[need.index()].name.as_str())
            .collect();
        let origin = variables[origin.index()].name.as_str();
        let because = if needs.contains(&origin) {
            String::new()
        } else {
            format!(", because {origin} has data=\"proc\"")
        };
        let verb = if needs.len() == 1 { "needs" } else { "need" };
        problems.push(problem_at(
            variable,
            ProblemKind::RawDependsOnProc,
            format!(
                "{} has data=\"raw\" but depends on {}, which {verb} proc data{because}",
                variable.name,
                listed(&needs)
            ),
            format!("Remove data=\"raw\" from {}, or make it data=\"proc\"", variable.name),
        ));
    }
}

fn resources_without_effect(variables: &[VariableSpec], promotion: &Promotion, problems: &mut Vec<Problem>) {
    for (variable, (_, cluster)) in variables.iter().zip(promotion.cluster.iter()) {
        if cluster.is_none() && !variable.resources.is_default() {
            let mut problem = problem_at(
                variable,
                ProblemKind::BadResources,
                format!(
                    "{} requests {}, which has no effect unless it runs in a Slurm job",
                    variable.name,
                    variable.resources.in_words()
                ),
                "Add cluster=True".to_owned(),
            );
            problem.severity = Severity::Warning;
            problems.push(problem);
        }
    }
}

/// Variables that a transient value ties to one job must not request different partitions and the like.
fn different_words(variables: &[VariableSpec], tied: &[NodeNo], problems: &mut Vec<Problem>) {
    let members = || tied.iter().map(|&at| &variables[at.index()]);
    let ties: Vec<&str> =
        members().filter(|member| member.transient).map(|member| member.name.as_str()).collect();
    type Word = fn(&VariableSpec) -> Option<&str>;
    let words: [(&str, Word); 5] = [
        ("constraint", |variable| variable.resources.constraint.as_deref()),
        ("partition", |variable| variable.resources.partition.as_deref()),
        ("reservation", |variable| variable.resources.reservation.as_deref()),
        ("account", |variable| variable.resources.account.as_deref()),
        ("qos", |variable| variable.resources.qos.as_deref()),
    ];
    for (what, word) in words {
        // The first variable that requests each.
        let mut asked: Vec<(&str, &VariableSpec)> = Vec::new();
        let mut known = HashSet::new();
        for member in members() {
            if let Some(word) = word(member)
                && known.insert(word)
            {
                asked.push((word, member));
            }
        }
        let [_, (_, second), ..] = asked.as_slice() else { continue };
        let said: Vec<String> =
            asked.iter().map(|(word, by)| format!("{what}={word:?} ({})", by.name)).collect();
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        let mut problem = problem_at(
            second,
            ProblemKind::BadResources,
            format!(
                "Variables that must run in one Slurm job, because the {} of {} cannot be stored, request {}",
                if ties.len() == 1 { "value" } else { "values" },
                listed(&ties),
                listed(&said)
            ),
            format!(
                "Give them the same {what}, or remove transient=True so that they can run in separate jobs"
            ),
        );
        problem.variables = asked.iter().map(|(_, by)| by.name.clone()).collect();
        problems.push(problem);
    }
}

fn listed(names: &[&str]) -> String {
    match names.len().checked_sub(LISTED + 1) {
        None => names.join(", "),
        Some(_) => format!("{} and {} more", names[..LISTED].join(", "), names.len() - LISTED),
    }
}

/// As Python's `str.isidentifier`.
fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c == '_' || unicode_ident::is_xid_start(c))
        && chars.all(unicode_ident::is_xid_continue)
}
