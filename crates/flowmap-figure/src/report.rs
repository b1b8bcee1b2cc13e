//! The report of a run: one self-contained HTML page.
//!
//! Style sheet and figures are inside the page, so that one file can be mailed, printed or opened offline.
//! The page follows the reader's light or dark scheme, fits a telephone and needs no scripts.
//! All text is escaped: a run may be named `<b>`.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Width in pixels of the column of text in the style sheet; wider figures leave it.
const COLUMN: u32 = 1072;

const STYLE: &str = include_str!("../assets/report.css");

/// A page with a title and sections.
///
/// # Example
/// ```
/// use flowmap_figure::report::{Report, Section, Table};
///
/// let table = Table {
///     headers: vec!["N".to_owned(), "KL".to_owned()],
///     rows: vec![vec!["1".to_owned(), "0.41".to_owned()]],
/// };
/// let report = Report {
///     title: "checkerboard".to_owned(),
///     subtitle: "20 000 steps, seed 0".to_owned(),
///     sections: vec![Section {
///         heading: "Quality".to_owned(),
///         table: Some(table),
///         ..Section::default()
///     }],
/// };
/// let page = report.to_html();
/// assert!(page.starts_with("<!doctype html>"));
/// assert!(page.contains("<td class=\"number\">0.41</td>"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Title of the page, such as the name of the run.
    pub title: String,
    /// One line below the title; may be empty.
    pub subtitle: String,
    /// The sections from top to bottom.
    pub sections: Vec<Section>,
}

/// A part of the page; what is absent leaves no trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// The heading, which the navigation repeats.
    pub heading: String,
    /// Text; line breaks are kept.
    pub paragraph: Option<String>,
    /// Numbers.
    pub table: Option<Table>,
    /// Pictures, one below the other.
    pub figures: Vec<Figure>,
    /// Text that is folded away, such as the configuration.
    pub details: Option<Details>,
}

/// Rows of cells; a column of numbers is aligned at its right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub headers: Vec<String>,
    /// The cells; short rows are filled up with empty cells.
    pub rows: Vec<Vec<String>>,
}

/// A picture with a line of text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// The bytes of a PNG file.
    pub png: Vec<u8>,
    /// Text below the picture, read aloud in its place too; may be empty.
    pub caption: String,
}

/// Preformatted text that unfolds on a click.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// The line that is always visible.
    pub summary: String,
    /// The text, shown as it is.
    pub text: String,
}

impl Table {
    /// The table as Markdown.
    pub fn to_markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cell = |c: usize| cells.get(c).map_or(String::new(), |cell| cell.replace('|', "\\|"));
            format!("| {} |\n", (0..self.headers.len()).map(cell).collect::<Vec<_>>().join(" | "))
        };
        let rule = format!("|{}\n", "---|".repeat(self.headers.len()));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}{rule}{rows}", line(&self.headers))
    }
}

impl Report {
    /// The page as UTF-8 text; the caller writes it.
    pub fn to_html(&self) -> String {
        let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n");
        page.push_str("<meta charset=\"utf-8\">\n");
        page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        line(&mut page, format_args!("<title>{}</title>", escape(&self.title)));
        line(&mut page, format_args!("<style>\n{STYLE}</style>\n</head>\n<body>\n<main>"));
        line(&mut page, format_args!("<header>\n<h1>{}</h1>", escape(&self.title)));
        if !self.subtitle.is_empty() {
            let subtitle = escape(&self.subtitle);
            line(&mut page, format_args!("<p class=\"subtitle\">{subtitle}</p>"));
        }
        if self.sections.len() > 1 {
            self.push_navigation(&mut page);
        }
        page.push_str("</header>\n");
        for (section_idx, section) in self.sections.iter().enumerate() {
            section.push_to(&mut page, section_idx);
        }
        page.push_str("</main>\n</body>\n</html>\n");
        page
    }

    fn push_navigation(&self, page: &mut String) {
        page.push_str("<nav>\n");
        for (section_idx, section) in self.sections.iter().enumerate() {
            let heading = escape(&section.heading);
            line(page, format_args!("<a href=\"#section-{section_idx}\">{heading}</a>"));
        }
        page.push_str("</nav>\n");
    }
}

impl Section {
    fn push_to(&self, page: &mut String, section_idx: usize) {
        line(page, format_args!("<section id=\"section-{section_idx}\">"));
        line(page, format_args!("<h2>{}</h2>", escape(&self.heading)));
        if let Some(paragraph) = &self.paragraph {
            line(page, format_args!("<p>{}</p>", escape(paragraph)));
        }
        if let Some(table) = &self.table {
            table.push_to(page);
        }
        for figure in &self.figures {
            figure.push_to(page);
        }
        if let Some(details) = &self.details {
            let (summary, text) = (escape(&details.summary), escape(&details.text));
            line(page, format_args!("<details>\n<summary>{summary}</summary>"));
            line(page, format_args!("<pre>{text}</pre>\n</details>"));
        }
        page.push_str("</section>\n");
    }
}

impl Table {
    fn push_to(&self, page: &mut String) {
        let longest = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let n_columns = longest.max(self.headers.len());
        let classes: Vec<&str> = (0..n_columns)
            .map(|column| if self.is_numeric(column) { " class=\"number\"" } else { "" })
            .collect();
        let push_row = |page: &mut String, cells: &[String], tag: &str| {
            page.push_str("<tr>");
            for (column, class) in classes.iter().enumerate() {
                let cell = cells.get(column).map_or("", String::as_str);
                page.push_str(&format!("<{tag}{class}>{}</{tag}>", escape(cell)));
            }
            page.push_str("</tr>\n");
        };
        page.push_str("<div class=\"scroll\">\n<table>\n<thead>\n");
        push_row(page, &self.headers, "th");
        page.push_str("</thead>\n<tbody>\n");
        for row in &self.rows {
            push_row(page, row, "td");
        }
        page.push_str("</tbody>\n</table>\n</div>\n");
    }

