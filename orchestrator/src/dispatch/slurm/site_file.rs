//! The site's defaults for all proposals, in one TOML file of the administrator's; what a database sets goes before it.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use amore_model::Proposal;
use amore_run_table::SettingValue;
use amore_slurm::handed_on::may_be_handed_on;
use amore_slurm_client::site_file::{self, Unreadable};
use serde::Deserialize;
use toml::Spanned;

use super::{
    asked::{CONCURRENT_JOBS, LeftOut, NONE, NonCluster, SlurmSettings, cpus, memory, minutes},
    clusters::unfit_name,
    refused::{SiteMeans, SiteRefusal},
    sourced::{Resolved, Source, Sourced},
};
use crate::failure::Failure;

/// What is wrong with the site's file.
#[derive(Debug, thiserror::Error)]
pub enum SiteFileError {
    /// It is there, or was named, and cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It says something that cannot be meant.
    #[error("{path}, line {line}{}: {problem}", .key.as_ref().map(|key| format!(", {key}")).unwrap_or_default())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key, where one is to blame.
        key: Option<String>,
        /// What.
        problem: String,
        /// What to do.
        hint: String,
    },
}

impl From<SiteFileError> for Failure {
    fn from(error: SiteFileError) -> Self {
        let hint = match &error {
            SiteFileError::Unreadable(Unreadable { path, .. }) => {
                format!(
                    "make it readable for everybody (chmod a+r {}), or unset AMORE_SITE_CONFIG",
                    path.display()
                )
            }
            SiteFileError::Wrong { hint, .. } => hint.clone(),
        };
        Failure::from_error(&error).hint(hint)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    #[serde(default)]
    slurm: General,
}

type Text = Option<Spanned<String>>;

/// A number, or a word.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Cpus {
    Number(i64),
    Word(String),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct General {
    partition: Text,
    reservation: Text,
    account: Text,
    qos: Text,
    time: Text,
    clusters: Text,
    concurrent_jobs: Option<Spanned<i64>>,
    noncluster: Option<Spanned<NonCluster>>,
    noncluster_cpus: Option<Spanned<Cpus>>,
    noncluster_mem: Text,
    cpus: Text,
    mem: Text,
    #[serde(default)]
    proposal: BTreeMap<Spanned<String>, Level>,
    #[serde(default)]
    instrument: BTreeMap<String, Level>,
    #[serde(default)]
    environment: Vec<Spanned<String>>,
    #[serde(default)]
    refusal: Vec<RefusalText>,
}

/// What a message of the site's own means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusalText {
    text: Spanned<String>,
    means: SiteMeans,
    hint: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    partition: Text,
    reservation: Text,
    account: Text,
    qos: Text,
    time: Text,
    clusters: Text,
    concurrent_jobs: Option<Spanned<i64>>,
    noncluster: Option<Spanned<NonCluster>>,
    noncluster_cpus: Option<Spanned<Cpus>>,
    noncluster_mem: Text,
    cpus: Text,
    mem: Text,
}

/// The site's file, read and found good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteFile {
    path: PathBuf,
    general: Resolved,
    proposals: BTreeMap<u32, Resolved>,
    instruments: BTreeMap<String, Resolved>,
    environment: Vec<String>,
    refusals: Vec<SiteRefusal>,
}

impl SiteFile {
    /// Reads the site's file, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or says something that cannot be meant.
    pub fn load() -> Result<Option<Self>, SiteFileError> {
        match site_file::read()? {
            Some((path, text)) => SiteFile::parse(&path, &text).map(Some),
            None => Ok(None),
        }
    }

    /// Which file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of more variables that Slurm's commands need.
    pub fn environment(&self) -> &[String] {
        &self.environment
    }

    /// What messages of the site's own mean.
    pub fn refusals(&self) -> &[SiteRefusal] {
        &self.refusals
    }

