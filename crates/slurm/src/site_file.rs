//! The site's defaults for all proposals: a TOML file of the administrator. Settings of a database take precedence.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use amore_model::{Proposal, Sandbox};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    environment::{SiteCommands, may_be_passed_on},
    refused::{SiteMeans, SiteRefusal},
    settings::{ALL, CONCURRENT_JOBS, DEFAULT_CONCURRENT_JOBS, Kind, Setting, Value},
    sourced::{Resolved, Source},
};

/// An error in the site's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}, line {line}{}: {problem}", .key.as_ref().map(|key| format!(", {key}")).unwrap_or_default())]
pub struct InvalidSiteFile {
    /// The file.
    pub path: PathBuf,
    /// Line number, from 1.
    pub line: usize,
    /// The key, if the problem is with one.
    pub key: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub hint: String,
}

/// The site's file, parsed and valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteFile {
    path: PathBuf,
    general: Resolved,
    proposals: BTreeMap<u32, Resolved>,
    instruments: BTreeMap<String, Resolved>,
    commands: SiteCommands,
    sandbox: Option<SiteSandbox>,
}

/// The sandbox that the site's file sets. No setting of a database takes precedence over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteSandbox {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// Line number, from 1.
    pub line: usize,
}

/// The key of the sandbox, at the head of the file: it is not a setting of Slurm.
pub const SANDBOX_KEY: &str = "sandbox_args";

/// Tables and lists in `[slurm]` besides its settings.
const PARTS: [&str; 4] = ["proposal", "instrument", "environment", "refusal"];

impl SiteFile {
    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says about Slurm's commands.
    pub fn commands(&self) -> &SiteCommands {
        &self.commands
    }

    /// The sandbox that all user code is executed in, if there is one.
    pub fn sandbox(&self) -> Option<&SiteSandbox> {
        self.sandbox.as_ref()
    }

    /// Parses the text of the file.
    ///
    /// # Errors
    /// The first problem, with its line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, InvalidSiteFile> {
        let reader = Reader { path, text };
        let root = DeTable::parse(text).map_err(|error| reader.syntax(&error))?;
        let mut file = SiteFile { path: path.to_owned(), ..SiteFile::default() };
        for (name, value) in root.get_ref() {
            if name.get_ref() == SANDBOX_KEY {
                file.sandbox = Some(reader.sandbox(value)?);
                continue;
            }
            if name.get_ref() != "slurm" {
                return Err(reader.unknown(name, ["slurm", SANDBOX_KEY]));
            }
            let slurm = reader.table(value)?;
            let own = |name: &str| PARTS.contains(&name);
            file.general = reader.level(slurm, "[slurm]", own)?;
            for (name, value) in slurm {
                match name.get_ref().as_ref() {
                    "proposal" => file.proposals = reader.proposals(value)?,
                    "instrument" => file.instruments = reader.instruments(value)?,
                    "environment" => file.commands.environment = reader.environment(value)?,
                    "refusal" => file.commands.refusals = reader.refusals(value)?,
                    _ => {}
                }
            }
        }
        Ok(file)
    }

    /// The settings for a proposal at an instrument. The proposal's section takes precedence over the instrument's, and that
    /// over the general one.
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

