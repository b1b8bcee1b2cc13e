//! Tables of numbers as text: comma, semicolon, tab, bar or blanks between fields, with or without a line of names.
//!
//! The first line that is not empty decides the separator: semicolon, else tab, else bar, else comma, else blanks.
//! Where it is not a comma, numbers may have a decimal comma, if no field has a point.
//! Ignored are empty lines, lines that start with `#`, and empty fields at the end of all lines.
//! Columns without a name, such as the index that pandas and R write, are left out with a warning unless they are asked
//! for; a name more in the lines than in the first one is such a column, too.

mod header;
mod records;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use header::First;
use records::{OpenQuote, Record, Records, Separator};

use crate::error::FormatFault;
use crate::points::{Column, select};
use crate::{Error, Result, TextFault, Warning};

/// Options of the config for a table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// The columns of values; without it all but the column of labels and columns without names.
    pub columns: Option<&'a [Column]>,
    /// Name of the column of labels, or its number where columns have no names.
    pub labels: Option<&'a str>,
    /// Whether the first line holds the names of the columns.
    pub header: Option<bool>,
}

/// Numbers of the chosen columns of a text file, row after row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    /// Names of the columns in messages, or their numbers from 0.
    pub names: Vec<String>,
    pub values: Vec<f32>,
    /// Content of the column of labels, if one was asked for.
    pub labels: Option<Labels>,
    pub warnings: Vec<Warning>,
}

/// The labels of all rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Labels {
    Numbers(Vec<f64>),
    /// Words: the classes are in the order of their names.
    Words {
        names: Vec<String>,
        classes: Vec<u32>,
    },
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Numbers {
    has_decimal_comma: bool,
}

