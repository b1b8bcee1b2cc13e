//! The recipe of each method: the terms of a config that train it as its paper does, on a small network.
//!
//! [`RECIPES`] is the table, to be read beside the papers and docs/src/objectives.md; `flowmap compare` trains by it,
//! `flowmap distill --objective` and `flowmap presets METHOD` use and print the same terms.
//! A recipe is TOML laid over a config, whose data, network, optimizer and length it leaves alone.

use flowmap_nn::objective::{METHODS, Term};
use serde::Deserialize;

use crate::presets::{list, nearest, question};
use crate::{ConfigSource, Error, Result};

/// How a method is trained.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The method, one of [`METHODS`].
    pub method: &'static str,
    /// Its terms, TOML.
    pub toml: &'static str,
    /// Keys that are a share of the steps of the run: what warms up or anneals.
    pub ramps: &'static [(&'static str, f64)],
    /// Where the terms come from, and where they depart from it.
    pub source: &'static str,
}

/// One recipe for each of [`METHODS`], in their order.
pub const RECIPES: &[Recipe] = &[
    recipe(
        "flow_matching",
        "[[objective]]
kind = \"flow_matching\"",
        "a velocity and no map",
    ),
    recipe(
        "lsd",
        "[[objective]]
kind = \"flow_matching\"
share = 0.6

[[objective]]
kind = \"lsd\"
share = 0.4",
        "the shares of the preset checkerboard; the paper gives flow matching 0.75",
    ),
    recipe(
        "esd",
        "[[objective]]
kind = \"flow_matching\"
share = 0.6

[[objective]]
kind = \"esd\"
share = 0.4
stop = \"velocity\"",
        "gradients stop at the velocity and not, as in the paper, at the whole advective term, with which the jumps \
         of this small network stay behind; the shares of the preset checkerboard in place of 0.75 and 0.25",
    ),
    recipe(
        "psd",
        "[[objective]]
kind = \"flow_matching\"
share = 0.6

[[objective]]
kind = \"psd\"
share = 0.4
middle = \"midpoint\"",
        "PSD-M with the shares of the preset checkerboard; the paper gives flow matching 0.75",
    ),
    recipe(
        "mean_flow",
        "[[objective]]
kind = \"mean_flow\"
diagonal = 0.75",
        "the paper: logit-normal times, 0.75 on the diagonal; the plain squared norm, since the adaptive one of the \
         paper misleads in two dimensions",
    ),
    recipe(
        "improved_mean_flow",
        "[[objective]]
kind = \"improved_mean_flow\"
diagonal = 0.5",
        "the paper: logit-normal times, 0.5 on the diagonal; the plain squared norm, as for Mean Flow",
    ),
    recipe(
        "guided_mean_flow",
        "conditional = true

[[objective]]
kind = \"guided_mean_flow\"
diagonal = 0.75
omega = 0.5
kappa = 0.5

[train]
label_dropout = 0.1",
        "as Mean Flow, with guidance of scale 0.5/(1 - 0.5) = 1, so that the data are what it learns",
    ),
    recipe(
        "shortcut",
        "[[objective]]
kind = \"flow_matching\"
share = 0.5

[[objective]]
kind = \"shortcut\"
share = 0.5
n_steps = 16

[train]
ema = [0.999]
target_ema = 0.999",
        "target from a moving average as in the paper; half of the batch and 16 base steps in place of an eighth \
         and 128, with which 7000 steps on the checkerboard do not reach the large widths",
    ),
    Recipe {
        ramps: &[("objective.0.end", 0.75)],
        ..recipe(
            "alpha_flow",
            "[[objective]]
kind = \"alpha_flow\"
diagonal = 0.5",
            "the paper: a sigmoid from 1 to 0 with gamma = 25, over the first three quarters of the steps; the plain \
             squared norm, as for Mean Flow; half of the rows on the diagonal, which has no source",
        )
    },
    recipe(
        "tvm",
        "[[objective]]
kind = \"tvm\"

[train]
ema = [0.99, 0.999]
target_ema = 0.99",
        "the paper: one term, velocity from a moving average of decay 0.99; its times and weight are left out",
    ),
    recipe(
        "consistency",
        "[coupling]
kind = \"independent\"

[[objective]]
kind = \"consistency\"
n_steps = 16

[train]
ema = [0.999]
target_ema = 0.999",
        "consistency training, target from a moving average as in the paper; a fixed grid of 16 steps, where the paper \
         goes from 2 to 150 over a longer training; independent coupling, as the fresh noise of its sampler is",
    ),
    Recipe {
        ramps: &[("objective.0.warmup", 0.1)],
        ..recipe(
            "scm",
            "interpolant = \"trigonometric\"

[coupling]
kind = \"independent\"

[[objective]]
kind = \"scm\"
norm_offset = 0.1",
            "the paper: log-normal times, tangent normalized with c = 0.1; warm-up over a tenth of the steps; \
             independent coupling, as the fresh noise of its sampler is",
        )
    },
    recipe(
        "ctm",
        "[[objective]]
kind = \"flow_matching\"
share = 0.5

[[objective]]
kind = \"ctm\"
share = 0.5
weight = 64.0",
        "flow matching for the denoising term of the paper; a weight of one over the step, as short as the gradient is",
    ),
    recipe(
        "fmm",
        "[[objective]]
kind = \"fmm\"
inversion = 1.0",
        "the paper: the Lagrangian form with the inversion term",
    ),
    recipe("lmd", "[[objective]]\nkind = \"lmd\"", "the paper: one term, gradients through the teacher"),
    recipe("emd", "[[objective]]\nkind = \"emd\"", "the paper: one term, the full residual"),
    Recipe {
        ramps: &[("objective.0.warmup", 0.1)],
        ..recipe(
            "align_your_flow",
            "[[objective]]
kind = \"align_your_flow\"
norm_offset = 0.1",
            "the paper: Eulerian law, r to 0.99, c = 0.1; warm-up over a tenth of the steps, uniform times",
        )
    },
    recipe(
        "pfmm",
        "[[objective]]\nkind = \"pfmm\"\nn_steps = 2",
        "the paper: two jumps of the teacher in one",
    ),
    recipe(
        "map_distillation",
        "[[objective]]\nkind = \"map_distillation\"\nsolver = \"heun\"\nn_steps = 8",
        "trajectories of the teacher by eight steps of Heun's method, for every pair of times",
    ),
];

