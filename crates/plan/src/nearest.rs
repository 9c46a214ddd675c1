//! "Did you mean …?": finds the existing name that is closest to an unknown one.

use std::collections::HashMap;

use amore_model::VariableSpec;

/// What was probably meant by an unknown name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meant<'a> {
    /// It is the title of this variable, not its name.
    Title(&'a str),
    /// It is similar to this name.
    Name(&'a str),
}

/// How many different unknown names of a file are compared with all names by edit distance. This takes time
/// proportional to the number of names for each; further ones are only looked up (titles, letter case, members of groups),
/// so that a file in which every name is wrong is still checked quickly.
const COMPARED: usize = 100;

/// From this many bytes on, a common prefix is more than a coincidence.
const BEGINNING: usize = 3;

/// Finds similar names; repeated queries are cached.
pub(crate) struct Nearest<'a> {
    variables: &'a [VariableSpec],
    lookup: Option<Lookup<'a>>,
    known: HashMap<String, Option<Meant<'a>>>,
    compared: usize,
}

/// First variable for each title, lower-case name and last part of a dotted name.
struct Lookup<'a> {
    titles: HashMap<String, &'a str>,
    lower: HashMap<String, &'a str>,
    last: HashMap<&'a str, &'a str>,
}

impl<'a> Nearest<'a> {
    pub(crate) fn new(variables: &'a [VariableSpec]) -> Self {
        Nearest { variables, lookup: None, known: HashMap::new(), compared: 0 }
    }

    /// What was probably meant by `name`, which is not a variable's name.
    pub(crate) fn to(&mut self, name: &str) -> Option<Meant<'a>> {
        if let Some(&known) = self.known.get(name) {
            return known;
        }
        let variables = self.variables;
        let lookup = self.lookup.get_or_insert_with(|| Lookup::of(variables));
        let mut meant = lookup.meant(name);
        if meant.is_none() && self.compared < COMPARED {
            self.compared += 1;
            meant = nearest(name, variables.iter().map(|v| v.name.as_str())).map(Meant::Name);
        }
        self.known.insert(name.to_owned(), meant);
        meant
    }
}

impl<'a> Lookup<'a> {
    fn of(variables: &'a [VariableSpec]) -> Self {
        let mut lookup = Lookup { titles: HashMap::new(), lower: HashMap::new(), last: HashMap::new() };
        for variable in variables {
            let name = variable.name.as_str();
            lookup.titles.entry(variable.title.to_lowercase()).or_insert(name);
            lookup.lower.entry(name.to_lowercase()).or_insert(name);
            lookup.last.entry(last_part(name)).or_insert(name);
        }
        lookup
    }

    fn meant(&self, name: &str) -> Option<Meant<'a>> {
        let lower = name.to_lowercase();
        if let Some(&same) = self.lower.get(&lower) {
            return Some(Meant::Name(same));
        }
        if let Some(&titled) = self.titles.get(&lower) {
            return Some(Meant::Title(titled));
        }
        self.last.get(last_part(name)).map(|&member| Meant::Name(member))
    }
}

fn last_part(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// The candidate with the fewest edits (insertion, deletion, replacement, or transposition of neighbours), if these are at
/// most a third of the letters; the first of equally close ones.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> Option<&'a str> {
    let letters = name.chars().count();
    let mut best: Option<&'a str> = None;
    // Always one more than is still good enough.
    let mut limit = (letters / 3).max(1) + 1;
    let candidates = candidates.into_iter();
    for candidate in candidates.clone() {
        // There are at least as many edits as the lengths differ, which is known at once.
        if candidate.chars().count().abs_diff(letters) < limit {
            let edits = strsim::osa_distance(name, candidate);
            if edits < limit {
                limit = edits;
                best = Some(candidate);
            }
        }
    }
    best.or_else(|| {
        candidates.into_iter().find(|candidate| {
            candidate.len().min(name.len()) >= BEGINNING
                && (candidate.starts_with(name) || name.starts_with(candidate))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_counts_edits_and_gives_up_on_strangers() {
        let names = ["xgm_intensity", "pulses", "pulse_energy", "x"];
        assert_eq!(nearest("xgm_intesnity", names), Some("xgm_intensity"));
        assert_eq!(nearest("pulse", names), Some("pulses"));
        assert_eq!(nearest("motor_position", names), None);
        assert_eq!(nearest("y", names), Some("x"));
        assert_eq!(nearest("xgm_intensity_mean", names), Some("xgm_intensity"));
        assert_eq!(nearest("sample", ["sample_name"]), Some("sample_name"));
        assert_eq!(nearest("pulses", []), None);
    }

    #[test]
    fn the_first_of_equally_near_names_is_taken() {
        assert_eq!(nearest("roi3", ["roi1", "roi2"]), Some("roi1"));
    }
}
