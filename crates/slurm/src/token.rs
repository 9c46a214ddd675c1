//! The token of an attempt, in a job's comment and command line.

/// The prefix of a token in a comment.
const MARK: &str = "amore:";

/// The comment of the job with this token.
pub fn comment_of(token: &str) -> String {
    format!("{MARK}{token}")
}

/// The tokens in a comment or a command line. A site's plugins may write text before and after them: each token is a word
/// of its own, and compared as a whole.
pub fn tokens_in(text: &str) -> Vec<String> {
    let of_word = |sign: char| sign.is_alphanumeric() || sign == '-';
    let groups_of_digits = |word: &str| {
        word.split('-').all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    text.match_indices(MARK)
        .filter(|(at, _)| !text[..*at].ends_with(of_word))
        .map(|(at, _)| &text[at + MARK.len()..])
        .map(|rest| rest.split(|sign| !of_word(sign)).next().unwrap_or_default())
        .filter(|word| groups_of_digits(word))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::squeue::parse_queue;

    #[test]
    fn a_token_is_a_word_of_a_comment() {
        for comment in [
            "amore:18a-1-1",
            "amore:18a-1-1;wg=7",
            "amore:18a-1-1|wg=7",
            "wg=7|amore:18a-1-1",
            "wg=7 amore:18a-1-1 checked",
            "\"amore:18a-1-1\"",
            "'amore:18a-1-1',x",
            "amore:18a-1-1_wg7",
            "amore:18a-1-2 amore:18a-1-1",
        ] {
            let line = format!("12|RUNNING|n1|main|(null)|{comment}|None");
            let (_, seen) = parse_queue(&line).unwrap();
            assert!(seen.is_of("18a-1-1") && !seen.is_of_another("18a-1-1"), "{comment}");
            assert_eq!((seen.state.word(), seen.reason.as_str()), ("RUNNING", "None"), "{comment}");
        }
        for other in ["amore:18a-1-12", "amore:18a-1-1-2", "amore:18a-1", "wg=7;amore:18a-1-2;x"] {
            let (_, seen) = parse_queue(&format!("12|RUNNING|n1|main|(null)|{other}|None")).unwrap();
            assert!(!seen.is_of("18a-1-1") && seen.is_of_another("18a-1-1"), "{other}");
        }
        // Text that Amore does not write contains no token.
        for nothing in ["amore:18a-1-1-wg7", "notamore:18a-1-1", "amore:", "amore", "amore:18a--1", "amore:x"]
        {
            assert_eq!(tokens_in(nothing), Vec::<String>::new(), "{nothing}");
        }
        // A comment with a line break: what follows it is not a job.
        assert!(parse_queue("12|RUNNING|n1|main|(null)|amore:18a-1-1").unwrap().1.is_of("18a-1-1"));
    }
}
