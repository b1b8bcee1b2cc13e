//! Blocks that compute their activations again: the same numbers, and less on the tape.

use candle_core::{DType, Device};
use flowmap_nn::ParamBuilder;
use flowmap_nn::net::{ActivationMemory, DataSpec, Dit, DitConfig, DitSize};

use crate::support::image_nets::{cases, loss};
use crate::support::image_steps::{Way, step};

/// Sums of the same numbers in f64 in another order, relative to the largest of a gradient.
const ROUNDING: f64 = 1e-12;
/// The same in f32, where the way back goes through thousands of such sums.
const SINGLE_ROUNDING: f64 = 1e-5;

fn agree(dtype: DType, way: Way, tolerance: f64) {
    for case in cases() {
        let (loss, kept) = step(&case, ActivationMemory::Keep, dtype, way);
        let (again, recomputed) = step(&case, ActivationMemory::Recompute, dtype, way);
        assert!((loss - again).abs() <= tolerance * loss, "{}: {loss} and {again}", case.name);
        let largest = kept.iter().flat_map(|(_, g)| g).fold(0.0f64, |max, g| max.max(g.abs()));
        for ((name, kept), (_, recomputed)) in kept.iter().zip(&recomputed) {
            let difference = kept.iter().zip(recomputed).fold(0.0f64, |max, (a, b)| max.max((a - b).abs()));
            assert!(difference < tolerance * largest, "{}: `{name}` off by {difference:e}", case.name);
        }
    }
}

#[test]
fn recomputed_blocks_give_the_gradients_of_kept_ones() {
    agree(DType::F64, Way::Stored, ROUNDING);
    agree(DType::F32, Way::Stored, SINGLE_ROUNDING);
}

#[test]
fn recomputed_blocks_add_to_the_sums_of_a_training_step() {
    agree(DType::F32, Way::Summed, SINGLE_ROUNDING);
}

#[test]
fn network_off_the_tape_stays_off_it() {
    for case in cases() {
        let builder = ParamBuilder::frozen(case.tensors(), DType::F32, &Device::Cpu);
        let (model, _) = case.build(builder.with_activations(ActivationMemory::Recompute));
        assert!(!loss(&case, &*model, DType::F32).track_op(), "{}", case.name);
    }
}

/// Numbers of all tensors on the tape of the loss.
fn on_tape(activations: ActivationMemory) -> usize {
    let config =
        DitConfig { depth: 8, width: 32, heads: 2, time_features: 8, ..DitConfig::new(DitSize::S, 2) };
    let mut builder = ParamBuilder::fresh(1, DType::F32, &Device::Cpu).with_activations(activations);
    let model = Dit::new(&config, &DataSpec::of(&[2, 8, 8]), &mut builder).unwrap();
    let case = cases().into_iter().find(|case| case.conditioning.n_classes() == 0).unwrap();
    let loss = loss(&case, &model, DType::F32);
    loss.sorted_nodes().iter().filter(|node| !node.is_variable()).map(|node| node.elem_count()).sum()
}

#[test]
fn tape_of_recomputed_blocks_is_several_times_smaller() {
    let (kept, recomputed) = (on_tape(ActivationMemory::Keep), on_tape(ActivationMemory::Recompute));
    assert!(4 * recomputed < kept, "{recomputed} numbers instead of {kept}");
}
