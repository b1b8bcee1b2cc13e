//! The recipe of each method: the terms of a config that train it as its paper does, on a small network.
//!
//! A recipe is TOML laid over a config, whose data, network, optimizer and length it leaves alone;
//! [`flowmap_nn::method::Card`] has its text. `flowmap compare` trains by recipes, `flowmap distill --objective` and
//! `flowmap presets METHOD` use and print them.

use std::collections::BTreeMap;

use flowmap_nn::loss::Term;
use flowmap_nn::method::{Card, METHODS, Method, card_of};
use serde::Deserialize;

use crate::{ConfigSource, Error, Result};

/// How a method is trained.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The card of the method.
    pub card: &'static Card,
    text: &'static str,
}

/// The keys of a recipe that this module reads.
#[derive(Default, Deserialize)]
struct Keys {
    #[serde(default)]
    ramps: BTreeMap<String, f64>,
    objective: Vec<Term>,
}

impl Recipe {
    /// The recipe of a method as it learns from data, or from a teacher if it cannot learn from data.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest name.
    pub fn of(method: &str) -> Result<Self> {
        let card = card_of(method)
            .ok_or_else(|| Error::unknown("method", method, METHODS.iter().map(|card| card.name)))?;
        Ok(Self { card, text: card.recipe })
    }

    /// The recipe of a method as it learns from a teacher.
    ///
    /// # Errors
    /// [`Error::MethodUnavailable`] if it cannot, [`Error::UnknownName`] with the nearest name.
    pub fn distilling(method: &str) -> Result<Self> {
        let Some(card) = card_of(method) else {
            let distillers = METHODS.iter().filter_map(|card| Self::with_teacher(card));
            return Err(Error::unknown("method", method, distillers.map(|recipe| recipe.card.name)));
        };
        let reason = "learns from data and needs no teacher; `flowmap train` trains it";
        Self::with_teacher(card).ok_or(Error::MethodUnavailable { method: card.name, reason })
    }

    fn with_teacher(card: &'static Card) -> Option<Self> {
        let texts = [card.distilling, card.recipe];
        texts.into_iter().map(|text| Self { card, text }).find(Self::needs_teacher)
    }

    /// Whether the terms learn from a teacher.
    pub fn needs_teacher(&self) -> bool {
        self.terms().iter().any(|term| term.objective.needs().teacher.is_some())
    }

    /// The terms.
    pub fn terms(&self) -> Vec<Term> {
        self.keys().objective
    }

    /// The source of the terms and their differences from it: the first comment of the recipe.
    pub fn source(&self) -> String {
        let comment = self.text.lines().map_while(|line| line.strip_prefix("# "));
        comment.collect::<Vec<_>>().join(" ")
    }

    /// The terms, TOML without the first comment and the ramps.
    pub fn toml(&self) -> &'static str {
        let start = self.text.find("\n\n").unwrap_or(0);
        let end = self.text.find("[ramps]").unwrap_or(self.text.len());
        self.text[start..end].trim()
    }

    /// The keys that are a share of the steps of the run: what warms up or anneals.
    pub fn ramps(&self) -> BTreeMap<String, f64> {
        self.keys().ramps
    }

    /// The terms as a layer of a config.
    ///
    /// # Errors
    /// [`Error::Toml`] for text that is not TOML; every recipe of this program is.
    pub fn layer(&self) -> Result<ConfigSource> {
        ConfigSource::text(self.origin(), self.toml())
    }

    /// What follows from the number of steps, as layers of a config.
    pub fn ramp_layers(&self, n_steps: u64) -> Vec<ConfigSource> {
        let layer = |(key, share): (String, f64)| {
            let steps = (share * n_steps as f64).round().max(1.0) as i64;
            ConfigSource::value(self.origin(), &key, steps)
        };
        self.ramps().into_iter().map(layer).collect()
    }

    fn origin(&self) -> String {
        format!("recipe of {}", self.card.name)
    }

    fn keys(&self) -> Keys {
        toml::from_str(self.text).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::{Config, resolve};

    /// The terms of a recipe on data whose flow is known, with labels.
    fn config(recipe: Recipe, n_steps: u64) -> Config {
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
        for card in METHODS {
            for text in [card.recipe, card.distilling].into_iter().filter(|text| !text.is_empty()) {
                let recipe = Recipe { card, text };
                let config = config(recipe, 1000);
                let has = |name: &str| config.objective.iter().any(|term| term.objective.name() == name);
                assert!(has(card.name), "{}", card.name);
                assert!(recipe.source().ends_with('.'), "{}", card.name);
                assert!(!recipe.toml().is_empty() && !recipe.toml().contains("ramps"), "{}", card.name);
            }
        }
    }

    #[test]
    fn what_distills_needs_its_teacher_and_what_does_not_is_refused() {
        let mut n = 0;
        for method in METHODS {
            match Recipe::distilling(method.name) {
                Ok(recipe) => {
                    n += 1;
                    assert!(
                        config(recipe, 10).objective.iter().all(|term| term
                            .objective
                            .needs()
                            .teacher
                            .is_some())
                    );
                }
                Err(Error::MethodUnavailable { method, .. }) => {
                    let terms = config(Recipe::of(method).unwrap(), 10).objective;
                    assert!(terms.iter().all(|term| term.objective.needs().teacher.is_none()), "{method}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(n, 8);
    }

    #[test]
    fn ramps_are_shares_of_the_steps_and_never_nothing() {
        let warmup = |n| config(Recipe::of("scm").unwrap(), n).objective[0].objective.clone();
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
