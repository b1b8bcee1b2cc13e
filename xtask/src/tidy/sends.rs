//! Numbers sent to a device: only through one door, `flowmap_dual::host`, which counts them.

use super::Findings;
use super::files::Source;

/// Code that runs inside a training step or a sampling loop.
const PLACES: &[&str] = &[
    "crates/flowmap-kernel/src/",
    "crates/flowmap-dual/src/",
    "crates/flowmap-nn/src/",
    "crates/flowmap-sample/src/",
    "crates/flowmap-train/src/batches.rs",
];

/// Calls that bring numbers to a device other than the host.
const SENDS: &[&str] = &[
    "Tensor::new(",
    "Tensor::from_vec(",
    "Tensor::from_slice(",
    "Tensor::from_iter(",
    "Tensor::arange",
    ".to_device(",
];

/// What sends a bare number; with a tensor it sends none.
const COMPARISONS: &[&str] = &[".ge(", ".gt(", ".le(", ".lt(", ".eq(", ".ne(", ".maximum(", ".minimum("];

/// Files that may send by themselves, each with its reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("crates/flowmap-dual/src/host.rs", "the door"),
    ("crates/flowmap-nn/src/params.rs", "parameters are made or loaded once, before the first step"),
    ("crates/flowmap-nn/src/net/edm2_unet/block.rs", "the order of the rows is made once, with the network"),
];

/// Checks one file; tests and examples may send.
pub fn check(source: &Source, findings: &mut Findings) {
    let is_checked = source.is_rust() && PLACES.iter().any(|place| source.path.starts_with(place));
    if !is_checked || EXCEPTIONS.iter().any(|(path, _)| *path == source.path) {
        return;
    }
    for (number, line) in source.code() {
        let elsewhere = SENDS.iter().find(|send| line.contains(**send) && !line.contains("&Device::Cpu"));
        if let Some(send) = elsewhere {
            findings.at(source, number, format!("`{send}` sends numbers; use `flowmap_dual::host`"));
        }
        if let Some(comparison) = COMPARISONS.iter().find(|comparison| has_number(line, comparison)) {
            let what = format!("`{comparison}` sends its number; compare with `host::filled_like`");
            findings.at(source, number, what);
        }
    }
}

/// Whether a call of `method` in a line has no reference for its argument.
fn has_number(line: &str, method: &str) -> bool {
    line.match_indices(method).any(|(at, _)| !line[at + method.len()..].starts_with('&'))
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
    fn sends_are_found_in_code_that_runs_on_a_device() {
        let sends = "let a = Tensor::new(1f32, device)?;\nlet b = x.to_device(&device)?;\n";
        assert_eq!(n_findings("crates/flowmap-nn/src/a.rs", sends), 2);
        assert_eq!(n_findings("crates/flowmap-train/src/batches.rs", sends), 2);
        assert_eq!(n_findings("crates/flowmap-dual/src/host.rs", sends), 0);
        assert_eq!(n_findings("crates/flowmap-train/src/a.rs", sends), 0);
        let here =
            "let a = Tensor::from_vec(values, 3, &Device::Cpu)?;\n/// let x = Tensor::new(1f32, d)?;\n";
        assert_eq!(n_findings("crates/flowmap-nn/src/a.rs", here), 0);
        assert_eq!(n_findings("crates/flowmap-nn/src/a.rs", "let a = x.ge(0.0)?.ne(&y)?;\n"), 1);
    }
}
