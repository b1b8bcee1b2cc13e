//! The lines of a table cut into fields.
//!
//! A line ends with `\n`, `\r\n` or `\r`; lines of blanks and lines that start with `#` are passed over.
//! A field may stand in double quotes, within which separators and ends of lines mean nothing and `""` is a quote.

use std::borrow::Cow;

/// How the fields of a line are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    Character(char),
    Blanks,
}

/// Separators of tables, the first that is there counts.
const SEPARATORS: [char; 4] = [';', '\t', '|', ','];

/// A line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The line it starts in, counted from 1.
    pub line: u64,
    /// Text between the separators, without quotes and the blanks around them.
    pub fields: Vec<Cow<'a, str>>,
}

/// The line of a quote without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenQuote(pub u64);

/// The records of a text, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Records<'a> {
    rest: &'a str,
    line: u64,
    separator: Separator,
}

impl<'a> Records<'a> {
    /// The records of a whole text; the first line that is not empty decides the separator, or `sep=` names it.
    pub fn of(text: &'a str) -> Self {
        let mut records = Self { rest: text, line: 1, separator: Separator::Blanks };
        records.skip_silent_lines();
        let named = records.rest.strip_prefix("sep=").and_then(|rest| rest.chars().next());
        let is_alone =
            |c: &char| matches!(records.rest[4 + c.len_utf8()..].chars().next(), None | Some('\r' | '\n'));
        if let Some(c) = named.filter(is_alone) {
            records.take_line();
            records.separator = Separator::Character(c);
            return records;
        }
        let mut is_quoted = false;
        let outside = |c: &char| {
            is_quoted ^= *c == '"';
            !is_quoted
        };
        let first = records.rest.split(['\n', '\r']).next().unwrap_or_default();
        let outside: Vec<char> = first.trim().chars().filter(outside).collect();
        let found = SEPARATORS.into_iter().find(|separator| outside.contains(separator));
        records.separator = found.map_or(Separator::Blanks, Separator::Character);
        records
    }

    pub fn separator(&self) -> Separator {
        self.separator
    }

