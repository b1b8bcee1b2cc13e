//! The backward pass over fused operations gives the gradients of Candle's.

use candle_core::DType;
use flowmap_nn::net::ActivationMemory;

use crate::support::image_nets::cases;
use crate::support::image_steps::{Way, step};

/// Sums in f32 in another order, where the way back goes through thousands of them; relative to the largest gradient.
const SINGLE_ROUNDING: f64 = 1e-5;
/// The same in f64.
const ROUNDING: f64 = 1e-12;

fn agree(activations: ActivationMemory, dtype: DType, tolerance: f64) {
    for case in cases() {
        let (loss, stored) = step(&case, activations, dtype, Way::Stored);
        let (same_loss, walked) = step(&case, activations, dtype, Way::Walked);
        assert_eq!(loss.to_bits(), same_loss.to_bits(), "{}: the forward pass is the same", case.name);
        let largest = stored.iter().flat_map(|(_, g)| g).fold(0.0f64, |max, g| max.max(g.abs()));
        for ((name, stored), (_, walked)) in stored.iter().zip(&walked) {
            let difference = stored.iter().zip(walked).fold(0.0f64, |max, (a, b)| max.max((a - b).abs()));
            assert!(difference < tolerance * largest, "{}: `{name}` off by {difference:e}", case.name);
        }
    }
}

#[test]
fn walking_fused_operations_back_gives_the_gradients_of_candles_tape() {
    agree(ActivationMemory::Keep, DType::F32, SINGLE_ROUNDING);
}

#[test]
fn it_does_so_with_recomputed_blocks() {
    agree(ActivationMemory::Recompute, DType::F32, SINGLE_ROUNDING);
}

#[test]
fn composed_operations_in_f64_are_candles_as_before() {
    agree(ActivationMemory::Keep, DType::F64, ROUNDING);
}