    /// Reads its text.
    ///
    /// # Errors
    /// It says something that cannot be meant.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SiteFileError> {
        let reader = Reader { path, text };
        let Root { slurm } = toml::from_str(text).map_err(|error| reader.syntax(&error))?;
        let mut file = SiteFile { path: path.to_owned(), ..SiteFile::default() };
        let General { partition, reservation, account, qos, time, clusters, concurrent_jobs, .. } = slurm;
        let General { noncluster, noncluster_cpus, noncluster_mem, cpus, mem, .. } = slurm;
        let general = Level {
            partition,
            reservation,
            account,
            qos,
            time,
            clusters,
            concurrent_jobs,
            noncluster,
            noncluster_cpus,
            noncluster_mem,
            cpus,
            mem,
        };
        file.general = reader.level(general, "[slurm]")?;
        for name in slurm.environment {
            if let Err(problem) = may_be_handed_on(name.get_ref()) {
                return Err(reader.wrong(&name.span(), problem, "environment = [\"SITE_TOKEN\"]"));
            }
            file.environment.push(name.into_inner());
        }
        for RefusalText { text, means, hint } in slurm.refusal {
            if text.get_ref().trim().is_empty() {
                let problem = "it must be a part of the site's message".to_owned();
                return Err(reader.wrong(&text.span(), problem, "text = \"maintenance until\""));
            }
            file.refusals.push(SiteRefusal { text: text.into_inner(), means, hint });
        }
        for (name, level) in slurm.proposal {
            let Ok(proposal) = name.get_ref().parse::<Proposal>() else {
                let problem = format!("{:?} is not a proposal number", name.get_ref());
                return Err(reader.wrong(&name.span(), problem, "write it as [slurm.proposal.1234]"));
            };
            let resolved = reader.level(level, &format!("[slurm.proposal.{proposal}]"))?;
            if file.proposals.insert(proposal.0, resolved).is_some() {
                let problem = format!("proposal {proposal} stands here twice");
                return Err(reader.wrong(&name.span(), problem, "put its settings into one section"));
            }
        }
        for (name, level) in slurm.instrument {
            let resolved = reader.level(level, &format!("[slurm.instrument.{name}]"))?;
            file.instruments.insert(name, resolved);
        }
        Ok(file)
    }

    /// What it says for a proposal at an instrument: the proposal's section goes before the instrument's, and that
    /// before the general one.
    pub fn of(&self, proposal: Option<Proposal>, instrument: Option<&str>) -> Resolved {
        let own = proposal.and_then(|proposal| self.proposals.get(&proposal.0)).cloned().unwrap_or_default();
        let named = |name: &str| {
            self.instruments
                .iter()
                .find(|(section, _)| section.eq_ignore_ascii_case(name))
                .map(|found| found.1)
        };
        let instruments = instrument.and_then(named).cloned().unwrap_or_default();
        own.or(&instruments).or(&self.general)
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// The key that stands before a place in its line.
    fn key(&self, at: usize) -> Option<String> {
        let line = self.text.lines().nth(self.line(at) - 1)?;
        let key = line.split_once('=')?.0.trim();
        (!key.is_empty()).then(|| key.to_owned())
    }

    fn wrong(&self, at: &Range<usize>, problem: String, hint: &str) -> SiteFileError {
        SiteFileError::Wrong {
            path: self.path.to_owned(),
            line: self.line(at.start),
            key: self.key(at.start),
            problem,
            hint: hint.to_owned(),
        }
    }

    fn syntax(&self, error: &toml::de::Error) -> SiteFileError {
        let at = error.span().unwrap_or(0..0);
        let problem = error.message().lines().next().unwrap_or_default().to_owned();
        let hint = if problem.starts_with("unknown field") {
            "correct its name, or delete the line"
        } else if problem.contains("expected a string") {
            "put the value into quotes"
        } else {
            "docs/slurm.md shows what such a file looks like"
        };
        self.wrong(&at, problem, hint)
    }

    fn level(&self, level: Level, section: &str) -> Result<Resolved, SiteFileError> {
        let source = |at: &Range<usize>| Source::Site {
            file: self.path.to_owned(),
            line: self.line(at.start),
            section: section.to_owned(),
        };
        let text = |given: Text| -> Result<Option<Sourced<String>>, SiteFileError> {
            let Some(given) = given else { return Ok(None) };
            let at = given.span();
            let value = given.into_inner().trim().to_owned();
            if value.is_empty() || value.contains(char::is_whitespace) {
                let problem = "it must be a name, without spaces".to_owned();
                return Err(self.wrong(&at, problem, "delete the line if nothing is to be set"));
            }
            Ok(Some(Sourced { value, source: source(&at) }))
        };
        if let Some(clusters) = &level.clusters
            && !clusters.get_ref().trim().is_empty()
            && let Some(name) = unfit_name(clusters.get_ref())
        {
            let problem =
                format!("it must be names of clusters with commas between them, and {name:?} is none");
            return Err(self.wrong(&clusters.span(), problem, "clusters = \"maxwell\""));
        }
        if let Some(time) = &level.time
            && minutes(time.get_ref().trim()).is_none()
        {
            let problem = format!("it must be a time as Slurm writes it, not {:?}", time.get_ref());
            return Err(self.wrong(&time.span(), problem, "time = \"2:00:00\""));
        }
        let noncluster_cpus = match &level.noncluster_cpus {
            None => None,
            Some(given) => {
                let text = match given.get_ref() {
                    Cpus::Number(number) => number.to_string(),
                    Cpus::Word(word) => word.clone(),
                };
                let value = cpus(&text).ok_or_else(|| {
                    let problem = format!("it must be a number of CPUs or \"none\", not {text}");
                    self.wrong(&given.span(), problem, "noncluster_cpus = 4")
                })?;
                Some(Sourced { value, source: source(&given.span()) })
            }
        };
        let noncluster_mem_mib = match &level.noncluster_mem {
            None => None,
            Some(text) => Some(Sourced {
                value: memory(text.get_ref()).ok_or_else(|| {
                    let problem =
                        format!("it must be an amount of memory or \"none\", not {:?}", text.get_ref());
                    self.wrong(&text.span(), problem, "noncluster_mem = \"25G\"")
                })?,
                source: source(&text.span()),
            }),
        };
        let left_out = |given: &Text| match given {
            None => Ok(None),
            Some(text) if text.get_ref().trim().eq_ignore_ascii_case(NONE) => {
                Ok(Some(Sourced { value: LeftOut, source: source(&text.span()) }))
            }
            Some(text) => {
                let problem = format!("it can only be \"none\", not {:?}", text.get_ref());
                Err(self.wrong(
                    &text.span(),
                    problem,
                    "delete the line: how much it is stands at the variable",
                ))
            }
        };
        Ok(Resolved {
            noncluster: level
                .noncluster
                .map(|place| Sourced { source: source(&place.span()), value: place.into_inner() }),
            noncluster_cpus,
            noncluster_mem_mib,
            cpus: left_out(&level.cpus)?,
            mem: left_out(&level.mem)?,
            reservation: text(level.reservation)?,
            partition: text(level.partition)?,
            account: text(level.account)?,
            qos: text(level.qos)?,
            clusters: text(level.clusters)?,
            time: text(level.time)?,
            // As in a database: zero or less is no limit.
            concurrent_jobs: level.concurrent_jobs.map(|jobs| {
                let source = source(&jobs.span());
                let number = *jobs.get_ref();
                let value = usize::try_from(number).ok().filter(|jobs| *jobs > 0).unwrap_or(usize::MAX);
                Sourced { value, source }
            }),
        })
    }
}