/// The methods that learn from data by default, as they learn from a teacher.
pub const DISTILLING: &[Recipe] = &[
    recipe(
        "consistency",
        "[coupling]
kind = \"independent\"

[[objective]]
kind = \"consistency\"
trajectory = \"heun\"
n_steps = 64",
        "consistency distillation, by Heun's method as in the paper",
    ),
    Recipe {
        ramps: &[("objective.0.warmup", 0.1)],
        ..recipe(
            "scm",
            "[coupling]
kind = \"independent\"

[[objective]]
kind = \"scm\"
velocity = \"teacher\"
norm_offset = 0.1",
            "sCD of the paper; warm-up over a tenth of the steps",
        )
    },
    recipe(
        "ctm",
        "[[objective]]
kind = \"ctm\"
trajectory = \"heun\"",
        "one step of Heun's method between s and u",
    ),
];

const fn recipe(method: &'static str, toml: &'static str, source: &'static str) -> Recipe {
    Recipe { method, toml, ramps: &[], source }
}

impl Recipe {
    /// The recipe of a method as it learns from data, or from a teacher where it knows nothing else.
    ///
    /// # Errors
    /// [`Error::UnknownMethod`] with the nearest name.
    pub fn of(method: &str) -> Result<&'static Self> {
        let known = METHODS.iter().map(|m| m.kind);
        RECIPES.iter().find(|r| r.method == method).ok_or_else(|| unknown(method, known))
    }

    /// The recipe of a method as it learns from a teacher.
    ///
    /// # Errors
    /// [`Error::MethodUnavailable`] where it cannot, [`Error::UnknownMethod`] with the nearest name.
    pub fn distilling(method: &str) -> Result<&'static Self> {
        let learns = |recipe: &&Self| recipe.method == method;
        if let Some(recipe) = DISTILLING.iter().find(learns).or(distillers().find(learns)) {
            return Ok(recipe);
        }
        if let Some(recipe) = RECIPES.iter().find(learns) {
            let reason = "learns from data and needs no teacher; `flowmap train` trains it";
            return Err(Error::MethodUnavailable { method: recipe.method, reason });
        }
        Err(unknown(method, distillers().chain(DISTILLING).map(|r| r.method)))
    }

    /// Whether its terms learn from a teacher.
    pub fn needs_teacher(&self) -> bool {
        #[derive(Deserialize)]
        struct Terms {
            objective: Vec<Term>,
        }
        let terms = toml::from_str::<Terms>(self.toml);
        terms.is_ok_and(|terms| terms.objective.iter().any(|term| term.objective.needs_teacher()))
    }

    /// Its terms as a layer of a config.
    ///
    /// # Errors
    /// [`Error::Toml`] for text that is none, which no recipe of this table has.
    pub fn layer(&self) -> Result<ConfigSource> {
        ConfigSource::text(self.origin(), self.toml)
    }

    /// What follows from the number of steps, as layers of a config.
    pub fn ramp_layers(&self, n_steps: u64) -> Vec<ConfigSource> {
        let layer = |(key, share): &(&str, f64)| {
            let steps = (share * n_steps as f64).round().max(1.0) as i64;
            ConfigSource::value(self.origin(), key, steps)
        };
        self.ramps.iter().map(layer).collect()
    }

    fn origin(&self) -> String {
        format!("recipe of {}", self.method)
    }
}