impl Numbers {
    /// Words for a number that is missing; a line of them holds no names.
    const MISSING: [&'static str; 7] = ["na", "n/a", "null", "none", "-", "--", "?"];

    /// The number in a field, NaN for one that is missing; `None` for a word and for nothing.
    fn parse(self, field: &str) -> Option<f64> {
        let parsed = if self.has_decimal_comma && field.contains(',') {
            field.replacen(',', ".", 1).parse()
        } else {
            field.parse()
        };
        let is_missing = || Self::MISSING.iter().any(|word| field.eq_ignore_ascii_case(word));
        parsed.ok().or_else(|| is_missing().then_some(f64::NAN))
    }
}

/// Parses a whole file, of which only the columns that are asked for must be numbers; the path is for messages.
pub(crate) fn parse(bytes: &[u8], path: &Path, wanted: Wanted<'_>) -> Result<Table> {
    let place = path.display().to_string();
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() as u64;
        Error::Format { place: place.clone(), fault: FormatFault::NotText { line } }
    })?;
    let records = Records::of(text.strip_prefix('\u{feff}').unwrap_or(text));
    let Some(Survey { n_fields, numbers, decimal_comma }) = survey(records.clone(), path)? else {
        return Ok(Table::default());
    };
    let mut rows = records.flatten().map(|record| without_end(record, n_fields));
    let mut below = rows.clone();
    let Some(first) = below.next() else { return Ok(Table::default()) };
    let asked = wanted.columns.unwrap_or_default().iter().filter_map(Column::name).chain(wanted.labels);
    let asked: Vec<&str> = asked.collect();
    let decided = match wanted.header {
        Some(true) => First::Names(None),
        Some(false) => First::Sample(None),
        None => First::of(&first, below.clone(), &asked, numbers, &place),
    };
    let (first, mut warnings) = match decided {
        First::Names(warning) => (rows.next(), Vec::from_iter(warning)),
        First::Sample(warning) => (None, Vec::from_iter(warning)),
    };
    let mut names: Option<Vec<String>> =
        first.as_ref().map(|first| first.fields.iter().map(ToString::to_string).collect());
    let n_below = rows.clone().next().map(|row| row.fields.len());
    // A name for each field says that a field is a number.
    let are_named = names
        .as_ref()
        .is_some_and(|names| Some(names.len()) == n_below && !names.iter().any(|name| is_nameless(name)));
    if let Some((line, found)) = decimal_comma.filter(|_| !are_named) {
        return Err(TextFault::DecimalComma { path: path.into(), line, found }.into());
    }
    if let Some(names) = names.as_mut().filter(|names| n_below == Some(names.len() + 1)) {
        names.insert(0, String::new());
    }
    let n_fields = names.as_ref().map_or(n_fields, Vec::len);
    let choose = |columns: &[Column]| select(columns, names.as_deref(), n_fields, &place);
    let label = match wanted.labels {
        Some(name) => choose(&[Column::Name(name.into())])?.first().copied(),
        None => None,
    };
    let chosen = match (wanted.columns, &names) {
        (Some(columns), _) => choose(columns)?,
        (None, names) => {
            let all = (0..n_fields).filter(|column| Some(*column) != label);
            let is_nameless =
                |column: &usize| names.as_ref().is_some_and(|names| is_nameless(&names[*column]));
            let (nameless, chosen): (Vec<usize>, Vec<usize>) = all.partition(is_nameless);
            if chosen.is_empty() && !nameless.is_empty() {
                return Err(TextFault::NoNames { path: path.into() }.into());
            }
            warnings.extend(nameless.into_iter().map(|column| Warning {
                subject: place.clone(),
                seen: format!("column {column} (from 0) has no name, as the number of a line has none"),
                consequence: "it is left out".into(),
                remedy: "name the columns to take in `data.columns`".into(),
            }));
            chosen
        }
    };
    let called = |column: &usize| names.as_ref().map_or(column.to_string(), |names| names[*column].clone());
    let mut table =
        Table { names: chosen.iter().map(called).collect(), values: Vec::new(), labels: None, warnings };
    let mut labels = LabelColumn::default();
    for row in rows {
        let Record { line, fields } = row;
        if first.as_ref().is_some_and(|first| first.fields == fields) {
            return Err(TextFault::NamesAgain { path: path.into(), line }.into());
        }
        let (expected, found) = (n_fields, fields.len());
        if expected != found {
            return Err(TextFault::Ragged { path: path.into(), line, expected, found }.into());
        }
        for column in &chosen {
            let value = numbers.parse(&fields[*column]).map(|value| value as f32);
            table.values.push(value.filter(|value| value.is_finite()).ok_or_else(|| {
                let found = shown(&fields[*column..=*column]);
                Error::from(TextFault::NotANumber { path: path.into(), line, column: column + 1, found })
            })?);
        }
        if let Some(column) = label {
            labels.push(&fields[column], numbers).map_err(|expected| {
                let (column, found) = (column + 1, shown(&fields[column..=column]));
                Error::from(TextFault::MixedLabels { path: path.into(), line, column, expected, found })
            })?;
        }
    }
    table.labels = label.map(|_| labels.into());
    Ok(table)
}

