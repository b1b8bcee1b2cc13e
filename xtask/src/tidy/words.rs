//! Words that must not be in a file, as a table.

use super::Findings;
use super::files::Source;

/// A banned text, where it is banned, and what to do instead.
struct Rule {
    needle: &'static str,
    banned_in: fn(&Source) -> bool,
    /// Whether a hit counts, from what stands before and after it.
    counts: fn(&str, &str) -> bool,
    instead: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        needle: "todo!(",
        banned_in: Source::is_rust,
        counts: starts_a_word,
        instead: "write it, or leave it out",
    },
    Rule {
        needle: "unimplemented!(",
        banned_in: Source::is_rust,
        counts: starts_a_word,
        instead: "return an error that says what is missing",
    },
    Rule { needle: "dbg!(", banned_in: Source::is_rust, counts: starts_a_word, instead: "take it out" },
    Rule {
        needle: "#[ignore",
        banned_in: Source::is_rust,
        counts: anywhere,
        instead: "assert what happens today, with a TODO that names the issue",
    },
    Rule {
        needle: "should_panic",
        banned_in: Source::is_rust,
        counts: anywhere,
        instead: "return an error and compare it",
    },
    Rule {
        needle: "TODO",
        banned_in: is_code,
        counts: has_no_issue,
        instead: "write `TODO(#123)` with the issue",
    },
    Rule {
        needle: "FIXME",
        banned_in: is_code,
        counts: is_word,
        instead: "write `TODO(#123)` with the issue",
    },
    // What a merge leaves behind.
    Rule { needle: "<<<<<<< ", banned_in: anything, counts: starts_the_line, instead: MERGE },
    Rule { needle: ">>>>>>> ", banned_in: anything, counts: starts_the_line, instead: MERGE },
    // Paths of one machine.
    Rule { needle: "/root/", banned_in: anything, counts: starts_a_path, instead: MACHINE },
    Rule { needle: "/home/", banned_in: anything, counts: starts_a_path, instead: MACHINE },
    Rule { needle: "/Users/", banned_in: anything, counts: starts_a_path, instead: MACHINE },
    Rule { needle: "/tmp/", banned_in: outside_tests, counts: starts_a_path, instead: MACHINE },
    // Where packages come from is the business of the machine.
    Rule { needle: "sparse+http", banned_in: anything, counts: anywhere, instead: REGISTRY },
    Rule { needle: "registry+http", banned_in: anything, counts: anywhere, instead: REGISTRY },
];

const MACHINE: &str = "a path of one machine; take it from an argument, or use a temporary directory";
const MERGE: &str = "a merge that was not finished; keep one of the two sides, or both";
const REGISTRY: &str = "a registry; leave its address to the configuration of cargo or pip";

/// The file that must name what it bans.
const THIS_FILE: &str = "xtask/src/tidy/words.rs";

/// The only sources that may hold `unsafe`.
const KERNELS: &str = "crates/flowmap-kernel/src/";
/// What follows the keyword `unsafe` in code, unlike in prose.
const UNSAFE_CODE: &[&str] = &["{", "fn ", "impl ", "impl<", "trait ", "extern "];
/// How many lines above an unsafe block its reason may begin.
const SAFETY_REACH: usize = 8;

/// Checks one file.
pub fn check(source: &Source, findings: &mut Findings) {
    if source.path == THIS_FILE {
        return;
    }
    for (number, line) in source.lines() {
        for Rule { needle, banned_in, counts, instead } in RULES {
            let is_hit = |(at, _): (usize, &str)| counts(&line[..at], &line[at + needle.len()..]);
            if banned_in(source) && line.match_indices(needle).any(is_hit) {
                findings.at(source, number, format!("`{needle}`: {instead}"));
            }
        }
    }
    if source.is_rust() {
        check_unsafe(source, findings);
    }
}

