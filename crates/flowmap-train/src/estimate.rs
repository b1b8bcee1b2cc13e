//! Parameters, operations and memory of a training step, before anything is allocated.
//!
//! flop = B Σ_k share_k (c on tape + off tape) · 2 · multiplications of a plain pass,  c = 3 or 4        (1)
//!
//! A backward pass costs twice its forward pass, or three times where blocks compute their activations again,
//! and a dual pass twice a plain one.
//! Memory counts the parameters with all that belongs to them, and the activations of the tiles that are under way at once;
//! code, data, the buffers of kernels, a checkpoint that is being written and weights rounded to bf16 are not counted.
//!
//! bytes of parameters = 4 P (s + 2 s + lanes + packed + computed)  on the CPU                            (2)
//! bytes of parameters = 4 P (s + gradients + computed)             on another device, and 4 P · 2 s of its host
//!
//! with s the state, 1 and moments and averages; 2 s the [last good state](crate::Error::Diverged) and the one that may
//! follow it; packed what the products of a step keep of the weights; and computed what EDM2 makes of them in each pass.

use flowmap_nn::net::{ActivationMemory, Precision};
use flowmap_nn::optim::OptimizerConfig;
use flowmap_nn::tile_rows;

use flowmap_nn::net::{DataSpec, NetworkConfig, Outline};

use crate::{Config, Result};

/// Bytes of a number.
const F32: f64 = 4.0;
/// Numbers of a packed kernel of 3x3 pixels for each of its own: it is kept at 4x4 places.
const PLACES_OF_KERNEL: f64 = 16.0 / 9.0;
/// Bytes of a number in half precision.
const BF16: f64 = 2.0;

/// Copies of its weights that a pass of EDM2's network keeps until its backward pass: squares, unit rows, and these scaled.
const COMPUTED: f64 = 3.0;

/// A training step in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The network.
    pub outline: Outline,
    /// Floating-point operations of a plain forward pass of one sample.
    pub flop_per_sample: f64,
    /// Floating-point operations of a step, (1).
    pub flop_per_step: f64,
    /// Bytes of the parameters and of all that has their size on the CPU, (2).
    pub parameter_bytes: f64,
    /// Bytes of everything that has the size of the parameters, on another device.
    pub device_parameter_bytes: f64,
    /// Bytes of the activations that a step holds at once on the CPU.
    pub activation_bytes: f64,
    /// Threads that this is for.
    pub n_threads: usize,
    /// Bytes of the activations that a step holds at once on another device, which computes one part of the batch at a time.
    pub device_activation_bytes: f64,
    /// Samples of such a part: all of the batch, or `train.micro_batch`.
    pub device_rows: usize,
}

