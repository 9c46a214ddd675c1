//! Scenarios of the simulated world.

use std::time::Duration;

use amore_simulation::world::{Act, Behaviour, Scenario, play};

#[test]
fn the_same_seed_gives_the_same_story() {
    for seed in 1..=12 {
        let scenario = Scenario::of_seed(seed);
        let (first, again) = (play(&scenario, true), play(&scenario, true));
        assert_eq!(first.story, again.story, "seed {seed}");
        assert_eq!((first.digest, first.steps), (again.digest, again.steps), "seed {seed}");
        assert!(first.story.len() > 5 && first.violation.is_none(), "seed {seed}: {:?}", first.violation);
    }
    let digests: Vec<u64> = (1..=12).map(|seed| play(&Scenario::of_seed(seed), false).digest).collect();
    assert!(digests.windows(2).all(|two| two[0] != two[1]), "{digests:?}");
}

/// Without faults each function is called once for each request.
#[test]
fn without_faults_every_function_is_called_once_for_each_request() {
    let mut played = 0;
    for seed in 1..=60 {
        let mut scenario = Scenario::of_seed(seed);
        // A service would process the runs by itself.
        scenario.service = false;
        let all_runs = (1..=scenario.runs).collect();
        scenario.acts = vec![(Duration::ZERO, Act::Reprocess { host: 0, runs: all_runs })];
        scenario.variables.retain(|variable| {
            variable.behaviour == Behaviour::Value && variable.memory_mib < 1000 && !variable.spec.transient
        });
        let names: Vec<String> =
            scenario.variables.iter().map(|variable| variable.spec.name.clone()).collect();
        for variable in &mut scenario.variables {
            variable.spec.resources.time_minutes = None;
            variable.needs.retain(|need| names.contains(need));
            variable.spec.arguments.retain(|argument| names.contains(&argument.name));
        }
        if scenario.variables.is_empty() {
            continue;
        }
        played += 1;
        let outcome = play(&scenario, false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        // The request of the scenario, and the last one.
        let expected = 2 * u64::from(scenario.runs) * scenario.variables.len() as u64;
        assert_eq!(outcome.calls, expected, "seed {seed}: {scenario}");
    }
    assert!(played > 40, "{played}");
}
