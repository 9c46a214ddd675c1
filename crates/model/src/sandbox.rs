//! The sandbox that user code runs in: a command of the administrator that is put before each command of users.
//!
//! The contract is DAMNIT's: `<words> <proposal> -- <command>`. The sandbox receives the proposal's number in decimal,
//! and executes the command with the arguments, the standard input and the environment that it gets.

use std::{ffi::OsString, fmt};

use serde::{Deserialize, Serialize};

use crate::{Proposal, shell};

/// Separates the sandbox's own arguments from the command.
const END_OF_OPTIONS: &str = "--";
/// Takes the place of `#` while words are split: in Python's `shlex.split`, which DAMNIT uses, `#` begins no comment. No
/// word can contain it, because no argument of a program can.
const STAND_IN: &str = "\0";

/// Program and arguments of a sandbox. There is always a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Sandbox {
    words: Vec<String>,
}

/// Why a text is not the command of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSandbox {
    /// There is no word, or the first one is empty.
    #[error("names no program")]
    NoProgram,
    /// A quote is not closed, or nothing follows a backslash at the end.
    #[error("has a quote that is not closed, or ends with a backslash")]
    Unbalanced,
    /// An argument of a program cannot contain NUL.
    #[error("contains NUL")]
    Nul,
    /// The program depends on the working directory, which belongs to users.
    #[error("names the program {0:?} relative to the working directory")]
    Relative(String),
}

impl InvalidSandbox {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            InvalidSandbox::NoProgram => "name a program, or delete the setting to run without a sandbox",
            InvalidSandbox::Unbalanced => "close each quote; a quote inside of a word is written as \\'",
            InvalidSandbox::Nul => "remove the NUL character",
            InvalidSandbox::Relative(_) => {
                "give the program's absolute path, or only its name if it is on PATH"
            }
        }
    }
}

impl Sandbox {
    /// Splits a text into words as a shell does, without expanding anything.
    ///
    /// # Errors
    /// A quote is not closed, or the program is missing or given by a relative path.
    pub fn parse(text: &str) -> Result<Self, InvalidSandbox> {
        if text.contains(STAND_IN) {
            return Err(InvalidSandbox::Nul);
        }
        let words = shlex::split(&text.replace('#', STAND_IN)).ok_or(InvalidSandbox::Unbalanced)?;
        Sandbox::of(words.into_iter().map(|word| word.replace(STAND_IN, "#")).collect())
    }

    /// The sandbox of these words.
    ///
    /// # Errors
    /// The program is missing or given by a relative path.
    pub fn of(words: Vec<String>) -> Result<Self, InvalidSandbox> {
        match words.first() {
            None => return Err(InvalidSandbox::NoProgram),
            Some(program) if program.is_empty() => return Err(InvalidSandbox::NoProgram),
            Some(program) if program.contains('/') && !program.starts_with('/') => {
                return Err(InvalidSandbox::Relative(program.clone()));
            }
            Some(_) => {}
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err(InvalidSandbox::Nul);
        }
        Ok(Sandbox { words })
    }

    /// The program: an absolute path, or a name that is looked up on PATH.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The command line that executes `command` in the sandbox, for this proposal.
    pub fn wrap(
        &self,
        proposal: Proposal,
        command: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Vec<OsString> {
        let own = self.words.iter().map(OsString::from);
        let contract = [OsString::from(proposal.0.to_string()), OsString::from(END_OF_OPTIONS)];
        own.chain(contract).chain(command.into_iter().map(Into::into)).collect()
    }
}

impl fmt::Display for Sandbox {
    /// As a command line, quoted where necessary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shell::line(&self.words))
    }
}

impl TryFrom<Vec<String>> for Sandbox {
    type Error = InvalidSandbox;

    fn try_from(words: Vec<String>) -> Result<Self, InvalidSandbox> {
        Sandbox::of(words)
    }
}

impl From<Sandbox> for Vec<String> {
    fn from(sandbox: Sandbox) -> Self {
        sandbox.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str) -> Vec<OsString> {
        Sandbox::parse(text).unwrap().wrap(Proposal(1234), ["python", "-m", "x y"])
    }

    #[test]
    fn the_command_follows_the_proposal() {
        assert_eq!(
            wrapped("/opt/sandbox --bind '/a b' \"c d\" e\\ f"),
            ["/opt/sandbox", "--bind", "/a b", "c d", "e f", "1234", "--", "python", "-m", "x y"]
        );
        assert_eq!(wrapped("  bwrap\n"), ["bwrap", "1234", "--", "python", "-m", "x y"]);
    }

    #[test]
    fn nothing_is_expanded_and_there_are_no_comments() {
        let words = wrapped("s $HOME `id` * '#a' #b c#d \"#e\"");
        assert_eq!(words[..8], ["s", "$HOME", "`id`", "*", "#a", "#b", "c#d", "#e"]);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for (text, why) in [
            ("", InvalidSandbox::NoProgram),
            ("  ", InvalidSandbox::NoProgram),
            ("'' a", InvalidSandbox::NoProgram),
            ("bwrap 'a", InvalidSandbox::Unbalanced),
            ("bwrap \"a", InvalidSandbox::Unbalanced),
            ("bwrap a\\", InvalidSandbox::Unbalanced),
            ("bwrap \0", InvalidSandbox::Nul),
            ("./sandbox", InvalidSandbox::Relative("./sandbox".to_owned())),
            ("bin/sandbox a", InvalidSandbox::Relative("bin/sandbox".to_owned())),
        ] {
            assert_eq!(Sandbox::parse(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_message_without_a_program_is_refused() {
        let sandbox = Sandbox::parse("bwrap 'a b'").unwrap();
        let text = serde_json::to_string(&sandbox).unwrap();
        assert_eq!(text, r#"["bwrap","a b"]"#);
        assert_eq!(serde_json::from_str::<Sandbox>(&text).unwrap(), sandbox);
        assert_eq!(sandbox.to_string(), "bwrap 'a b'");
        for text in ["[]", r#"[""]"#, r#"["./a"]"#] {
            assert!(serde_json::from_str::<Sandbox>(text).is_err(), "{text}");
        }
    }
}