fn check_unsafe(source: &Source, findings: &mut Findings) {
    let lines: Vec<&str> = source.text.lines().collect();
    for (idx, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let is_unsafe = code.match_indices("unsafe ").any(|(at, word)| {
            let after = &code[at + word.len()..];
            starts_a_word(&code[..at], after) && UNSAFE_CODE.iter().any(|next| after.starts_with(next))
        });
        if !is_unsafe {
            continue;
        }
        let above = &lines[idx.saturating_sub(SAFETY_REACH)..=idx];
        if !source.path.starts_with(KERNELS) {
            findings.at(source, idx + 1, format!("`unsafe` lives in {KERNELS}* alone"));
        } else if !above.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety")) {
            findings.at(source, idx + 1, "`unsafe` without its reason; write `// SAFETY: ...` above it");
        }
    }
}

fn anything(_: &Source) -> bool {
    true
}

fn is_code(source: &Source) -> bool {
    !source.is_markdown()
}

fn outside_tests(source: &Source) -> bool {
    source.is_rust() && !source.is_test()
}

fn anywhere(_before: &str, _after: &str) -> bool {
    true
}

fn starts_the_line(before: &str, _after: &str) -> bool {
    before.is_empty()
}

fn starts_a_word(before: &str, _after: &str) -> bool {
    !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn is_word(before: &str, after: &str) -> bool {
    starts_a_word(before, after) && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// A path that begins here, not the middle of `framework/work/` or of an address.
fn starts_a_path(before: &str, _after: &str) -> bool {
    !before.ends_with(|c: char| c.is_alphanumeric() || "_-.~/}>)".contains(c))
}

fn has_no_issue(before: &str, after: &str) -> bool {
    let issue = after.strip_prefix("(#").and_then(|rest| rest.split_once(')')).map(|(digits, _)| digits);
    let has_issue =
        issue.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    is_word(before, after) && !has_issue
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let mut findings = Findings::default();
        check(&Source { path: path.to_owned(), text: text.to_owned() }, &mut findings);
        findings.broken
    }

    fn hits(path: &str, text: &str) -> usize {
        found(path, text).len()
    }

    #[test]
    fn macros_are_found_as_whole_words() {
        assert_eq!(hits("a.rs", "    todo!()"), 1);
        assert_eq!(hits("a.rs", "    my_todo!()"), 0);
        assert_eq!(hits("a.md", "    todo!()"), 0);
    }

    #[test]
    fn a_todo_needs_an_issue() {
        assert_eq!(hits("a.rs", "// TODO: later"), 1);
        assert_eq!(hits("a.rs", "// TODO(me): later"), 1);
        assert_eq!(hits("a.rs", "// TODO(#12): later"), 0);
        assert_eq!(hits("a.rs", "// TODOS"), 0);
    }

    #[test]
    fn unfinished_merges_are_found_at_the_start_of_a_line() {
        assert_eq!(hits("a.md", "<<<<<<< HEAD\nours\n=======\ntheirs\n>>>>>>> theirs"), 2);
        assert_eq!(hits("a.md", "git writes `<<<<<<< HEAD`"), 0);
    }

    #[test]
    fn paths_of_a_machine_are_found_where_they_begin() {
        assert_eq!(hits("a.md", "see /home/me/x"), 1);
        assert_eq!(hits("a.toml", "out = \"/root/x\""), 1);
        assert_eq!(hits("a.md", "https://example.org/home/x and docs/work/x"), 0);
        assert_eq!(hits("crates/a/tests/run.rs", "\"/tmp/x\""), 0);
        assert_eq!(hits("crates/a/src/run.rs", "\"/tmp/x\""), 1);
    }

    #[test]
    fn unsafe_code_is_found_outside_the_kernels() {
        assert_eq!(hits("crates/a/src/x.rs", "let y = unsafe { f() };"), 1);
        assert_eq!(hits("crates/a/src/x.rs", "// unsafe { f() } is not for us"), 0);
        assert_eq!(hits("crates/a/src/x.rs", "#![forbid(unsafe_code)]"), 0);
    }

    #[test]
    fn unsafe_code_in_a_kernel_needs_its_reason() {
        let path = "crates/flowmap-kernel/src/gelu.rs";
        assert_eq!(hits(path, "unsafe { f() }"), 1);
        assert_eq!(hits(path, "// SAFETY: f reads only its own row.\nunsafe { f() }"), 0);
    }

    #[test]
    fn a_finding_says_where_and_what_to_do() {
        assert_eq!(found("a.rs", "\ndbg!(x)"), ["a.rs:2: `dbg!(`: take it out"]);
    }
}
