//! The setting `slurm_clusters`: the clusters that jobs are submitted to.

use amore_model::is_cluster_name;

/// The clusters that a job may be submitted to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Clusters {
    /// The cluster that Slurm's commands use by default. It is not named on command lines, which would need slurmdbd.
    #[default]
    Ours,
    /// This cluster.
    One(String),
    /// One of these clusters: Slurm chooses the one where the job starts first.
    Several(Vec<String>),
    /// Like `Several`, with all clusters that accounting knows.
    All,
}

impl Clusters {
    /// Parses the setting: names separated by commas, or `all`.
    pub fn of(setting: Option<&str>) -> Self {
        let mut names: Vec<&str> =
            setting.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if names.contains(&"all") {
            return Clusters::All;
        }
        match names.as_mut_slice() {
            [] => Clusters::Ours,
            [one] => Clusters::One((*one).to_owned()),
            several => Clusters::Several(several.iter().map(|name| (*name).to_owned()).collect()),
        }
    }

    /// Whether Slurm chooses among several clusters, so that facts about "the" cluster cannot be queried beforehand.
    pub fn chosen_by_slurm(&self) -> bool {
        matches!(self, Clusters::Several(_) | Clusters::All)
    }

    /// The cluster, if exactly one is named.
    pub fn only(&self) -> Option<&str> {
        match self {
            Clusters::One(name) => Some(name),
            _ => None,
        }
    }
}

/// Returns a name in the setting that is not a valid cluster name.
pub fn invalid_name(setting: &str) -> Option<&str> {
    setting.split(',').map(str::trim).find(|name| !is_cluster_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_names_none_one_or_several() {
        let several =
            |names: &[&str]| Clusters::Several(names.iter().map(|name| (*name).to_owned()).collect());
        for (setting, clusters) in [
            (None, Clusters::Ours),
            (Some(""), Clusters::Ours),
            (Some("lab"), Clusters::One("lab".to_owned())),
            (Some(" lab, "), Clusters::One("lab".to_owned())),
            (Some("lab, maxwell"), several(&["lab", "maxwell"])),
            (Some("all"), Clusters::All),
        ] {
            let found = Clusters::of(setting);
            assert_eq!(found, clusters, "{setting:?}");
            assert_eq!(found.chosen_by_slurm(), matches!(found, Clusters::Several(_) | Clusters::All));
        }
        assert_eq!(invalid_name("lab,maxwell-2"), None);
        assert_eq!(invalid_name("lab,-v"), Some("-v"));
        assert_eq!(invalid_name("lab;rm"), Some("lab;rm"));
        assert_eq!(invalid_name("lab,,x"), Some(""));
    }
}
