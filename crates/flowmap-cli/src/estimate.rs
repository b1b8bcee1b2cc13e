//! Parameters, operations and memory of a config, for `--dry-run`.

use flowmap_data::Declared;
use flowmap_train::{Config, Estimate};

/// Parameters, operations and memory of a step of a config, in words for standard error; standard output has the config.
pub fn estimate(config: &Config) -> String {
    // The files may be on another machine; the config knows most shapes without them.
    let Declared { shape, n_classes } = match config.data.declared() {
        Some(declared) => declared,
        None => match config.data.build(None) {
            Ok(data) => Declared { shape: data.shape().to_vec(), n_classes: data.n_classes() },
            Err(error) => return format!("parameters, memory and operations depend on the data: {error}"),
        },
    };
    match Estimate::new(config, &shape, n_classes) {
        Ok(estimate) => format!(
            "{} parameters; a step: {} operations, {} for the parameters and {} for the activations on {} threads, \
             or {} and {} for {} samples at once on another device; a sample: {} operations forward",
            estimate.outline.n_parameters,
            with_prefix(estimate.flop_per_step),
            bytes(estimate.parameter_bytes),
            bytes(estimate.activation_bytes),
            estimate.n_threads,
            bytes(estimate.device_parameter_bytes),
            bytes(estimate.device_activation_bytes),
            estimate.device_rows,
            with_prefix(estimate.flop_per_sample),
        ),
        Err(error) => error.to_string(),
    }
}

/// A large number for people.
fn with_prefix(x: f64) -> String {
    let (scale, prefix) = match x {
        x if x >= 1e15 => (1e15, "P"),
        x if x >= 1e12 => (1e12, "T"),
        x if x >= 1e9 => (1e9, "G"),
        _ => (1e6, "M"),
    };
    format!("{:.2} {prefix}", x / scale)
}

/// An amount of memory for people.
fn bytes(x: f64) -> String {
    let gib = x / f64::from(1u32 << 30);
    if gib >= 1.0 { format!("{gib:.1} GiB") } else { format!("{:.1} MiB", gib * 1024.0) }
}