/// The recipes of methods that learn from a teacher alone.
fn distillers() -> impl Iterator<Item = &'static Recipe> + Clone {
    RECIPES.iter().filter(|recipe| recipe.needs_teacher())
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    Error::UnknownMethod {
        name: name.to_owned(),
        hint: question(nearest(name, known.clone())),
        known: list(known),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::{Config, resolve};

    /// The terms of a recipe on data whose flow is known, with labels.
    fn config(recipe: &Recipe, n_steps: u64) -> Config {
        let mut sources = vec![
            ConfigSource::preset("gaussian-mixture").unwrap(),
            ConfigSource::set("teacher={ kind = \"model\", path = \"absent\" }").unwrap(),
            ConfigSource::set("interpolant=trigonometric").unwrap(),
            recipe.layer().unwrap(),
        ];
        sources.extend(recipe.ramp_layers(n_steps));
        resolve(&sources).unwrap()
    }

    #[test]
    fn every_method_has_one_recipe_which_trains_it() {
        assert!(RECIPES.iter().map(|r| r.method).eq(METHODS.iter().map(|m| m.kind)));
        for recipe in RECIPES {
            let config = config(recipe, 1000);
            let has = |name: &str| config.objective.iter().any(|term| term.objective.name() == name);
            assert!(has(recipe.method), "{}", recipe.method);
            assert!(!recipe.source.is_empty());
        }
    }

    #[test]
    fn what_distills_needs_its_teacher_and_what_does_not_is_refused() {
        let mut n = 0;
        for method in METHODS {
            match Recipe::distilling(method.kind) {
                Ok(recipe) => {
                    n += 1;
                    assert!(config(recipe, 10).objective.iter().all(|term| term.objective.needs_teacher()));
                }
                Err(Error::MethodUnavailable { method, .. }) => {
                    let terms = config(Recipe::of(method).unwrap(), 10).objective;
                    assert!(terms.iter().all(|term| !term.objective.needs_teacher()), "{method}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(n, 8);
    }

    #[test]
    fn ramps_are_shares_of_the_steps_and_never_nothing() {
        let warmup = |n| config(Recipe::of("scm").unwrap(), n).objective[0].objective;
        for (n_steps, expected) in [(2000, 200), (3, 1)] {
            let found = warmup(n_steps);
            let expected = format!("warmup: {expected},");
            assert!(format!("{found:?}").contains(&expected), "{found:?}");
        }
    }

    #[test]
    fn unknown_methods_are_answered_with_the_nearest() {
        let message = Recipe::of("lds").unwrap_err().to_string();
        assert!(
            message.starts_with("unknown method `lds` (did you mean `lsd`?), expected one of"),
            "{message}"
        );
        let message = Recipe::distilling("lmdd").unwrap_err().to_string();
        assert!(message.contains("did you mean `lmd`?") && !message.contains("`shortcut`"), "{message}");
    }
}
