//! The text that Slurm's commands print, without what is meant for a terminal and without their formulas.

use crate::refused::CODE;

/// A line without the formula before it: `sbatch: error: `, `sbatch: fatal: `, `slurm_load_jobs error: `, `sbatch: `. A
/// wrapper may write its name or the time before the formula of sbatch.
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

/// A text without what is meant for a terminal: colours, and other control characters. Lines stay.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            // A control sequence ends with a letter or one of a few signs (ECMA-48, 5.4).
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

/// What Slurm says on standard error, without its formulas.
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
