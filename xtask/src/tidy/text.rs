//! Shape of a file: its name, its length, its first line and its white space.

use super::Findings;
use super::files::Source;

/// Lines of a Rust file above which a person should think.
const LONG: usize = 400;
/// Lines of a Rust file above which this check fails.
const TOO_LONG: usize = 600;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Names that say nothing about what a file holds.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "misc", "helpers", "helper"];

/// Checks one file.
pub fn check(source: &Source, findings: &mut Findings) {
    let name = source.name();
    let stem = name.strip_suffix(".rs").unwrap_or_default();
    let in_empty_folder =
        source.is_rust() && source.path.rsplit('/').skip(1).any(|folder| EMPTY_NAMES.contains(&folder));
    if EMPTY_NAMES.contains(&stem) || in_empty_folder {
        findings.of(&source.path, "this name says nothing; name the file after what it holds");
    }

    for (number, line) in source.lines() {
        if line.ends_with(char::is_whitespace) {
            findings.at(source, number, "white space at the end of the line");
        }
        if source.is_rust() && line.contains('\t') {
            findings.at(source, number, "a tab; indent with spaces, write `\\t` in a string");
        }
    }
    if !source.text.is_empty() && !source.text.ends_with('\n') {
        findings.of(&source.path, "no line break at the end of the file");
    }
    if source.text.ends_with("\n\n") {
        findings.of(&source.path, "empty lines at the end of the file");
    }

    if source.is_rust() {
        if !source.text.starts_with("//!") {
            findings.at(source, 1, "expected `//!`: a file opens with what it is about");
        }
        let count = source.text.lines().count();
        let is_exception = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        if count > TOO_LONG && !is_exception {
            findings.of(&source.path, format!("{count} lines, at most {TOO_LONG}; split it at a named idea"));
        } else if count > LONG && !is_exception {
            findings.warn(&source.path, format!("{count} lines; above {LONG} think about splitting it"));
        }
    }
}

/// An exception that nothing needs any more would hide the next long file.
pub fn check_exceptions(sources: &[Source], findings: &mut Findings) {
    for (path, _) in LONG_FILES {
        let is_needed =
            sources.iter().any(|source| source.path == *path && source.text.lines().count() > TOO_LONG);
        if !is_needed {
            findings.of(path, "listed as a long file, but it is none; take it off the list");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_file(path: &str, text: &str, expect: &[&str]) {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        let mut findings = Findings::default();
        check(&source, &mut findings);
        assert_eq!(findings.broken.len(), expect.len(), "{:?}", findings.broken);
        for (found, expect) in findings.broken.iter().zip(expect) {
            assert!(found.contains(expect), "{found}");
        }
    }

    #[test]
    fn a_good_file_passes() {
        check_file("crates/a/src/lsd.rs", "//! LSD.\nfn f() {}\n", &[]);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        check_file("crates/a/src/utils.rs", "//! A.\n", &["says nothing"]);
        check_file("crates/a/tests/common/mod.rs", "//! A.\n", &["says nothing"]);
        check_file("docs/common.md", "A.\n", &[]);
    }

    #[test]
    fn white_space_is_found_where_it_is() {
        check_file("a.rs", "//! A.\nfn f() {} \n", &["a.rs:2: white space"]);
        check_file("a.rs", "//! A.\n\tfn f() {}\n", &["a.rs:2: a tab"]);
        check_file("a.md", "A.", &["no line break"]);
        check_file("a.md", "A.\n\n", &["empty lines"]);
    }

    #[test]
    fn a_file_without_module_docs_is_found() {
        check_file("a.rs", "// A.\n", &["a.rs:1: expected `//!`"]);
    }

    #[test]
    fn only_files_above_the_limit_are_too_long() {
        let lines = |count: usize| format!("//! A.\n{}", "fn f() {}\n".repeat(count - 1));
        check_file("a.rs", &lines(TOO_LONG), &[]);
        check_file("a.rs", &lines(TOO_LONG + 1), &["601 lines"]);
    }
}
