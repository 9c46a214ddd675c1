//! The name that somebody meant.

/// The known setting with the fewest edits, if at most a third of it has to be edited. Case does not count, and `-` is `_`.
pub fn nearest_setting(typed: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    let spelt = typed.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|known| (strsim::levenshtein(&spelt, known), known))
        .filter(|(distance, known)| *distance * 3 <= known.len())
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::nearest_setting;

    #[test]
    fn a_mistyped_name_is_recognised_and_another_word_is_not() {
        let known = ["slurm_partition", "slurm_time"];
        assert_eq!(nearest_setting("Slurm-partitoin", known), Some("slurm_partition"));
        assert_eq!(nearest_setting("colour", known), None);
    }
}
