//! Spellings and words that prose and names must not have, as a table.

use super::Findings;
use super::files::Source;

/// Parts of words in small letters, each with its replacement.
const SPELLINGS: &[(&str, &str)] = &[
    ("behaviour", "behavior"),
    ("colour", "color"),
    ("initialis", "initializ"),
    ("judgement", "judgment"),
    ("manieth", "every `N`-th, with the name of N"),
    ("neighbour", "neighbor"),
    ("normalis", "normaliz"),
    ("optimis", "optimiz"),
];

/// A word that is banned from prose, as it stands between two blanks.
const SHALL: &str = " shall ";

/// This file, which names the banned words, and the record of earlier releases.
const EXCEPTIONS: &[&str] = &["xtask/src/tidy/spelling.rs", "CHANGELOG.md"];

/// Checks one file.
pub fn check(source: &Source, findings: &mut Findings) {
    if EXCEPTIONS.contains(&source.path.as_str()) || !(source.is_rust() || source.is_markdown()) {
        return;
    }
    for (number, line) in source.lines() {
        let lower = line.to_lowercase();
        for (word, instead) in SPELLINGS.iter().filter(|(word, _)| lower.contains(word)) {
            findings.at(source, number, format!("`{word}`: write `{instead}`"));
        }
        let prose = match source.is_rust() {
            true => line.split_once("//").map_or("", |(_, comment)| comment),
            false => line,
        };
        if prose.contains(SHALL) {
            findings.at(source, number, "`shall`: state a fact, or write `must`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(path: &str, text: &str) -> usize {
        let mut findings = Findings::default();
        check(&Source { path: path.to_owned(), text: text.to_owned() }, &mut findings);
        findings.broken.len()
    }

    #[test]
    fn british_spellings_are_found_in_prose_and_in_names() {
        assert_eq!(hits("a.rs", "/// Normalises a row.\nfn normalise_row() {}"), 2);
        assert_eq!(hits("a.md", "the Behaviour of colours"), 2);
        assert_eq!(hits("a.rs", "/// Normalizes the colors of an optimizer."), 0);
        assert_eq!(hits("a.toml", "colour = 1"), 0);
        assert_eq!(hits("CHANGELOG.md", "colour"), 0);
    }

    #[test]
    fn shall_is_found_in_comments_and_in_markdown() {
        assert_eq!(hits("a.rs", "let x = 1; // it shall be"), 1);
        assert_eq!(hits("a.rs", "let x = \"it shall be\";"), 0);
        assert_eq!(hits("a.md", "It shall be."), 1);
        assert_eq!(hits("a.md", "Marshall plays."), 0);
    }
}