/// The instrument that a directory belongs to: `…/INSTRUMENT/CYCLE/p001234/…`.
pub fn instrument(directory: &Path) -> Option<String> {
    let names: Vec<&str> = directory.iter().map(|name| name.to_str().unwrap_or_default()).collect();
    let at = names.iter().rposition(|name| {
        name.strip_prefix('p')
            .is_some_and(|digits| digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit()))
    })?;
    let name = names.get(at.checked_sub(2)?)?;
    (!name.is_empty() && *name != "/").then(|| (*name).to_owned())
}

/// All settings for a database, each with its source: its own, then what the site has for its proposal, its instrument
/// (from the path), and all.
///
/// # Errors
/// A value in either place that cannot be meant.
pub fn resolve(
    database: &BTreeMap<String, SettingValue>,
    site: Option<&SiteFile>,
    proposal: Option<Proposal>,
    directory: &Path,
) -> Result<Resolved, Failure> {
    let mut own = Resolved::of_database(SlurmSettings::of(database)?);
    let instrument = instrument(directory);
    let Some(site) = site else { return Ok(own) };
    let of_site = site.of(proposal, instrument.as_deref());
    // Every new database says this number, as DAMNIT's do. It is nobody's wish, and must not hide the site's.
    if own.concurrent_jobs.as_ref().is_some_and(|jobs| jobs.value == CONCURRENT_JOBS)
        && of_site.concurrent_jobs.is_some()
    {
        own.concurrent_jobs = None;
    }
    Ok(own.or(&of_site))
}

/// What jobs of a database ask for: its settings, over the site's file.
///
/// # Errors
/// As [`resolve`], and a site's file that cannot be read.
pub fn settings(
    database: &BTreeMap<String, SettingValue>,
    proposal: Proposal,
    directory: &Path,
) -> Result<SlurmSettings, Failure> {
    Ok(sourced(database, proposal, directory)?.settings())
}

