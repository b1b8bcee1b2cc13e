//! How many tests passed, failed and were skipped, read from the output of nextest and of `cargo test`.

use std::fmt;
use std::ops::AddAssign;

/// Counts of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Totals {
    /// Reads one line of output; a line that is no summary counts nothing.
    pub fn of_line(line: &str) -> Self {
        let line = without_colors(line);
        let line = line.trim();
        if let Some(result) = line.strip_prefix("test result: ") {
            // `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
            Self::of_counts(result.split_once(". ").map_or(result, |(_, counts)| counts), ';')
        } else if line.starts_with("Summary [") {
            // `Summary [   0.4s] 5 tests run: 4 passed (1 slow), 1 failed, 2 skipped`
            let counts = line.split_once(" run: ").map_or("", |(_, counts)| counts);
            Self::of_counts(&without_parentheses(counts), ',')
        } else {
            Self::default()
        }
    }

    fn of_counts(counts: &str, separator: char) -> Self {
        let mut totals = Self::default();
        for count in counts.split(separator) {
            let Some((number, what)) = count.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what.trim() {
                "passed" => totals.passed += number,
                "failed" | "exec failed" | "timed out" => totals.failed += number,
                "skipped" | "ignored" => totals.skipped += number,
                _ => {}
            }
        }
        totals
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Drops the escape sequences `ESC [ ... letter` that color a terminal.
fn without_colors(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_usize;
    let mut kept = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(c),
            _ => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, passed: u64, failed: u64, skipped: u64) {
        assert_eq!(Totals::of_line(line), Totals { passed, failed, skipped }, "{line}");
    }

    #[test]
    fn cargo_test_summaries_are_read() {
        check(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s\n",
            3,
            0,
            1,
        );
        check("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", 1, 2, 0);
    }

    #[test]
    fn nextest_summaries_are_read() {
        check("     Summary [   0.005s] 3 tests run: 3 passed, 0 skipped\n", 3, 0, 0);
        check("     Summary [   0.005s] 1 test run: 1 passed, 4 skipped", 1, 0, 4);
        check(
            "Summary [ 61.2s] 9/9 tests run: 6 passed (1 slow, 2 leaky), 1 failed, 1 exec failed, 1 timed out, 2 skipped",
            6,
            3,
            2,
        );
    }

    #[test]
    fn colors_do_not_hide_a_summary() {
        check(
            "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m skipped",
            2,
            0,
            0,
        );
        check("test result: \u{1b}[32mok\u{1b}[0m. 3 passed; 0 failed; 0 ignored", 3, 0, 0);
    }

    #[test]
    fn other_lines_count_nothing() {
        check("test one ... ok", 0, 0, 0);
        check("9 passed, 1 failed", 0, 0, 0);
        check("", 0, 0, 0);
    }
}