    /// Whether a column has numbers, and nothing else but empty cells and dashes.
    fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self
            .rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.trim())
            .filter(|cell| !matches!(*cell, "" | "-" | "–" | "—"))
            .peekable();
        cells.peek().is_some() && cells.all(starts_as_number)
    }
}

/// Numbers may have a unit or an error behind them: `0.12 ± 0.01`, `3.4 s`.
fn starts_as_number(cell: &str) -> bool {
    let first = cell.split_whitespace().next().unwrap_or("");
    let plain = first.replace('−', "-").replace('%', "");
    plain.parse::<f64>().is_ok()
}

impl Figure {
    fn push_to(&self, page: &mut String) {
        let caption = escape(&self.caption);
        let size = png_size(&self.png)
            .map(|(width, height)| format!(" width=\"{width}\" height=\"{height}\""))
            .unwrap_or_default();
        let data = STANDARD.encode(&self.png);
        let is_wide = png_size(&self.png).is_some_and(|(width, _)| width > COLUMN);
        page.push_str(if is_wide { "<figure class=\"wide\">\n" } else { "<figure>\n" });
        line(page, format_args!("<img alt=\"{caption}\"{size} src=\"data:image/png;base64,{data}\">"));
        if !caption.is_empty() {
            line(page, format_args!("<figcaption>{caption}</figcaption>"));
        }
        page.push_str("</figure>\n");
    }
}

/// Width and height from the header of a PNG file, so that the page does not jump while it loads.
fn png_size(png: &[u8]) -> Option<(u32, u32)> {
    if !png.starts_with(b"\x89PNG\r\n\x1a\n") {
        return None;
    }
    let number = |start: usize| {
        let bytes = png.get(start..start + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    Some((number(16)?, number(20)?))
}

/// Text as it must stand in HTML, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters have no place in HTML.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("writing to a String never fails");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(section: Section) -> String {
        Report { title: "run".to_owned(), subtitle: String::new(), sections: vec![section] }.to_html()
    }

    #[test]
    fn all_text_is_escaped() {
        let evil = "<script>\"x\" & 'y'</script>\u{0}".to_owned();
        let section = Section {
            heading: evil.clone(),
            paragraph: Some(evil.clone()),
            table: Some(Table { headers: vec![evil.clone()], rows: vec![vec![evil.clone()]] }),
            figures: vec![Figure { png: Vec::new(), caption: evil.clone() }],
            details: Some(Details { summary: evil.clone(), text: evil.clone() }),
        };
        let html = Report { title: evil.clone(), subtitle: evil, sections: vec![section.clone(), section] }
            .to_html();
        assert!(!html.contains("<script"));
        assert!(!html.contains("\"x\""));
        assert!(html.contains("&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;\u{fffd}"));
    }

    #[test]
    fn markdown_has_a_rule_and_keeps_bars_inside_of_cells() {
        let headers = vec!["N".to_owned(), "|x|".to_owned()];
        let table =
            Table { headers, rows: vec![vec!["1".to_owned()], vec!["2".to_owned(), "0.1".to_owned()]] };
        assert_eq!(table.to_markdown(), "| N | \\|x\\| |\n|---|---|\n| 1 |  |\n| 2 | 0.1 |\n");
    }

    #[test]
    fn page_needs_nothing_from_outside() {
        let html = page(Section::default());
        for word in ["http:", "https:", "<script", "<link", "url(", "@import"] {
            assert!(!html.contains(word), "{word}");
        }
    }

    #[test]
    fn tags_are_balanced() {
        let html = page(Section {
            table: Some(Table::default()),
            figures: vec![Figure::default()],
            details: Some(Details::default()),
            paragraph: Some(String::new()),
            heading: String::new(),
        });
        for tag in ["html", "head", "body", "main", "header", "section", "table", "details", "figure"] {
            let opened =
                html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
            assert!(opened > 0, "{tag}");
        }
    }

    #[test]
    fn png_is_embedded_with_its_size() {
        let mut png = b"\x89PNG\r\n\x1a\n....IHDR".to_vec();
        png.extend([0, 0, 1, 0, 0, 0, 0, 7]);
        let html = page(Section {
            figures: vec![Figure { png: png.clone(), caption: "samples".to_owned() }],
            ..Section::default()
        });
        assert!(html.contains("width=\"256\" height=\"7\""));
        assert!(html.contains(&STANDARD.encode(&png)));
        assert_eq!(png_size(b"\x89PNG\r\n\x1a\n"), None);
        assert_eq!(png_size(b"GIF"), None);
    }

    #[test]
    fn columns_of_numbers_are_aligned_right() {
        let cells = |row: [&str; 3]| row.map(str::to_owned).to_vec();
        let html = page(Section {
            table: Some(Table {
                headers: cells(["sampler", "N", "KL"]),
                rows: vec![
                    cells(["flow map", "1", "0.41 ± 0.01"]),
                    cells(["exact", "—", "0.03"]),
                    vec!["short".to_owned()],
                ],
            }),
            ..Section::default()
        });
        assert!(html.contains("<th>sampler</th><th class=\"number\">N</th><th class=\"number\">KL</th>"));
        assert!(html.contains("<td>short</td><td class=\"number\"></td><td class=\"number\"></td>"));
    }
}
