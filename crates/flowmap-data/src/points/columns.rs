//! What is in doubt about the columns of a table: their scales, and whether they are coordinates at all.

use crate::Warning;

/// A column is of another scale where its standard deviation is this many times smaller than the largest.
///
/// Below it the shapes of the toys and of tables in one unit stay; the network and the loss have one scale for all.
const UNLIKE: f64 = 10.0;

/// A column is far from 0 where its mean is this many of its standard deviations; the noise is about 0.
const FAR: f64 = 10.0;

/// From so many rows on a column that counts them does so on purpose.
const COUNTED: usize = 3;

/// A table with this many more columns than rows is probably turned on its side.
const TURNED: usize = 10;

/// How many columns a warning names.
const N_SHOWN: usize = 5;

/// Names of columns that number the rows, in small letters.
const INDEX: [&str; 11] =
    ["index", "idx", "id", "row", "row_id", "rowid", "rownames", "row_names", "level_0", "no", "nr"];

/// Names of columns of classes, in small letters.
const LABELS: [&str; 10] =
    ["label", "labels", "class", "classes", "class_id", "target", "category", "cluster", "species", "y_true"];

/// A column of values.
struct Column<'a> {
    name: &'a str,
    mean: f64,
    std: f64,
    min: f64,
    max: f64,
    is_whole: bool,
}

impl Column<'_> {
    /// The column of these values; the deviation in two passes, and exactly 0 of equal values.
    fn of(name: &str, values: impl Iterator<Item = f32> + Clone) -> Column<'_> {
        let values = values.map(f64::from);
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        let variance = values.clone().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
        let min = values.clone().fold(f64::INFINITY, f64::min);
        let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
        let std = if min == max { 0.0 } else { variance.sqrt() };
        Column { name, mean, std, min, max, is_whole: values.clone().all(|value| value.fract() == 0.0) }
    }
}

impl std::fmt::Display for Column<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, mean, std, .. } = self;
        write!(f, "`{name}` (mean {mean:.3e}, standard deviation {std:.3e})")
    }
}

/// Warnings about the columns of points; `are_chosen` where the config names them, so that they are meant.
pub(super) fn warnings(place: &str, names: &[String], values: &[f32], are_chosen: Chosen) -> Vec<Warning> {
    let n_rows = values.len() / names.len().max(1);
    let warning = |seen: String, consequence: &str, remedy: &str| {
        let (subject, consequence, remedy) = (place.into(), consequence.into(), remedy.into());
        Warning { subject, seen, consequence, remedy }
    };
    if n_rows == 1 || n_rows * TURNED < names.len() {
        return vec![warning(
            match n_rows {
                1 => format!("a single sample of {} coordinates", names.len()),
                _ => format!("{n_rows} samples of {} coordinates", names.len()),
            },
            "a model learns so few points by heart",
            "turn the table if its rows are the coordinates",
        )];
    }
    let values_of = |column: usize| values.iter().skip(column).step_by(names.len()).copied();
    let columns: Vec<Column<'_>> =
        names.iter().enumerate().map(|(at, name)| Column::of(name, values_of(at))).collect();
    let mut warnings = scales(&columns, &warning);
    if are_chosen == Chosen::ByFile && columns.len() > 1 {
        let is = |list: &[&str], name: &str| list.contains(&name.to_lowercase().as_str());
        for (at, column) in columns.iter().enumerate() {
            let is_counter =
                n_rows >= COUNTED && column.is_whole && column.max - column.min == (n_rows - 1) as f64;
            let is_named = is(&INDEX, column.name) && column.is_whole;
            if (is_counter || is_named) && is_distinct(values_of(at)) {
                warnings.push(warning(
                    format!("column `{}` has a whole number of its own for each row", column.name),
                    "it is trained on as a coordinate, not as an index",
                    "name the columns to take in `data.columns`",
                ));
            } else if is(&LABELS, column.name) && column.is_whole {
                warnings.push(warning(
                    format!("column `{}` has whole numbers and the name of labels", column.name),
                    "it is trained on as a coordinate",
                    &format!(
                        "set `data.labels` to \"{}\", or name the columns in `data.columns`",
                        column.name
                    ),
                ));
            }
        }
    }
    warnings
}

/// Origin of the choice of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The config, by the key `columns`.
    ByConfig,
    /// Nobody: all that are there.
    ByFile,
}

fn is_distinct(values: impl Iterator<Item = f32>) -> bool {
    let mut values: Vec<f32> = values.collect();
    values.sort_by(f32::total_cmp);
    values.windows(2).all(|pair| pair[0] != pair[1])
}

