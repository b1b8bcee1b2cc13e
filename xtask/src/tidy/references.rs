//! What Markdown says of the code in back ticks: files exist, and tests are where they are said to be.

use std::path::Path;

use super::Findings;
use super::files::Source;

/// The smallest number of words in the name of a test; settings and functions have fewer.
const WORDS_OF_A_TEST: usize = 6;

/// Checks all Markdown files against all sources.
pub fn check(sources: &[Source], findings: &mut Findings) {
    for source in sources.iter().filter(|source| source.is_markdown()) {
        for (number, line) in source.lines() {
            for path in code(line).filter(|code| is_path(code)) {
                if !Path::new(path).exists() {
                    findings.at(source, number, format!("no such file: `{path}`"));
                }
            }
            for (name, place) in claims(line) {
                let is_there =
                    |file: &&Source| place.is_none_or(|place| file.path == place) && has(file, name);
                if !sources.iter().any(|file| is_there(&file)) {
                    let place = place.unwrap_or("any file");
                    findings.at(source, number, format!("no function `{name}` in {place}"));
                }
            }
        }
    }
}

/// The pieces of a line between back ticks.
fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether a piece of code is the path of a source file of the workspace, and no pattern.
fn is_path(code: &str) -> bool {
    let is_pattern = code.contains("NAME") || code.contains(['*', '{', '<', ' ']);
    code.starts_with("crates/") && code.ends_with(".rs") && !is_pattern
}

/// Functions that a line names, with the file that it says they are in: "`f` in `crates/a.rs`", "`f` and `g` in `..`".
fn claims(line: &str) -> Vec<(&str, Option<&str>)> {
    let pieces: Vec<&str> = line.split('`').collect();
    let mut claims = Vec::new();
    let mut place: Option<&str> = None;
    for (i, piece) in pieces.iter().enumerate().rev() {
        let is_code = i % 2 == 1;
        if !is_code {
            // What stands between two names of one file; anything else ends what is said of it.
            if !matches!(*piece, " in " | " and ") && !piece.ends_with(" in ") {
                place = None;
            }
        } else if is_path(piece) {
            place = Some(piece);
        } else if is_name(piece) && (place.is_some() || piece.split('_').count() >= WORDS_OF_A_TEST) {
            claims.push((*piece, place));
        }
    }
    claims
}

fn is_name(code: &str) -> bool {
    !code.is_empty() && code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Whether a file has a function of this name.
fn has(file: &Source, name: &str) -> bool {
    file.is_rust() && file.text.contains(&format!("fn {name}("))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "crates/a/tests/b.rs";

    #[test]
    fn names_are_looked_for_where_the_line_says() {
        assert_eq!(claims(&format!("| `f_g` in `{PLACE}` |")), [("f_g", Some(PLACE))]);
        assert_eq!(claims(&format!("`f` and `g` in `{PLACE}`")), [("g", Some(PLACE)), ("f", Some(PLACE))]);
        assert_eq!(claims("`a_b_c_d_e_f` holds"), [("a_b_c_d_e_f", None)]);
        assert_eq!(claims("the key `a_b_c` is a number"), []);
        assert_eq!(claims(&format!("`key` | `x` is in `{PLACE}`")), [("x", Some(PLACE))]);
    }

    #[test]
    fn names_and_files_that_are_not_there_are_found() {
        let file = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        let check_text = |text: &str| {
            let mut findings = Findings::default();
            check(&[file("crates/a/src/b.rs", "fn f_g() {}\n"), file("a.md", text)], &mut findings);
            findings.broken
        };
        assert_eq!(check_text("`crates/NAME.rs` is a pattern\n"), Vec::<String>::new());
        assert_eq!(check_text("`crates/b.rs`\n"), ["a.md:1: no such file: `crates/b.rs`"]);
        let missing = check_text("\n`f_h` in `crates/a/src/b.rs`\n");
        assert!(
            missing.contains(&"a.md:2: no function `f_h` in crates/a/src/b.rs".to_owned()),
            "{missing:?}"
        );
        assert_eq!(check_text("`f_g` in `crates/a/src/b.rs`\n").len(), 1, "only the file is missing on disk");
    }
}
