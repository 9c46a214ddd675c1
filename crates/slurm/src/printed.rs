//! The output of Slurm's commands without control characters and standard prefixes.

use crate::refused::CODE;

/// A line without its prefix: `sbatch: error: `, `sbatch: fatal: `, `slurm_load_jobs error: `, `sbatch: `. A wrapper may
/// print its name or the time before that prefix.
pub fn bare(line: &str) -> &str {
    let line = line.trim();
    for formula in ["sbatch: error: ", "sbatch: fatal: "] {
        if let Some((_, words)) = line.split_once(formula) {
            return words.trim();
        }
    }
    for mark in ["error: ", "fatal: "] {
        if let Some((program, words)) = line.split_once(mark)
            && !program.trim_end().contains(' ')
        {
            return words.trim();
        }
    }
    line.strip_prefix("sbatch: ").unwrap_or(line).trim()
}

/// Removes colours and other control characters. Line breaks are kept.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            // A control sequence ends with a letter or one of a few other characters (ECMA-48, 5.4).
            '\u{1b}' if signs.next_if_eq(&'[').is_some() => {
                for sign in signs.by_ref() {
                    if ('@'..='~').contains(&sign) {
                        break;
                    }
                }
            }
            '\n' | '\t' => plain.push(sign),
            _ if sign.is_control() => {}
            _ => plain.push(sign),
        }
    }
    plain
}

/// The messages on standard error, without prefixes, joined with `; `.
pub fn words_of(text: &str) -> String {
    let text = plain(text);
    let lines: Vec<&str> = text
        .lines()
        .map(bare)
        .map(|line| line.strip_prefix(CODE).unwrap_or(line))
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ")
}
