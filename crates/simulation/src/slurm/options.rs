//! Parses command lines strictly: an unlisted option is an error.

use std::collections::BTreeMap;

use super::words::Refusal;

/// An option: its names, and whether it takes a value.
pub(super) struct Known {
    /// `--job-name`, or a placeholder for an option without a long name (`-h`).
    pub name: &'static str,
    /// `-J`; empty if there is none.
    pub short: &'static str,
    pub valued: bool,
}

/// A command line.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    /// Options by name. If an option is repeated, the last one counts.
    pub options: BTreeMap<&'static str, String>,
    /// The positional arguments.
    pub words: Vec<String>,
}

impl CommandLine {
    /// Parses `--name=value`, `--name value`, `-J value`, `-Jvalue`, `-h`.
    pub fn read(argv: &[String], known: &'static [Known]) -> Result<Self, Refusal> {
        let mut line = CommandLine::default();
        let mut rest = argv.iter();
        while let Some(word) = rest.next() {
            if !word.starts_with('-') || word == "-" {
                line.words.push(word.clone());
                continue;
            }
            let (name, value) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let exact = known.iter().find(|option| option.name == name || option.short == name);
            // `-c4`
            let glued = || {
                known
                    .iter()
                    .find(|option| option.valued && option.short.len() == 2 && word.starts_with(option.short))
            };
            let (option, value) = match (exact, value) {
                (Some(option), value) => (option, value),
                (None, None) => match glued() {
                    Some(option) => (option, word.get(2..).map(str::to_owned)),
                    None => return Err(Refusal::not_known(format_args!("the option {word}"))),
                },
                (None, Some(_)) => return Err(Refusal::not_known(format_args!("the option {word}"))),
            };
            let value = match (option.valued, value) {
                (true, Some(value)) => value,
                (true, None) => rest.next().cloned().unwrap_or_default(),
                (false, None) => String::new(),
                (false, Some(_)) => return Err(Refusal::not_known(format_args!("a value in {word}"))),
            };
            line.options.insert(option.name, value);
        }
        Ok(line)
    }

    /// The value of an option.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Whether the option is given.
    pub fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// A list of names separated by commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        let names = self.get(name).unwrap_or_default().split(',');
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// A number.
    pub fn number(&self, name: &str) -> Result<Option<u32>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Refusal::not_known(format_args!("{name}={text}")))
    }
}
