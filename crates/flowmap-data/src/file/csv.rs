//! Tables of numbers as text: comma, semicolon, tab or blanks between fields, with or without a line of names.
//!
//! The separator is that of the first line that says something: semicolon, else tab, else comma, else blanks.
//! That line holds the names if none of its fields is a number.
//! Empty lines and lines that start with `#` are passed over; fields may stand in double quotes.

use std::path::Path;

use crate::error::FormatFault;
use crate::points::{Column, select};
use crate::{Error, Result};

/// Numbers of the chosen columns of a text file, row after row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    pub n_columns: usize,
    pub values: Vec<f32>,
    /// What stands in the column of labels, if one was asked for.
    pub labels: Option<Vec<f64>>,
}

/// How the fields of a line are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separator {
    Character(char),
    Blanks,
}

/// Parses a whole file, of which only the columns that are asked for must be numbers; the path is for messages.
///
/// Without columns these are all but that of the labels.
pub(crate) fn parse(
    bytes: &[u8],
    path: &Path,
    columns: Option<&[Column]>,
    labels: Option<&str>,
) -> Result<Table> {
    let place = path.display().to_string();
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() as u64;
        Error::Format { place: place.clone(), fault: FormatFault::NotText { line } }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = (1u64..).zip(text.lines());
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let mut lines = lines.peekable();
    let Some((_, first)) = lines.peek() else { return Ok(Table::default()) };
    let separator = separator_of(first);
    let fields = split(first, separator);
    let names: Option<Vec<String>> = fields
        .iter()
        .all(|field| field.parse::<f64>().is_err())
        .then(|| fields.iter().map(|field| field.to_string()).collect());
    if names.is_some() {
        lines.next();
    }
    let n_fields = fields.len();
    let choose = |columns: &[Column]| select(columns, names.as_deref(), n_fields, &place);
    let label = match labels {
        Some(name) => choose(&[Column::Name(name.into())])?.first().copied(),
        None => None,
    };
    let chosen = match columns {
        Some(columns) => choose(columns)?,
        None => (0..n_fields).filter(|column| Some(*column) != label).collect(),
    };
    let mut table = Table { n_columns: chosen.len(), values: Vec::new(), labels: label.map(|_| Vec::new()) };
    for (line, text) in lines {
        let fields = split(text, separator);
        let (expected, found) = (n_fields, fields.len());
        if expected != found {
            return Err(Error::Ragged { path: path.into(), line, expected, found });
        }
        let number = |column: usize| {
            let value: Option<f64> = fields[column].parse().ok();
            let value = value.filter(|value| (*value as f32).is_finite());
            value.ok_or_else(|| {
                let found = fields[column].chars().take(N_SHOWN).collect();
                Error::NotANumber { path: path.into(), line, column: column + 1, found }
            })
        };
        for column in &chosen {
            table.values.push(number(*column)? as f32);
        }
        if let (Some(labels), Some(column)) = (&mut table.labels, label) {
            labels.push(number(column)?);
        }
    }
    Ok(table)
}

/// How much of a bad field a message shows.
const N_SHOWN: usize = 40;

fn separator_of(line: &str) -> Separator {
    let mut is_quoted = false;
    let outside = |c: &char| {
        is_quoted ^= *c == '"';
        !is_quoted
    };
    let outside: Vec<char> = line.trim().chars().filter(outside).collect();
    let found = [';', '\t', ','].into_iter().find(|separator| outside.contains(separator));
    found.map_or(Separator::Blanks, Separator::Character)
}

/// The fields of a line, without quotes and the blanks around them.
fn split(line: &str, separator: Separator) -> Vec<&str> {
    let line = line.trim();
    let mut is_quoted = false;
    let is_between = |c: char| {
        is_quoted ^= c == '"';
        !is_quoted
            && match separator {
                Separator::Character(separator) => c == separator,
                Separator::Blanks => c.is_whitespace(),
            }
    };
    let is_field = |field: &&str| separator != Separator::Blanks || !field.is_empty();
    line.split(is_between).map(|field| field.trim().trim_matches('"').trim()).filter(is_field).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Table> {
        parse(text.as_bytes(), Path::new("x.csv"), None, None)
    }

    fn message(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn every_separator_is_found() {
        let cases = [
            "1,2\n3,4.5e0",
            "1;2\n3;4.5",
            "1\t2\r\n3\t4.5\r\n",
            "1 2\n3   4.5",
            " 1, 2\n 3, 4.5\n\n",
            "\u{feff}\"1\",\"2\"\n\"3\",\"4.5\"",
            "# made by hand\n\n1 2\n# and now\n3 4.5",
            "x,\"the y, really\"\n1,2\n3,4.5",
        ];
        for text in cases {
            let expected = Table { n_columns: 2, values: vec![1.0, 2.0, 3.0, 4.5], labels: None };
            assert_eq!(read(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn columns_are_chosen_by_name_or_number_and_others_may_be_text() {
        let text = b"name,x,y,class\nBob,1,2,0\nEve,3,4,1\n";
        let path = Path::new("x.csv");
        let columns = [Column::Index(2), Column::Name("x".into())];
        let table = parse(text, path, Some(&columns), Some("class")).unwrap();
        assert_eq!(table.values, [2.0, 1.0, 4.0, 3.0]);
        assert_eq!(table.labels.unwrap(), [0.0, 1.0]);
        let refusal = |column| parse(text, path, Some(&[column]), None).unwrap_err().to_string();
        assert_eq!(
            refusal(Column::Name("z".into())),
            "x.csv: expected column `z`, found `name`, `x`, `y`, `class`"
        );
        assert_eq!(refusal(Column::Index(4)), "x.csv: expected column 4, found `name`, `x`, `y`, `class`");
        let nameless = parse(b"1,2", path, Some(&[Column::Name("x".into())]), None).unwrap_err();
        assert_eq!(nameless.to_string(), "x.csv: expected column `x`, found `0`, `1`");
    }

    #[test]
    fn labels_are_left_out_of_the_values() {
        let table = parse(b"x,label\n1,2\n3,4", Path::new("x.csv"), None, Some("label")).unwrap();
        assert_eq!((table.n_columns, table.values), (1, vec![1.0, 3.0]));
        assert_eq!(table.labels.unwrap(), [2.0, 4.0]);
    }

    #[test]
    fn bad_lines_are_named() {
        let cases = [
            (message("1,2\n3"), "x.csv, line 2: expected 2 values, found 1"),
            (message("a,b\n\n1,2\n3,4,5"), "x.csv, line 4: expected 2 values, found 3"),
            (message("1,2\n3,four"), "x.csv, line 2, column 2: expected a finite number, found \"four\""),
            (message("1,2\n3,nan"), "x.csv, line 2, column 2: expected a finite number, found \"nan\""),
            (message("1,2\n1e39,1"), "x.csv, line 2, column 1: expected a finite number, found \"1e39\""),
            (message("1,b\n3,4"), "x.csv, line 1, column 2: expected a finite number, found \"b\""),
            (message("1,2,\n"), "x.csv, line 1, column 3: expected a finite number, found \"\""),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
        let not_text = parse(b"1,2\n\xff,1", Path::new("x.csv"), None, None).unwrap_err().to_string();
        assert_eq!(not_text, "x.csv: line 2: expected text in UTF-8, found other bytes");
        assert_eq!(read("").unwrap(), Table::default());
        assert_eq!(read("only,names").unwrap().values, Vec::<f32>::new());
    }
}
