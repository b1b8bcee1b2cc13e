//! Every method with its paper, its cost and when to use it.

use serde::Serialize;

/// What there is to know of a method before choosing it.
///
/// Costs are network evaluations a sample, with the default choices of the method: `d` is one that carries a
/// derivative, `q` one of the flow to distill from, and nothing at all an empty text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Method {
    /// The name in configs and logs, that of [`super::Objective::name`].
    pub kind: &'static str,
    /// Its name in words.
    pub title: &'static str,
    /// Its paper on arXiv.
    pub arxiv: &'static str,
    /// Evaluations on the tape, which the backward pass goes through.
    pub on_tape: &'static str,
    /// Evaluations off the tape, which cost a forward pass alone.
    pub off_tape: &'static str,
    /// When to use it.
    pub when: &'static str,
}

/// Rows of [`METHODS`] as they read best: kind, title, paper, cost on and off the tape, when to use it.
type Row = [&'static str; 6];

const fn method(row: Row) -> Method {
    let [kind, title, arxiv, on_tape, off_tape, when] = row;
    Method { kind, title, arxiv, on_tape, off_tape, when }
}

/// Network evaluations a sample in units of a plain forward pass: one that carries a derivative counts two.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Passes {
    /// On the tape.
    pub on_tape: f64,
    /// Off the tape, those of the flow to distill from included.
    pub off_tape: f64,
}

impl Method {
    /// Its cost in numbers.
    pub fn passes(&self) -> Passes {
        let count = |text: &str| -> f64 {
            let part = |part: &str| {
                let number = part.trim_end_matches(['d', 'q']).parse().unwrap_or(0.0);
                if part.ends_with('d') { 2.0 * number } else { number }
            };
            text.split(" + ").map(part).sum()
        };
        Passes { on_tape: count(self.on_tape), off_tape: count(self.off_tape) }
    }

    /// The method of this name, `None` where there is none.
    pub fn named(kind: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.kind == kind)
    }
}

/// All methods: first those that learn from data, then those that distill a known flow.
pub const METHODS: &[Method] = &[
    method([
        "flow_matching",
        "Flow matching",
        "2210.02747",
        "1",
        "",
        "with every self-distillation, for the diagonal s = t",
    ]),
    method([
        "lsd",
        "Lagrangian self-distillation",
        "2505.18825",
        "1d",
        "1",
        "the first choice without a teacher",
    ]),
    method([
        "esd",
        "Eulerian self-distillation",
        "2505.18825",
        "1d",
        "1d + 1",
        "in low dimensions; unstable on images",
    ]),
    method([
        "psd",
        "Progressive self-distillation",
        "2505.18825",
        "1",
        "2",
        "where a network has no derivative",
    ]),
    method([
        "mean_flow",
        "Mean Flow",
        "2505.13447",
        "1",
        "1d",
        "one-step image models, with the adaptive norm",
    ]),
    method([
        "improved_mean_flow",
        "Improved Mean Flow",
        "2512.02012",
        "1",
        "1 + 1d",
        "Mean Flow with less noise in its target",
    ]),
    method([
        "guided_mean_flow",
        "Mean Flow with guidance",
        "2505.13447",
        "1",
        "2 + 1d",
        "one-step conditional models of one scale",
    ]),
    method(["shortcut", "Shortcut models", "2410.12557", "1", "2", "steps that halve: 1, 2, 4, ..., 128"]),
    method(["alpha_flow", "α-Flow", "2510.20771", "1", "1", "Mean Flow that starts slowly"]),
    method([
        "tvm",
        "Terminal velocity matching",
        "2511.19797",
        "1d + 1",
        "1",
        "Lagrangian self-distillation by itself, no second term",
    ]),
    method([
        "consistency",
        "Consistency models",
        "2303.01469",
        "1",
        "1",
        "jumps to the data only, on a grid of times",
    ]),
    method([
        "scm",
        "Continuous-time consistency models",
        "2410.11081",
        "1",
        "1d",
        "jumps to the data only, trigonometric interpolant",
    ]),
    method([
        "ctm",
        "Consistency trajectory models",
        "2310.02279",
        "2",
        "2",
        "any jump, compared at the data",
    ]),
    method([
        "fmm",
        "Flow map matching",
        "2406.07507",
        "1 + 1d",
        "",
        "the map and its inverse, without a velocity",
    ]),
    method([
        "lmd",
        "Lagrangian map distillation",
        "2406.07507",
        "1d + 1q",
        "",
        "the first choice with a velocity field",
    ]),
    method([
        "emd",
        "Eulerian map distillation",
        "2406.07507",
        "1d",
        "1q",
        "a velocity field that cannot be differentiated",
    ]),
    method([
        "align_your_flow",
        "Align Your Flow",
        "2506.14603",
        "1",
        "1d + 1q",
        "large networks: no reverse pass through a derivative",
    ]),
    method([
        "pfmm",
        "Progressive flow map matching",
        "2406.07507",
        "1",
        "2q",
        "a trained map of short jumps, to lengthen them",
    ]),
    method([
        "map_distillation",
        "Map distillation",
        "2101.02388",
        "1",
        "16q",
        "a cheap velocity field, or a first pre-training",
    ]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_in_words_are_costs_in_numbers() {
        assert!(METHODS.iter().all(|method| method.passes().on_tape > 0.0));
        let of = |kind| Method::named(kind).map(Method::passes);
        assert_eq!(of("esd"), Some(Passes { on_tape: 2.0, off_tape: 3.0 }));
        assert_eq!(of("map_distillation"), Some(Passes { on_tape: 1.0, off_tape: 16.0 }));
    }
}
