//! Which methods a comparison trains, and how each.

use flowmap_data::DataConfig;
use flowmap_nn::method::{Card, METHODS, Method, Needs, TeacherNeed};
use flowmap_nn::optim::Schedule;
use serde::Serialize;

use crate::{Config, ConfigSource, Error, Recipe, Result, TeacherConfig, resolve};

/// Most of a run that the warm-up of the learning rate may take: short runs would be nothing but warm-up.
const MAX_WARMUP_SHARE: u64 = 10;

const NEEDS_LABELS: &str = "needs `conditional = true`: it mixes velocities with and without the label";
const NEEDS_TEACHER: &str =
    "needs a flow to distill from: a [teacher], or data whose velocity is known exactly";
const NEEDS_MAP: &str = "needs a flow map to distill from: a [teacher] of kind `model`";

/// The methods of a comparison.
#[derive(Debug)]
pub struct Plan {
    /// The config that all methods share.
    pub base: Config,
    /// The methods that will be trained, in the order of [`METHODS`].
    pub planned: Vec<Planned>,
    /// The methods that will not run.
    pub omitted: Vec<Omitted>,
}

/// A method that will be trained.
#[derive(Debug)]
pub struct Planned {
    /// The method.
    pub method: &'static Card,
    /// The recipe.
    pub recipe: Recipe,
    /// Where it departs from what all share.
    pub notes: Vec<String>,
    sources: Vec<ConfigSource>,
}

/// A method that is left out.
#[derive(Clone, Debug, Serialize)]
pub struct Omitted {
    /// The method.
    pub method: &'static str,
    /// Why.
    pub reason: &'static str,
}

impl Plan {
    /// All methods that apply to the config of `sources`, or those named in `asked` if it is not empty.
    ///
    /// # Errors
    /// As [`resolve`]; [`Error::UnknownName`], and [`Error::MethodUnavailable`] for a method that is asked for
    /// and does not apply.
    pub fn new(sources: &[ConfigSource], asked: &[String]) -> Result<Self> {
        let base = resolve(sources)?;
        for name in asked {
            Recipe::of(name)?;
        }
        let mut plan = Self { base, planned: Vec::new(), omitted: Vec::new() };
        let is_asked = |card: &&Card| asked.is_empty() || asked.iter().any(|name| name == card.name);
        for method in METHODS.iter().copied().filter(is_asked) {
            match obstacle(&plan.base, Recipe::of(method.name)?) {
                None => plan.planned.push(Planned::new(method, &plan.base, sources)?),
                Some(reason) if asked.is_empty() => {
                    plan.omitted.push(Omitted { method: method.name, reason });
                }
                Some(reason) => return Err(Error::MethodUnavailable { method: method.name, reason }),
            }
        }
        Ok(plan)
    }
}

impl Planned {
    fn new(method: &'static Card, base: &Config, sources: &[ConfigSource]) -> Result<Self> {
        let recipe = Recipe::of(method.name)?;
        let mut planned = Self { method, recipe, notes: Vec::new(), sources: sources.to_vec() };
        if base.teacher.is_none() && has_exact_velocity(base) {
            planned.sources.push(ConfigSource::value("compare", "teacher.kind", "exact"));
            if recipe.needs_teacher() {
                planned.notes.push("distills the exact velocity of the data".into());
            }
        }
        planned.sources.push(recipe.layer()?);
        let config = planned.config(base.train.steps)?;
        if config.interpolant != base.interpolant {
            planned.notes.push(format!("interpolant = \"{}\", which it needs", config.interpolant));
        }
        if config.sampling() != crate::Sampling::default() {
            planned.notes.push(match config.sampling() {
                crate::Sampling::Consistency => {
                    "learns jumps to the data alone: fresh noise is added between them".into()
                }
                other => format!("learns no jumps: sampled by `{other}` steps of its velocity"),
            });
        }
        Ok(planned)
    }

    /// The config of a run of `n_steps` steps.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn config(&self, n_steps: u64) -> Result<Config> {
        let mut sources = self.sources.clone();
        sources.extend(self.recipe.ramp_layers(n_steps));
        sources.push(ConfigSource::value("compare", "train.steps", n_steps.min(i64::MAX as u64) as i64));
        let mut config = resolve(&sources)?;
        if !self.recipe.needs_teacher() {
            config.teacher = None;
        }
        config.name = format!("{}-{}", config.name, self.method.name);
        // One checkpoint, at the end: nothing is written while the clock runs.
        config.train.checkpoint_every = n_steps;
        let (Schedule::Constant { warmup }
        | Schedule::Cosine { warmup }
        | Schedule::InverseSqrt { warmup, .. }) = &mut config.schedule;
        *warmup = (*warmup).min(n_steps / MAX_WARMUP_SHARE);
        Ok(config)
    }
}

/// Why a method cannot be trained on this config.
fn obstacle(base: &Config, recipe: Recipe) -> Option<&'static str> {
    let has_map = matches!(&base.teacher, Some(TeacherConfig::Model(model)) if model.guidance.is_none());
    let has_teacher = base.teacher.is_some() || has_exact_velocity(base);
    let obstacle = |needs: Needs| match needs {
        Needs { labels: true, .. } if !base.conditional => Some(NEEDS_LABELS),
        Needs { teacher: Some(TeacherNeed::Map), .. } if !has_map => Some(NEEDS_MAP),
        Needs { teacher: Some(_), .. } if !has_teacher => Some(NEEDS_TEACHER),
        _ => None,
    };
    recipe.terms().iter().find_map(|term| obstacle(term.objective.needs()))
}

fn has_exact_velocity(base: &Config) -> bool {
    matches!(base.data, DataConfig::GaussianMixture(_))
}
