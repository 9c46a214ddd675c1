//! Wildcards in `var#` dependencies, with the semantics of Python's `fnmatch` on POSIX: `*`, `?`, `[seq]`, `[!seq]`,
//! case-sensitive; a dot is an ordinary character.

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A literal character.
    Exactly(char),
    /// `?`
    AnyOne,
    /// `*`
    AnyMany,
    /// `[…]`: inclusive ranges; a single character is a range of one.
    OneOf { negated: bool, ranges: Vec<(char, char)> },
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Token::Exactly(own) => *own == c,
            Token::AnyOne => true,
            Token::AnyMany => false,
            Token::OneOf { negated, ranges } => {
                ranges.iter().any(|&(low, high)| low <= c && c <= high) != *negated
            }
        }
    }
}

impl Pattern {
    /// Compiles a pattern. Every text is valid: an unclosed `[` is a literal.
    pub fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut tokens = Vec::with_capacity(chars.len());
        let mut at = 0;
        while at < chars.len() {
            match chars[at] {
                // Consecutive stars mean the same as one, and cost backtracking.
                '*' if tokens.last() == Some(&Token::AnyMany) => {}
                '*' => tokens.push(Token::AnyMany),
                '?' => tokens.push(Token::AnyOne),
                '[' => match set(&chars, at + 1) {
                    Some((token, end)) => {
                        tokens.push(token);
                        at = end;
                    }
                    None => tokens.push(Token::Exactly('[')),
                },
                c => tokens.push(Token::Exactly(c)),
            }
            at += 1;
        }
        Pattern { tokens }
    }

    /// The only matching name, if the pattern has no wildcard.
    pub fn literal(&self) -> Option<String> {
        let prefix = self.prefix();
        (prefix.chars().count() == self.tokens.len()).then_some(prefix)
    }

    /// The common prefix of all matching names.
    pub fn prefix(&self) -> String {
        self.tokens
            .iter()
            .map_while(|token| match token {
                Token::Exactly(c) => Some(*c),
                _ => None,
            })
            .collect()
    }

    /// Whether the whole name matches.
    pub fn matches(&self, name: &str) -> bool {
        let mut token = 0;
        let mut rest = name.chars();
        // Only the last star needs backtracking: it can match whatever an earlier one could.
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let before = rest.clone();
            match (self.tokens.get(token), rest.next()) {
                (None, None) => return true,
                (Some(Token::AnyMany), _) => {
                    token += 1;
                    retry = Some((token, before.clone()));
                    rest = before;
                }
                (Some(one), Some(c)) if one.accepts(c) => token += 1,
                _ => {
                    let Some((after_star, from)) = &mut retry else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    token = *after_star;
                    rest = from.clone();
                }
            }
        }
    }
}

/// Parses a set whose `[` is before `start`; returns the token and the index of its `]`.
fn set(chars: &[char], start: usize) -> Option<(Token, usize)> {
    let negated = chars.get(start) == Some(&'!');
    let first = start + usize::from(negated);
    // A `]` in first position belongs to the set.
    let search = first + usize::from(chars.get(first) == Some(&']'));
    let end = search + chars.get(search..)?.iter().position(|&c| c == ']')?;
    let body = &chars[first..end];
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < body.len() {
        if at + 2 < body.len() && body[at + 1] == '-' {
            ranges.push((body[at], body[at + 2]));
            at += 3;
        } else {
            ranges.push((body[at], body[at]));
            at += 1;
        }
    }
    Some((Token::OneOf { negated, ranges }, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reference implementation: tries all possibilities.
    fn naive(tokens: &[Token], name: &[char]) -> bool {
        match (tokens.first(), name.first()) {
            (None, None) => true,
            (Some(Token::AnyMany), _) => (0..=name.len()).any(|eaten| naive(&tokens[1..], &name[eaten..])),
            (Some(token), Some(&c)) => token.accepts(c) && naive(&tokens[1..], &name[1..]),
            _ => false,
        }
    }

    #[test]
    fn wildcards_mean_what_they_mean_in_python() {
        // Each line was tried with fnmatch.fnmatchcase of Python 3.11 and 3.13.
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "xgm.intensity", true),
            ("xgm*", "xgm.intensity", true),
            ("xgm.*", "xgm_intensity", false),
            ("*.x", "a.b.x", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "aab", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a?c", "a.c", true),
            ("A*", "abc", false),
            ("[ab]x", "bx", true),
            ("[!ab]x", "bx", false),
            ("[!ab]x", "cx", true),
            ("[a-c]1", "b1", true),
            ("[c-a]1", "b1", false),
            ("[!c-a]1", "b1", true),
            ("[]a]", "]", true),
            ("[!]a]", "]", false),
            ("[a-]", "-", true),
            ("[-a]", "-", true),
            ("[a-c-e]", "d", false),
            ("[a-c-e]", "-", true),
            ("[a-c--e]", "A", true),
            ("[ab", "[ab", true),
            ("[!", "[!", true),
            ("[]", "[]", true),
            ("[^a]", "b", false),
            ("[^a]", "^", true),
            ("µ?", "µé", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern:?} on {name:?}");
        }
    }

    #[test]
    fn patterns_without_wildcards_are_names() {
        assert_eq!(Pattern::new("xgm.intensity").literal().as_deref(), Some("xgm.intensity"));
        assert_eq!(Pattern::new("a[b").literal().as_deref(), Some("a[b"));
        assert_eq!(Pattern::new("").literal().as_deref(), Some(""));
        assert_eq!(Pattern::new("a*").literal(), None);
        assert_eq!(Pattern::new("ab*c?").prefix(), "ab");
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = Pattern::new(&"*a".repeat(40));
        assert!(!pattern.matches(&"a".repeat(39)));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(5000))));
        assert!(pattern.matches(&"a".repeat(5000)));
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_matcher(pattern in r"[ab.*?!\[\]\-]{0,8}", name in "[ab.\\]!-]{0,8}") {
            let compiled = Pattern::new(&pattern);
            let chars: Vec<char> = name.chars().collect();
            prop_assert_eq!(compiled.matches(&name), naive(&compiled.tokens, &chars));
        }

        #[test]
        fn what_matches_starts_with_the_prefix(pattern in "[ab*?]{0,6}", name in "[ab]{0,6}") {
            let compiled = Pattern::new(&pattern);
            if compiled.matches(&name) {
                prop_assert!(name.starts_with(&compiled.prefix()));
            }
        }
    }
}
