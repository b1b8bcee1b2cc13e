//! Links between Markdown files: the target of every local link exists, and so does the heading that it names.

use std::fs;
use std::path::Path;

use super::Findings;
use super::files::Source;

/// Checks one file; anything but Markdown passes.
pub fn check(source: &Source, findings: &mut Findings) {
    if !source.is_markdown() {
        return;
    }
    let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
    for (number, target) in targets(&source.text) {
        if let Some(path) = local_path(&target)
            && !folder.join(path).exists()
        {
            findings.at(source, number, format!("the link leads nowhere: `{target}`"));
        } else if let Some((path, heading)) = local_heading(&target) {
            let elsewhere = || fs::read_to_string(folder.join(path)).unwrap_or_default();
            let text = if path.is_empty() { source.text.clone() } else { elsewhere() };
            if !headings(&text).iter().any(|found| found == heading) {
                findings.at(source, number, format!("no heading has the name of the link: `{target}`"));
            }
        }
    }
}

/// The Markdown file, empty for this one, and the heading that a target names.
fn local_heading(target: &str) -> Option<(&str, &str)> {
    let (path, heading) = target.split_once('#')?;
    let is_markdown = path.is_empty() || (path.ends_with(".md") && !path.contains("://"));
    is_markdown.then_some((path, heading))
}

/// The names of all headings, as mdBook and code hosts make them: lower case, a dash for a space, no punctuation.
fn headings(markdown: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut in_code = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let text = line.trim_start_matches('#');
        if in_code || text.len() == line.len() || !text.starts_with(' ') {
            continue;
        }
        let name = |c: char| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c => c.is_alphanumeric().then(|| c.to_ascii_lowercase()),
        };
        let plain: String = text.trim().chars().filter_map(name).collect();
        let n_before = names.iter().filter(|found| **found == plain).count();
        names.push(if n_before == 0 { plain } else { format!("{plain}-{n_before}") });
    }
    names
}

/// Targets of `[text](target)` and `[name]: target` outside of code, with their lines.
fn targets(markdown: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(markdown.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            continue;
        }
        if in_code {
            continue;
        }
        let line = without_inline_code(line);
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            found.push((number, rest.split(')').next().unwrap_or(rest).to_owned()));
        }
        if line.starts_with('[')
            && let Some((_, target)) = line.split_once("]: ")
        {
            found.push((number, target.to_owned()));
        }
    }
    // A title may follow the target: `(file.md "Title")`.
    for (_, target) in &mut found {
        let bare = target.trim().split(' ').next().unwrap_or_default();
        *target = bare.trim_start_matches('<').trim_end_matches('>').to_owned();
    }
    found
}

/// Every second piece between back ticks is code.
fn without_inline_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The file that a target names, or nothing where it names a web page, an item of Rust or a heading.
fn local_path(target: &str) -> Option<&str> {
    let path = target.split('#').next().unwrap_or_default();
    let is_elsewhere =
        path.is_empty() || path.contains("://") || path.starts_with("mailto:") || path.contains("::");
    (!is_elsewhere).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_targets(markdown: &str, expect: &[(usize, &str)]) {
        let found = targets(markdown);
        let found: Vec<_> = found.iter().map(|(number, target)| (*number, target.as_str())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn inline_links_and_definitions_are_found() {
        check_targets(
            "[a](b.md) and ![c](d.png \"D\")\n\n[e]: f.md\n",
            &[(1, "b.md"), (1, "d.png"), (3, "f.md")],
        );
    }

    #[test]
    fn code_holds_no_links() {
        check_targets("```\n[a](b.md)\n```\n`v[i](x)` [c](d.md)\n", &[(4, "d.md")]);
    }

    #[test]
    fn a_link_with_code_as_its_text_is_found() {
        check_targets("[`a`](b.md)\n", &[(1, "b.md")]);
    }

    #[test]
    fn headings_are_named_as_a_book_names_them() {
        let text = "# A, b: `[c]`?\n```sh\n# no heading\n```\n## α-Flow\n## α-Flow\n#tag\n";
        assert_eq!(headings(text), ["a-b-c", "α-flow", "α-flow-1"]);
        assert_eq!(local_heading("#part"), Some(("", "part")));
        assert_eq!(local_heading("a.md#part"), Some(("a.md", "part")));
        assert_eq!(local_heading("https://example.org/a.md#part"), None);
        assert_eq!(local_heading("a.md"), None);
    }

    #[test]
    fn only_local_files_are_looked_for() {
        assert_eq!(local_path("a.md#part"), Some("a.md"));
        assert_eq!(local_path("#part"), None);
        assert_eq!(local_path("https://example.org/a.md"), None);
        assert_eq!(local_path("crate::Item"), None);
    }
}
