//! `flowmap distill`: a training run whose teacher is on the command line.

use std::path::Path;

use anyhow::Result;
use candle_core::Device;
use flowmap_nn::method::Method;
use flowmap_train::{Config, ConfigSource, Error, Model, Recipe, Weights, resolve};

use super::{Usage, train};
use crate::args::DistillArgs;
use crate::device::device;
use crate::layers;

/// The word that stands for the exact velocity of the data.
const EXACT: &str = "exact";
/// The objective where none is named.
const DEFAULT_OBJECTIVE: &str = "lmd";

/// Trains a student, judges, draws, prints.
///
/// # Errors
/// What is wrong with teacher, config, data, device or disk.
pub fn run(args: &DistillArgs) -> Result<()> {
    let device = device(&args.run.device.name)?;
    train::execute(config(args)?, &args.run, &device)
}

/// The config: teacher's run or preset < file < teacher and objective < `--set` < flags.
fn config(args: &DistillArgs) -> Result<Config> {
    let recipe = args.objective.as_deref().map(recipe).transpose()?;
    let is_exact = args.teacher == EXACT;
    if !is_exact {
        // A missing teacher is reported first, and by --dry-run as well.
        Model::open(Path::new(&args.teacher), Weights::Best, &Device::Cpu)?;
    }
    if args.run.resume && recipe.is_some() {
        let message = "--resume takes the objective of the run; use --set to change it";
        return Err(Usage(message.into()).into());
    }
    let is_like_teacher = !is_exact && !args.run.resume && args.config.is_none() && args.run.preset.is_none();
    let mut layers = layers::below(&args.run, args.config.as_deref(), || match is_exact {
        true => ConfigSource::preset("distill-mixture"),
        false => ConfigSource::of_model(Path::new(&args.teacher)),
    })?;
    layers.push(ConfigSource::teacher(&args.teacher)?);
    let recipe = match recipe {
        None if is_like_teacher => Some(Recipe::distilling(DEFAULT_OBJECTIVE)?),
        recipe => recipe,
    };
    let above = layers::above(&args.run)?;
    if let Some(recipe) = recipe {
        layers.push(recipe.layer()?);
        // What follows from the number of steps, and the name of the run, need the rest.
        let rest = resolve(&[&layers[..], &above].concat())?;
        layers.extend(recipe.ramp_layers(rest.train.steps));
        if is_like_teacher {
            let name = format!("{}-{}", rest.name, recipe.card.name);
            layers.push(ConfigSource::value("distill", "name", name));
        }
    }
    layers.extend(above);
    let config = resolve(&layers)?;
    if !config.objective.iter().any(|term| term.objective.needs().teacher.is_some()) {
        let found: Vec<String> =
            config.objective.iter().map(|term| format!("`{}`", term.objective.name())).collect();
        let found = found.join(", ");
        let message = format!(
            "expected an objective that needs a teacher, found {found}; choose one with --objective, such as lmd"
        );
        return Err(Usage(message).into());
    }
    Ok(config)
}

/// The recipe of `--objective`.
fn recipe(name: &str) -> Result<Recipe> {
    Recipe::distilling(name).map_err(|error| match error {
        error @ (Error::UnknownName { what: "method", .. } | Error::MethodUnavailable { .. }) => {
            Usage(format!("--objective: {error}")).into()
        }
        error => error.into(),
    })
}
