//! Fused division by the magnitude in f32 against the composed operations in f64, with gradients of value and tangent.

use candle_core::{DType, Device, Tensor, Var};
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::Dual;
use proptest::prelude::*;

use crate::support::{distance, distances};

/// f32 sums of up to 300 terms.
const TOLERANCE: f64 = 1e-5;
const EPS: f64 = 1e-4;

fn noise(index: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f64; dims.iter().product()];
    NoiseStream::new(14, Stream::Evaluation).at(index).fill_normal(&mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// Value, tangent, and the gradients of w · y + z · ẏ in x and ẋ.
fn run(dtype: DType, dims: &[usize], dim: usize, has_tangent: bool, seed: u64) -> Vec<Tensor> {
    let cast = |i: u64| noise(10 * seed + i, dims).to_dtype(dtype).unwrap();
    let (x, dx) = (Var::from_tensor(&cast(0)).unwrap(), Var::from_tensor(&cast(1)).unwrap());
    let input = match has_tangent {
        true => Dual::new(x.as_tensor().clone(), dx.as_tensor().clone()).unwrap(),
        false => Dual::constant(x.as_tensor().clone()),
    };
    let y = input.with_magnitude(1.5, dim, EPS).unwrap();
    let mut loss = (y.primal() * cast(2)).unwrap().sum_all().unwrap();
    let mut found = vec![y.primal().clone()];
    if has_tangent {
        loss = (loss + (y.tangent().unwrap() * cast(3)).unwrap().sum_all().unwrap()).unwrap();
        found.push(y.tangent().unwrap().clone());
    } else {
        assert!(y.tangent().is_none());
    }
    let gradients = loss.backward().unwrap();
    found.push(gradients.get(&x).unwrap().clone());
    found.extend(has_tangent.then(|| gradients.get(&dx).unwrap().clone()));
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn fused_magnitude_agrees_with_the_composed_oracle(
        outer in 1usize..4,
        n in 3usize..100,
        inner in prop_oneof![Just(1usize), 2usize..150],
        has_tangent: bool,
        seed in 0u64..1000,
    ) {
        let dims = [outer, n, inner];
        let fused = run(DType::F32, &dims, 1, has_tangent, seed);
        let composed = run(DType::F64, &dims, 1, has_tangent, seed);
        let n_values = 1 + usize::from(has_tangent);
        for (i, distance) in distances(&fused, &composed, n_values).into_iter().enumerate() {
            prop_assert!(distance < TOLERANCE, "{dims:?} tangent {has_tangent} output {i}: off by {distance:e}");
        }
    }
}

#[test]
fn any_dimension_of_any_shape_is_taken() {
    for (dims, dim) in
        [(&[7, 300][..], 1), (&[300, 7], 0), (&[2, 3, 4, 5], 1), (&[2, 3, 4, 65], 3), (&[4, 300, 16, 9], 1)]
    {
        for has_tangent in [false, true] {
            let fused = run(DType::F32, dims, dim, has_tangent, 3);
            let composed = run(DType::F64, dims, dim, has_tangent, 3);
            for distance in distances(&fused, &composed, 1 + usize::from(has_tangent)) {
                assert!(distance < TOLERANCE, "{dims:?} over {dim}: off by {distance:e}");
            }
        }
    }
}

#[test]
fn magnitude_of_a_vector_becomes_the_one_asked_for() {
    let x = Dual::constant(noise(5, &[6, 50]).to_dtype(DType::F32).unwrap());
    let y = x.with_magnitude(3.0, 1, 0.0).unwrap();
    let magnitudes = y.primal().sqr().unwrap().mean(1).unwrap().sqrt().unwrap();
    assert!(distance(&magnitudes, &(magnitudes.ones_like().unwrap() * 3.0).unwrap()) < 1e-6);
}

#[test]
fn vector_of_zeros_stays_one_and_its_gradients_are_finite() {
    let x = Var::zeros((2, 5), DType::F32, &Device::Cpu).unwrap();
    let dx = noise(6, &[2, 5]).to_dtype(DType::F32).unwrap();
    let y = Dual::new(x.as_tensor().clone(), dx).unwrap().unit_magnitude(1, EPS).unwrap();
    assert_eq!(y.primal().to_vec2::<f32>().unwrap(), [[0.0; 5]; 2]);
    let loss = (y.primal() + y.tangent().unwrap()).unwrap().sum_all().unwrap();
    let gradient = loss.backward().unwrap().get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(gradient.iter().all(|g| g.is_finite()));
}

#[test]
fn gradients_of_vectors_almost_zero_are_those_of_the_oracle() {
    let gradients = |dtype: DType| {
        let cast = |i: u64, scale: f64| (noise(i, &[3, 40]).to_dtype(dtype).unwrap() * scale).unwrap();
        let (x, dx) = (Var::from_tensor(&cast(7, 3e-20)).unwrap(), Var::from_tensor(&cast(8, 1.0)).unwrap());
        let input = Dual::new(x.as_tensor().clone(), dx.as_tensor().clone()).unwrap();
        let y = input.unit_magnitude(1, EPS).unwrap();
        let sum = |y: &Tensor, i: u64| (y * cast(i, 1.0)).unwrap().sum_all().unwrap();
        let loss = (sum(y.primal(), 9) + sum(y.tangent().unwrap(), 10)).unwrap();
        let gradients = loss.backward().unwrap();
        [&x, &dx].map(|v| gradients.get(v).unwrap().clone())
    };
    for (fused, composed) in gradients(DType::F32).iter().zip(&gradients(DType::F64)) {
        assert!(distance(fused, composed) < TOLERANCE);
    }
}

#[test]
fn missing_dimension_is_an_error_and_an_empty_batch_is_not() {
    let x = Dual::constant(noise(4, &[0, 3, 6]).to_dtype(DType::F32).unwrap());
    assert_eq!(x.unit_magnitude(1, EPS).unwrap().dims(), [0, 3, 6]);
    assert!(x.unit_magnitude(3, EPS).is_err());
}

#[test]
fn number_of_threads_does_not_change_a_bit() {
    let on = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let found = pool.install(|| run(DType::F32, &[9, 40, 70], 1, true, 1));
        found.iter().map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(on(1), on(5));
}