/// Warnings about columns that do not vary, are of another scale than the others, or far from 0.
fn scales(columns: &[Column<'_>], warning: &impl Fn(String, &str, &str) -> Warning) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let list = |columns: &[&Column<'_>]| {
        let shown: Vec<String> = columns.iter().take(N_SHOWN).map(ToString::to_string).collect();
        let more = columns.len() - shown.len();
        shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
    };
    let largest = columns.iter().fold(0.0, |largest: f64, column| largest.max(column.std));
    if largest == 0.0 {
        return vec![warning(
            "all samples are the same point".into(),
            "there is nothing to learn but this point",
            "look whether the file holds the samples",
        )];
    }
    let of =
        |is: &dyn Fn(&Column<'_>) -> bool| columns.iter().filter(|column| is(column)).collect::<Vec<_>>();
    let constant = of(&|column| column.std == 0.0);
    if !constant.is_empty() {
        warnings.push(warning(
            format!("columns that do not vary: {}", list(&constant)),
            "samples get noise in them, of the scale of the other columns",
            "leave them out by `data.columns`",
        ));
    }
    let small = of(&|column| column.std > 0.0 && column.std * UNLIKE < largest);
    if !small.is_empty() {
        let large = of(&|column| column.std == largest);
        warnings.push(warning(
            format!("columns of unlike scale: {} against {}", list(&small), list(&large)),
            "one scale serves all columns, so that small ones are learned poorly",
            "bring the columns of the file to one scale",
        ));
    }
    let far = of(&|column| column.std > 0.0 && column.mean.abs() > FAR * column.std);
    if !far.is_empty() {
        warnings.push(warning(
            format!("columns far from 0: {}", list(&far)),
            "the noise is about 0, so that such columns are learned poorly",
            "subtract their means in the file",
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(names: &[&str], rows: &[&[f32]], chosen: Chosen) -> Vec<String> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let warnings = warnings("x.csv", &names, &rows.concat(), chosen);
        warnings.into_iter().map(|warning| warning.seen).collect()
    }

    #[test]
    fn columns_of_unlike_scale_far_from_zero_or_constant_are_named() {
        let rows: &[&[f32]] =
            &[&[0.5, 1000.0, 7.0, 100.5], &[-0.5, -1000.0, 7.0, 99.5], &[0.1, 0.0, 7.0, 100.0]];
        let seen = seen(&["a", "b", "c", "d"], rows, Chosen::ByFile);
        assert_eq!(seen.len(), 3, "{seen:?}");
        assert!(seen[0].starts_with("columns that do not vary: `c` (mean 7.000e0,"), "{}", seen[0]);
        assert!(
            seen[1].starts_with("columns of unlike scale: `a` (mean 3.333e-2, standard deviation 4.1"),
            "{}",
            seen[1]
        );
        assert!(seen[1].contains("`d`") && seen[1].contains(" against `b` (mean 0.000e0, "), "{}", seen[1]);
        assert!(seen[2].starts_with("columns far from 0: `d` (mean 1.000e2"), "{}", seen[2]);
    }

    #[test]
    fn columns_in_one_unit_are_no_matter() {
        let rows: &[&[f32]] = &[&[0.5, 4.0], &[-0.5, -4.0], &[0.9, 3.0], &[0.2, 3.5]];
        assert_eq!(seen(&["a", "b"], rows, Chosen::ByFile), Vec::<String>::new());
    }

    #[test]
    fn indices_and_labels_among_the_coordinates_are_named_unless_they_are_chosen() {
        let rows: &[&[f32]] = &[&[2.0, 0.5, 1.0], &[3.0, 0.25, 0.0], &[1.0, -0.5, 1.0], &[4.0, -0.2, 1.0]];
        let all = seen(&["n", "x", "Label"], rows, Chosen::ByFile);
        assert_eq!(all[0], "column `n` has a whole number of its own for each row");
        assert_eq!(all[1], "column `Label` has whole numbers and the name of labels");
        assert_eq!(seen(&["n", "x", "Label"], rows, Chosen::ByConfig), Vec::<String>::new());
        let gaps: &[&[f32]] = &[&[17.0, 0.5], &[3.0, 9.25], &[8.0, -5.5]];
        assert_eq!(seen(&["ID", "x"], gaps, Chosen::ByFile).len(), 1);
        assert_eq!(seen(&["a", "x"], gaps, Chosen::ByFile), Vec::<String>::new());
    }

    #[test]
    fn single_points_and_tables_on_their_side_are_named() {
        assert_eq!(seen(&["a", "b"], &[&[1.0, 2.0]], Chosen::ByFile), ["a single sample of 2 coordinates"]);
        let same: &[&[f32]] = &[&[1.0, 2.0], &[1.0, 2.0]];
        assert_eq!(seen(&["a", "b"], same, Chosen::ByFile), ["all samples are the same point"]);
        let names: Vec<String> = (0..21).map(|i| i.to_string()).collect();
        let values: Vec<f32> = (0..42).map(|i| (i * i % 13) as f32).collect();
        assert_eq!(warnings("x", &names, &values, Chosen::ByFile).len(), 1);
    }
}
