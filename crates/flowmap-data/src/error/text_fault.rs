//! What can be wrong with a text file of numbers.

use std::path::PathBuf;

/// A fault of a text file of numbers, with the line if there is one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TextFault {
    /// A row is shorter or longer than those above it.
    #[error("{}, line {line}: expected {expected} values, found {found}", path.display())]
    Ragged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// Number of values in the first row.
        expected: usize,
        /// Number of values in this one.
        found: usize,
    },
    /// A field of a text file is not a number, or beyond the range of f32.
    #[error("{}, line {line}, column {column}: expected a finite number, found {found:?}", path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column, counted from 1.
        column: usize,
        /// The field.
        found: String,
    },
    /// The line of names comes again, as in files that were joined.
    #[error("{}, line {line}: expected a sample, found the names of the columns once more", path.display())]
    NamesAgain {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
    },
    /// A field in quotes has no end.
    #[error("{}, line {line}: expected a closing quote, found the end of the file", path.display())]
    OpenQuote {
        /// The file.
        path: PathBuf,
        /// The line of the opening quote, counted from 1.
        line: u64,
    },
    /// No column of a table has a name, and none was asked for.
    #[error("{}: expected names of columns or the key `columns`, found names that are all empty", path.display())]
    NoNames {
        /// The file.
        path: PathBuf,
    },
    /// Commas seem to stand within numbers and between them.
    #[error(
        "{}, line {line}: expected a comma between numbers, found one within a number (`{found}`); \
         numbers with a decimal comma need semicolons or tabs between them",
        path.display()
    )]
    DecimalComma {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// Two fields with the comma between them.
        found: String,
    },
    /// A column of labels has words in some lines and numbers in others.
    #[error(
        "{}, line {line}, column {column}: expected {expected}, as in the lines above, found {found:?}",
        path.display()
    )]
    MixedLabels {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column, counted from 1.
        column: usize,
        /// Kind of the labels in the lines above.
        expected: &'static str,
        /// The field.
        found: String,
    },
}