/// A record without the empty field that a separator at its end makes.
fn without_end(mut record: Record<'_>, n_fields: usize) -> Record<'_> {
    if record.fields.len() == n_fields + 1 && record.fields.last().is_some_and(|last| last.is_empty()) {
        record.fields.pop();
    }
    record
}

/// Whether a name is one that pandas gives to an index, on the first and on later writing.
fn is_nameless(name: &str) -> bool {
    name.is_empty() || name.starts_with("Unnamed: ")
}

/// How much of a field or a line a message shows.
const N_SHOWN: usize = 40;

/// Fields as a message shows them.
fn shown(fields: &[Cow<'_, str>]) -> String {
    let all = fields.join(",");
    let cut: String = all.chars().take(N_SHOWN).collect();
    if cut.len() < all.len() { cut + "..." } else { cut }
}

/// What a look at all lines says about how the fields are written.
struct Survey {
    n_fields: usize,
    numbers: Numbers,
    /// Line and fields where commas seem to stand within numbers as well as between them.
    decimal_comma: Option<(u64, String)>,
}

/// Looks at all lines; `None` if there is none.
fn survey(records: Records<'_>, path: &Path) -> Result<Option<Survey>> {
    let separator = records.separator();
    let (mut n_fields, mut n_lines) = (0, 0);
    let (mut ends_empty, mut has_comma, mut has_point) = (true, false, false);
    // Whether all lines but the first have pairs `-12`, `034` of whole and broken parts, and where that shows.
    let (mut are_pairs, mut decimal_comma) = (separator == Separator::Character(','), None);
    for record in records {
        let Record { line, fields } = record
            .map_err(|OpenQuote(line)| Error::from(TextFault::OpenQuote { path: path.into(), line }))?;
        if n_lines == 0 {
            n_fields = fields.len();
        } else if are_pairs {
            are_pairs =
                fields.len() % 2 == 0 && fields.chunks_exact(2).all(|pair| is_pair(&pair[0], &pair[1]));
            let odd = fields.chunks_exact(2).find(|pair| &pair[0] == "-0" || is_padded(&pair[1]));
            decimal_comma = decimal_comma.or_else(|| odd.map(|pair| (line, shown(pair))));
        }
        let is_last_empty = fields.last().is_some_and(|last| last.is_empty());
        ends_empty &=
            (fields.len() == n_fields && is_last_empty) || (n_lines > 0 && fields.len() + 1 == n_fields);
        has_comma |= fields.iter().any(|field| field.contains(','));
        has_point |= fields.iter().any(|field| field.contains('.') && field.parse::<f64>().is_ok());
        n_lines += 1;
    }
    // A single field with a comma may be two that no name above them shows.
    let is_apart = match separator {
        Separator::Character(c) => c != ',',
        Separator::Blanks => n_fields > 1,
    };
    let numbers = Numbers { has_decimal_comma: is_apart && has_comma && !has_point };
    let n_fields = if ends_empty && n_fields > 1 { n_fields - 1 } else { n_fields };
    Ok((n_lines > 0).then(|| Survey {
        n_fields,
        numbers,
        decimal_comma: decimal_comma.filter(|_| are_pairs),
    }))
}

fn are_digits(field: &str) -> bool {
    !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit())
}

/// `034`, which no whole number is written like.
fn is_padded(field: &str) -> bool {
    field.len() > 1 && field.starts_with('0') && are_digits(field)
}

/// Whether two fields may be the parts of one number before and behind a decimal comma.
fn is_pair(whole: &str, broken: &str) -> bool {
    let whole = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    are_digits(whole) && !is_padded(whole) && are_digits(broken)
}

/// The labels so far, numbers or words.
#[derive(Debug, Default)]
struct LabelColumn {
    numbers: Vec<f64>,
    words: Vec<String>,
}

impl LabelColumn {
    /// Adds the label of a row; what was expected, if it is of another kind than those before.
    fn push(&mut self, field: &str, numbers: Numbers) -> Result<(), &'static str> {
        match numbers.parse(field) {
            Some(number) if self.words.is_empty() => self.numbers.push(number),
            None if self.numbers.is_empty() && !field.is_empty() => self.words.push(field.to_owned()),
            _ if self.numbers.is_empty() => return Err("the name of a class"),
            _ => return Err("the number of a class"),
        }
        Ok(())
    }
}

impl From<LabelColumn> for Labels {
    fn from(column: LabelColumn) -> Self {
        if column.words.is_empty() {
            return Self::Numbers(column.numbers);
        }
        let mut classes: BTreeMap<&str, u32> = column.words.iter().map(|word| (word.as_str(), 0)).collect();
        classes.values_mut().zip(0..).for_each(|(class, number)| *class = number);
        let labels = column.words.iter().map(|word| classes[word.as_str()]).collect();
        Self::Words { names: classes.keys().map(ToString::to_string).collect(), classes: labels }
    }
}

#[cfg(test)]
mod tests;
