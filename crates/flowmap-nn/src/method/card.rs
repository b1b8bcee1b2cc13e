//! Cards of methods: name, paper, cost and use.

use std::fmt;

use serde::{Serialize, Serializer};

/// The card of a method: its name, its paper, its cost and when to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Card {
    /// The name in configs and logs.
    #[serde(rename = "kind")]
    pub name: &'static str,
    /// The name in words.
    pub title: &'static str,
    /// The paper on arXiv, or an empty text.
    pub arxiv: &'static str,
    /// Evaluations of a sample on the tape with the method's default choices, which the backward pass goes through.
    pub on_tape: Evaluations,
    /// Evaluations of a sample off the tape, which cost a forward pass alone.
    pub off_tape: Evaluations,
    /// What the method teaches a network.
    #[serde(skip)]
    pub trains: Trains,
    /// Whether the method learns guidance with its scale as an input of the network.
    #[serde(skip)]
    pub guidance: LearnsGuidance,
    /// When to use it.
    pub when: &'static str,
    /// The terms of a config that train the method as the paper does on a small network, TOML, or an empty text.
    ///
    /// The first comment says where the terms come from and where they depart from it; a table `[ramps]` names keys
    /// that are a share of the steps of the run.
    #[serde(skip)]
    pub recipe: &'static str,
    /// The terms that learn from a teacher, if `recipe` does not, or an empty text.
    #[serde(skip)]
    pub distilling: &'static str,
}

impl Card {
    /// The cost in units of a plain forward pass.
    pub const fn passes(&self) -> Passes {
        Passes::of(self.on_tape, self.off_tape)
    }
}

/// What a method teaches a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trains {
    /// The velocity v_{t,t}, on the diagonal s = t alone.
    Velocity,
    /// Jumps between the times that are drawn.
    Jumps,
    /// Jumps to the data alone, t = 1, whatever times are drawn.
    JumpsToData,
}

/// Whether a method learns guidance with its scale w as an input of the network.
///
/// Self-distillation learns the map of whatever velocity the diagonal has, and needs no change; a regression on the
/// velocity of a pair needs the guided one. Distillation has its velocity from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnsGuidance {
    /// No.
    No,
    /// Yes, whatever its choices.
    Yes,
    /// With these choices, in words; [`super::Method::learns_guidance`] decides.
    With(&'static str),
}

/// Network evaluations of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evaluations {
    /// Plain forward passes.
    pub plain: u32,
    /// Forward passes that carry a derivative.
    pub dual: u32,
    /// Evaluations of the flow to distill from.
    pub teacher: u32,
}

impl Evaluations {
    /// No evaluations.
    pub const NONE: Self = Self { plain: 0, dual: 0, teacher: 0 };

    /// `n` plain forward passes.
    pub const fn plain(n: u32) -> Self {
        Self { plain: n, ..Self::NONE }
    }

    /// `n` forward passes that carry a derivative.
    pub const fn dual(n: u32) -> Self {
        Self { dual: n, ..Self::NONE }
    }

    /// `n` evaluations of the flow to distill from.
    pub const fn teacher(n: u32) -> Self {
        Self { teacher: n, ..Self::NONE }
    }

    /// The sum of these evaluations and `other`.
    pub const fn and(self, other: Self) -> Self {
        Self {
            plain: self.plain + other.plain,
            dual: self.dual + other.dual,
            teacher: self.teacher + other.teacher,
        }
    }

    /// In units of a plain forward pass: one that carries a derivative counts two.
    pub const fn passes(self) -> f64 {
        (self.plain + 2 * self.dual + self.teacher) as f64
    }
}

/// `1 + 1d + 1q`: d is an evaluation that carries a derivative, q one of the flow to distill from; nothing is empty.
impl fmt::Display for Evaluations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.plain, ""), (self.dual, "d"), (self.teacher, "q")];
        let parts: Vec<_> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
        f.pad(&parts.join(" + "))
    }
}

impl Serialize for Evaluations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Network evaluations a sample in units of a plain forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Passes {
    /// On the tape.
    pub on_tape: f64,
    /// Evaluations off the tape, of the network and of the flow to distill from.
    pub off_tape: f64,
}

impl Passes {
    /// The passes of these evaluations.
    pub const fn of(on_tape: Evaluations, off_tape: Evaluations) -> Self {
        Self { on_tape: on_tape.passes(), off_tape: off_tape.passes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_and_counted() {
        let both = Evaluations::plain(1).and(Evaluations::dual(1));
        assert_eq!((both.to_string().as_str(), both.passes()), ("1 + 1d", 3.0));
        assert_eq!(Evaluations::teacher(16).to_string(), "16q");
        assert_eq!(Evaluations::NONE.to_string(), "");
    }
}