/// The same, each with its source.
///
/// # Errors
/// As [`settings`].
pub fn sourced(
    database: &BTreeMap<String, SettingValue>,
    proposal: Proposal,
    directory: &Path,
) -> Result<Resolved, Failure> {
    let site = SiteFile::load()?;
    resolve(database, site.as_ref(), Some(proposal), directory)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = r#"
# Everybody
[slurm]
partition = "upex"
time = "4:00:00"
concurrent_jobs = 40

[slurm.instrument.SPB]
partition = "upex-beamtime"
account = "spb"

[slurm.proposal."1234"]
reservation = "upex_001234"
concurrent_jobs = 0
"#;

    fn parse(text: &str) -> Result<SiteFile, SiteFileError> {
        SiteFile::parse(Path::new("/etc/amore/amore.toml"), text)
    }

    fn words(text: &str) -> String {
        Failure::from(parse(text).unwrap_err()).to_string()
    }

    fn database(settings: &[(&str, &str)]) -> BTreeMap<String, SettingValue> {
        settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), SettingValue::Text((*value).to_owned())))
            .collect()
    }

    #[test]
    fn the_nearest_level_goes_first() {
        let site = parse(FILE).unwrap();
        let of = |own: &[(&str, &str)], proposal, path: &str| {
            resolve(&database(own), Some(&site), Some(Proposal(proposal)), Path::new(path)).unwrap()
        };
        let here = "/gpfs/exfel/exp/SPB/202401/p001234/usr/Shared/amore";
        let found = of(&[("slurm_qos", "express")], 1234, here);
        let listed: Vec<String> =
            found.listed().iter().map(|(key, value, source)| format!("{key}={value}: {source}")).collect();
        assert_eq!(
            listed,
            [
                "slurm_reservation=upex_001234: /etc/amore/amore.toml, line 13, [slurm.proposal.1234]",
                "slurm_partition=upex-beamtime: /etc/amore/amore.toml, line 9, [slurm.instrument.SPB]",
                "slurm_account=spb: /etc/amore/amore.toml, line 10, [slurm.instrument.SPB]",
                "slurm_qos=express: amore db-config slurm_qos",
                "slurm_time=4:00:00: /etc/amore/amore.toml, line 5, [slurm]",
                "concurrent_jobs=no limit: /etc/amore/amore.toml, line 14, [slurm.proposal.1234]",
            ]
        );
        // DAMNIT's default, in each new database, is not a wish; another number is.
        let jobs = |number| of(&[("concurrent_jobs", number)], 99, "/tmp").settings().concurrent_jobs;
        assert_eq!((jobs("15"), jobs("7")), (Some(40), Some(7)));
        let lower = here.replace("SPB", "spb");
        assert_eq!(of(&[], 1, &lower).settings().account.as_deref(), Some("spb"));
        let elsewhere = of(&[], 99, "/gpfs/exfel/exp/MID/202401/p000099/usr/Shared/amore").settings();
        assert_eq!(elsewhere.partition.as_deref(), Some("upex"));
        assert_eq!((elsewhere.reservation, elsewhere.concurrent_jobs), (None, Some(40)));
    }

    #[test]
    fn a_partition_of_the_database_goes_before_a_reservation_of_the_site() {
        let site = parse(FILE).unwrap();
        let own = database(&[("slurm_partition", "mine")]);
        let found = resolve(&own, Some(&site), Some(Proposal(1234)), Path::new("/tmp")).unwrap().settings();
        assert_eq!((found.partition.as_deref(), found.reservation), (Some("mine"), None));
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_its_place() {
        assert_eq!(
            words("[slurm]\npartitoin = \"x\"\n").replace(", `", ",`").split(", expected").next().unwrap(),
            "/etc/amore/amore.toml, line 2, partitoin: unknown field `partitoin`"
        );
        assert!(words("[slurm]\n\naccount = 12\n").contains("line 3, account: invalid type: integer `12`"));
        assert!(words("[slurm]\naccount = 12\n").ends_with("hint: put the value into quotes"));
        assert!(words("[slurm.proposal.SPB]\n").contains("line 1: \"SPB\" is not a proposal number"));
        assert!(words("[slurm.proposal.1]\ntime = \"soon\"").contains("line 2, time: it must be a time"));
        assert!(words("[slurm]\nqos = \"\"").contains("line 2, qos: it must be a name"));
        assert!(
            words("[slurm]\nnoncluster = \"here\"").contains("line 2, noncluster: unknown variant `here`")
        );
        assert!(
            words("[slurm]\nnoncluster_mem = \"all\"")
                .contains("line 2, noncluster_mem: it must be an amount")
        );
        assert!(
            words("[slurm]\nnoncluster_cpus = 0").contains("line 2, noncluster_cpus: it must be a number")
        );
        assert!(words("[slurm\n").contains("line 1"));
        assert!(words("[slum]\n").contains("line 1: unknown field `slum`"));
    }

    #[test]
    fn the_instrument_is_in_the_path() {
        for (path, expected) in [
            ("/gpfs/exfel/exp/SPB/202401/p001234/usr/Shared/amore", Some("SPB")),
            ("/gpfs/exfel/u/usr/HED/202401/p001234/Shared/amore", Some("HED")),
            ("/p001234/usr", None),
            ("/202401/p001234/usr", None),
            ("/tmp/plots", None),
        ] {
            assert_eq!(instrument(Path::new(path)).as_deref(), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_file_is_a_panic(text in "(\\[slurm|proposal|\\.|\\]|\n|time|=|\"| |[0-9a-zé]){0,40}") {
            let _ = parse(&text);
        }
    }
}
