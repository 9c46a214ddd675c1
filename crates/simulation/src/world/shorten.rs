//! Shortens a scenario that breaks a rule.

use super::{Scenario, play};

/// Approximate number of steps that are spent on shortening one scenario. A scenario that does not end takes hundreds of
/// thousands.
const STEPS: u64 = 4_000_000;

/// A scenario that breaks the same rule with fewer acts, runs and variables.
pub fn shortened(scenario: &Scenario, rule: &str) -> Scenario {
    let mut best = scenario.clone();
    let mut steps = 0;
    let mut breaks = |scenario: &Scenario| {
        if steps > STEPS {
            return false;
        }
        let played = play(scenario, false);
        steps += played.steps;
        played.violation.is_some_and(|violation| violation.rule == rule)
    };
    loop {
        let before = size(&best);
        for at in (0..best.acts.len()).rev() {
            let mut less = best.clone();
            less.acts.remove(at);
            if breaks(&less) {
                best = less;
            }
        }
        for at in (0..best.variables.len()).rev() {
            let mut less = best.clone();
            let gone = less.variables.remove(at).spec.name;
            for variable in &mut less.variables {
                variable.needs.retain(|need| *need != gone);
                variable.spec.arguments.retain(|argument| argument.name != gone);
            }
            if !less.variables.is_empty() && breaks(&less) {
                best = less;
            }
        }
        // With a service, the runs are in the acts.
        while best.runs > 1 && !best.service {
            let mut less = best.clone();
            less.runs -= 1;
            if !breaks(&less) {
                break;
            }
            best = less;
        }
        for simpler in [
            |scenario: &mut Scenario| scenario.two_clusters = false,
            |scenario: &mut Scenario| scenario.reservation = false,
            |scenario: &mut Scenario| scenario.accounting = true,
            |scenario: &mut Scenario| scenario.processes = 1,
        ] {
            let mut less = best.clone();
            simpler(&mut less);
            if breaks(&less) {
                best = less;
            }
        }
        if size(&best) == before {
            return best;
        }
    }
}

fn size(scenario: &Scenario) -> (usize, usize, u32) {
    (scenario.acts.len(), scenario.variables.len(), scenario.runs)
}
