//! Whether the first line of a table holds the names of the columns.
//!
//! Where the config does not say so, the line is compared with the others:
//! * words alone, or all the names that the config asks for, are names;
//! * words above numbers, next to whole numbers, are names, with a warning;
//! * whole numbers, distinct, in a table without another line of whole numbers, that count from 0 or 1, are years or lie
//!   outside of the columns below are names, with a warning;
//! * numbers of which the same can be said in part are a sample, with a warning;
//! * anything else is a sample.

use super::records::Record;
use super::{Numbers, shown};
use crate::Warning;

/// Reading of a line that may hold names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum First {
    Names(Option<Warning>),
    Sample(Option<Warning>),
}

/// Columns from which on a line that counts them is not a sample, even among whole numbers.
const MANY: usize = 5;

/// Content below the first line, column by column.
#[derive(Debug, Clone, Default)]
struct Below {
    n_lines: u64,
    has_whole_line: bool,
    /// Smallest and largest number, of the lines that are numbers throughout.
    ranges: Vec<(f64, f64)>,
}

impl First {
    /// Judges the first record by those `below`; `asked` are the names of columns that the config asks for.
    pub fn of<'a>(
        first: &Record<'_>,
        below: impl Iterator<Item = Record<'a>>,
        asked: &[&str],
        numbers: Numbers,
        place: &str,
    ) -> Self {
        let has = |name: &&str| first.fields.iter().any(|field| field == name);
        if !asked.is_empty() && asked.iter().all(has) {
            return Self::Names(None);
        }
        let values: Vec<Option<f64>> = first.fields.iter().map(|field| numbers.parse(field)).collect();
        let n_numbers = values.iter().flatten().count();
        if n_numbers == 0 {
            return Self::Names(None);
        }
        let warning = |seen: String, consequence: &str, remedy: &str| {
            let seen = format!("the first line `{}` {seen}", shown(&first.fields));
            let (subject, consequence) = (place.into(), consequence.into());
            Some(Warning { subject, seen, consequence, remedy: remedy.into() })
        };
        let names = |seen: &str| {
            let remedy = "set `data.header` to true, or to false if it is a sample";
            Self::Names(warning(seen.into(), "it is read as the names of the columns", remedy))
        };
        let mut below = below.peekable();
        if n_numbers < values.len() {
            let mut is_number_below = |column: usize| {
                below.peek().is_some_and(|record| {
                    record.fields.get(column).is_some_and(|field| numbers.parse(field).is_some())
                })
            };
            // A word that starts as a number does is a number that went wrong.
            let is_name = |column: &usize| {
                values[*column].is_none()
                    && !first.fields[*column].starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
            };
            let mut words = (0..values.len()).filter(is_name);
            let are_whole = values.iter().flatten().all(|value| value.fract() == 0.0);
            return if are_whole && words.any(&mut is_number_below) {
                names("has words above numbers")
            } else {
                Self::Sample(None)
            };
        }
        let values: Vec<f64> = values.into_iter().flatten().collect();
        // A repetition of the first line comes from joined files, and says nothing about the other lines.
        let below = Below::of(below.filter(|record| record.fields != first.fields), numbers);
        let n = values.len();
        let is_distinct = (1..n).all(|i| !values[..i].contains(&values[i]));
        if below.n_lines == 0 || !is_distinct {
            return Self::Sample(None);
        }
        let are_whole = values.iter().all(|value| value.fract() == 0.0);
        let counts =
            are_whole && matches!(values[0] as i64, 0 | 1) && values.windows(2).all(|w| w[1] - w[0] == 1.0);
        let are_years = are_whole && n > 1 && values.iter().all(|value| (1800.0..2200.0).contains(value));
        let is_odd_one = are_whole && !below.has_whole_line && below.n_lines > 1;
        // Among broken numbers whole ones are in doubt as soon as they are outside, others where they are far outside.
        let are_outside = below.are_outside(&values, if is_odd_one { 0.0 } else { 1.0 });
        let looks = if counts {
            "counts the columns"
        } else if are_years {
            "has numbers like years"
        } else {
            "has numbers beyond those below"
        };
        if is_odd_one && (are_outside || (n > 1 && (counts || are_years))) {
            return names(&format!("{looks}, and no other line has whole numbers only"));
        }
        if counts && n >= MANY {
            return names(looks);
        }
        let is_in_doubt = are_outside || are_years || (counts && (n > 1 || is_odd_one));
        Self::Sample(if is_in_doubt {
            let remedy = "set `data.header` to false, or to true if it holds the names of the columns";
            warning(looks.into(), "it is read as a sample", remedy)
        } else {
            None
        })
    }
}

impl Below {
    fn of<'a>(records: impl Iterator<Item = Record<'a>>, numbers: Numbers) -> Self {
        let mut below = Self::default();
        for record in records {
            let values: Option<Vec<f64>> = record.fields.iter().map(|field| numbers.parse(field)).collect();
            let Some(values) = values else { continue };
            below.n_lines += 1;
            below.has_whole_line |= values.iter().all(|value| value.fract() == 0.0);
            if below.ranges.is_empty() {
                below.ranges = values.iter().map(|value| (*value, *value)).collect();
            }
            for ((low, high), value) in below.ranges.iter_mut().zip(values) {
                (*low, *high) = (low.min(value), high.max(value));
            }
        }
        below
    }

    /// Whether each value is outside of its column by more than `widths` widths of the column.
    fn are_outside(&self, values: &[f64], widths: f64) -> bool {
        let is_outside = |(value, (low, high)): (&f64, &(f64, f64))| {
            let margin = widths * (high - low);
            *value > high + margin || *value < low - margin
        };
        self.n_lines > 1
            && values.len() == self.ranges.len()
            && values.iter().zip(&self.ranges).all(is_outside)
    }
}