type Wrong = InvalidSiteFile;

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// The key on the line of this position.
    fn key(&self, at: usize) -> Option<String> {
        let line = self.text.lines().nth(self.line(at) - 1)?;
        let key = line.split_once('=')?.0.trim();
        (!key.is_empty()).then(|| key.to_owned())
    }

    fn wrong(&self, at: &Range<usize>, problem: String, hint: impl Into<String>) -> Wrong {
        InvalidSiteFile {
            path: self.path.to_owned(),
            line: self.line(at.start),
            key: self.key(at.start),
            problem,
            hint: hint.into(),
        }
    }

    fn syntax(&self, error: &toml::de::Error) -> Wrong {
        let at = error.span().unwrap_or(0..0);
        let problem = error.message().lines().next().unwrap_or_default().to_owned();
        self.wrong(&at, problem, "see docs/slurm.md for an example")
    }

    fn unknown<'n>(
        &self,
        name: &Spanned<impl AsRef<str>>,
        known: impl IntoIterator<Item = &'n str>,
    ) -> Wrong {
        let known: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
        let problem = format!("unknown field `{}`, expected {}", name.get_ref().as_ref(), known.join(", "));
        self.wrong(&name.span(), problem, "correct the name, or delete the line")
    }

    fn another_type(&self, value: &Spanned<DeValue<'_>>, expected: &str) -> Wrong {
        let found = match value.get_ref() {
            DeValue::Integer(number) => format!("integer `{}`", number.as_str()),
            other => other.type_str().to_owned(),
        };
        let hint = if expected == "a string" {
            "put the value in quotes"
        } else {
            "see docs/slurm.md for an example"
        };
        self.wrong(&value.span(), format!("invalid type: {found}, expected {expected}"), hint)
    }

    fn table<'v, 't>(&self, value: &'v Spanned<DeValue<'t>>) -> Result<&'v DeTable<'t>, Wrong> {
        value.get_ref().as_table().ok_or_else(|| self.another_type(value, "a table"))
    }

    fn string<'v>(&self, value: &'v Spanned<DeValue<'_>>) -> Result<&'v str, Wrong> {
        value.get_ref().as_str().ok_or_else(|| self.another_type(value, "a string"))
    }

    fn sandbox(&self, value: &Spanned<DeValue<'_>>) -> Result<SiteSandbox, Wrong> {
        let sandbox = Sandbox::parse(self.string(value)?)
            .map_err(|error| self.wrong(&value.span(), format!("it {error}"), error.hint()))?;
        Ok(SiteSandbox { sandbox, line: self.line(value.span().start) })
    }

    fn list<'v, 't>(
        &self,
        value: &'v Spanned<DeValue<'t>>,
    ) -> Result<impl Iterator<Item = &'v Spanned<DeValue<'t>>>, Wrong> {
        let list = value.get_ref().as_array().ok_or_else(|| self.another_type(value, "a list"))?;
        Ok(list.iter())
    }

    /// The settings in a section. `other`: which other names are allowed there.
    fn level(
        &self,
        table: &DeTable<'_>,
        section: &str,
        other: impl Fn(&str) -> bool,
    ) -> Result<Resolved, Wrong> {
        let mut level = Resolved::default();
        for (name, value) in table {
            let setting = ALL.into_iter().find(|setting| setting.in_file == name.get_ref());
            let Some(setting) = setting else {
                if other(name.get_ref()) {
                    continue;
                }
                return Err(self.unknown(name, ALL.iter().map(|setting| setting.in_file)));
            };
            let text = self.text_of(setting, value)?;
            let at = value.span();
            let read = if text.trim().is_empty() { Kind::Name.read("") } else { setting.kind.read(text) };
            let read =
                read.map_err(|unfit| self.wrong(&at, format!("it {unfit}"), setting.hint_in_file()))?;
            let line = self.line(at.start);
            let source = Source::Site { file: self.path.to_owned(), line, section: section.to_owned() };
            level.set(setting, read, source);
        }
        Ok(level)
    }

    /// Numbers need no quotes.
    fn text_of<'v>(&self, setting: Setting, value: &'v Spanned<DeValue<'_>>) -> Result<&'v str, Wrong> {
        match value.get_ref() {
            DeValue::Integer(number) if matches!(setting.kind, Kind::Jobs | Kind::Cpus) => {
                Ok(number.as_str())
            }
            _ => self.string(value),
        }
    }

    fn proposals(&self, value: &Spanned<DeValue<'_>>) -> Result<BTreeMap<u32, Resolved>, Wrong> {
        let mut proposals = BTreeMap::new();
        for (name, value) in self.table(value)? {
            let Ok(proposal) = name.get_ref().parse::<Proposal>() else {
                let problem = format!("{:?} is not a proposal number", name.get_ref());
                return Err(self.wrong(&name.span(), problem, "write it as [slurm.proposal.1234]"));
            };
            let level = self.level(self.table(value)?, &format!("[slurm.proposal.{proposal}]"), |_| false)?;
            if proposals.insert(proposal.0, level).is_some() {
                let problem = format!("proposal {proposal} has two sections");
                return Err(self.wrong(&name.span(), problem, "put its settings in one section"));
            }
        }
        Ok(proposals)
    }

    fn instruments(&self, value: &Spanned<DeValue<'_>>) -> Result<BTreeMap<String, Resolved>, Wrong> {
        let mut instruments = BTreeMap::new();
        for (name, value) in self.table(value)? {
            let name = name.get_ref();
            let level = self.level(self.table(value)?, &format!("[slurm.instrument.{name}]"), |_| false)?;
            instruments.insert(name.clone().into_owned(), level);
        }
        Ok(instruments)
    }

    fn environment(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Wrong> {
        let mut names = Vec::new();
        for value in self.list(value)? {
            let name = self.string(value)?;
            if let Err(problem) = may_be_passed_on(name) {
                return Err(self.wrong(&value.span(), problem, "environment = [\"SITE_TOKEN\"]"));
            }
            names.push(name.to_owned());
        }
        Ok(names)
    }

    fn refusals(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<SiteRefusal>, Wrong> {
        self.list(value)?.map(|value| self.refusal(value)).collect()
    }

    fn refusal(&self, value: &Spanned<DeValue<'_>>) -> Result<SiteRefusal, Wrong> {
        let (mut text, mut means, mut hint) = (None, None, None);
        for (name, value) in self.table(value)? {
            let given = self.string(value)?;
            match name.get_ref().as_ref() {
                "text" if given.trim().is_empty() => {
                    let problem = "it must be a part of the site's message".to_owned();
                    return Err(self.wrong(&value.span(), problem, "text = \"maintenance until\""));
                }
                "text" => text = Some(given.to_owned()),
                "means" => {
                    let read = SiteMeans::of(given).ok_or_else(|| {
                        let problem = format!("it must be passes, limit or rule, not {given:?}");
                        self.wrong(&value.span(), problem, "means = \"passes\"")
                    })?;
                    means = Some(read);
                }
                "hint" => hint = Some(given.to_owned()),
                _ => return Err(self.unknown(name, ["text", "means", "hint"])),
            }
        }
        match (text, means) {
            (Some(text), Some(means)) => Ok(SiteRefusal { text, means, hint }),
            (text, _) => {
                let missing = if text.is_none() { "text" } else { "means" };
                let problem = format!("missing field `{missing}`");
                Err(self.wrong(&value.span(), problem, "see docs/slurm.md for an example"))
            }
        }
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

/// All settings for a database, each with its source: its own first, then the site's for its proposal, its instrument
/// (from the path), and in general.
pub fn resolve(
    mut own: Resolved,
    site: Option<&SiteFile>,
    proposal: Option<Proposal>,
    directory: &Path,
) -> Resolved {
    let Some(site) = site else { return own };
    let of_site = site.of(proposal, instrument(directory).as_deref());
    // Every new database has this number, as in DAMNIT. Nobody chose it, so it must not hide the site's.
    if own.value(CONCURRENT_JOBS) == Some(&Value::Jobs(DEFAULT_CONCURRENT_JOBS))
        && of_site.value(CONCURRENT_JOBS).is_some()
    {
        own.unset(CONCURRENT_JOBS);
    }
    own.or(&of_site)
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

    fn parse(text: &str) -> Result<SiteFile, InvalidSiteFile> {
        SiteFile::parse(Path::new("/etc/amore/amore.toml"), text)
    }

    fn words(text: &str) -> String {
        let wrong = parse(text).unwrap_err();
        format!("{wrong}\n  hint: {}", wrong.hint)
    }

    fn database(settings: &[(&str, &str)]) -> Resolved {
        let settings = settings.iter().map(|(key, value)| (*key, (*value).to_owned()));
        Resolved::of_database(settings).unwrap()
    }

    #[test]
    fn the_nearest_level_goes_first() {
        let site = parse(FILE).unwrap();
        let of = |own: &[(&str, &str)], proposal, path: &str| {
            resolve(database(own), Some(&site), Some(Proposal(proposal)), Path::new(path))
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
        // DAMNIT's default is in each new database, and was not chosen by anybody; any other number was.
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
        let found = resolve(own, Some(&site), Some(Proposal(1234)), Path::new("/tmp")).settings();
        assert_eq!((found.partition.as_deref(), found.reservation), (Some("mine"), None));
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_its_place() {
        assert_eq!(
            words("[slurm]\npartitoin = \"x\"\n").replace(", `", ",`").split(", expected").next().unwrap(),
            "/etc/amore/amore.toml, line 2, partitoin: unknown field `partitoin`"
        );
        assert!(words("[slurm]\n\naccount = 12\n").contains("line 3, account: invalid type: integer `12`"));
        assert!(words("[slurm]\naccount = 12\n").ends_with("hint: put the value in quotes"));
        assert!(words("[slurm.proposal.SPB]\n").contains("line 1: \"SPB\" is not a proposal number"));
        assert!(words("[slurm.proposal.1]\ntime = \"soon\"").contains("line 2, time: it must be a time"));
        assert!(words("[slurm]\nqos = \"\"").contains("line 2, qos: it must be a name"));
        assert!(
            words("[slurm]\nnoncluster = \"here\"")
                .contains("line 2, noncluster: it must be local or slurm, not \"here\"")
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
    fn what_the_site_says_of_slurms_commands_is_read() {
        let text = "[slurm]\nenvironment = [\"SITE_TOKEN\"]\n[[slurm.refusal]]\ntext = \"maintenance until\"\nmeans = \"passes\"\n";
        let site = parse(text).unwrap();
        assert_eq!(site.commands().environment, ["SITE_TOKEN"]);
        let refusal =
            SiteRefusal { text: "maintenance until".to_owned(), means: SiteMeans::Passes, hint: None };
        assert_eq!(site.commands().refusals, [refusal]);
        assert!(words("[[slurm.refusal]]\ntext = \"x\"\n").contains("missing field `means`"));
        assert!(
            words("[[slurm.refusal]]\ntext = \"x\"\nmeans = \"no\"\n").contains("line 3, means: it must be")
        );
        assert!(
            words("[[slurm.refusal]]\ntext = \" \"\nmeans = \"rule\"\n").contains("line 2, text: it must")
        );
        assert!(words("[slurm]\nenvironment = [\"SBATCH_X\"]\n").contains("line 2, environment: SBATCH_X"));
        assert!(words("[slurm]\nproposal = 3\n").contains("expected a table"));
    }

    #[test]
    fn the_sandbox_is_split_into_words_and_checked() {
        let site = parse("# for all\nsandbox_args = \"/opt/sandbox --bind '/a b'\"\n[slurm]\n").unwrap();
        let found = site.sandbox().unwrap();
        assert_eq!((found.sandbox.to_string().as_str(), found.line), ("/opt/sandbox --bind '/a b'", 2));
        assert!(parse(FILE).unwrap().sandbox().is_none());
        for (value, problem) in [
            ("\"bwrap 'a\"", "it has a quote that is not closed"),
            ("\"\"", "it names no program"),
            ("\"'' a\"", "it names no program"),
            ("\"./sandbox\"", "it names the program \"./sandbox\" relative to"),
            ("[\"bwrap\"]", "invalid type: array, expected a string"),
        ] {
            let said = words(&format!("\nsandbox_args = {value}\n"));
            assert!(said.contains(&format!("amore.toml, line 2, sandbox_args: {problem}")), "{said}");
        }
        assert!(words("[slurm]\nsandbox_args = \"a\"\n").contains("unknown field `sandbox_args`"));
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
