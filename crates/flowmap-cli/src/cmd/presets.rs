//! `flowmap presets`.

use anyhow::Result;
use flowmap_figure::report::Table;
use flowmap_nn::method::{Card, Evaluations, METHODS};
use flowmap_train::{Listed, PRESETS, Recipe, listed};
use serde_json::{Value, json};

use crate::args::PresetsArgs;
use crate::table;

/// Lists presets and methods, or prints the config of a preset or the terms of a method.
///
/// # Errors
/// For a name that neither has.
pub fn run(args: &PresetsArgs) -> Result<()> {
    if let Some(name) = &args.name {
        let text = match listed(name)? {
            Listed::Preset(preset) => preset.toml.to_owned(),
            Listed::Method(method) => entry(method)?,
        };
        return Ok(table::line(text.trim_end())?);
    }
    if args.json {
        return Ok(table::line(&serde_json::to_string_pretty(&everything()?)?)?);
    }
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let presets = PRESETS.iter().map(|p| row(&[p.name, p.about])).collect();
    table::print_text(&Table { headers: row(&["preset", "what it trains"]), rows: presets })?;
    table::line("")?;
    let headers = row(&["method", "title", "arXiv", "on the tape", "off it", "when to use it"]);
    let or_dash = |cost: Evaluations| if cost == Evaluations::NONE { "-".into() } else { cost.to_string() };
    let cells = |card: &&Card| {
        let Card { name, title, arxiv, when, .. } = **card;
        row(&[name, title, arxiv, &or_dash(card.on_tape), &or_dash(card.off_tape), when])
    };
    let methods = METHODS.iter().map(cells).collect();
    Ok(table::print_text(&Table { headers, rows: methods })?)
}

/// A method in comments, and the terms that train it, as TOML.
fn entry(card: &Card) -> Result<String> {
    let recipe = Recipe::of(card.name)?;
    let Card { title, arxiv, on_tape, off_tape, when, .. } = card;
    let off_tape = if *off_tape == Evaluations::NONE { "none".into() } else { off_tape.to_string() };
    let mut text = format!(
        "# {title}, arXiv:{arxiv}: {when}.\n# Evaluations a sample: {on_tape} on the tape, {off_tape} off it.\n\
         # Terms: {}\n",
        recipe.source()
    );
    for (key, share) in recipe.ramps() {
        text.push_str(&format!("# `{key}` is best {share} of the steps of the run.\n"));
    }
    if recipe.needs_teacher() {
        text.push_str("# It needs a [teacher]; `flowmap distill` gives it one.\n");
    }
    Ok(format!("{text}\n{}\n", recipe.toml()))
}

/// Presets and methods as JSON.
fn everything() -> Result<Value> {
    let presets: Vec<Value> =
        PRESETS.iter().map(|p| json!({ "name": p.name, "about": p.about, "toml": p.toml })).collect();
    let methods = METHODS.iter().map(|card| {
        let mut entry = serde_json::to_value(card)?;
        entry["toml"] = Recipe::of(card.name)?.toml().into();
        Ok(entry)
    });
    Ok(json!({ "presets": presets, "methods": methods.collect::<Result<Vec<_>>>()? }))
}
