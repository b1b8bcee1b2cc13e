//! Links between Markdown files: the target of every local link exists.

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
        }
    }
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
    fn only_local_files_are_looked_for() {
        assert_eq!(local_path("a.md#part"), Some("a.md"));
        assert_eq!(local_path("#part"), None);
        assert_eq!(local_path("https://example.org/a.md"), None);
        assert_eq!(local_path("crate::Item"), None);
    }
}
