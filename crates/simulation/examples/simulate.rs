//! Plays scenarios in the simulated world: `simulate --seeds 2000` (the first is `--from`), or `simulate --seed 7` with its
//! story. A seed that breaks a rule is made shorter before it is shown; the exit code is then 1.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "this program reads its arguments, uses threads and the clock, and prints"
)]

use std::{
    io::Write,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use amore_simulation::world::{Outcome, Scenario, play, shortened};

/// What is asked for.
struct Asked {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    keep_going: bool,
    faults: bool,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked { seeds: 2000, from: 1, seed: None, keep_going: false, faults: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().ok_or(format!("{word} needs a number"))?;
            value.parse::<u64>().map_err(|error| format!("{word} {value}: {error}"))
        };
        match word.as_str() {
            "--seeds" => asked.seeds = number()?,
            "--from" => asked.from = number()?,
            "--seed" => asked.seed = Some(number()?),
            "--keep-going" => asked.keep_going = true,
            "--faults" => asked.faults = true,
            _ => {
                let wanted = "--seeds N, --from N, --keep-going, --faults or --seed N is wanted";
                return Err(format!("{word}: {wanted}"));
            }
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    match asked() {
        Ok(Asked { seed: Some(seed), .. }) => show(seed),
        Ok(asked) if asked.faults => faults(&asked),
        Ok(asked) => many(&asked),
        Err(words) => {
            eprintln!("simulate: {words}");
            ExitCode::from(2)
        }
    }
}

/// Plays one seed, and shows what happens.
fn show(seed: u64) -> ExitCode {
    let scenario = Scenario::of_seed(seed);
    let mut played = play(&scenario, true);
    let mut shown = scenario;
    if let Some(violation) = &played.violation {
        shown = shortened(&shown, violation.rule);
        played = play(&shown, true);
    }
    // Who looks at the beginning only has closed the pipe.
    let _ = writeln!(std::io::stdout(), "seed {seed}: {shown}\n{}", played.story.join("\n"));
    let (last, code) = match played.violation {
        Some(violation) => {
            let words = format!("seed {seed} breaks a rule: {}\n  {}", violation.rule, violation.words);
            (words, ExitCode::FAILURE)
        }
        None => {
            let seconds = played.took.as_secs_f64();
            let words = format!("seed {seed}: all rules hold ({} steps, {seconds:.0} s)", played.steps);
            (words, ExitCode::SUCCESS)
        }
    };
    let _ = writeln!(std::io::stdout(), "\n{last}");
    code
}

/// Plays many seeds on all cores, up to the first that breaks a rule.
fn many(asked: &Asked) -> ExitCode {
    let begin = Instant::now();
    let next = AtomicU64::new(asked.from);
    let end = asked.from + asked.seeds;
    let stop = AtomicBool::new(false);
    let broken: Mutex<Vec<(u64, Outcome)>> = Mutex::new(Vec::new());
    let (steps, calls) = (AtomicU64::new(0), AtomicU64::new(0));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let played = play(&Scenario::of_seed(seed), false);
                    steps.fetch_add(played.steps, Ordering::Relaxed);
                    calls.fetch_add(played.calls, Ordering::Relaxed);
                    if played.violation.is_some() {
                        broken.lock().unwrap_or_else(PoisonError::into_inner).push((seed, played));
                        stop.store(!asked.keep_going, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let seconds = begin.elapsed().as_secs_f64();
    let mut broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    broken.sort_by_key(|(seed, _)| *seed);
    for (seed, played) in &broken {
        if let Some(violation) = &played.violation {
            println!("seed {seed}: {}: {}", violation.rule, violation.words);
        }
    }
    let (steps, calls) = (steps.into_inner(), calls.into_inner());
    let played = next.into_inner().min(end) - asked.from;
    println!(
        "{played} seeds in {seconds:.1} s: {steps} steps, {calls} calls of variables, {} broken",
        broken.len()
    );
    match broken.first() {
        Some((seed, _)) if !asked.keep_going => show(*seed),
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}

/// Switches on one planted fault after the other, and shows how many seeds it takes to find each.
#[cfg(feature = "planted-faults")]
fn faults(asked: &Asked) -> ExitCode {
    use amore_model::planted::{Fault, switch};

    let begin = Instant::now();
    let next = AtomicU64::new(0);
    let missed = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(fault) = Fault::ALL.get(at) else { return };
                    switch(Some(*fault));
                    let mut seeds = asked.from..asked.from + asked.seeds;
                    let broken = seeds.find_map(|seed| {
                        let violation = play(&Scenario::of_seed(seed), false).violation?;
                        Some((seed + 1 - asked.from, violation.rule))
                    });
                    switch(None);
                    match broken {
                        Some((seeds, rule)) => println!("{fault:?}: found by seed {seeds}: {rule}"),
                        None => println!("{fault:?}: NOT FOUND within {} seeds", asked.seeds),
                    }
                    missed.fetch_add(u64::from(broken.is_none()), Ordering::Relaxed);
                }
            });
        }
    });
    let (missed, all) = (missed.into_inner() as usize, Fault::ALL.len());
    let seconds = begin.elapsed().as_secs_f64();
    println!("{} of {all} planted faults found in {seconds:.1} s", all - missed);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "planted-faults"))]
fn faults(_: &Asked) -> ExitCode {
    eprintln!("simulate: this build has no faults to switch on; `make simulate-faults` makes one that has");
    ExitCode::from(2)
}
