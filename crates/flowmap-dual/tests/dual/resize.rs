//! Fused up- and down-sampling in f32 against the composed operations in f64, with gradients of value and tangent.

use candle_core::{DType, Device, Tensor, Var};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::{Dual, Error};
use proptest::prelude::*;

use crate::support::distance;

/// f32 sums of up to 36 terms.
const TOLERANCE: f64 = 1e-6;

fn noise(index: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f64; dims.iter().product()];
    NoiseStream::new(13, Stream::Evaluation).at(index).fill_normal(&mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

fn resized(x: &Dual, up: usize, down: usize) -> Dual {
    x.upsample_nearest2d(up).unwrap().avg_pool2d(down).unwrap()
}

/// Value, tangent, and the gradients of w · y + z · ẏ in x and ẋ.
fn run(
    dtype: DType,
    dims: &[usize],
    (up, down): (usize, usize),
    has_tangent: bool,
    seed: u64,
) -> Vec<Tensor> {
    let cast = |i: u64, dims: &[usize]| noise(10 * seed + i, dims).to_dtype(dtype).unwrap();
    let (x, dx) = (Var::from_tensor(&cast(0, dims)).unwrap(), Var::from_tensor(&cast(1, dims)).unwrap());
    let input = match has_tangent {
        true => Dual::new(x.as_tensor().clone(), dx.as_tensor().clone()).unwrap(),
        false => Dual::constant(x.as_tensor().clone()),
    };
    let y = resized(&input, up, down);
    let mut loss = (y.primal() * cast(2, y.dims())).unwrap().sum_all().unwrap();
    let mut found = vec![y.primal().clone()];
    let mut vars = vec![&x];
    if has_tangent {
        loss = (loss + (y.tangent().unwrap() * cast(3, y.dims())).unwrap().sum_all().unwrap()).unwrap();
        found.push(y.tangent().unwrap().clone());
        vars.push(&dx);
    } else {
        assert!(y.tangent().is_none());
    }
    let gradients = loss.backward().unwrap();
    found.extend(vars.into_iter().map(|v| gradients.get(v).unwrap().clone()));
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn fused_resizing_agrees_with_the_composed_oracle(
        sizes in (1usize..4, 1usize..6, 1usize..5, 1usize..12),
        up in 1usize..7,
        down in 1usize..7,
        has_tangent: bool,
        seed in 0u64..1000,
    ) {
        let (b, c, h, w) = sizes;
        // Sides that `down` divides after `up`.
        let dims = [b, c, h * down, w * down];
        let fused = run(DType::F32, &dims, (up, down), has_tangent, seed);
        let composed = run(DType::F64, &dims, (up, down), has_tangent, seed);
        for (i, (f, c)) in fused.iter().zip(&composed).enumerate() {
            let distance = distance(f, c);
            prop_assert!(distance < TOLERANCE, "{dims:?} up {up} down {down} output {i}: off by {distance:e}");
        }
    }
}

#[test]
fn number_of_threads_does_not_change_a_bit() {
    let on = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let all = pool.install(|| run(DType::F32, &[9, 16, 30, 30], (2, 3), true, 5));
        all.iter().map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn gradient_of_a_skip_around_the_sampling_is_whole() {
    let x = Var::from_tensor(&noise(1, &[1, 2, 4, 6]).to_dtype(DType::F32).unwrap()).unwrap();
    let input = Dual::constant(x.as_tensor().clone());
    // down(up(x)) = x, so that the sum of squares of x + down(up(x)) has gradient 8 x.
    let y = resized(&input, 2, 2).add(&input).unwrap().sqr().unwrap();
    let gradients = y.primal().sum_all().unwrap().backward().unwrap();
    let expected = (x.as_tensor() * 8.0).unwrap();
    assert!(distance(gradients.get(&x).unwrap(), &expected) < TOLERANCE);
}

#[test]
fn wrong_sizes_are_typed_errors() {
    for dtype in [DType::F32, DType::F64] {
        let x = Dual::constant(noise(2, &[2, 3, 6, 5]).to_dtype(dtype).unwrap());
        assert!(matches!(x.avg_pool2d(2), Err(Error::Pooling { factor: 2, height: 6, width: 5 })));
        assert!(matches!(x.avg_pool2d(0), Err(Error::Pooling { factor: 0, .. })));
        assert!(matches!(x.upsample_nearest2d(0), Err(Error::Upsampling { factor: 0 })));
        let flat = Dual::constant(noise(3, &[3, 6, 5]).to_dtype(dtype).unwrap());
        assert!(flat.upsample_nearest2d(2).is_err());
        assert!(flat.avg_pool2d(1).is_err());
    }
}

#[test]
fn empty_batch_gives_an_empty_result() {
    let x = Dual::constant(noise(4, &[0, 3, 6, 4]).to_dtype(DType::F32).unwrap());
    assert_eq!(x.upsample_nearest2d(2).unwrap().dims(), [0, 3, 12, 8]);
    assert_eq!(x.avg_pool2d(2).unwrap().dims(), [0, 3, 3, 2]);
}
