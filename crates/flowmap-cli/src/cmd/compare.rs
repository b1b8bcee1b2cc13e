//! `flowmap compare`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use flowmap_train::compare::{Budget, CompareDir, Outcome, Plan, compare};
use flowmap_train::{ConfigSource, Error, write_atomically};

use super::{Usage, check_place};
use crate::args::CompareArgs;
use crate::device::device;
use crate::layers::{free_dir, named, seed_layer};
use crate::progress::{CompareBar, human, say};
use crate::table;

/// Keys that `--set` cannot change, each with what does.
const NOT_SHARED: [(&str, &str); 2] =
    [("objective", "the terms of each method are its recipe"), ("train.steps", "use --time or --steps")];

/// Trains every method for the same time, and prints the table.
///
/// # Errors
/// What is wrong with config, methods, data, device or disk.
pub fn run(args: &CompareArgs) -> Result<()> {
    let device = device(&args.device.name)?;
    let plan = plan(args)?;
    if args.dry_run {
        return print_recipes(&plan);
    }
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    if let Some(path) = args.json.as_deref().filter(|_| !to_stdout) {
        check_place("--json", path)?;
    }
    for omitted in &plan.omitted {
        say(&format!("{} is left out: it {}", omitted.method, omitted.reason));
    }
    let began = Instant::now();
    let name = format!("compare-{}", plan.base.name);
    let out: PathBuf = args.out.clone().unwrap_or_else(|| free_dir(Path::new("runs"), &name));
    let dir = CompareDir(&out);
    let budget = args.steps.map_or(Budget::Seconds(args.time), Budget::Steps);
    let mut bar = CompareBar::default();
    let comparison = compare(&plan, budget, &dir, &device, &mut bar)?;
    bar.finish();
    let json = serde_json::to_string_pretty(&comparison)?;
    match args.json.as_deref() {
        Some(_) if to_stdout => table::line(&json)?,
        Some(path) => write_atomically(path, json.as_bytes())?,
        None => {}
    }
    if !to_stdout {
        table::line(&format!("{}\n", comparison.headline()))?;
        table::print(&comparison.table())?;
        table::line("")?;
        for note in comparison.notes() {
            table::line(&note)?;
        }
        table::line(&format!("\n{} in {}", out.display(), human(began.elapsed().as_secs_f64())))?;
        table::line(&format!("figure: {}", dir.figure().display()))?;
    }
    if comparison.rows.iter().all(|row| matches!(row.outcome, Outcome::Failed(_))) {
        bail!("no method could be trained");
    }
    Ok(())
}

/// The methods to train: preset < file < `--set` < `--seed`.
fn plan(args: &CompareArgs) -> Result<Plan> {
    let mut layers =
        named(args.preset.as_deref(), args.config.as_deref(), || ConfigSource::preset("checkerboard"))?;
    for set in &args.sets {
        let layer = ConfigSource::set(set)?;
        if let Some((key, instead)) = NOT_SHARED.iter().find(|(key, _)| layer.sets(key)) {
            return Err(
                Usage(format!("--set {set}: `{key}` is not for all methods to share; {instead}")).into()
            );
        }
        layers.push(layer);
    }
    layers.extend(seed_layer(args.seed)?);
    Plan::new(&layers, &args.methods).map_err(|error| match error {
        error @ (Error::UnknownName { what: "method", .. } | Error::MethodUnavailable { .. }) => {
            Usage(format!("--methods: {error}")).into()
        }
        error => error.into(),
    })
}

/// The recipe of each method, as TOML with comments.
fn print_recipes(plan: &Plan) -> Result<()> {
    for planned in &plan.planned {
        table::line(&format!("# {}: {}", planned.method.name, planned.recipe.source()))?;
        for note in &planned.notes {
            table::line(&format!("# {note}."))?;
        }
        for (key, share) in planned.recipe.ramps() {
            table::line(&format!("# `{key}` is {share} of the steps."))?;
        }
        table::line(&format!("\n{}\n", planned.recipe.toml()))?;
    }
    for omitted in &plan.omitted {
        table::line(&format!("# {} is left out: it {}.", omitted.method, omitted.reason))?;
    }
    Ok(())
}
