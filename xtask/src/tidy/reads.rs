//! Reads from a device, which wait for all of its work: only through one door, `flowmap_dual::host`, which counts them.

use super::Findings;
use super::files::Source;

/// Crates whose code runs inside a training step or a sampling loop.
const CRATES: &[&str] = &[
    "crates/flowmap-kernel/src/",
    "crates/flowmap-dual/src/",
    "crates/flowmap-nn/src/",
    "crates/flowmap-sample/src/",
];

/// What brings numbers to the host.
const READS: &[&str] =
    &[".to_scalar", ".to_vec0", ".to_vec1", ".to_vec2", ".to_vec3", ".to_device(&Device::Cpu)"];

/// Files that may read, each with its reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("crates/flowmap-dual/src/host.rs", "the door"),
    (
        "crates/flowmap-dual/src/ops/elementwise.rs",
        "reads on the CPU alone, where there is nothing to wait for",
    ),
];

/// Checks one file; tests and examples may read.
pub fn check(source: &Source, findings: &mut Findings) {
    let is_checked = source.is_rust() && CRATES.iter().any(|folder| source.path.starts_with(folder));
    if !is_checked || EXCEPTIONS.iter().any(|(path, _)| *path == source.path) {
        return;
    }
    for (number, line) in source.code() {
        if let Some(read) = READS.iter().find(|read| line.contains(**read)) {
            let what =
                format!("`{read}` waits for the device; read through `flowmap_dual::host`, or not at all");
            findings.at(source, number, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n_findings(path: &str, text: &str) -> usize {
        let mut findings = Findings::default();
        check(&Source { path: path.to_owned(), text: text.to_owned() }, &mut findings);
        findings.broken.len()
    }

    #[test]
    fn reads_are_found_in_code_that_runs_on_a_device() {
        let reads = "let a = x.to_scalar::<f64>()?;\nlet b = x.to_device(&Device::Cpu)?;\n";
        assert_eq!(n_findings("crates/flowmap-nn/src/a.rs", reads), 2);
        assert_eq!(n_findings("crates/flowmap-dual/src/host.rs", reads), 0);
        assert_eq!(n_findings("crates/flowmap-train/src/a.rs", reads), 0);
        assert_eq!(n_findings("crates/flowmap-nn/src/a.rs", "/// let a = x.to_vec1::<f32>()?;\n"), 0);
        assert_eq!(n_findings("crates/flowmap-nn/src/a.rs", "#[cfg(test)]\nlet a = x.to_vec1()?;\n"), 0);
    }
}
