//! Makes a scenario that breaks a rule shorter.

use super::{Scenario, play};

/// Plays that are spent on one scenario.
const PLAYS: usize = 300;

/// A scenario that breaks the same rule with less: fewer acts, runs and variables.
pub fn shortened(scenario: &Scenario, rule: &str) -> Scenario {
    let mut best = scenario.clone();
    let mut plays = 0;
    let mut breaks = |scenario: &Scenario| {
        plays += 1;
        plays <= PLAYS && play(scenario, false).violation.is_some_and(|violation| violation.rule == rule)
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
        while best.runs > 1 {
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
