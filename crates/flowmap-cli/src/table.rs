//! Tables for people on standard output.

use std::io::{self, Write};

use flowmap_figure::report::Table;

/// Prints a table of numbers with aligned columns, the first to the left, the others to the right.
///
/// # Errors
/// Where standard output is closed.
pub fn print(table: &Table) -> io::Result<()> {
    print_aligned(table, |column| column == 0)
}

/// Prints a table of words with aligned columns, all to the left.
///
/// # Errors
/// Where standard output is closed.
pub fn print_text(table: &Table) -> io::Result<()> {
    print_aligned(table, |_| true)
}

fn print_aligned(table: &Table, is_left: impl Fn(usize) -> bool) -> io::Result<()> {
    let width = |s: &str| s.chars().count();
    let all = || [&table.headers].into_iter().chain(&table.rows);
    let widest = |c: usize| all().filter_map(|r| r.get(c)).map(|s| width(s)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table.headers.len()).map(widest).collect();
    let mut out = io::stdout().lock();
    for row in all() {
        let cells = row.iter().zip(&widths).enumerate().map(|(c, (cell, w))| {
            let padding = " ".repeat(w.saturating_sub(width(cell)));
            if is_left(c) { format!("{cell}{padding}") } else { format!("{padding}{cell}") }
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
