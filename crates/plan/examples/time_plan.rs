//! Times the way from variables to tasks: check (link, order, promote), select, cut.
//!
//! `time_plan --shape chain|layers|star|glob --count 10000 --resources 3`, or without `--shape` with `{"variables": […]}` on standard
//! input, as a context host describes a file. Prints one line of JSON. `--resources N` makes every variable one for the
//! cluster, with one of N different resources in turn (the first of them none); `--transient N` each Nth transient.
#![expect(clippy::disallowed_methods, reason = "this measures the crate, from outside of it")]

use std::{
    error::Error,
    io::{self, Read, Write},
    time::Instant,
};

use amore_model::{Argument, VariableSpec};
use amore_plan::{Request, check, plan};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Described {
    variables: Vec<VariableSpec>,
}

#[derive(Serialize)]
struct Report {
    shape: String,
    count: usize,
    median_ms: f64,
    min_ms: f64,
    max_ms: f64,
    tasks: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut shape = None;
    let mut count = 10_000;
    let mut repeat = 21;
    let mut resources = 0;
    let mut transient = 0;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--shape" => shape = Some(value()?),
            "--count" => count = value()?.parse()?,
            "--repeat" => repeat = value()?.parse::<usize>()?.max(1),
            "--resources" => resources = value()?.parse()?,
            "--transient" => transient = value()?.parse()?,
            _ => {
                let known = "--shape, --count, --repeat, --resources, --transient";
                return Err(format!("unknown argument {argument}; there are {known}").into());
            }
        }
    }
    let (shape, variables) = match shape {
        Some(shape) => {
            let mut variables = (0..count).map(|at| variable(&shape, at)).collect::<Result<Vec<_>, _>>()?;
            for (at, variable) in (0_u32..).zip(&mut variables) {
                if let Some(kind) = at.checked_rem(resources) {
                    variable.cluster = true;
                    variable.resources.cpus = (kind > 0).then_some(kind);
                }
                variable.transient = at.checked_rem(transient) == Some(0);
            }
            (shape, variables)
        }
        None => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            ("given".to_owned(), serde_json::from_str::<Described>(&text)?.variables)
        }
    };

    let request = Request { cluster_available: true, parts: 4, ..Request::default() };
    let mut tasks = 0;
    let mut times = Vec::with_capacity(repeat);
    for _ in 0..repeat {
        let input = variables.clone();
        let start = Instant::now();
        let checked = check(input);
        let Some(dag) = &checked.dag else {
            let first = checked.problems.first().map_or("", |problem| problem.message.as_str());
            return Err(format!("{} problems; the first: {first}", checked.problems.len()).into());
        };
        tasks = plan(dag, &request)?.tasks.len();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let report = Report {
        shape,
        count: variables.len(),
        median_ms: times[times.len() / 2],
        min_ms: times[0],
        max_ms: times[times.len() - 1],
        tasks,
    };
    writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
    Ok(())
}

/// Variable number `at` of a file of that shape.
fn variable(shape: &str, at: usize) -> Result<VariableSpec, String> {
    let needs: Vec<String> = match shape {
        "chain" => at.checked_sub(1).map(|before| format!("v{before}")).into_iter().collect(),
        "layers" if at < 10 => Vec::new(),
        "layers" => {
            let layer = (at / 10 - 1) * 10;
            (0..3).map(|step| format!("v{}", layer + (at + 3 * step) % 10)).collect()
        }
        "star" => (at > 0).then(|| "v0".to_owned()).into_iter().collect(),
        "glob" => (at == 0).then(|| "v[1-9]*".to_owned()).into_iter().collect(),
        _ => return Err(format!("unknown shape {shape}; there are chain, layers, star and glob")),
    };
    let arguments = needs
        .into_iter()
        .enumerate()
        .map(|(number, need)| Argument {
            name: format!("a{number}"),
            annotation: format!("var#{need}"),
            has_default: false,
        })
        .collect();
    Ok(VariableSpec {
        title: format!("Variable {at}"),
        cluster: at % 7 == 6 && shape != "glob",
        arguments,
        line: Some(4 * at as u32 + 1),
        fingerprint: format!("{at:016x}"),
        ..VariableSpec::new(format!("v{at}"))
    })
}