    /// Takes the rest of the line without what ends it.
    fn take_line(&mut self) -> &'a str {
        let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        let after = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix(['\r', '\n']));
        self.line += u64::from(after.is_some());
        self.rest = after.unwrap_or(rest);
        line
    }

    /// Passes over lines of blanks and comments.
    fn skip_silent_lines(&mut self) {
        while !self.rest.is_empty() {
            let line = self.rest.split(['\n', '\r']).next().unwrap_or_default().trim();
            if !line.is_empty() && !line.starts_with('#') {
                return;
            }
            self.take_line();
        }
    }

    /// Whether the next characters separate fields, and how many bytes they take.
    fn separator_length(&self, rest: &str) -> Option<usize> {
        let first = rest.chars().next()?;
        match self.separator {
            Separator::Character(c) => (first == c).then_some(c.len_utf8()),
            Separator::Blanks => {
                let is_blank = |c: char| c.is_whitespace() && !matches!(c, '\r' | '\n');
                is_blank(first).then(|| rest.len() - rest.trim_start_matches(is_blank).len())
            }
        }
    }

    /// A field that starts with a quote, to its end; what stands between the closing quote and the separator is kept.
    fn take_quoted(&mut self) -> Result<String, OpenQuote> {
        let start = self.line;
        let mut field = String::new();
        self.rest = &self.rest[1..];
        loop {
            let at = self.rest.find(['"', '\r', '\n']).ok_or(OpenQuote(start))?;
            field.push_str(&self.rest[..at]);
            self.rest = &self.rest[at..];
            if let Some(rest) = self.rest.strip_prefix("\"\"") {
                field.push('"');
                self.rest = rest;
            } else if let Some(rest) = self.rest.strip_prefix('"') {
                self.rest = rest;
                let (tail, _) = self.take_bare();
                field.push_str(tail.trim_end());
                return Ok(field.trim().to_owned());
            } else {
                self.take_line();
                field.push('\n');
            }
        }
    }

    /// A field up to the separator or the end of the line; the bytes of the separator after it.
    fn take_bare(&mut self) -> (&'a str, Option<usize>) {
        let ends = |(at, c): (usize, char)| {
            let rest = &self.rest[at..];
            matches!(c, '\r' | '\n') || self.separator_length(rest).is_some()
        };
        let end = self.rest.char_indices().find(|at| ends(*at)).map_or(self.rest.len(), |(at, _)| at);
        let (field, rest) = self.rest.split_at(end);
        self.rest = rest;
        (field, self.separator_length(rest))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, OpenQuote>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_silent_lines();
        if self.rest.is_empty() {
            return None;
        }
        let line = self.line;
        let mut fields = Vec::new();
        // A tab is a blank, but may also be the separator of an empty field.
        let is_blank = |separator: Separator, c: char| {
            c.is_whitespace() && !matches!(c, '\r' | '\n') && separator != Separator::Character(c)
        };
        loop {
            let separator = self.separator;
            self.rest = self.rest.trim_start_matches(|c| is_blank(separator, c));
            let is_end = |rest: &str| rest.is_empty() || rest.starts_with(['\r', '\n']);
            if separator == Separator::Blanks && is_end(self.rest) {
                break;
            }
            let field = if self.rest.starts_with('"') {
                match self.take_quoted() {
                    Ok(field) => Cow::Owned(field),
                    Err(open) => {
                        self.rest = "";
                        return Some(Err(open));
                    }
                }
            } else {
                Cow::Borrowed(self.take_bare().0.trim())
            };
            fields.push(field);
            match self.separator_length(self.rest) {
                Some(length) => self.rest = &self.rest[length..],
                None => break,
            }
        }
        self.take_line();
        Some(Ok(Record { line, fields }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u64, Vec<String>)> {
        let records = Records::of(text).map(Result::unwrap);
        records.map(|record| (record.line, record.fields.iter().map(ToString::to_string).collect())).collect()
    }

    fn lines(lines: &[(u64, &[&str])]) -> Vec<(u64, Vec<String>)> {
        lines.iter().map(|(line, fields)| (*line, fields.iter().map(ToString::to_string).collect())).collect()
    }

    #[test]
    fn lines_end_in_every_way_and_silent_ones_count() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["", "# a, comment", "1, 2", "  ", "3 ,4", "\t", ""].join(end);
            assert_eq!(read(&text), lines(&[(3, &["1", "2"]), (5, &["3", "4"])]), "{end:?}");
        }
    }

    #[test]
    fn every_separator_is_found_outside_of_quotes() {
        for text in ["\"a;b\",c", "\"a;b\"|c", "\"a;b\";c", "\"a;b\"\tc", "\"a;b\"   c  ", "sep=|\na;b|c"] {
            let fields = &read(text)[0].1;
            assert_eq!(fields, &["a;b", "c"], "{text:?}");
        }
        assert_eq!(read("sep=;x\n"), lines(&[(1, &["sep=", "x"])]));
        assert_eq!(read("a\t\tb"), lines(&[(1, &["a", "", "b"])]));
        assert_eq!(read("\t1\t2\n"), lines(&[(1, &["", "1", "2"])]));
        assert_eq!(read("1,2,\n,\n"), lines(&[(1, &["1", "2", ""]), (2, &["", ""])]));
    }

    #[test]
    fn quotes_hold_separators_quotes_and_ends_of_lines() {
        let text = "\"say \"\"x\"\"\",\"two\r\nlines\", 5\" pipe \n1,2,3";
        let expected = lines(&[(1, &["say \"x\"", "two\nlines", "5\" pipe"]), (3, &["1", "2", "3"])]);
        assert_eq!(read(text), expected);
        let mut open = Records::of("1,2\n3,\"4\n5,6\n");
        assert!(open.next().unwrap().is_ok());
        assert_eq!(open.next(), Some(Err(OpenQuote(2))));
        assert_eq!(open.next(), None);
    }
}
