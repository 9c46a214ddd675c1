//! On which clusters jobs are: the setting `slurm_clusters`, read.

use amore_model::is_cluster_name;

/// Where jobs are submitted to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Clusters {
    /// To the cluster that Slurm's commands ask by themselves. None is named to them: that would need slurmdbd.
    #[default]
    Ours,
    /// To this one.
    One(String),
    /// To the one of these where Slurm lets it begin first.
    Several(Vec<String>),
    /// The same, of all that accounting knows.
    All,
}

impl Clusters {
    /// From the setting: names with commas, or `all`.
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

    /// Is it for Slurm to choose among several? Then nothing can be asked of *the* cluster beforehand.
    pub fn leave_it_to_slurm(&self) -> bool {
        matches!(self, Clusters::Several(_) | Clusters::All)
    }

    /// The one that is named, if it is one.
    pub fn only(&self) -> Option<&str> {
        match self {
            Clusters::One(name) => Some(name),
            _ => None,
        }
    }
}

/// A name in the setting that no cluster can have.
pub fn unfit_name(setting: &str) -> Option<&str> {
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
            assert_eq!(found.leave_it_to_slurm(), matches!(found, Clusters::Several(_) | Clusters::All));
        }
        assert_eq!(unfit_name("lab,maxwell-2"), None);
        assert_eq!(unfit_name("lab,-v"), Some("-v"));
        assert_eq!(unfit_name("lab;rm"), Some("lab;rm"));
        assert_eq!(unfit_name("lab,,x"), Some(""));
    }
}
