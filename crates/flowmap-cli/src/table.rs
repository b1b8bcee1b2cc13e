//! Tables for people on standard output.

use std::io::{self, Write};

use flowmap_train::report::Table;

/// Prints a table with aligned columns, the first to the left, the others to the right.
///
/// # Errors
/// Where standard output is closed.
pub fn print(table: &Table) -> io::Result<()> {
    let width = |s: &str| s.chars().count();
    let columns = table.headers.len();
    let widths: Vec<usize> = (0..columns)
        .map(|c| {
            table
                .rows
                .iter()
                .chain([&table.headers])
                .filter_map(|r| r.get(c))
                .map(|s| width(s))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = io::stdout().lock();
    for row in [&table.headers].into_iter().chain(&table.rows) {
        let cells = row.iter().zip(&widths).enumerate().map(|(c, (cell, w))| {
            let padding = " ".repeat(w.saturating_sub(width(cell)));
            if c == 0 { format!("{cell}{padding}") } else { format!("{padding}{cell}") }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Prints one line.
///
/// # Errors
/// Where standard output is closed.
pub fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}