impl Estimate {
    /// The numbers of `config` for samples of `shape` with labels of `n_classes` classes, on the threads of this process.
    ///
    /// # Errors
    /// Where the network does not fit the samples.
    pub fn new(config: &Config, shape: &[usize], n_classes: usize) -> Result<Self> {
        let conditioning = match (config.conditional, config.guidance) {
            (false, _) => flowmap_nn::net::Conditioning::None,
            (true, None) => n_classes.into(),
            (true, Some(_)) => flowmap_nn::net::Conditioning::GuidedLabels(n_classes),
        };
        let outline = config.network.outline(&DataSpec::of(shape).given(conditioning))?;
        let (mut on_tape, mut off_tape, mut widest) = (0.0, 0.0, 0.0f64);
        for term in &config.objective {
            let passes = term.passes();
            on_tape += term.share * passes.on_tape;
            off_tape += term.share * passes.off_tape;
            widest = widest.max(passes.on_tape);
        }
        let flop_per_sample = outline.cost.flop();
        let batch = config.train.batch as f64;
        let device_rows = match config.train.micro_batch {
            0 => config.train.batch,
            rows => rows.min(config.train.batch),
        };
        let rows = tile_rows(shape.iter().product()).min(device_rows);
        let n_threads = rayon::current_num_threads();
        let n_tiles = n_threads.min(config.train.batch.div_ceil(rows.max(1))) as f64;
        // Values and their gradients.
        let numbers_of_row = 2.0 * widest * outline.cost.held(config.train.activations) as f64;
        // On the CPU operations in bf16 run in f32.
        let bytes_on_device = match config.train.precision {
            Precision::F32 => F32,
            Precision::Bf16 => BF16,
        };
        let on_tape_passes = match config.train.activations {
            ActivationMemory::Keep => 3.0,
            ActivationMemory::Recompute => 4.0,
        };
        let n_moments = match config.optimizer {
            OptimizerConfig::Muon { .. } => 1.0,
            _ => 2.0,
        };
        let state = 1.0 + n_moments + config.train.ema.len() as f64;
        let n_lanes = n_tiles.max(1.0);
        let (packed, computed) = match (&config.network, config.train.activations) {
            (NetworkConfig::Edm2UNet(_), ActivationMemory::Keep) => {
                (0.0, COMPUTED * config.objective.len() as f64)
            }
            (NetworkConfig::Edm2UNet(_), ActivationMemory::Recompute) => (0.0, 0.0),
            // Forward and backward, and forward once more if it is off the tape.
            (network, _) => {
                let uses = if off_tape > 0.0 { 3.0 } else { 2.0 };
                let is_convolved = matches!(network, NetworkConfig::UNet(_) | NetworkConfig::DdpmPpUNet(_));
                (if is_convolved { uses * PLACES_OF_KERNEL } else { uses }, 0.0)
            }
        };
        let gradients = if device_rows < config.train.batch { 2.0 } else { 1.0 };
        let copies = 3.0 * state + n_lanes + packed + n_lanes * computed;
        let device_copies = state + gradients + computed;
        let bytes_of_copy = F32 * outline.n_parameters as f64;
        Ok(Self {
            outline,
            n_threads,
            flop_per_sample,
            flop_per_step: flop_per_sample * batch * (on_tape_passes * on_tape + off_tape),
            parameter_bytes: bytes_of_copy * copies,
            device_parameter_bytes: bytes_of_copy * device_copies,
            activation_bytes: F32 * numbers_of_row * n_tiles * rows as f64,
            device_activation_bytes: bytes_on_device * numbers_of_row * device_rows as f64,
            device_rows,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{ConfigSource, PRESETS, resolve};

    #[test]
    fn step_of_flow_matching_and_lsd_costs_four_passes_of_a_sample() {
        let source = |text: &str| ConfigSource::text("test", text).unwrap();
        let terms =
            "[[objective]]\nkind = 'flow_matching'\nshare = 0.75\n[[objective]]\nkind = 'lsd'\nshare = 0.25";
        let config = resolve(&[ConfigSource::preset("checkerboard").unwrap(), source(terms)]).unwrap();
        let estimate = Estimate::new(&config, &[2], 0).unwrap();
        let expected = estimate.flop_per_sample * config.train.batch as f64 * (0.75 * 3.0 + 0.25 * 7.0);
        assert_eq!(estimate.flop_per_step, expected);
        assert!(estimate.parameter_bytes > 0.0 && estimate.activation_bytes > 0.0);
    }

    #[test]
    fn bootstrapped_rows_of_shortcut_models_cost_four_passes_off_the_tape_with_guidance() {
        let config = resolve(&[ConfigSource::preset("imagenet-latent-shortcut-b").unwrap()]).unwrap();
        let estimate = Estimate::new(&config, &[4, 32, 32], 1000).unwrap();
        let expected = estimate.flop_per_sample * config.train.batch as f64 * (3.0 + 0.125 * 4.0);
        assert_eq!(estimate.flop_per_step, expected);
    }

    #[test]
    fn presets_of_papers_fit_a_gpu_of_forty_gibibytes() {
        const GIB: f64 = (1u64 << 30) as f64;
        for preset in PRESETS.iter().filter(|preset| preset.about.ends_with("for a GPU")) {
            let config = resolve(&[ConfigSource::preset(preset.name).unwrap()]).unwrap();
            let (shape, n_classes) = match config.data.declared() {
                Some(data) => (data.shape, data.n_classes),
                None => (config.data.build(None).unwrap().shape().to_vec(), 0),
            };
            let estimate = Estimate::new(&config, &shape, n_classes).unwrap();
            let bytes = estimate.device_parameter_bytes + estimate.device_activation_bytes;
            assert!(bytes < 40.0 * GIB, "{}: {} GiB", preset.name, bytes / GIB);
        }
    }

    fn of_cifar10(set: &str) -> Estimate {
        let set = ConfigSource::set(set).unwrap();
        let config = resolve(&[ConfigSource::preset("cifar10").unwrap(), set]).unwrap();
        Estimate::new(&config, &[3, 32, 32], 0).unwrap()
    }

    #[test]
    fn micro_batch_bounds_the_memory_of_the_activations() {
        let [whole, eight, one] = [0, 8, 1].map(|n| of_cifar10(&format!("train.micro_batch={n}")));
        assert_eq!(eight.device_activation_bytes, 8.0 * one.device_activation_bytes);
        assert_eq!(whole.device_activation_bytes, whole.device_rows as f64 * one.device_activation_bytes);
        assert!(one.activation_bytes < whole.activation_bytes);
        assert!(eight.activation_bytes <= whole.activation_bytes);
    }

    #[test]
    fn recomputed_activations_take_less_memory_and_one_pass_more() {
        let [keep, recompute] =
            ["keep", "recompute"].map(|way| of_cifar10(&format!("train.activations={way}")));
        assert!(4.0 * recompute.device_activation_bytes < keep.device_activation_bytes);
        assert!(recompute.flop_per_step > keep.flop_per_step);
    }
}
